from __future__ import annotations

import math

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

NO_AXES = (
    "alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)",
    "pass",
    "alpha is (b,), and broadcasting lines it up with the last axis, the width: give it three more axes.",
)
LESSON = Lesson(
    "03",
    "learning_to_denoise",
    "Learning to denoise",
    """
    What should the network say? The picture, the noise, or a mix of both: each can be turned into the others.
    And what would the best possible network say?
    """,
)


def _batch(r, dtype=torch.float32):
    shape = r.shape()
    alpha, sigma = r.angle(shape[0], dtype=dtype)
    return r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), alpha, sigma


def _digits(r):
    x0 = r.digits(6)
    t = torch.linspace(0.1, 0.9, 6) * math.pi / 2
    eps = r.normal(*x0.shape)
    return x0, eps, t.cos(), t.sin()


@LESSON.exercise(
    "3.1",
    "The target v",
    points=3,
    text="""
    Most networks of this course predict `v = alpha eps - sigma x0`
    ([Salimans and Ho, 2022](https://arxiv.org/abs/2202.00512), appendix D).
    Where there is no noise v is the noise; where there is only noise v is minus the picture.
    """,
    properties={**TENSOR, "at t = 0 it is the noise": 1},
    mistakes=[
        ("alpha * eps - sigma * x0", "alpha * x0 - sigma * eps", "x0 and eps have changed places."),
        ("alpha * eps - sigma * x0", "sigma * x0 - alpha * eps", "The sign: v is alpha eps minus sigma x0."),
        ("alpha * eps - sigma * x0", "alpha * eps + sigma * x0", "The two parts are subtracted, not added."),
        (
            "alpha * eps - sigma * x0",
            "sigma * eps - alpha * x0",
            "alpha and sigma have changed places: at t = 0, v is the noise.",
        ),
        ("alpha * eps - sigma * x0", "eps - x0", "That is u of flow matching. v weighs both by alpha and sigma."),
        NO_AXES,
    ],
    hints=["alpha and sigma are (b,): view them as (b, 1, 1, 1)."],
)
def v_target(x0, eps, alpha, sigma):
    """v (b, c, h, w) of x0 and eps, both (b, c, h, w); alpha and sigma are (b,)."""
    alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    return alpha * eps - sigma * x0


@v_target.cases
def _(r):
    yield Case("values", _batch(r))
    yield Case("values", _batch(r, torch.float64))
    yield Case("at t = 0 it is the noise", (r.normal(1, 2, 3, 4), r.normal(1, 2, 3, 4), torch.ones(1), torch.zeros(1)))


@v_target.picture
def _(r):
    return _digits(r)


@LESSON.exercise(
    "3.2",
    "The picture behind v",
    points=4,
    text="""
    The network sees `xt = alpha x0 + sigma eps` and answers `v = alpha eps - sigma x0`, with `alpha^2 + sigma^2 = 1`.
    Solve the two equations for `x0`.
    """,
    properties={**TENSOR, "where alpha = 0": 1},
    mistakes=[
        (
            "alpha * xt - sigma * v",
            "alpha * xt + sigma * v",
            "A sign: multiply the first equation by alpha, the second by sigma, and subtract.",
        ),
        ("alpha * xt - sigma * v", "sigma * xt + alpha * v", "That is eps. x0 is wanted."),
        ("alpha * xt - sigma * v", "sigma * xt - alpha * v", "alpha and sigma have changed places."),
        (
            "alpha * xt - sigma * v",
            "(xt - sigma * v) / alpha",
            "That solves the equation for a network that predicts eps. Here it predicts v.",
        ),
        NO_AXES,
    ],
    hints=[
        "alpha times the first minus sigma times the second: eps drops out, and x0 is multiplied by alpha^2 + sigma^2."
    ],
)
def x0_from_v(xt, v, alpha, sigma):
    """x0 (b, c, h, w) of xt and v, both (b, c, h, w); alpha and sigma are (b,)."""
    alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    return alpha * xt - sigma * v


@x0_from_v.cases
def _(r):
    yield Case("values", _batch(r))
    yield Case("values", _batch(r, torch.float64))
    yield Case("where alpha = 0", (r.normal(1, 2, 3, 4), r.normal(1, 2, 3, 4), torch.zeros(1), torch.ones(1)))


