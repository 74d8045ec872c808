from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson
from minidiff.grading.wire import Belief

LESSON = Lesson(
    "05",
    "faster_samplers",
    "Faster samplers",
    """
    The walk from noise to data follows a differential equation. A better rule for its slope, and better places to
    ask, give the same picture in fewer steps. Here alpha = 1 and sigma = t, as in EDM
    ([Karras et al., 2022](https://arxiv.org/abs/2206.00364)), so the slope is `dx/dt = (xt - x0) / t`.
    """,
)


@LESSON.exercise(
    "5.1",
    "A step of Euler",
    points=3,
    text="""
    Walk from t to s < t along the slope `(xt - x0) / t`, where `x0` is what the network believes
    ([Karras et al., 2022](https://arxiv.org/abs/2206.00364), algorithm 2, lines 7 and 8).
    """,
    properties={**TENSOR, "a step to 0 ends at x0": 1},
    mistakes=[
        ("xt + (s - t) * slope", "xt + (t - s) * slope", "The step goes from t down to s: s - t is negative."),
        ("xt + (s - t) * slope", "xt + s * slope", "The length of the step is s - t."),
        ("slope = (xt - x0) / t", "slope = (x0 - xt) / t", "The slope points away from the picture: (xt - x0) / t."),
        ("slope = (xt - x0) / t", "slope = xt - x0", "The slope is the noise at unit scale: divide by t."),
        ("slope = (xt - x0) / t", "slope = (xt - x0) / s", "The slope is that at t: divide by t, not by s."),
    ],
    hints=["Two lines: the slope, then xt + (s - t) * slope."],
)
def euler_step(xt, x0, t, s):
    """xs (b, c, h, w) of xt and x0 (b, c, h, w); t and s are tensors ()."""
    slope = (xt - x0) / t
    return xt + (s - t) * slope


@euler_step.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        t = r.uniform(low=2.0, high=9.0, dtype=dtype)
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), t, t * 0.35))
    yield Case(
        "a step to 0 ends at x0", (r.normal(1, 3, 2, 4), r.normal(1, 3, 2, 4), torch.tensor(0.7), torch.tensor(0.0))
    )


@euler_step.picture
def _(r):
    x0, eps = r.digits(1), r.normal(1, 1, 20, 20)
    return [(x0 + 2 * eps, x0, torch.tensor(2.0), torch.tensor(s)) for s in (1.5, 1.0, 0.5, 0.2, 0.0)]


