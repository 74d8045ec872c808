from __future__ import annotations

import math

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "02",
    "adding_noise",
    "Adding noise",
    """
    The whole of diffusion rests on one line: `xt = alpha x0 + sigma eps`.
    Here you write it, and the curves that say how much noise there is when.
    """,
)


@LESSON.exercise(
    "2.1",
    "Noise a picture",
    points=3,
    text="""
    Write the forward process: `xt = alpha x0 + sigma eps`
    ([Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239), eq. 4).
    Each picture of the batch has its own `alpha` and `sigma`.
    """,
    properties={**TENSOR, "at t = 0 the data stays": 1, "where alpha = 0 only noise is left": 1},
    mistakes=[
        (
            "return alpha * x0 + sigma * eps",
            "return alpha * x0 + (1 - alpha) * eps",
            "The noise is scaled by sigma. It is not 1 - alpha.",
        ),
        ("return alpha * x0 + sigma * eps", "return sigma * x0 + alpha * eps", "alpha and sigma have changed places."),
        (
            "return alpha * x0 + sigma * eps",
            "return alpha.sqrt() * x0 + sigma * eps",
            "No square root is needed: alpha is already the scale of the picture, not alpha_bar.",
        ),
        (
            "return alpha * x0 + sigma * eps",
            "return x0 + sigma * eps",
            "The picture itself must shrink too: alpha is missing.",
        ),
        (
            "return alpha * x0 + sigma * eps",
            "return alpha * x0 + sigma**2 * eps",
            "sigma is the scale of the noise, not its variance: do not square it.",
        ),
        (
            "alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)",
            "pass",
            "alpha is (b,), and broadcasting lines it up with the last axis, the width: give it three more axes.",
        ),
    ],
    hints=["alpha is (b,) and x0 is (b, c, h, w): view alpha as (b, 1, 1, 1) before you multiply."],
)
def add_noise(x0, eps, alpha, sigma):
    """xt (b, c, h, w) of pictures x0 and unit noise eps, both (b, c, h, w); alpha and sigma are (b,)."""
    alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    return alpha * x0 + sigma * eps


@add_noise.cases
def _(r):
    for dtype in (torch.float32, torch.float32, torch.float64):
        shape = r.shape()
        yield Case(
            "values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), *r.angle(shape[0], dtype=dtype))
        )
    x0, eps = r.normal(1, 3, 4, 2), r.normal(1, 3, 4, 2)
    yield Case("at t = 0 the data stays", (x0, eps, torch.ones(1), torch.zeros(1)))
    yield Case("where alpha = 0 only noise is left", (x0, eps, torch.zeros(1), torch.full((1,), 80.0)))


@add_noise.picture
def _(r):
    x0 = r.digits(1).expand(6, -1, -1, -1).contiguous()
    t = torch.linspace(0, math.pi / 2, 6)
    return x0, r.normal(*x0.shape), t.cos(), t.sin()


@LESSON.exercise(
    "2.2",
    "The cosine schedule",
    points=3,
    text="""
    At time t the cosine schedule has turned by t quarters of a circle: from all picture at t = 0 to all noise at t = 1.
    Return both scales ([Nichol and Dhariwal, 2021](https://arxiv.org/abs/2102.09672), eq. 17, without their offset).
    """,
    properties={**TENSOR, "at the ends": 1},
    mistakes=[
        (
            "torch.cos(angle), torch.sin(angle)",
            "torch.sin(angle), torch.cos(angle)",
            "At t = 0 there must be no noise: the two curves have changed places.",
        ),
        ("angle = t * math.pi / 2", "angle = t * math.pi", "A quarter turn is pi / 2, not pi."),
        (
            "torch.cos(angle), torch.sin(angle)",
            "torch.cos(angle) ** 2, torch.sin(angle) ** 2",
            "Those are the squares: alpha^2 + sigma^2 must be 1, not alpha + sigma.",
        ),
        (
            "torch.cos(angle), torch.sin(angle)",
            "torch.cos(angle), 1 - torch.cos(angle)",
            "sigma is not 1 - alpha: the squares of both add up to 1.",
        ),
    ],
    hints=["alpha and sigma are the cosine and the sine of one angle."],
)
def cosine_schedule(t):
    """(alpha, sigma), each of the shape of t, for times t in [0, 1]."""
    angle = t * math.pi / 2
    return torch.cos(angle), torch.sin(angle)


@cosine_schedule.cases
def _(r):
    yield Case("values", (r.uniform(7, low=0.1, high=0.9),))
    yield Case("values", (r.uniform(3, 2, low=0.1, high=0.9, dtype=torch.float64),))
    yield Case("at the ends", (torch.tensor([0.0, 1.0]),))


@cosine_schedule.picture
def _(r):
    return (torch.linspace(0, 1, 100),)


