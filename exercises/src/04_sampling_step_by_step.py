from __future__ import annotations

import math

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson
from minidiff.grading.wire import Belief, Schedule

LESSON = Lesson(
    "04",
    "sampling_step_by_step",
    "Sampling, step by step",
    """
    A sampler walks from noise to data. At each step it asks for the picture, and then believes it only a little.
    Here you write the step, in DDPM's form and in DDIM's, and the walk itself.
    """,
)


def _times(r, dtype=torch.float32):
    """alpha and sigma at t and at s < t, on the unit circle."""
    t = r.uniform(low=0.7, high=1.4, dtype=torch.float64)
    s = t * r.uniform(low=0.3, high=0.8, dtype=torch.float64)
    return tuple(x.to(dtype) for x in (t.cos(), t.sin(), s.cos(), s.sin()))


@LESSON.exercise(
    "4.1",
    "Which noise is that?",
    points=2,
    text="""
    The network says which picture `x0` it believes to be behind `xt = alpha x0 + sigma eps`.
    Which noise does it then believe in?
    """,
    properties=TENSOR,
    mistakes=[
        ("(xt - alpha * x0) / sigma", "xt - alpha * x0", "What is left is sigma eps: divide by sigma."),
        ("(xt - alpha * x0) / sigma", "(xt - x0) / sigma", "The picture inside xt is alpha x0."),
        ("(xt - alpha * x0) / sigma", "(xt - sigma * x0) / alpha", "alpha and sigma have changed places."),
        ("(xt - alpha * x0) / sigma", "(xt - alpha * x0) / sigma**2", "Divide by sigma, not by its square."),
    ],
    hints=["Solve xt = alpha x0 + sigma eps for eps."],
)
def believed_noise(xt, x0, alpha, sigma):
    """eps (b, c, h, w) of xt and x0 (b, c, h, w); alpha and sigma are tensors ()."""
    return (xt - alpha * x0) / sigma


@believed_noise.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), *_times(r, dtype)[:2]))
    yield Case("values", (r.normal(1, 1, 3, 2), r.normal(1, 1, 3, 2), torch.tensor(1.0), torch.tensor(20.0)))


@believed_noise.picture
def _(r):
    x0, eps = r.digits(5), r.normal(5, 1, 20, 20)
    return 0.8 * x0 + 0.6 * eps, x0, torch.tensor(0.8), torch.tensor(0.6)


@LESSON.exercise(
    "4.2",
    "A step of DDIM",
    points=4,
    text="""
    DDIM takes the believed picture and the believed noise, and mixes them anew for the next time s:
    `xs = alpha_s x0 + sigma_s eps` ([Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502), eq. 12 without noise).
    """,
    properties={**TENSOR, "the last step ends at x0": 1, "standing still": 1},
    mistakes=[
        ("alpha_s * x0 + sigma_s * eps", "alpha_t * x0 + sigma_s * eps", "Mix for the next time: alpha_s."),
        ("alpha_s * x0 + sigma_s * eps", "alpha_s * x0 + sigma_t * eps", "Mix for the next time: sigma_s."),
        (
            "(xt - alpha_t * x0) / sigma_t",
            "(xt - alpha_s * x0) / sigma_s",
            "The noise is that inside xt: use alpha and sigma of t.",
        ),
        ("alpha_s * x0 + sigma_s * eps", "x0 + sigma_s * eps", "The picture has scale alpha_s at time s."),
        ("(xt - alpha_t * x0) / sigma_t", "xt - alpha_t * x0", "That is sigma_t eps. Divide by sigma_t."),
    ],
    hints=["First the believed noise, as in 4.1, with alpha and sigma of t. Then mix with those of s."],
)
def ddim_step(xt, x0, alpha_t, sigma_t, alpha_s, sigma_s):
    """xs (b, c, h, w) of xt and x0 (b, c, h, w); the scales are tensors ()."""
    eps = (xt - alpha_t * x0) / sigma_t
    return alpha_s * x0 + sigma_s * eps


@ddim_step.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), *_times(r, dtype)))
    a, b, _, _ = _times(r)
    xt, x0 = r.normal(1, 3, 2, 4), r.normal(1, 3, 2, 4)
    yield Case("the last step ends at x0", (xt, x0, a, b, torch.tensor(1.0), torch.tensor(0.0)))
    yield Case("standing still", (xt, x0, a, b, a, b))


@ddim_step.picture
def _(r):
    x0 = r.digits(5)
    t, s = torch.tensor(0.8 * math.pi / 2), torch.tensor(0.4 * math.pi / 2)
    return t.cos() * x0 + t.sin() * r.normal(*x0.shape), x0, t.cos(), t.sin(), s.cos(), s.sin()