@LESSON.exercise(
    "5.2",
    "Where to ask",
    points=4,
    text="""
    Small noise needs small steps. EDM's grid takes even steps in `t^(1/rho)`
    ([Karras et al., 2022](https://arxiv.org/abs/2206.00364), eq. 5): for i = 0 to n - 1

    `t_i = (t_max^(1/rho) + i / (n - 1) (t_min^(1/rho) - t_max^(1/rho)))^rho`, and after these n times a 0.
    Return all n + 1 times in float64.
    """,
    properties={**TENSOR, "two steps": 1},
    mistakes=[
        (
            "torch.linspace(t_max ** (1 / rho), t_min ** (1 / rho), steps, dtype=torch.float64)",
            "torch.linspace(t_max ** (1 / rho), t_min ** (1 / rho), steps + 1, dtype=torch.float64)[:-1]",
            "t_min itself belongs to the grid: divide by n - 1.",
        ),
        (
            "torch.linspace(t_max ** (1 / rho), t_min ** (1 / rho), steps, dtype=torch.float64)",
            "torch.linspace(t_min ** (1 / rho), t_max ** (1 / rho), steps, dtype=torch.float64)",
            "The grid falls, from t_max to t_min.",
        ),
        (
            "torch.cat([ramp**rho, torch.zeros(1, dtype=torch.float64)])",
            "ramp**rho",
            "The last time is 0: it is missing.",
        ),
        ("ramp**rho", "ramp ** (1 / rho)", "Take the root first, make even steps, then the power rho."),
        (
            "torch.linspace(t_max ** (1 / rho), t_min ** (1 / rho), steps, dtype=torch.float64)",
            "torch.linspace(t_max, t_min, steps, dtype=torch.float64) ** (1 / rho)",
            "The steps are even in t^(1/rho), not in t.",
        ),
    ],
    hints=["torch.linspace makes the even steps; torch.cat adds the 0."],
)
def karras_grid(steps, t_min, t_max, rho):
    """Falling times (steps + 1,) from t_max to t_min and then 0, float64; steps is at least 2."""
    ramp = torch.linspace(t_max ** (1 / rho), t_min ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([ramp**rho, torch.zeros(1, dtype=torch.float64)])


@karras_grid.cases
def _(r):
    yield Case("values", (int(r.whole(5, 12)), r.number(0.002, 0.01), r.number(20, 80), 7.0))
    yield Case("values", (int(r.whole(12, 20)), r.number(0.002, 0.01), r.number(20, 80), 3.0))
    yield Case("two steps", (2, 0.002, 80.0, 7.0))


@karras_grid.picture
def _(r):
    return 30, 0.002, 80.0, 7.0


@LESSON.exercise(
    "5.3",
    "Heun's walk",
    points=6,
    text="""
    Euler looks at the slope only where it stands. Heun makes the step, looks again where it has arrived, and then makes
    the step with the mean of both slopes ([Karras et al., 2022](https://arxiv.org/abs/2206.00364), algorithm 2 without
    churn). In the step to 0 there is no noise left to divide by: there, Euler's step stays.
    """,
    properties={**TENSOR, "a step to 0 is Euler's": 1},
    mistakes=[
        ("(slope + again) / 2", "again", "The mean of both slopes is wanted, not the second one."),
        ("(slope + again) / 2", "slope", "The second slope is not used: take the mean of both."),
        ("(slope + again) / 2", "(slope + again)", "The mean of both slopes: divide their sum by 2."),
        (
            "again = (xs - denoise(xs, s)) / s",
            "again = (xs - denoise(xs, t)) / t",
            "The second slope is that at s: tell the network s, and divide by s.",
        ),
        (
            "again = (xs - denoise(xs, s)) / s",
            "again = (xt - denoise(xt, s)) / s",
            "The second slope is taken where the step arrives: at xs, not at xt.",
        ),
        (
            "xs = xt + (s - t) * (slope + again) / 2",
            "xs = xs + (s - t) * (slope + again) / 2",
            "The second step starts again at xt, not at xs.",
        ),
    ],
    hints=["for t, s in zip(ts[:-1], ts[1:]): slope at t, xs, and if s > 0 the slope at s and xs once more from xt."],
)
def heun_walk(denoise, xt, ts):
    """x0 (b, c, h, w) at the end of the walk from xt along the falling times ts (steps + 1,), the last of which is 0."""
    for t, s in zip(ts[:-1], ts[1:]):
        slope = (xt - denoise(xt, t)) / t
        xs = xt + (s - t) * slope
        if s > 0:
            again = (xs - denoise(xs, s)) / s
            xs = xt + (s - t) * (slope + again) / 2
        xt = xs
    return xt


@heun_walk.cases
def _(r):
    for times, dtype in (([3.0, 1.2, 0.4, 0.0], torch.float32), ([5.0, 2.0, 0.7, 0.2, 0.0], torch.float64)):
        shape = r.shape()
        belief = Belief(r.uniform(low=0.3, high=0.8, dtype=dtype), r.normal(*shape[1:], dtype=dtype))
        yield Case("values", (belief, r.normal(*shape, dtype=dtype), torch.tensor(times, dtype=dtype)))
    belief = Belief(torch.tensor(0.5), r.normal(1, 3, 2))
    yield Case("a step to 0 is Euler's", (belief, r.normal(1, 1, 3, 2), torch.tensor([0.9, 0.0])))


@heun_walk.picture
def _(r):
    belief = Belief(torch.tensor(0.7), 0.4 * r.digits(1)[0])
    return belief, 3 * r.normal(5, 1, 20, 20), torch.tensor([3.0, 1.0, 0.0])


@LESSON.exercise(
    "5.4",
    "Remember the last guess",
    points=5,
    text="""
    DPM-Solver++(2M) asks once a step. It uses how the guess has changed since the step before to say where it is going
    ([Lu et al., 2022](https://arxiv.org/abs/2211.01095), algorithm 2). Time is measured in
    `lam = log(alpha / sigma)`. With the last step `h_last = lam_t - lam_before`, the coming step `h = lam_s - lam_t`
    and `r = h_last / h`:

    `D = (1 + 1 / (2 r)) x0 - 1 / (2 r) x0_before`
    """,
    properties={**TENSOR, "the same guess twice": 1},
    mistakes=[
        (
            "r = (lam_t - lam_before) / (lam_s - lam_t)",
            "r = (lam_s - lam_t) / (lam_t - lam_before)",
            "r is the last step over the coming one: it is upside down.",
        ),
        ("x0 + (x0 - x0_before) / (2 * r)", "x0 + (x0 - x0_before) / r", "The 2 is missing: 1 / (2 r)."),
        (
            "x0 + (x0 - x0_before) / (2 * r)",
            "x0 - (x0 - x0_before) / (2 * r)",
            "The guess goes on in the direction in which it changed: a sign.",
        ),
        (
            "x0 + (x0 - x0_before) / (2 * r)",
            "x0_before + (x0 - x0_before) / (2 * r)",
            "Go on from the newest guess, x0.",
        ),
        ("x0 + (x0 - x0_before) / (2 * r)", "x0 + (x0 - x0_before) * r / 2", "1 / (2 r), not r / 2."),
    ],
    hints=["D is x0 + (x0 - x0_before) / (2 r)."],
)
def extrapolate(x0, x0_before, lam_before, lam_t, lam_s):
    """D (b, c, h, w) of the guesses x0 and x0_before (b, c, h, w); the lam are tensors (), each larger than the last."""
    r = (lam_t - lam_before) / (lam_s - lam_t)
    return x0 + (x0 - x0_before) / (2 * r)


@extrapolate.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        lam = r.uniform(3, low=0.3, high=1.5, dtype=dtype).cumsum(0) - 2
        yield Case(
            "values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), lam[0], lam[1], lam[2] + 0.7)
        )
    x0 = r.normal(1, 2, 4, 3)
    yield Case("the same guess twice", (x0, x0.clone(), torch.tensor(-1.0), torch.tensor(0.5), torch.tensor(0.8)))


@extrapolate.picture
def _(r):
    x0, eps = r.digits(5), r.normal(5, 1, 20, 20)
    return x0 + 0.1 * eps, 0.6 * x0 + 0.3 * eps, torch.tensor(0.9), torch.tensor(0.2), torch.tensor(1.5)


@LESSON.exercise(
    "5.5",
    "A step in the exponent",
    points=5,
    text="""
    The same solver's step is exact where the guess D does not change. For any alpha and sigma, with
    `h = log(alpha_s / sigma_s) - log(alpha_t / sigma_t)`
    ([Lu et al., 2022](https://arxiv.org/abs/2211.01095), algorithm 2):

    `xs = (sigma_s / sigma_t) xt - alpha_s (exp(-h) - 1) D`
    """,
    properties={**TENSOR, "a tiny step": 1},
    mistakes=[
        ("torch.exp(-h) - 1", "torch.exp(h) - 1", "The sign of h: exp(-h)."),
        (
            "- alpha_s * (torch.exp(-h) - 1) * guess",
            "+ alpha_s * (torch.exp(-h) - 1) * guess",
            "exp(-h) - 1 is negative and is subtracted.",
        ),
        ("sigma_s / sigma_t * xt", "alpha_s / alpha_t * xt", "xt shrinks as its noise does: by sigma_s / sigma_t."),
        (
            "- alpha_s * (torch.exp(-h) - 1) * guess",
            "- alpha_t * (torch.exp(-h) - 1) * guess",
            "The guess has the scale of the next time: alpha_s.",
        ),
        (
            "h = (alpha_s / sigma_s).log() - (alpha_t / sigma_t).log()",
            "h = 2 * ((alpha_s / sigma_s).log() - (alpha_t / sigma_t).log())",
            "h is half of the log SNR's change: the ratio is not squared.",
        ),
    ],
    hints=["torch.exp(-h) - 1 times alpha_s times the guess, taken from sigma_s / sigma_t times xt."],
)
def exponential_step(xt, guess, alpha_t, sigma_t, alpha_s, sigma_s):
    """xs (b, c, h, w) of xt and the guess D (b, c, h, w); the scales are tensors ()."""
    h = (alpha_s / sigma_s).log() - (alpha_t / sigma_t).log()
    return sigma_s / sigma_t * xt - alpha_s * (torch.exp(-h) - 1) * guess


@exponential_step.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        t = r.uniform(low=0.8, high=1.4, dtype=dtype)
        yield Case(
            "values",
            (
                r.normal(*shape, dtype=dtype),
                r.normal(*shape, dtype=dtype),
                t.cos(),
                t.sin(),
                (t / 2).cos(),
                (t / 2).sin(),
            ),
        )
    t = torch.tensor(0.9)
    yield Case(
        "a tiny step",
        (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), t.cos(), t.sin(), (t - 0.01).cos(), (t - 0.01).sin()),
    )


