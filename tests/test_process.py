"""Processes: the right curves, clocks and noise."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PROCESSES, curves

from minidiff.process import DDPM, EDM, Cosine, Flow, per_sample, unit_noise

every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def inner_times(process, n=50):
    """n times strictly inside (0, t_max), float64."""
    return torch.linspace(0, process.t_max, n + 2, dtype=torch.float64)[1:-1]


# --- Curves ---------------------------------------------------------------------------------------


@every_process
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_time_0_there_is_only_data(process, dtype):
    t = torch.zeros((), dtype=dtype)
    assert process.alpha(t) == 1
    assert process.sigma(t) == 0
    assert process.level(t) == 0


@pytest.mark.parametrize("process", [Cosine(), Flow()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_end_cosine_and_flow_leave_exactly_nothing_of_the_data(process, dtype):
    t = torch.ones((), dtype=dtype)
    assert process.alpha(t) == 0
    assert process.sigma(t) == 1


def test_at_the_end_ddpm_and_edm_leave_less_than_2_percent_of_the_data():
    for process in (DDPM(), EDM()):
        t = torch.tensor(process.t_max)
        assert 0 < process.alpha(t) / process.sigma(t) < 0.02


@every_process
def test_the_curves_are_those_of_the_papers(process):
    t = inner_times(process)
    torch.testing.assert_close(process.alpha(t), curves(process).alpha(t), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(process.sigma(t), curves(process).sigma(t), rtol=1e-12, atol=0)


@pytest.mark.parametrize("process", [Cosine(), DDPM()], ids=repr)
def test_variance_preserving_means_that_the_squares_add_up_to_1(process):
    t = inner_times(process)
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


def test_ddpm_is_the_limit_of_the_thousand_betas():
    """alpha_bar of Ho et al. 2020, section 4: betas from 1e-4 to 0.02. They differ by O(1/1000)."""
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(DDPM().alpha(t) ** 2, alpha_bar, rtol=0, atol=1e-3)


@every_process
def test_level_rises_from_0_to_1(process):
    level = process.level(torch.linspace(0, process.t_max, 1001, dtype=torch.float64))
    assert (level.diff() > 0).all()
    assert level[0] == 0
    assert 0.99 < level[-1] <= 1


@every_process
def test_level_is_the_angle_between_signal_and_noise(process):
    t = inner_times(process)
    torch.testing.assert_close(torch.tan(process.level(t) * math.pi / 2), process.sigma(t) / process.alpha(t))
    torch.testing.assert_close(curves(process).time(process.level(t)), t)


def test_the_level_of_cosine_is_its_time():
    t = inner_times(Cosine())
    torch.testing.assert_close(Cosine().level(t), t)


@every_process
def test_logsnr_falls_and_is_infinite_where_there_is_no_noise(process):
    t = inner_times(process)
    logsnr = process.logsnr(t)
    torch.testing.assert_close(logsnr, (process.alpha(t) / process.sigma(t)).square().log())
    assert (logsnr.diff() < 0).all()
    assert process.logsnr(torch.tensor(0.0)) == math.inf


def test_logsnr_is_minus_infinite_where_there_is_no_data():
    assert Cosine().logsnr(torch.tensor(1.0)) == Flow().logsnr(torch.tensor(1.0)) == -math.inf


# --- Adding noise ---------------------------------------------------------------------------------


@every_process
def test_noisy_data_has_the_mean_and_the_spread_that_the_curves_say(process):
    """mean alpha m and variance alpha^2 s^2 + sigma^2; 200,000 draws pin both to well under 2 %."""
    x0 = 2 + 0.5 * torch.randn(200_000, 1, 1, 1)
    for t in torch.tensor([0.1, 0.5, 0.9]) * min(process.t_max, 3):
        alpha, sigma = process.alpha(t), process.sigma(t)
        xt = process.add_noise(x0, torch.randn_like(x0), t)
        spread = torch.sqrt(alpha**2 * 0.25 + sigma**2)
        assert abs(xt.mean() - 2 * alpha) < 0.02 * spread
        assert abs(xt.std() / spread - 1) < 0.02


@every_process
def test_each_sample_gets_the_noise_of_its_own_time(process):
    x0, eps = torch.randn(2, 5, 3, 4, 4)
    ts = process.t_max * torch.rand(5)
    together = process.add_noise(x0, eps, ts)
    one_by_one = [process.add_noise(x0[i], eps[i], ts[i]) for i in range(5)]
    torch.testing.assert_close(together, torch.stack(one_by_one))


@every_process
def test_velocity_is_the_slope_of_the_noisy_sample(process):
    """Central differences, whose error is O(h^2)."""
    x0, eps = torch.randn(2, 50, 1, 2, 2, dtype=torch.float64)
    t, h = inner_times(process), 1e-6 * process.t_max
    slope = (process.add_noise(x0, eps, t + h) - process.add_noise(x0, eps, t - h)) / (2 * h)
    torch.testing.assert_close(process.velocity(x0, eps, t), slope, rtol=1e-6, atol=1e-6)


@every_process
def test_rates_are_the_derivatives_of_the_curves(process):
    t = inner_times(process)
    d_alpha, d_sigma = process.rates(t)
    torch.testing.assert_close(d_alpha, curves(process).d_alpha(t), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(d_sigma, curves(process).d_sigma(t), rtol=1e-10, atol=1e-12)


@every_process
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_rates_work_in_every_grad_mode_and_leave_it_alone(process, mode):
    with mode():
        t = torch.full((3,), 0.3)
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        rates = process.rates(t)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert not t.requires_grad and not any(rate.requires_grad for rate in rates)
    torch.testing.assert_close(rates[1], curves(process).d_sigma(torch.full((3,), 0.3)))


def test_the_velocity_of_flow_is_noise_minus_data():
    x0, eps = torch.randn(2, 3, 1, 4, 4)
    torch.testing.assert_close(Flow().velocity(x0, eps, torch.rand(3)), eps - x0)


def test_per_sample_values_line_up_with_a_batch_of_any_shape():
    assert per_sample(torch.ones(5), torch.zeros(5, 3, 8, 8)).shape == (5, 1, 1, 1)
    assert per_sample(torch.ones(5), torch.zeros(5, 2)).shape == (5, 1)
    assert per_sample(torch.ones(()), torch.zeros(5, 3, 8, 8)).shape == ()


# --- Clocks ---------------------------------------------------------------------------------------


@every_process
@given(steps=st.integers(1, 300))
@settings(max_examples=20)
def test_the_time_grid_falls_from_noise_to_data(process, steps):
    ts = process.timesteps(steps)
    assert ts.shape == (steps + 1,) and ts.dtype == torch.float64
    assert (ts.diff() < 0).all()
    assert ts[0].item() == pytest.approx(process.t_max, rel=1e-12) and ts[-1] == 0


@pytest.mark.parametrize("process", [Cosine(), DDPM(), Flow()], ids=repr)
def test_the_time_grid_is_even(process):
    torch.testing.assert_close(
        process.timesteps(4), torch.tensor([1, 0.75, 0.5, 0.25, 0], dtype=torch.float64), rtol=0, atol=0
    )


def test_the_time_grid_of_edm_is_that_of_karras():
    """Karras et al. 2022, eq. 5, with sigma_min = 0.002, sigma_max = 80 and rho = 7."""
    n = 18
    sigma = [(80 ** (1 / 7) + i / (n - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(n)] + [0]
    np.testing.assert_allclose(EDM().timesteps(n).numpy(), sigma, rtol=1e-12)


@every_process
@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_an_error_that_names_the_number(process, steps):
    with pytest.raises(ValueError, match=f"at least 1, got {steps}"):
        process.timesteps(steps)


@every_process
def test_training_times_follow_their_distribution(process):
    """Kolmogorov-Smirnov. Independent draws would stay 1.4 / sqrt(n) off; stratified ones at most 1 / n."""
    n = 20_000
    t = process.sample_t(n, torch.Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= process.t_max
    if isinstance(process, EDM):  # Karras et al. 2022, table 1
        share = scipy.stats.lognorm(s=1.2, scale=math.exp(-1.2)).cdf(t)
    elif isinstance(process, Cosine):  # log(sigma/alpha) ~ N(1, 1.2^2)
        share = scipy.stats.norm(1, 1.2).cdf(np.log(np.tan(t.double().numpy() * math.pi / 2)))
    else:
        share = t.numpy()
    assert scipy.stats.kstest(share, "uniform").statistic < 1.1 / n


@every_process
@given(n=st.integers(1, 100), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_one_training_time_falls_in_each_nth_of_the_distribution(process, n, seed):
    t = process.sample_t(n, torch.Generator().manual_seed(seed))
    edges = process.quantile(torch.arange(n + 1) / n)
    slack = 1e-5 * t  # of rounding
    assert (t >= edges[:-1] - slack).all() and (t <= edges[1:] + slack).all()


def test_the_training_times_of_cosine_can_be_moved():
    n, moved = 20_000, Cosine(mean=-0.3, std=0.9)
    logs = np.log(np.tan(moved.sample_t(n, torch.Generator().manual_seed(0)).double().numpy() * math.pi / 2))
    assert scipy.stats.kstest(scipy.stats.norm(-0.3, 0.9).cdf(logs), "uniform").statistic < 1.1 / n
    assert str(moved) == "Cosine(mean=-0.3, std=0.9)" and str(Cosine()) == "Cosine()"
    assert torch.equal(moved.timesteps(7), Cosine().timesteps(7))  # those of sampling stay


@pytest.mark.parametrize(("mean", "std"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.nan)])
def test_training_times_that_cannot_be_are_an_error(mean, std):
    with pytest.raises(ValueError, match=f"std positive, got {mean} and {std}"):
        Cosine(mean, std)


def test_training_times_follow_the_generator_or_the_global_seed():
    draws = [Cosine().sample_t(8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    torch.manual_seed(5)
    first = Cosine().sample_t(8)
    torch.manual_seed(5)
    assert torch.equal(first, Cosine().sample_t(8))


# --- Seeded noise ---------------------------------------------------------------------------------

seeds_64 = list(range(100, 164))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (2, 1, 1), (1, 1, 1)])
def test_a_seed_gives_the_same_noise_alone_and_in_a_batch_of_64(shape):
    together = unit_noise((64, *shape), seeds_64)
    for i in (0, 17, 63):
        assert torch.equal(unit_noise((1, *shape), [seeds_64[i]])[0], together[i])


@given(order=st.permutations(range(8)))
@settings(max_examples=10)
def test_a_seed_gives_the_same_noise_in_any_order(order):
    together = unit_noise((8, 1, 4, 4), range(8))
    assert torch.equal(unit_noise((8, 1, 4, 4), order), together[list(order)])


@given(
    a=st.tuples(st.integers(0, 2**31), st.integers(0, 50)),
    b=st.tuples(st.integers(0, 2**31), st.integers(0, 50)),
)
@settings(max_examples=50)
def test_other_seeds_and_other_streams_give_other_noise(a, b):
    noise = [unit_noise((1, 1, 2, 2), [seed], stream) for seed, stream in (a, b)]
    assert torch.equal(*noise) == (a == b)


def test_seeded_noise_is_unit_noise_without_correlations():
    """Kolmogorov-Smirnov against N(0, 1); streams and neighbouring seeds are as good as independent."""
    a, b = (unit_noise((200, 1, 10, 10), range(200), stream).flatten() for stream in (0, 1))
    assert scipy.stats.kstest(a.numpy(), "norm").pvalue > 0.01
    for x, y in ((a, b), (a[:-100], a[100:])):
        assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1]) < 4 / math.sqrt(len(x))


def test_seeded_noise_neither_hears_nor_moves_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = unit_noise((2, 1, 4, 4), [7, 8])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(unit_noise((2, 1, 4, 4), [7, 8]), first)


def test_noise_without_seeds_follows_the_global_generator():
    torch.manual_seed(3)
    noise = unit_noise((2, 1, 4, 4))
    torch.manual_seed(3)
    assert torch.equal(noise, torch.randn(2, 1, 4, 4))


@every_process
def test_the_prior_is_unit_noise_at_the_scale_of_the_end(process):
    prior = process.prior((64, 1, 16, 16), seeds_64)
    sigma = process.sigma(torch.tensor(process.t_max))
    torch.testing.assert_close(prior, sigma * unit_noise((64, 1, 16, 16), seeds_64))
    assert prior.std() / sigma == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3], []])
def test_there_must_be_one_seed_a_sample(seeds):
    with pytest.raises(ValueError, match=f"{len(seeds)} seeds for 2 samples"):
        Cosine().prior((2, 1, 4, 4), seeds)


@every_process
def test_a_process_prints_as_it_is_made(process):
    assert repr(process) == f"{type(process).__name__}()"