@LESSON.exercise(
    "4.3",
    "The posterior of DDPM",
    points=6,
    text="""
    If `xt` and `x0` were both known, where was the walk one step before, at s? It is a Gaussian
    ([Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239), eq. 7). With `a = alpha_bar_t / alpha_bar_s`,
    what the step keeps, and `beta = 1 - a`, what it adds:

    - mean = `sqrt(alpha_bar_s) beta / (1 - alpha_bar_t) x0 + sqrt(a) (1 - alpha_bar_s) / (1 - alpha_bar_t) xt`
    - variance = `beta (1 - alpha_bar_s) / (1 - alpha_bar_t)`

    Return mean and variance. Here `alpha_bar` is DDPM's: the share of the variance, alpha squared.
    """,
    properties={**TENSOR, "the last step ends at x0, without noise": 1},
    mistakes=[
        (
            "alpha_bar_s.sqrt() * beta",
            "alpha_bar_t.sqrt() * beta",
            "The weight of x0 has alpha_bar of s under the root.",
        ),
        ("a.sqrt() * (1 - alpha_bar_s)", "a * (1 - alpha_bar_s)", "The weight of xt needs the square root of a."),
        ("alpha_bar_s.sqrt() * beta", "alpha_bar_s * beta", "The weight of x0 needs the square root of alpha_bar_s."),
        (
            "variance = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)",
            "variance = beta",
            "beta is the variance of the step forwards. The one backwards is smaller: times (1 - alpha_bar_s) / (1 - alpha_bar_t).",
        ),
        (
            "variance = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)",
            "variance = (beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)).sqrt()",
            "That is the standard deviation. The variance is wanted.",
        ),
        ("beta = 1 - a", "beta = 1 - alpha_bar_t", "beta is what this one step adds, 1 - a, not all noise until t."),
        ("mean = w0 * x0 + wt * xt", "mean = w0 * xt + wt * x0", "The two weights have changed places."),
    ],
    hints=["Compute a and beta first, then the two weights, one line each."],
)
def ddpm_posterior(xt, x0, alpha_bar_t, alpha_bar_s):
    """(mean (b, c, h, w), variance ()) of xs, given xt and x0; alpha_bar_t < alpha_bar_s are tensors ()."""
    a = alpha_bar_t / alpha_bar_s
    beta = 1 - a
    w0 = alpha_bar_s.sqrt() * beta / (1 - alpha_bar_t)
    wt = a.sqrt() * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    mean = w0 * x0 + wt * xt
    variance = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return mean, variance


@ddpm_posterior.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        alpha_t, _, alpha_s, _ = _times(r, dtype)
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), alpha_t**2, alpha_s**2))
    yield Case(
        "the last step ends at x0, without noise",
        (r.normal(1, 3, 2, 4), r.normal(1, 3, 2, 4), torch.tensor(0.9), torch.tensor(1.0)),
    )


@ddpm_posterior.picture
def _(r):
    x0, eps = r.digits(5), r.normal(5, 1, 20, 20)
    return 0.6 * x0 + 0.8 * eps, x0, torch.tensor(0.36), torch.tensor(0.81)


@LESSON.exercise(
    "4.4",
    "How much fresh noise?",
    points=5,
    text="""
    Between DDIM (eta = 0, no fresh noise) and DDPM (eta = 1) lies a whole family
    ([Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502), eq. 12 and 16). With

    - `std = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)`, the fresh noise, and
    - `sqrt(sigma_s^2 - std^2)`, what is left of the believed noise,

    the step is `xs = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std fresh`.
    """,
    properties={**TENSOR, "eta = 0 is DDIM": 1, "the last step ends at x0": 1},
    mistakes=[
        (
            "(sigma_s**2 - std**2).sqrt() * eps",
            "sigma_s * eps",
            "What fresh noise is added must be taken from the old: sqrt(sigma_s^2 - std^2).",
        ),
        (
            "(sigma_s**2 - std**2).sqrt() * eps",
            "(sigma_s - std) * eps",
            "Variances are subtracted, not scales: sqrt(sigma_s^2 - std^2).",
        ),
        ("+ std * fresh", "+ std**2 * fresh", "std is the scale of the fresh noise; do not square it."),
        (
            "(1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).sqrt()",
            "(1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2)",
            "The square root in std is missing.",
        ),
        (
            "alpha_t * sigma_s / (alpha_s * sigma_t)",
            "alpha_t / alpha_s",
            "The ratio inside std has the two sigmas, too.",
        ),
        ("std = eta * sigma_s", "std = eta * sigma_t", "The fresh noise is scaled by sigma at s."),
    ],
    hints=["Three lines: eps as in 4.1, std, and the mix."],
)
def noisy_step(xt, x0, fresh, alpha_t, sigma_t, alpha_s, sigma_s, eta):
    """xs (b, c, h, w) of xt, x0 and unit noise fresh (b, c, h, w); the scales are tensors (), eta is a number."""
    eps = (xt - alpha_t * x0) / sigma_t
    std = eta * sigma_s * (1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).sqrt()
    return alpha_s * x0 + (sigma_s**2 - std**2).sqrt() * eps + std * fresh