@exponential_step.picture
def _(r):
    x0, eps = r.digits(1), r.normal(1, 1, 20, 20)
    scales = [(a.cos(), a.sin()) for a in torch.tensor([1.2, 0.9, 0.6, 0.3, 0.1])]
    return [(0.1 * x0 + 0.995 * eps, x0, torch.tensor(0.1), torch.tensor(0.995), *scale) for scale in scales]


@LESSON.exercise(
    "5.6",
    "Design a grid",
    points=6,
    text="""
    Open: find times for Euler that do better than even ones. The grid goes from 80 down to 0, in the given number of steps.
    It is tried on three Gaussians, of standard deviation 0.05, 0.3 and 1, whose exact denoiser is known. What counts is
    by what share the standard deviation at the end of the walk is off, on average.
    The grid of EDM, with t_min = 0.002 and rho = 7, is off by 0.154 in 20 steps and by 0.251 in 12.
    Stay at or below 0.15 and 0.24.
    """,
    properties={"values": 3, "12 steps": 2},
    hints=["Start from the grid of 5.2. Which t_min and which rho are best for so few steps?"],
    judge="few_steps",
)
def my_grid(steps):
    """Falling times (steps + 1,) from 80 to 0."""
    ramp = torch.linspace(80 ** (1 / 10), 0.01 ** (1 / 10), steps, dtype=torch.float64)
    return torch.cat([ramp**10, torch.zeros(1, dtype=torch.float64)])


@my_grid.cases
def _(r):
    yield Case("values", (12,))
    yield Case("values", (20,))
