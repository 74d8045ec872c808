"""The denoiser: four targets, one system of equations; the loss; and independence of the process."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PROCESSES, Betas, ExactNet, curves, gaussian, row
from torch import nn

from minidiff.denoiser import SMALLEST, TARGETS, Denoiser
from minidiff.process import DDPM, EDM, Cosine, Flow

every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)
every_target = pytest.mark.parametrize("target", TARGETS)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


class Answer(nn.Module):
    """A network that says y whatever it is asked, and remembers the question."""

    def __init__(self, y):
        super().__init__()
        self.y = y

    def forward(self, x, level, ctx=None, **extras):
        self.x, self.level, self.ctx, self.extras = x, level, ctx, extras
        return self.y


class Squash(nn.Module):
    """A network with one weight, nonlinear in x and level."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7))

    def forward(self, x, level, ctx=None):
        return torch.tanh(self.weight * x + level[:, None, None, None])


def noisy(process, n=64, levels=(0.02, 0.95), shape=(1, 2, 2), std=1.0, seed=0):
    """x0, eps, t and xt (float32) at n levels between these two."""
    generator = torch.Generator().manual_seed(seed)
    x0 = std * torch.randn(n, *shape, generator=generator)
    eps = torch.randn(n, *shape, generator=generator)
    t = curves(process).time(torch.linspace(*levels, n, dtype=torch.float64)).float()
    return x0, eps, t, process.add_noise(x0, eps, t)


def exact_answer(process, target, x0, eps, t, sigma_data):
    a, b = (c.float()[:, None, None, None] for c in row(process, target, t.double(), sigma_data))
    return a * x0 + b * eps


# --- The targets ----------------------------------------------------------------------------------


@every_process
@every_target
@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_every_target_is_solved_for_the_data(process, target, sigma_data):
    """16 pairs, 64 levels each. eps amplifies the rounding of y most: 1/alpha = 13 times at level 0.95."""
    x0, eps, t, xt = noisy(process)
    y = exact_answer(process, target, x0, eps, t, sigma_data)
    guess = Denoiser(Answer(y), process, target, sigma_data)(xt, t)
    torch.testing.assert_close(guess, x0, rtol=0, atol=5e-5)


@every_process
@every_target
def test_where_there_is_no_noise_the_guess_is_the_sample(process, target):
    if target == "u" and isinstance(process, DDPM):
        pytest.skip("u is unbounded at t = 0 under DDPM, as its docstring says")
    x0 = torch.randn(4, 1, 2, 2)
    t = torch.zeros(4)
    y = exact_answer(process, target, x0, torch.randn_like(x0), t, 1.0)
    torch.testing.assert_close(Denoiser(Answer(y), process, target)(x0, t), x0)


@pytest.mark.parametrize("target", ["x0", "v", "u"])
@pytest.mark.parametrize("process", [Cosine(), Flow()], ids=repr)
def test_where_there_is_no_data_all_targets_but_eps_still_tell_it(process, target):
    x0, eps = torch.randn(2, 4, 1, 2, 2)
    t = torch.ones(4)
    y = exact_answer(process, target, x0, eps, t, 1.0)
    torch.testing.assert_close(Denoiser(Answer(y), process, target)(eps, t), x0)