@LESSON.exercise(
    "2.3",
    "Signal to noise",
    points=3,
    text="""
    How noisy is a picture? The log signal-to-noise ratio says it in one number: `log (alpha / sigma)^2`
    ([Kingma et al., 2021](https://arxiv.org/abs/2107.00630), section 3.1). It is the natural logarithm.
    At t = 0, where sigma is 0, it is infinite.
    """,
    properties={**TENSOR, "at the ends it is infinite": 1},
    mistakes=[
        (
            "2 * (alpha.log() - sigma.log())",
            "alpha.log() - sigma.log()",
            "That is the logarithm of alpha / sigma. The ratio of the variances is its square.",
        ),
        (
            "2 * (alpha.log() - sigma.log())",
            "2 * (sigma.log() - alpha.log())",
            "Upside down: signal is on top, so much noise means a small number.",
        ),
        (
            "2 * (alpha.log() - sigma.log())",
            "2 * (alpha.log10() - sigma.log10())",
            "The natural logarithm is wanted, not the one to base 10.",
        ),
        (
            "2 * (alpha.log() - sigma.log())",
            "(alpha / sigma) ** 2",
            "That is the ratio itself. Its logarithm is missing.",
        ),
    ],
    hints=["The logarithm of a square is twice the logarithm; that of a ratio is a difference."],
)
def log_snr(alpha, sigma):
    """log (alpha / sigma)^2, of the shape of alpha and sigma."""
    return 2 * (alpha.log() - sigma.log())


@log_snr.cases
def _(r):
    yield Case("values", (r.uniform(5, low=0.1), r.uniform(5, low=0.1)))
    yield Case("values", (r.uniform(2, 3, low=0.1, dtype=torch.float64), r.uniform(2, 3, low=0.1, dtype=torch.float64)))
    yield Case("at the ends it is infinite", (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])))


@log_snr.picture
def _(r):
    t = torch.linspace(0.02, 0.98, 100) * math.pi / 2
    return t.cos(), t.sin()


@LESSON.exercise(
    "2.4",
    "The noise level",
    points=4,
    text="""
    Networks and sliders in this course see the noise as one number from 0 to 1, whatever the process:
    the angle of the point `(alpha, sigma)`, as a share of a quarter turn. It must also hold where alpha is 0.
    """,
    properties={**TENSOR, "at the ends": 1},
    mistakes=[
        (
            "torch.atan2(sigma, alpha)",
            "torch.atan2(alpha, sigma)",
            "The level must grow with the noise: the first argument of atan2 is sigma.",
        ),
        ("/ (math.pi / 2)", "/ math.pi", "A quarter turn is pi / 2."),
        ("/ (math.pi / 2)", "* 1", "The angle must be divided by a quarter turn, so that it ends at 1."),
        (
            "torch.atan2(sigma, alpha) / (math.pi / 2)",
            "sigma / (alpha + sigma)",
            "That is a share of lengths. The angle is wanted: see torch.atan2.",
        ),
    ],
    hints=["torch.atan2(y, x) is the angle of the point (x, y)."],
)
def noise_level(alpha, sigma):
    """The level in [0, 1], of the shape of alpha and sigma."""
    return torch.atan2(sigma, alpha) / (math.pi / 2)


@noise_level.cases
def _(r):
    yield Case("values", (r.uniform(6, low=0.1), r.uniform(6, low=0.1, high=5.0)))
    yield Case("values", (r.uniform(4, low=0.1, dtype=torch.float64), r.uniform(4, low=0.1, dtype=torch.float64)))
    yield Case("at the ends", (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])))


@noise_level.picture
def _(r):
    t = torch.linspace(0, 1, 100)
    return 1 - t, t


@LESSON.exercise(
    "2.5",
    "From betas to alpha_bar",
    points=4,
    text="""
    DDPM adds noise in many small steps. Step i keeps `1 - beta_i` of the variance of the picture.
    What is left of it after each step is `alpha_bar`
    ([Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239), above eq. 4).
    Return the two scales after every step: `alpha = sqrt(alpha_bar)` and `sigma = sqrt(1 - alpha_bar)`.
    """,
    properties={**TENSOR, "one step": 1},
    mistakes=[
        ("torch.cumprod(1 - beta, 0)", "torch.cumprod(beta, 0)", "A step keeps 1 - beta of the variance, not beta."),
        (
            "torch.cumprod(1 - beta, 0)",
            "(1 - torch.cumsum(beta, 0)).clamp(min=0)",
            "What several steps keep is multiplied, not added: use the cumulative product.",
        ),
        (
            "alpha_bar.sqrt(), (1 - alpha_bar).sqrt()",
            "alpha_bar, 1 - alpha_bar",
            "Those are the variances. The scales are their square roots.",
        ),
        (
            "alpha_bar.sqrt(), (1 - alpha_bar).sqrt()",
            "alpha_bar.sqrt(), 1 - alpha_bar.sqrt()",
            "sigma^2 is 1 - alpha_bar. Subtract first, then take the root.",
        ),
        (
            "torch.cumprod(1 - beta, 0)",
            "1 - beta",
            "That is what each step keeps on its own. What is left after all steps so far is their product.",
        ),
    ],
    hints=["torch.cumprod multiplies up along an axis."],
)
def scales_of_betas(beta):
    """(alpha, sigma) after each of the n steps, both (n,), for beta (n,)."""
    alpha_bar = torch.cumprod(1 - beta, 0)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


@scales_of_betas.cases
def _(r):
    yield Case("values", (r.uniform(9, low=0.01, high=0.3),))
    yield Case("values", (torch.linspace(1e-4, 0.02, 50, dtype=torch.float64),))
    yield Case("one step", (r.uniform(1, low=0.2, high=0.8),))


@scales_of_betas.picture
def _(r):
    return (torch.linspace(1e-4, 0.02, 1000),)