@noisy_step.cases
def _(r):
    for dtype, eta in ((torch.float32, 1.0), (torch.float64, 0.6), (torch.float32, 0.4)):
        shape = r.shape()
        tensors = [r.normal(*shape, dtype=dtype) for _ in range(3)]
        yield Case("values", (*tensors, *_times(r, dtype), eta))
    tensors = [r.normal(1, 3, 2, 4) for _ in range(3)]
    yield Case("eta = 0 is DDIM", (*tensors, *_times(r), 0.0))
    a, b, _, _ = _times(r)
    yield Case("the last step ends at x0", (*tensors, a, b, torch.tensor(1.0), torch.tensor(0.0), 1.0))


@noisy_step.picture
def _(r):
    x0, eps, fresh = r.digits(1), r.normal(1, 1, 20, 20), r.normal(1, 1, 20, 20)
    scales = [torch.tensor(x) for x in (0.6, 0.8, 0.9, 0.4359)]
    return [(0.6 * x0 + 0.8 * eps, x0, fresh, *scales, eta) for eta in (0.0, 0.25, 0.5, 0.75, 1.0)]


@LESSON.exercise(
    "4.5",
    "The walk",
    points=6,
    text="""
    Put it together. `denoise(xt, t)` is the network: it returns the believed `x0`. `process.alpha(t)` and
    `process.sigma(t)` are the scales. `ts` falls from the noise to 0. Walk by steps of DDIM, and return the picture.
    """,
    properties={**TENSOR, "one step": 1},
    mistakes=[
        ("zip(ts[:-1], ts[1:])", "zip(ts[1:], ts[:-1])", "The steps go the wrong way round: from ts[i] to ts[i + 1]."),
        ("zip(ts[:-1], ts[1:])", "zip(ts[:-2], ts[1:-1])", "The last step, to the last time in ts, is missing."),
        (
            "x0 = denoise(xt, t)",
            "x0 = denoise(xt, s)",
            "The network must be told the noise level that xt has now: t, not s.",
        ),
        (
            "xt = process.alpha(s) * x0 + process.sigma(s) * eps",
            "xt = x0 + process.sigma(s) * eps",
            "The picture has scale alpha(s) at time s.",
        ),
        (
            "xt = process.alpha(s) * x0 + process.sigma(s) * eps",
            "xt = process.alpha(s) * x0 + process.sigma(t) * eps",
            "Mix for the next time: sigma(s).",
        ),
    ],
    hints=[
        "for t, s in zip(ts[:-1], ts[1:]): ask, compute eps at t, mix for s.",
        "Keep the last xt: at time 0 it is the picture.",
    ],
)
def walk(denoise, process, xt, ts):
    """x0 (b, c, h, w) at the end of a walk from xt (b, c, h, w) along the times ts (steps + 1,)."""
    for t, s in zip(ts[:-1], ts[1:]):
        x0 = denoise(xt, t)
        eps = (xt - process.alpha(t) * x0) / process.sigma(t)
        xt = process.alpha(s) * x0 + process.sigma(s) * eps
    return xt


@walk.cases
def _(r):
    for name, steps, dtype in (("cosine", 4, torch.float32), ("flow", 3, torch.float64), ("cosine", 6, torch.float32)):
        shape = r.shape()
        belief = Belief(r.uniform(low=0.3, high=0.8, dtype=dtype), r.normal(*shape[1:], dtype=dtype))
        yield Case(
            "values",
            (belief, Schedule(name), r.normal(*shape, dtype=dtype), torch.linspace(0.9, 0.02, steps + 1, dtype=dtype)),
        )
    belief = Belief(torch.tensor(0.5), r.normal(1, 3, 2))
    yield Case("one step", (belief, Schedule("cosine"), r.normal(1, 1, 3, 2), torch.tensor([0.95, 0.0])))


@walk.picture
def _(r):
    belief = Belief(torch.tensor(0.1), 0.9 * r.digits(1)[0])
    return belief, Schedule("cosine"), r.normal(5, 1, 20, 20), torch.linspace(0.95, 0, 6)