@pytest.mark.parametrize("process", [Cosine(), Flow()], ids=repr)
@given(error=st.floats(-1, 1))
@settings(max_examples=20)
def test_where_there_is_no_data_eps_gives_a_bounded_guess(process, error):
    """All that eps promises there: the guess is finite, and the network's error over SMALLEST."""
    xt = torch.randn(4, 1, 2, 2)
    guess = Denoiser(Answer(xt + error), process, "eps")(xt, torch.ones(4))
    torch.testing.assert_close(guess, torch.full_like(guess, -error / SMALLEST), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_v_under_edm_is_the_preconditioning_of_karras(sigma_data):
    """D = c_skip x + c_out F(c_in x) of Karras et al. 2022, table 1 and eq. 7, with y = -F."""
    sigma = torch.logspace(-2, 1.9, 40)
    x = torch.randn(40, 1, 2, 2) * (sigma[:, None, None, None] + 1)
    net = Squash()

    norm = (sigma**2 + sigma_data**2).sqrt()[:, None, None, None]
    c_skip, c_in = sigma_data**2 / norm**2, 1 / norm
    c_out = sigma[:, None, None, None] * sigma_data / norm
    expected = c_skip * x + c_out * -net(c_in * x, EDM().level(sigma))

    torch.testing.assert_close(Denoiser(net, EDM(), "v", sigma_data)(x, sigma), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target, theirs", [("x0", "sample"), ("eps", "epsilon"), ("v", "v_prediction")])
def test_targets_are_solved_as_diffusers_solves_them(target, theirs):
    scheduler = DDIMScheduler(prediction_type=theirs, clip_sample=False)
    scheduler.set_timesteps(1000)
    process, xt, y = Betas(scheduler.alphas_cumprod), torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    for n in (1, 50, 500, 900):
        guess = Denoiser(Answer(y), process, target)(xt, torch.tensor(n + 1.0)).float()
        expected = scheduler.step(y, n, xt).pred_original_sample
        torch.testing.assert_close(guess, expected, rtol=1e-5, atol=1e-5)


# --- What the network gets ------------------------------------------------------------------------


@every_process
@pytest.mark.parametrize("sigma_data", [1.0, 0.3])
def test_the_network_sees_unit_variance_at_every_level(process, sigma_data):
    net = Answer(torch.zeros(8, 1, 100, 100))
    _, _, t, xt = noisy(process, n=8, levels=(0.01, 0.99), shape=(1, 100, 100), std=sigma_data)
    Denoiser(net, process, "v", sigma_data)(xt, t)
    torch.testing.assert_close(net.x.flatten(1).std(1), torch.ones(8), rtol=0.03, atol=0)


@every_process
def test_the_network_sees_the_level_and_not_the_time(process):
    net = Answer(torch.zeros(8, 1, 2, 2))
    _, _, t, xt = noisy(process, n=8, levels=(0.1, 0.9))
    Denoiser(net, process)(xt, t)
    torch.testing.assert_close(net.level, torch.linspace(0.1, 0.9, 8))


def test_one_time_for_all_samples_may_be_a_number_without_axes():
    denoiser, xt = Denoiser(Squash(), Cosine()), torch.randn(3, 1, 2, 2)
    expected = denoiser(xt, torch.full((3,), 0.3))
    for t in (torch.tensor(0.3), torch.tensor(0.3, dtype=torch.float64), 0.3):
        assert torch.equal(denoiser(xt, t), expected)


def test_condition_and_extras_reach_the_network_untouched():
    net, ctx, hint = Answer(torch.zeros(2, 1, 2, 2)), torch.randn(2, 3, 4), object()
    Denoiser(net, Cosine())(torch.randn(2, 1, 2, 2), torch.tensor(0.5), ctx, hint=hint)
    assert net.ctx is ctx and net.extras == {"hint": hint}
    Denoiser(net, Cosine()).loss(torch.randn(2, 1, 2, 2), ctx, hint=hint)
    assert net.ctx is ctx and net.extras == {"hint": hint}


def test_the_number_format_inside_the_network_stays_inside():
    denoiser = Denoiser(nn.Conv2d(1, 1, 1), Cosine())
    denoiser.net.forward = lambda x, level, ctx=None: nn.Conv2d.forward(denoiser.net, x)
    seen = []
    denoiser.net.register_forward_hook(lambda net, args, y: seen.append(y.dtype))
    denoiser.precision = torch.bfloat16
    xt = torch.randn(2, 1, 4, 4)
    assert denoiser(xt, torch.tensor(0.5)).dtype == torch.float32
    assert denoiser.loss(xt).dtype == torch.float32
    assert seen == [torch.bfloat16] * 2


# --- Train under one process, sample under another ------------------------------------------------


@every_process
@pytest.mark.parametrize("target", ["x0", "eps", "v"])
def test_a_network_knows_no_process(process, target):
    """The same picture at the same level is the same question, and gets the same answer, under any process.

    Its xt is only scaled by a number, sqrt(alpha^2 + sigma^2), that the denoiser divides out. u is the
    exception: it is a rate in the process's own clock.
    """
    net, level = Squash(), torch.linspace(0.05, 0.95, 19)
    x0, eps = 0.5 * torch.randn(19, 1, 2, 2), torch.randn(19, 1, 2, 2)
    home = Denoiser(net, Cosine(), target, 0.5)
    away = Denoiser(net, process, target, 0.5)
    t = curves(process).time(level.double()).float()
    expected = home(home.process.add_noise(x0, eps, level), level)
    torch.testing.assert_close(away(process.add_noise(x0, eps, t), t), expected, rtol=1e-4, atol=1e-4)


# --- The loss -------------------------------------------------------------------------------------


@every_process
@every_target
def test_the_loss_is_the_squared_distance_to_the_target(process, target):
    x0, eps, t, xt = noisy(process, n=16, levels=(0.1, 0.9))
    denoiser = Denoiser(Squash(), process, target, 0.5)
    y = denoiser.predict(xt, t)
    expected = (y - exact_answer(process, target, x0, eps, t, 0.5)).square().mean(dim=(1, 2, 3))
    loss = denoiser.loss(x0, t=t, eps=eps)
    assert loss.shape == (16,)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)


@every_process
@every_target
def test_the_loss_of_the_exact_network_is_the_smallest(process, target):
    """What nobody can know of y is Var(y | xt) = (sigma a - alpha b)^2 s^2 / (alpha^2 s^2 + sigma^2).

    That is for x0 ~ N(m, s^2). The exact network is left with it, and one that is off by c everywhere with
    c^2 more. 100,000 draws give 2 %.
    """
    mean, std = 0.3, 0.5
    for level in (0.1, 0.5, 0.9):
        t = curves(process).time(torch.tensor([level], dtype=torch.float64))
        alpha, sigma = curves(process).alpha(t), curves(process).sigma(t)
        a, b = row(process, target, t, std)
        least = ((sigma * a - alpha * b) ** 2 * std**2 / (alpha**2 * std**2 + sigma**2)).item()

        denoiser = Denoiser(ExactNet(target, mean, std, std, process), process, target, std)
        x0, eps = mean + std * torch.randn(1, 1, 400, 250), torch.randn(1, 1, 400, 250)
        loss = denoiser.loss(x0, t=t.float(), eps=eps).item()
        assert loss == pytest.approx(least, rel=0.02)

        c = math.sqrt(least)
        denoiser.net.register_forward_hook(lambda net, args, y, c=c: y + c)
        assert denoiser.loss(x0, t=t.float(), eps=eps).item() == pytest.approx(2 * least, rel=0.05)


def test_v_is_equally_hard_at_every_level():
    """With sigma_data = s the least loss is 1 at every level, which is why v is the default."""
    denoiser = Denoiser(ExactNet("v", 0.0, 0.5, 0.5), Cosine(), "v", 0.5)
    x0 = 0.5 * torch.randn(9, 1, 200, 200)
    loss = denoiser.loss(x0, t=torch.linspace(0.1, 0.9, 9))
    torch.testing.assert_close(loss, torch.ones(9), rtol=0.03, atol=0)


@every_process
@every_target
def test_the_exact_network_gives_the_exact_guess(process, target):
    _, _, t, xt = noisy(process)
    guess = Denoiser(ExactNet(target, 0.3, 0.5, 0.5, process), process, target, 0.5)(xt, t)
    expected = gaussian(process, 0.3, 0.5)(xt.double(), t.double()[:, None, None, None])
    torch.testing.assert_close(guess.double(), expected, rtol=0, atol=1e-4)


@every_process
def test_times_and_noise_that_are_not_given_are_drawn(process):
    denoiser, x0 = Denoiser(Squash(), process), torch.randn(8, 1, 2, 2)
    torch.manual_seed(0)
    loss = denoiser.loss(x0)
    torch.manual_seed(0)
    t = process.sample_t(8)
    eps = torch.randn_like(x0)
    assert torch.equal(loss, denoiser.loss(x0, t=t, eps=eps))
    assert not torch.equal(loss, denoiser.loss(x0))


@every_process
@every_target
def test_the_loss_is_finite_and_its_gradient_reaches_the_network(process, target):
    if target == "u" and isinstance(process, DDPM):
        pytest.skip("u is unbounded at t -> 0 under DDPM, as its docstring says")
    denoiser = Denoiser(Squash(), process, target)
    loss = denoiser.loss(torch.randn(64, 1, 2, 2)).mean()
    loss.backward()
    assert loss.isfinite() and denoiser.net.weight.grad.isfinite() and denoiser.net.weight.grad != 0


# --- Impossible arguments -------------------------------------------------------------------------


def test_an_unknown_target_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="x0, eps, v, u, got 'noise'"):
        Denoiser(Squash(), Cosine(), "noise")


@pytest.mark.parametrize("sigma_data", [0.0, -1.0, math.nan])
def test_data_must_have_a_spread(sigma_data):
    with pytest.raises(ValueError, match=f"sigma_data must be positive, got {sigma_data}"):
        Denoiser(Squash(), Cosine(), sigma_data=sigma_data)
