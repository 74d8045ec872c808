"""Guidance: the formulas, what they cost, and inpainting that keeps what is known."""

import inspect

import pytest
import torch
from oracles import PROCESSES, curves, gaussian, gaussian_path
from torch import nn

from minidiff.denoiser import Denoiser
from minidiff.guidance import autoguidance, cfg, clipped, inpaint
from minidiff.process import DDPM, EDM, Cosine, Flow
from minidiff.samplers import ddim, dpmpp_2m, euler, heun

every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


class Listener(nn.Module):
    """A network that mixes picture and words, and notes the size of every batch it gets."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x, level, ctx=None):
        self.batches.append(len(x))
        return torch.tanh(x + level[:, None, None, None]) + ctx.mean((1, 2))[:, None, None, None]


@pytest.fixture
def denoiser():
    return Denoiser(Listener(), Cosine())


@pytest.fixture
def xt():
    return torch.randn(3, 1, 4, 4)


@pytest.fixture
def ctx():
    return torch.randn(3, 5, 8)


@pytest.fixture
def null():
    return torch.randn(3, 5, 8)


def at(level, process):
    """The time of a noise level."""
    return curves(process).time(torch.tensor(level, dtype=torch.float64))


# --- Classifier-free guidance ----------------------------------------------------------------------


@every_process
@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, 7.5])
def test_cfg_is_the_formula_of_ho_and_salimans(process, xt, ctx, null, scale):
    """Ho and Salimans 2022, eq. 6, for eps: (1 + w) eps(z, c) - w eps(z), where scale = 1 + w.

    Their eps and our x0 say the same, because eps is linear in x0 and the two weights add up to 1.
    """
    denoiser, t, w = Denoiser(Listener(), process), at(0.6, process), scale - 1

    def eps(x0):
        return (xt - process.alpha(t) * x0) / process.sigma(t)

    expected = (1 + w) * eps(denoiser(xt, t, ctx)) - w * eps(denoiser(xt, t, null))
    torch.testing.assert_close(eps(cfg(denoiser, ctx, null, scale)(xt, t)), expected, rtol=1e-4, atol=1e-4)


def test_scale_1_is_no_guidance_and_costs_one_call_of_the_batch(denoiser, xt, ctx, null):
    guess = cfg(denoiser, ctx, null, 1.0)(xt, torch.tensor(0.5))
    assert denoiser.net.batches == [3]
    assert torch.equal(guess, denoiser(xt, torch.tensor(0.5), ctx))


def test_any_other_scale_costs_one_call_of_twice_the_batch(denoiser, xt, ctx, null):
    cfg(denoiser, ctx, null, 2.0)(xt, torch.tensor(0.5))
    assert denoiser.net.batches == [6]


def test_scale_0_is_the_answer_without_the_prompt(denoiser, xt, ctx, null):
    t = torch.tensor(0.5)
    torch.testing.assert_close(cfg(denoiser, ctx, null, 0.0)(xt, t), denoiser(xt, t, null))


def test_each_prompt_may_have_a_scale_of_its_own(denoiser, xt, ctx, null):
    t, scales = torch.tensor(0.5), [1.0, 2.0, 5.0]
    together = cfg(denoiser, ctx, null, torch.tensor(scales))(xt, t)
    for i, scale in enumerate(scales):
        alone = cfg(denoiser, ctx[i : i + 1], null[i : i + 1], scale)(xt[i : i + 1], t)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_scales_that_are_all_1_cost_one_call_of_the_batch(denoiser, xt, ctx, null):
    cfg(denoiser, ctx, null, torch.ones(3))(xt, torch.tensor(0.5))
    assert denoiser.net.batches == [3]


@every_process
def test_outside_its_interval_guidance_is_off(process, xt, ctx, null):
    """The interval is in noise levels, so it means the same under every process."""
    denoiser = Denoiser(Listener(), process)
    denoise = cfg(denoiser, ctx, null, 3.0, interval=(0.25, 0.75))
    for level, batch in ((0.1, 3), (0.24, 3), (0.26, 6), (0.5, 6), (0.74, 6), (0.76, 3), (0.95, 3)):
        t = at(level, process)
        guess = denoise(xt, t)
        assert denoiser.net.batches.pop() == batch, level
        if batch == 3:
            assert torch.equal(guess, denoiser(xt, t, ctx))


@every_process
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_default_interval_is_every_level_with_both_ends(process, dtype, xt, ctx, null):
    denoiser = Denoiser(Listener(), process)
    for t in (process.t_max, 0.5, 0.0):
        cfg(denoiser, ctx, null, 3.0)(xt, torch.tensor(t, dtype=dtype))
    assert denoiser.net.batches == [6, 6, 6]


@pytest.mark.parametrize("scale", [0.0, 2.0, 5.0])
def test_prompt_and_negative_prompt_are_two_ends_of_one_line(denoiser, xt, ctx, null, scale):
    """To lean towards a and away from b by `scale` is to lean towards b and away from a by 1 - scale."""
    t = torch.tensor(0.5)
    one = cfg(denoiser, ctx, null, scale)(xt, t)
    torch.testing.assert_close(one, cfg(denoiser, null, ctx, 1 - scale)(xt, t), rtol=1e-5, atol=1e-5)


def test_the_same_prompt_on_both_sides_changes_nothing(denoiser, xt, ctx):
    t = torch.tensor(0.5)
    torch.testing.assert_close(cfg(denoiser, ctx, ctx, 7.0)(xt, t), denoiser(xt, t, ctx), rtol=1e-4, atol=1e-4)


def test_guidance_between_two_gaussians_leads_where_the_formula_says():
    """Of two Gaussians of one spread, with means m for the prompt and 0 for none, it draws the mean w m.

    The guided guess is that of a Gaussian around w m, whose path is known; 200 steps of Heun are within 1e-3.
    """

    class Prompted(nn.Module):  # target x0, of N(ctx, 0.5^2), at unit variance under Cosine
        def forward(self, x, level, ctx=None):
            level, mean = level[:, None, None, None], ctx.mean((1, 2))[:, None, None, None]
            alpha, sigma = torch.cos(level * torch.pi / 2), torch.sin(level * torch.pi / 2)
            return mean + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x - alpha * mean)

    process, mean, scale = Cosine(), 0.4, 3.0
    denoise = cfg(Denoiser(Prompted(), process, "x0"), torch.full((5, 1, 1), mean), torch.zeros(5, 1, 1), scale)
    xt, ts = torch.linspace(-2, 2, 5).view(5, 1, 1, 1), process.timesteps(200)
    *_, step = heun(denoise, process, xt, ts)
    expected = gaussian_path(process, scale * mean, 0.5, xt, ts[0], ts[-1])
    torch.testing.assert_close(step.x0, expected, rtol=0, atol=1e-3)


def test_prompt_and_negative_prompt_must_have_one_shape(denoiser, ctx):
    """What a learner sees; under pytest the type checker would speak first, so it is taken off."""
    with pytest.raises(ValueError, match=r"\(3, 5, 8\) and \(3, 4, 8\)"):
        inspect.unwrap(cfg)(denoiser, ctx, torch.zeros(3, 4, 8), 2.0)


# --- Static thresholding --------------------------------------------------------------------------


def test_clipping_is_static_thresholding_and_never_leaves_its_range(denoiser, xt, ctx, null):
    """Saharia et al. 2022, section 2.3: each number of the guess by itself, to the nearest that is allowed."""
    t, guided = torch.tensor(0.5), cfg(denoiser, ctx, null, 5.0)
    whole = guided(xt, t)
    most = float(whole.abs().median())  # half of them lie beyond
    got = clipped(guided, most)(xt, t)
    inside = whole.abs() <= most
    assert torch.equal(got[inside], whole[inside])
    assert torch.equal(got[~inside], most * whole[~inside].sign())


def test_without_an_end_nothing_is_clipped(denoiser, xt, ctx, null):
    t, guided = torch.tensor(0.5), cfg(denoiser, ctx, null, 5.0)
    assert torch.equal(clipped(guided, float("inf"))(xt, t), guided(xt, t))


@pytest.mark.parametrize("most", [0.0, -1.0, float("nan")])
def test_the_limit_of_clipping_is_positive(denoiser, ctx, null, most):
    with pytest.raises(ValueError, match="clip must be positive"):
        clipped(cfg(denoiser, ctx, null, 2.0), most)


# --- Autoguidance ---------------------------------------------------------------------------------


@every_process
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_autoguidance_is_the_formula_of_karras(process, xt, ctx, scale):
    """Karras et al. 2024, eq. 3: D_w = w D_1 + (1 - w) D_0, the good network and the bad one."""
    good, bad = Denoiser(Listener(), process), Denoiser(Listener(), process, "eps")
    t = at(0.6, process)
    expected = scale * good(xt, t, ctx) + (1 - scale) * bad(xt, t, ctx)
    torch.testing.assert_close(autoguidance(good, bad, ctx, scale)(xt, t), expected, rtol=1e-4, atol=1e-4)


def test_autoguidance_needs_no_prompt(xt):
    class Silent(nn.Module):
        def forward(self, x, level, ctx=None):
            assert ctx is None
            return x

    good = Denoiser(Silent(), Cosine())
    guess = autoguidance(good, good, None, 3.0)(xt, torch.tensor(0.5))
    torch.testing.assert_close(guess, good(xt, torch.tensor(0.5)), rtol=1e-4, atol=1e-4)


# --- Inpainting -----------------------------------------------------------------------------------


def picture_and_mask():
    """A picture (2, 1, 4, 4) whose left half is known, float64."""
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:, :2] = True
    return torch.randn(2, 1, 4, 4, dtype=torch.float64), mask


@every_process
@pytest.mark.parametrize("sampler", [ddim, dpmpp_2m], ids=lambda sampler: sampler.__name__)
def test_the_known_region_walks_its_forward_path_exactly(process, sampler):
    """xs = alpha_s known + sigma_s eps at every step, with the eps of the start, and `known` at the end."""
    known, mask = picture_and_mask()
    ts, eps = process.timesteps(20), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    denoise = inpaint(gaussian(process, 0.3, 0.5), known, mask)
    steps = list(sampler(denoise, process, process.add_noise(known, eps, ts[0]), ts))
    for step, t in zip(steps, ts, strict=True):
        on_path = process.add_noise(known, eps, t)
        torch.testing.assert_close(step.xt[..., mask], on_path[..., mask], rtol=1e-9, atol=1e-9)
    assert torch.equal(steps[-1].x0[..., mask], known[..., mask])


@every_process
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_from_any_start_the_known_region_ends_exactly_known(process, eta):
    """In float32 and from pure noise, with the noise of each step or without."""
    known, mask = picture_and_mask()
    known = known.float()
    xt = process.prior(known.shape, [1, 2])
    denoise = inpaint(gaussian(process, 0.3, 0.5), known, mask)
    *_, step = ddim(denoise, process, xt, process.timesteps(10), eta=eta)
    assert torch.equal(step.x0[..., mask], known[..., mask])
    assert not torch.equal(step.x0[..., ~mask], known[..., ~mask])


@pytest.mark.parametrize("process", [EDM(), Flow()], ids=repr)
@pytest.mark.parametrize("sampler", [euler, heun], ids=lambda sampler: sampler.__name__)
def test_euler_and_heun_keep_the_known_region_where_the_curves_are_straight(process, sampler):
    """To rounding. Under the other processes their steps are chords: inpaint with what is built on `move`."""
    known, mask = picture_and_mask()
    *_, step = sampler(
        inpaint(gaussian(process, 0.3, 0.5), known, mask),
        process,
        process.prior((2, 1, 4, 4)),
        process.timesteps(10),
    )
    torch.testing.assert_close(step.x0[..., mask], known[..., mask].to(step.x0.dtype), rtol=0, atol=1e-5)


def test_the_unknown_region_is_drawn_as_if_nothing_were_known():
    """For pixels that know nothing of one another, the other half must not notice."""
    process = DDPM()
    known, mask = picture_and_mask()
    xt, ts = torch.randn(2, 1, 4, 4, dtype=torch.float64), process.timesteps(10)
    free = gaussian(process, 0.3, 0.5)
    *_, alone = ddim(free, process, xt, ts)
    *_, beside = ddim(inpaint(free, known, mask), process, xt, ts)
    torch.testing.assert_close(beside.x0[..., ~mask], alone.x0[..., ~mask])


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (4, 4), (1, 4, 4), (2, 1, 4, 4), (2, 1, 1, 1), (1, 3, 4, 4)])
def test_a_mask_may_have_any_shape_that_spreads_over_the_picture(shape):
    known, mask = torch.randn(2, 3, 4, 4), torch.rand(shape) > 0.5
    guess = inpaint(lambda xt, t: torch.zeros_like(xt), known, mask)(torch.randn_like(known), torch.tensor(0.5))
    assert torch.equal(guess, known * mask)


@pytest.mark.parametrize("shape", [(5, 7), (3,), (2, 4, 4), (2, 2, 4, 4), (1, 2, 3, 4, 4)])
def test_a_mask_that_does_not_fit_is_an_error_that_names_both_shapes(shape):
    with pytest.raises(ValueError) as error:
        inpaint(lambda xt, t: xt, torch.zeros(2, 3, 4, 4), torch.zeros(shape, dtype=torch.bool))
    assert str(error.value) == f"mask {shape} does not fit known (2, 3, 4, 4)"


def test_guidance_and_inpainting_nest(denoiser, xt, ctx, null):
    """Each takes a denoise function and gives one, so the order is the caller's."""
    known, mask = torch.randn(3, 1, 4, 4), torch.rand(4, 4) > 0.5
    guided = cfg(denoiser, ctx, null, torch.tensor([1.0, 2.0, 3.0]))
    both, t = inpaint(guided, known, mask), torch.tensor(0.5)
    assert torch.equal(both(xt, t), torch.where(mask, known, guided(xt, t)))