@x0_from_v.picture
def _(r):
    x0, eps = r.digits(5), r.normal(5, 1, 20, 20)
    t = torch.linspace(0, 1.4, 5).view(-1, 1, 1, 1)
    return t.cos() * x0 + t.sin() * eps, t.cos() * eps - t.sin() * x0, t.flatten().cos(), t.flatten().sin()


@LESSON.exercise(
    "3.3",
    "The picture behind the noise",
    points=3,
    text="""
    DDPM's network predicts the noise `eps` inside `xt = alpha x0 + sigma eps`. Which picture does it believe in?
    (Where alpha is 0 nobody can say; that does not come up here.)
    """,
    properties={**TENSOR, "hardly any noise": 1},
    mistakes=[
        ("(xt - sigma * eps) / alpha", "xt - sigma * eps", "What is left has the scale alpha: divide by it."),
        ("(xt - sigma * eps) / alpha", "(xt - eps) / alpha", "The noise inside xt is sigma eps, not eps."),
        ("(xt - sigma * eps) / alpha", "(xt - alpha * eps) / sigma", "alpha and sigma have changed places."),
        (
            "(xt - sigma * eps) / alpha",
            "xt / alpha - sigma * eps",
            "Divide both by alpha: take the noise away first, then divide.",
        ),
        (
            "(xt - sigma * eps) / alpha",
            "(xt - sigma * eps) / alpha.sqrt()",
            "alpha is the scale itself, not alpha_bar: no square root.",
        ),
        NO_AXES,
    ],
    hints=["Solve xt = alpha x0 + sigma eps for x0."],
)
def x0_from_eps(xt, eps, alpha, sigma):
    """x0 (b, c, h, w) of xt and eps, both (b, c, h, w); alpha and sigma are (b,)."""
    alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    return (xt - sigma * eps) / alpha


@x0_from_eps.cases
def _(r):
    yield Case("values", _batch(r))
    yield Case("values", _batch(r, torch.float64))
    yield Case("hardly any noise", (r.normal(1, 2, 3, 4), r.normal(1, 2, 3, 4), torch.ones(1), torch.full((1,), 1e-3)))


@x0_from_eps.picture
def _(r):
    x0, eps = r.digits(5), r.normal(5, 1, 20, 20)
    t = torch.linspace(0, 1.4, 5).view(-1, 1, 1, 1)
    return t.cos() * x0 + t.sin() * eps, eps, t.flatten().cos(), t.flatten().sin()


@LESSON.exercise(
    "3.4",
    "The straight line",
    points=4,
    text="""
    Flow matching walks on a straight line, `xt = (1 - t) x0 + t eps`, and its network predicts the speed
    `u = dxt/dt = eps - x0` ([Lipman et al., 2023](https://arxiv.org/abs/2210.02747); time reversed here, t = 0 is data).
    From where it stands and the speed, return both ends of the line: `(x0, eps)`.
    """,
    properties={**TENSOR, "at both ends": 1},
    mistakes=[
        (
            "xt - t * u, xt + (1 - t) * u",
            "xt + t * u, xt - (1 - t) * u",
            "The sign: u points from the data to the noise.",
        ),
        (
            "xt - t * u, xt + (1 - t) * u",
            "xt - (1 - t) * u, xt + t * u",
            "t is the distance from the data, not from the noise.",
        ),
        (
            "xt - t * u, xt + (1 - t) * u",
            "xt + (1 - t) * u, xt - t * u",
            "Both are right, in the wrong order: (x0, eps).",
        ),
        (
            "xt - t * u, xt + (1 - t) * u",
            "xt - u, xt + u",
            "Only a part of the way is left: weigh u by t and by 1 - t.",
        ),
    ],
    hints=["From xt it is t back to the data, and 1 - t on to the noise."],
)
def ends_of_the_line(xt, u, t):
    """(x0, eps), both (b, c, h, w), of xt and u (b, c, h, w) at times t (b,)."""
    t = t.view(-1, 1, 1, 1)
    return xt - t * u, xt + (1 - t) * u


@ends_of_the_line.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case(
            "values",
            (
                r.normal(*shape, dtype=dtype),
                r.normal(*shape, dtype=dtype),
                r.uniform(shape[0], low=0.1, high=0.45, dtype=dtype),
            ),
        )
    yield Case("at both ends", (r.normal(2, 1, 3, 4), r.normal(2, 1, 3, 4), torch.tensor([0.0, 1.0])))


@ends_of_the_line.picture
def _(r):
    x0, eps, t = r.digits(5), r.normal(5, 1, 20, 20), torch.linspace(0, 1, 5)
    return x0 + t.view(-1, 1, 1, 1) * (eps - x0), eps - x0, t


