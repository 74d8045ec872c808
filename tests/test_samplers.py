"""Samplers: exact where they should be, of the order they claim, and equal to those of others."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from oracles import PROCESSES, Betas, ExactNet, gaussian, gaussian_path, mixture, path
from torch import nn

from minidiff.data import MIXTURE_MEANS, MIXTURE_STD
from minidiff.denoiser import TARGETS, Denoiser
from minidiff.process import DDPM, EDM, Cosine, Flow, unit_noise
from minidiff.samplers import ddim, dpmpp_2m, euler, heun, move

# diffusers calls numpy in an old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLERS = [ddim, euler, heun, dpmpp_2m]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def name(thing):
    return thing.__name__ if callable(thing) else repr(thing)


def last(steps):
    *_, step = steps
    return step.x0


def start(process, n=9, channels=1):
    """n even spread starts (n, c, 1, 1), float64, at the scale of the process's end."""
    x = torch.linspace(-2, 2, n * channels, dtype=torch.float64).view(channels, n).T
    return process.sigma(torch.tensor(process.t_max)) * x[:, :, None, None]


def times(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# --- Order: by how much the error shrinks when the steps are halved --------------------------------
#
# The ratio tends to 2 for a method of first order and to 4 for one of second. At 128 and 256 steps it is
# within 5 % of 2, and within 10 % of 4, for every case below (the next term of the error is of the size of
# one step), so the bounds leave room for nothing else: order 3/2 would give 2.8.
#
# On EDM's grid the error is taken at sigma = 0.002, where eq. 5 of Karras et al. 2022 ends: the last jump
# to 0 has one length however many steps there are, and its own error, about 1e-5, would soon be all of it.

FIRST, SECOND = (1.9, 2.1), (3.6, 4.4)
CLAIMS = [(p, s, FIRST) for s in (ddim, euler) for p in PROCESSES]
CLAIMS += [(p, heun, SECOND) for p in PROCESSES] + [(EDM(), dpmpp_2m, SECOND)]


def error(sampler, process, denoise, xt, steps, exact):
    """Root mean square distance to the exact end of the path."""
    ts = process.timesteps(steps)
    place = -2 if isinstance(process, EDM) else -1
    xs = list(sampler(denoise, process, xt, ts))[place].xt
    return (xs - exact(ts[0], ts[place])).square().mean().sqrt().item()


@pytest.mark.parametrize("process, sampler, bounds", CLAIMS, ids=name)
def test_order_of_the_error_on_a_gaussian(process, sampler, bounds):
    mean, std, xt = 0.3, 0.5, start(process)
    denoise = gaussian(process, mean, std)
    coarse, fine = (
        error(sampler, process, denoise, xt, n, lambda t, s: gaussian_path(process, mean, std, xt, t, s))
        for n in (128, 256)
    )
    assert bounds[0] < coarse / fine < bounds[1]


@pytest.mark.parametrize("process, sampler, bounds", CLAIMS, ids=name)
def test_order_of_the_error_on_a_mixture(process, sampler, bounds, mixture_path):
    xt = start(process, channels=2)
    coarse, fine = (
        error(sampler, process, mixture(process), xt, n, lambda t, s: mixture_path(process)) for n in (128, 256)
    )
    assert bounds[0] < coarse / fine < bounds[1]


@pytest.fixture(scope="module")
def mixture_path():
    """process -> the exact end of the path on the mixture, computed once."""
    ends = {}

    def end(process):
        if repr(process) not in ends:
            s = EDM.t_min if isinstance(process, EDM) else 0.0
            xt = start(process, channels=2)
            ends[repr(process)] = path(process, mixture(process), xt, *times(process.t_max, s))
        return ends[repr(process)]

    return end


@every_process
def test_the_two_exact_paths_agree(process):
    """The closed form of a Gaussian and scipy's Runge-Kutta rule: one checks the other."""
    xt, (t, s) = start(process), times(process.t_max, 0)
    exact = gaussian_path(process, 0.3, 0.5, xt, t, s)
    torch.testing.assert_close(path(process, gaussian(process, 0.3, 0.5), xt, t, s), exact, rtol=0, atol=1e-7)


@every_process
def test_two_network_calls_or_one_memory_beat_first_order(process):
    """On every process, also where 2M has no clean second order: 4 times nearer than DDIM at 64 steps."""
    xt, ts = start(process), process.timesteps(64)
    exact = gaussian_path(process, 0.3, 0.5, xt, ts[0], ts[-1])
    far = {s: (last(s(gaussian(process, 0.3, 0.5), process, xt, ts)) - exact).abs().max() for s in SAMPLERS}
    assert 4 * far[heun] < far[ddim] and 4 * far[dpmpp_2m] < far[ddim]


# --- Exact networks give the right data ------------------------------------------------------------


# Ancestral sampling gets more steps: its noise has the spread of the posterior for one x0, and not for all
# that xt may come from, so it draws too narrow, by 0.05 of 0.5 at 64 steps and a quarter of that at 256.
every_walk = pytest.mark.parametrize(
    "sampler, knobs, steps",
    [pytest.param(s, {}, 64, id=s.__name__) for s in SAMPLERS] + [pytest.param(ddim, {"eta": 1.0}, 256, id="ddpm")],
)


@every_process
@pytest.mark.parametrize("target", TARGETS)
@every_walk
def test_every_process_target_and_sampler_draws_a_gaussian(process, target, sampler, knobs, steps):
    """80 ways to N(0.3, 0.5^2), in float32, with a network that answers exactly.

    First-order error takes up to 0.02 off the spread; 4,096 samples add 0.01 of chance. For eps under Cosine
    and Flow the first guess is 0 in place of the mean, because alpha = 0 there: it costs the mean 0.01.
    """
    denoiser = Denoiser(ExactNet(target, 0.3, 0.5, 0.6, process), process, target, sigma_data=0.6)
    xt = process.prior((4096, 1, 1, 1), range(4096))
    x0 = last(sampler(denoiser, process, xt, process.timesteps(steps), **knobs))
    assert x0.dtype == torch.float32
    assert x0.mean().item() == pytest.approx(0.3, abs=0.03)
    assert x0.std().item() == pytest.approx(0.5, abs=0.03)


@every_process
@every_walk
def test_every_sampler_fills_every_mode_of_a_mixture(process, sampler, knobs, steps):
    """Eight modes on a circle: an eighth of 2,000 samples each, within 4 standard errors, and as wide."""
    n, means = 2000, MIXTURE_MEANS.double()
    xt = process.prior((n, 2, 1, 1), range(n)).double()
    x0 = last(sampler(mixture(process), process, xt, process.timesteps(steps), **knobs)).flatten(1)
    mode = torch.cdist(x0, means).argmin(1)
    standard_error = math.sqrt(1 / 8 * 7 / 8 / n)
    torch.testing.assert_close(mode.bincount(minlength=8) / n, torch.full((8,), 1 / 8), rtol=0, atol=4 * standard_error)
    assert (x0 - means[mode]).std().item() == pytest.approx(MIXTURE_STD, rel=0.1)
    torch.testing.assert_close(x0.mean(0), torch.zeros(2).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(x0.std(0), torch.ones(2).double(), rtol=0, atol=0.03)


# --- The one reverse transition --------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 10, 500, 999])
def test_move_with_eta_1_is_the_posterior_of_ddpm(n):
    """Ho et al. 2020, eq. 7, where alpha_t = 1 - beta_t and alpha_bar_t is the product of all up to t."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = torch.cat([torch.ones(1), torch.cumprod(1 - beta, 0)]).double()
    xt, x0 = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)

    beta_t, bar_t, bar_s = beta[n], alpha_bar[n + 1], alpha_bar[n]
    mean = bar_s.sqrt() * beta_t / (1 - bar_t) * x0 + (1 - beta_t).sqrt() * (1 - bar_s) / (1 - bar_t) * xt
    variance = (1 - bar_s) / (1 - bar_t) * beta_t

    got, std = move(Betas(torch.cumprod(1 - beta, 0)), xt, x0, *times(n + 1, n), eta=1.0)
    torch.testing.assert_close(got, mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(std**2, variance, rtol=1e-8, atol=0)


@every_process
@pytest.mark.parametrize("t, s", [(0.9, 0.89), (0.9, 0.5), (0.5, 0.1), (0.1, 0.001), (0.3, 0.0)])
def test_move_with_eta_1_is_the_posterior_of_any_process(process, t, s):
    """Kingma et al. 2021, appendix A.2: q(zs | zt, x) for any alpha and sigma."""
    t, s = times(t, s) * process.t_max
    xt, x0 = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)

    alpha_s, sigma_s, alpha_t, sigma_t = (curve(r) for r in (s, t) for curve in (process.alpha, process.sigma))
    alpha_ts = alpha_t / alpha_s
    variance_ts = sigma_t**2 - alpha_ts**2 * sigma_s**2
    mean = alpha_ts * sigma_s**2 / sigma_t**2 * xt + alpha_s * variance_ts / sigma_t**2 * x0
    variance = variance_ts * sigma_s**2 / sigma_t**2

    got, std = move(process, xt, x0, t, s, eta=1.0)
    torch.testing.assert_close(got, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(std**2, variance, rtol=1e-8, atol=1e-14)


@every_process
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_moving_with_the_true_data_stays_on_the_forward_process(process, eta):
    """From xt = alpha_t x0 + sigma_t eps to mean alpha_s x0 and variance sigma_s^2, whatever eta."""
    t, s = times(0.7, 0.4) * process.t_max
    x0 = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    at_mean, std = move(process, process.alpha(t) * x0, x0, t, s, eta)
    one_up, _ = move(process, process.alpha(t) * x0 + process.sigma(t), x0, t, s, eta)
    torch.testing.assert_close(at_mean, process.alpha(s) * x0)
    torch.testing.assert_close(((one_up - at_mean) ** 2 + std**2).squeeze(), process.sigma(s) ** 2)


@every_process
def test_the_last_move_gives_the_guess_itself(process):
    xt, x0 = torch.randn(2, 3, 1, 2, 2)
    for eta in (0.0, 1.0):
        mean, std = move(process, xt, x0, *times(0.1, 0.0), eta=eta)
        assert torch.equal(mean, x0) and std == 0


@pytest.mark.parametrize("process", [Flow(), EDM()], ids=repr)
def test_ddim_is_euler_where_the_curves_are_straight(process):
    xt, ts = start(process, channels=2), process.timesteps(12)
    both = zip(ddim(mixture(process), process, xt, ts), euler(mixture(process), process, xt, ts), strict=True)
    for one, other in both:
        torch.testing.assert_close(one.xt, other.xt, rtol=1e-10, atol=1e-10)


# --- The algorithms of the papers, written out -----------------------------------------------------


def test_heun_under_edm_is_algorithm_2_of_karras():
    """Karras et al. 2022, algorithm 2 with S_churn = 0, which k-diffusion calls sample_heun."""
    process, D = EDM(), mixture(EDM())
    t, x = process.timesteps(18), start(EDM(), channels=2)
    expected = x
    for i in range(18):
        d = (expected - D(expected, t[i])) / t[i]
        following = expected + (t[i + 1] - t[i]) * d
        if t[i + 1] != 0:
            d_prime = (following - D(following, t[i + 1])) / t[i + 1]
            following = expected + (t[i + 1] - t[i]) * (d / 2 + d_prime / 2)
        expected = following
    torch.testing.assert_close(last(heun(D, process, x, t)), expected, rtol=0, atol=1e-10)


def test_dpmpp_2m_under_edm_is_that_of_k_diffusion():
    """sample_dpmpp_2m of github.com/crowsonkb/k-diffusion, with lambda = -log sigma and h its step."""
    process, D = EDM(), mixture(EDM())
    sigma, x = process.timesteps(12), start(EDM(), channels=2)
    lam, expected, old = -sigma.log(), x, None
    for i in range(12):
        x0 = D(expected, sigma[i])
        h = lam[i + 1] - lam[i]
        guess = x0
        if old is not None and sigma[i + 1] > 0:
            r = (lam[i] - lam[i - 1]) / h
            guess = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * old
        expected = sigma[i + 1] / sigma[i] * expected - torch.expm1(-h) * guess
        old = x0
    torch.testing.assert_close(last(dpmpp_2m(D, process, x, sigma)), expected, rtol=0, atol=1e-10)


@every_process
def test_dpmpp_2m_is_algorithm_2_of_lu(process):
    """Lu et al. 2022 (DPM-Solver++), algorithm 2, for any alpha and sigma; here down to 1/10 of the way."""
    denoise, xt, ts = (
        mixture(process),
        start(process, channels=2),
        torch.linspace(0.9, 0.1, 9).double() * process.t_max,
    )
    alpha, sigma = process.alpha(ts), process.sigma(ts)
    lam = alpha.log() - sigma.log()
    expected, guesses = xt, []
    for i in range(8):
        guesses.append(denoise(expected, ts[i]))
        h = lam[i + 1] - lam[i]
        if i == 0:
            D = guesses[0]
        else:
            r = (lam[i] - lam[i - 1]) / h
            D = (1 + 1 / (2 * r)) * guesses[i] - 1 / (2 * r) * guesses[i - 1]
        expected = sigma[i + 1] / sigma[i] * expected - alpha[i + 1] * (torch.exp(-h) - 1) * D
    torch.testing.assert_close(last(dpmpp_2m(denoise, process, xt, ts)), expected, rtol=1e-9, atol=1e-9)


# --- Equality with diffusers, to 1e-5 --------------------------------------------------------------
#
# `Betas` reads alpha and sigma off their schedule at their integer timesteps; everything else is ours.


def walk_of(scheduler, steps):
    """A process with the curves of this scheduler, its grid of times, and a start."""
    scheduler.set_timesteps(steps)
    ts = torch.cat([scheduler.timesteps.double() + 1, torch.zeros(1)])
    return (
        Betas(scheduler.alphas_cumprod),
        ts,
        torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0)),
    )


def assert_same(ours, theirs):
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("steps", [7, 50])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_equals_diffusers(schedule, steps, eta):
    scheduler = DDIMScheduler(beta_schedule=schedule, prediction_type="sample", clip_sample=False)
    process, ts, xt = walk_of(scheduler, steps)
    denoise = mixture(process)

    torch.manual_seed(1)
    ours = list(ddim(denoise, process, xt, ts, eta=eta))
    torch.manual_seed(1)  # both draw their noise from the global generator
    x = xt
    for step, n in zip(ours, scheduler.timesteps, strict=False):
        assert_same(step.xt, x)
        x = scheduler.step(denoise(x, n + 1).float(), n, x, eta=eta).prev_sample
    assert_same(ours[-1].x0, x)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("steps", [10, 50])
def test_ancestral_sampling_equals_diffusers(schedule, steps):
    """DDPMScheduler with the posterior variance, which it calls fixed_small."""
    kind = {"variance_type": "fixed_small", "prediction_type": "sample", "clip_sample": False}
    scheduler = DDPMScheduler(beta_schedule=schedule, **kind)
    process, ts, xt = walk_of(scheduler, steps)
    denoise = mixture(process)

    torch.manual_seed(1)
    ours = list(ddim(denoise, process, xt, ts, eta=1.0))
    torch.manual_seed(1)
    x = xt
    for step, n in zip(ours, scheduler.timesteps, strict=False):
        assert_same(step.xt, x)
        x = scheduler.step(denoise(x, n + 1).float(), n, x).prev_sample
    assert_same(ours[-1].x0, x)


@pytest.mark.parametrize("n", [999, 500, 100, 20])
def test_one_move_equals_one_step_of_diffusers(n):
    """Not at n = 1, where diffusers loses 1e-4 to rounding, in float32; the test of eq. 7 has that step."""
    scheduler = DDPMScheduler(variance_type="fixed_small", prediction_type="sample", clip_sample=False)
    process = Betas(scheduler.alphas_cumprod)
    xt, x0 = torch.randn(2, 3, 1, 2, 2)
    mean, std = move(process, xt, x0, *times(n + 1, n), eta=1.0)
    eps = torch.randn(xt.shape, generator=torch.Generator().manual_seed(2))
    theirs = scheduler.step(x0, n, xt, generator=torch.Generator().manual_seed(2)).prev_sample
    assert_same(mean + std * eps, theirs)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
@pytest.mark.parametrize("steps", [5, 14, 25])
def test_dpmpp_2m_equals_diffusers(schedule, steps):
    kind = {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "solver_type": "midpoint",
        "prediction_type": "sample",
    }
    scheduler = DPMSolverMultistepScheduler(beta_schedule=schedule, **kind)
    process, ts, xt = walk_of(scheduler, steps)
    denoise = mixture(process)

    x = xt
    for step, n in zip(dpmpp_2m(denoise, process, xt, ts), [*scheduler.timesteps, None], strict=True):
        assert_same(step.xt, x)
        if n is not None:
            x = scheduler.step(denoise(x, n + 1).float(), n, x).prev_sample


class Wave(nn.Module):
    """A network without weights that does not look at the level: diffusers counts it differently."""

    def forward(self, x, level=None, ctx=None):
        return torch.sin(3 * x) + 0.3 * x


@pytest.mark.parametrize("sampler, kind", [(euler, EDMEulerScheduler), (dpmpp_2m, EDMDPMSolverMultistepScheduler)])
def test_edm_with_its_preconditioning_equals_diffusers(sampler, kind):
    """From the raw network on: c_in, c_skip and c_out, the Karras grid, and the sampler."""
    net, denoiser = Wave(), Denoiser(Wave(), EDM(), "v", sigma_data=0.5)
    scheduler = kind(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, prediction_type="v_prediction")
    scheduler.set_timesteps(20)
    xt = EDM().prior((3, 1, 4, 4), [1, 2, 3])

    x = xt
    for n in scheduler.timesteps:
        x = scheduler.step(net(scheduler.scale_model_input(x, n)), n, x).prev_sample
    assert_same(last(sampler(denoiser, EDM(), xt, EDM().timesteps(20))), x)


def test_heun_equals_diffusers():
    """It walks in sigma, as EDM does, on a grid of its own; its step is called twice for each of ours."""
    scheduler = HeunDiscreteScheduler(prediction_type="sample", use_karras_sigmas=True)
    scheduler.set_timesteps(12)
    denoise, ts = mixture(EDM()), scheduler.sigmas.unique().flip(0).double()
    xt = ts[0].float() * torch.randn(3, 2, 1, 1)

    x = xt
    for k, n in enumerate(scheduler.timesteps):
        x = scheduler.step(denoise(x, scheduler.sigmas[k].double()).float(), n, x).prev_sample
    assert_same(last(heun(denoise, EDM(), xt, ts)), x)


def test_euler_under_flow_equals_diffusers():
    """FlowMatchEulerDiscreteScheduler, as in Stable Diffusion 3, fed with u = eps - x0."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(15)
    denoise, ts = mixture(Flow()), scheduler.sigmas.double()
    xt = torch.randn(3, 2, 1, 1)

    x = xt
    for t, n in zip(ts, scheduler.timesteps, strict=False):
        x0 = denoise(x, t)
        eps = (x - (1 - t) * x0) / t
        x = scheduler.step((eps - x0).float(), n, x).prev_sample
    assert_same(last(euler(denoise, Flow(), xt, ts)), x)


# --- Steps, seeds, laziness ------------------------------------------------------------------------


class Counting:
    """A denoise function that counts its calls and notes whether gradients were on."""

    def __init__(self, denoise):
        self.denoise, self.calls, self.grad_modes = denoise, 0, []

    def __call__(self, xt, t):
        self.calls += 1
        self.grad_modes.append(torch.is_grad_enabled())
        return self.denoise(xt, t)


@every_sampler
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_sampler_yields_every_place_and_the_result(sampler, steps):
    process = Cosine()
    xt, ts, denoise = start(process), process.timesteps(steps), gaussian(process, 0.3, 0.5)
    walk = list(sampler(denoise, process, xt, ts))
    assert [step.i for step in walk] == list(range(steps + 1))
    assert [step.t for step in walk] == ts.tolist()
    assert walk[0].xt is xt and walk[-1].x0 is walk[-1].xt
    for step, t in zip(walk[:-1], ts, strict=False):
        assert torch.equal(step.x0, denoise(step.xt, t))


@every_sampler
def test_a_sampler_is_lazy(sampler):
    denoise = Counting(gaussian(Cosine(), 0.3, 0.5))
    walk = sampler(denoise, Cosine(), start(Cosine()), Cosine().timesteps(4))
    assert denoise.calls == 0
    assert next(walk).i == 0 and denoise.calls == 1


@pytest.mark.parametrize("sampler, calls", [(ddim, 10), (euler, 10), (dpmpp_2m, 10), (heun, 19)], ids=name)
def test_ten_steps_cost_this_many_network_calls(sampler, calls):
    denoise = Counting(gaussian(Cosine(), 0.3, 0.5))
    list(sampler(denoise, Cosine(), start(Cosine()), Cosine().timesteps(10)))
    assert denoise.calls == calls


@every_sampler
def test_the_input_is_not_changed(sampler):
    xt = start(Cosine())
    before = xt.clone()
    list(sampler(gaussian(Cosine(), 0.3, 0.5), Cosine(), xt, Cosine().timesteps(4)))
    assert torch.equal(xt, before)


@every_sampler
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_grad_mode_is_that_of_whoever_asks_for_the_next_step(sampler, mode):
    denoise = Counting(gaussian(Cosine(), 0.3, 0.5))
    walk = sampler(denoise, Cosine(), start(Cosine()), Cosine().timesteps(3))
    for _ in range(4):
        with mode():
            next(walk)
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert set(denoise.grad_modes) == {mode is torch.enable_grad}


@every_process
@every_sampler
def test_gradients_flow_through_a_whole_walk(process, sampler):
    """dx0/dxT of a Gaussian is s / sqrt(alpha^2 s^2 + sigma^2) at the start; 64 steps are within 5 %."""
    xt = start(process).requires_grad_()
    last(sampler(gaussian(process, 0.3, 0.5), process, xt, process.timesteps(64))).sum().backward()
    t = times(process.t_max)
    expected = 0.5 / torch.sqrt(process.alpha(t) ** 2 * 0.25 + process.sigma(t) ** 2)
    torch.testing.assert_close(xt.grad, expected.expand(xt.shape), rtol=0.05, atol=0)


@every_process
def test_with_seeds_a_sample_is_the_same_alone_and_in_a_batch(process):
    seeds, ts, denoise = list(range(64)), process.timesteps(6), gaussian(process, 0.3, 0.5)
    xt = process.prior((64, 1, 2, 2), seeds)
    together = last(ddim(denoise, process, xt, ts, eta=1.0, seeds=seeds))
    alone = last(ddim(denoise, process, xt[17:18], ts, eta=1.0, seeds=[17]))
    assert torch.equal(alone[0], together[17])


def test_every_step_draws_noise_of_its_own():
    """Stream i + 1 for step i, and stream 0 for the start: none is used twice."""
    process, ts = Flow(), Flow().timesteps(3)
    zero = torch.zeros(1, 1, 2, 2)
    walk = list(ddim(lambda xt, t: zero, process, zero, ts, eta=1.0, seeds=[5]))
    added = []
    for one, other, (t, s) in zip(walk, walk[1:-1], pairwise(ts[:-1]), strict=False):
        mean, std = move(process, one.xt, one.x0, t, s, eta=1.0)
        added.append((other.xt - mean) / std)
    for i, noise in enumerate(added):
        torch.testing.assert_close(noise, unit_noise((1, 1, 2, 2), [5], stream=i + 1), rtol=1e-5, atol=1e-5)


def test_without_noise_there_is_nothing_to_seed():
    ts, xt, denoise = Cosine().timesteps(5), start(Cosine()), gaussian(Cosine(), 0.3, 0.5)
    assert torch.equal(last(ddim(denoise, Cosine(), xt, ts)), last(ddim(denoise, Cosine(), xt, ts, seeds=range(9))))


def test_there_must_be_one_seed_a_sample():
    walk = ddim(lambda xt, t: xt, DDPM(), torch.zeros(2, 1, 2, 2), DDPM().timesteps(3), eta=1.0, seeds=[1])
    with pytest.raises(ValueError, match="1 seeds for 2 samples"):
        list(walk)


@every_sampler
@pytest.mark.parametrize(
    "ts",
    [[0.0, 1.0], [1.0, 1.0, 0.0], [1.0], [], [1.0, -0.5], [[1.0, 0.0]], [1.0, math.nan, 0.0]],
    ids=["rising", "resting", "one", "none", "below 0", "two axes", "nan"],
)
def test_a_grid_that_does_not_fall_to_0_is_an_error(sampler, ts):
    with pytest.raises(ValueError, match="ts must fall"):
        next(sampler(lambda xt, t: xt, Cosine(), start(Cosine()), torch.tensor(ts)))


@every_sampler
def test_a_grid_of_another_process_is_an_error(sampler):
    walk = sampler(lambda xt, t: xt, Flow(), torch.zeros(1, 1, 2, 2), EDM().timesteps(4))
    with pytest.raises(ValueError, match=r"at most 1 .* in Flow"):
        next(walk)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_impossible_eta_is_an_error(eta):
    walk = ddim(lambda xt, t: xt, Cosine(), torch.zeros(1, 1, 2, 2), Cosine().timesteps(4), eta)
    with pytest.raises(ValueError, match="eta must be from 0 to 1"):
        list(walk)


def test_the_second_move_of_dpmpp_2m_is_of_first_order_where_alpha_ends_at_0():
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = gaussian(Cosine(), 0.3, 0.5)
    ours, ddims = (list(s(exact, Cosine(), x, Cosine().timesteps(6))) for s in (dpmpp_2m, ddim))
    torch.testing.assert_close(ours[2].xt, ddims[2].xt)
    assert not torch.allclose(ours[3].xt, ddims[3].xt)


@every_process
@every_sampler
def test_a_walk_may_stop_half_way_and_go_on(process, sampler):
    """The last Step of the first half holds xs, where the second half starts: to the error of the rule."""
    xt, ts, denoise = start(process), process.timesteps(200), gaussian(process, 0.3, 0.5)
    half = last(sampler(denoise, process, xt, ts[:101]))
    exact = gaussian_path(process, 0.3, 0.5, xt, ts[0], ts[100])
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.02)
    whole = last(sampler(denoise, process, half, ts[100:]))
    torch.testing.assert_close(whole, last(sampler(denoise, process, xt, ts)), rtol=0, atol=0.01)