@LESSON.exercise(
    "3.5",
    "The loss",
    points=4,
    text="""
    The loss of one picture is the mean square of the difference over its channels and pixels.
    Return one value for each picture of the batch, so that a plot can show them by noise level.
    """,
    properties={**TENSOR, "gradients": 1, "one picture": 1},
    mistakes=[
        (".flatten(1).mean(1)", ".mean()", "One value for each picture is wanted: keep the batch."),
        (".flatten(1).mean(1)", ".flatten(1).sum(1)", "The mean over the pixels is wanted, not the sum."),
        (".square()", ".abs()", "The square is wanted, not the absolute value."),
        (
            ".flatten(1).mean(1)",
            ".mean(0).flatten()",
            "That is the mean over the batch. Average over channels and pixels.",
        ),
        (".flatten(1).mean(1)", ".flatten(1).mean(1).sqrt()", "No square root: the mean of the squares itself."),
    ],
    hints=["flatten(1) makes (b, everything else) of a batch."],
)
def loss_per_picture(answer, target):
    """(b,), the mean square of answer - target, both (b, c, h, w)."""
    return (answer - target).square().flatten(1).mean(1)


@loss_per_picture.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype)), gradients=True)
    yield Case("one picture", (r.normal(1, 1, 2, 5), r.normal(1, 1, 2, 5)))


@loss_per_picture.picture
def _(r):
    x0, noise = r.digits(1).expand(30, -1, -1, -1), torch.linspace(0, 1, 30).view(-1, 1, 1, 1)
    return (x0 + noise * r.normal(30, 1, 20, 20))[..., ::2, ::2].clone(), x0[..., ::2, ::2].clone()


@LESSON.exercise(
    "3.6",
    "The best denoiser there is",
    points=6,
    text="""
    Say that the data are n known points, each as likely as the others. Then the best guess at `x0` behind `xt` is
    their mean, weighted by how likely each of them is to have become `xt`:
    weights `softmax(-|xt - alpha x_i|^2 / (2 sigma^2))` over the points
    (see [Karras et al., 2022](https://arxiv.org/abs/2206.00364), appendix B.3, where alpha = 1).
    """,
    properties={**TENSOR, "hardly any noise": 1, "one point": 1},
    mistakes=[
        ("/ (2 * sigma**2)", "/ sigma**2", "A Gaussian has 2 sigma^2 below the square."),
        ("/ (2 * sigma**2)", "/ (2 * sigma)", "The variance is sigma squared."),
        ("alpha * points", "points", "Before noise is added, a point shrinks to alpha times itself."),
        (".softmax(1)", ".softmax(0)", "The weights of all points must add up to 1 for each xt: axis 1."),
        (
            "(-distance / (2 * sigma**2)).softmax(1)",
            "(-distance.sqrt() / (2 * sigma**2)).softmax(1)",
            "The squared distance is wanted.",
        ),
        (
            "weights @ points",
            "weights @ (alpha * points)",
            "The guess is at x0: average the points themselves, not alpha times them.",
        ),
    ],
    hints=[
        "Squared distances (b, n): (xt[:, None] - alpha * points[None]).square().sum(-1).",
        "The weighted mean of the points is weights @ points.",
    ],
)
def best_denoiser(xt, points, alpha, sigma):
    """x0 (b, d) behind xt (b, d), for data points (n, d); alpha and sigma are tensors ()."""
    distance = (xt[:, None] - alpha * points).square().sum(-1)
    weights = (-distance / (2 * sigma**2)).softmax(1)
    return weights @ points


@best_denoiser.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case(
            "values",
            (
                r.normal(5, 3, dtype=dtype),
                r.normal(7, 3, dtype=dtype),
                torch.tensor(0.7, dtype=dtype),
                torch.tensor(1.3, dtype=dtype),
            ),
        )
    points = r.normal(6, 2)
    yield Case("hardly any noise", (0.9 * points[:4] + 0.001, points, torch.tensor(0.9), torch.tensor(0.02)))
    yield Case("one point", (r.normal(3, 2), r.normal(1, 2), torch.tensor(0.5), torch.tensor(0.5)))


@best_denoiser.picture
def _(r):
    turn = torch.linspace(0, 2 * math.pi, 13)[:12]
    return 0.8 * r.normal(200, 2), torch.stack([turn.cos(), turn.sin()], 1), torch.tensor(0.8), torch.tensor(0.4)
