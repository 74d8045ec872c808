from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson
from minidiff.grading.wire import Belief

LESSON = Lesson(
    "12",
    "colour_photos",
    "Colour photos",
    """
    Photographs need more care than digits: a network whose inputs and outputs have unit scale at every noise level,
    weights that are averaged, and a few tricks around the data.
    """,
)


@LESSON.exercise(
    "12.1",
    "Mirror some",
    points=3,
    text="""
    A mirrored frog is still a frog, and so the data double for nothing. `r` holds one random number in [0, 1) for each
    picture. Mirror those, left to right, whose number is below 0.5. (Would you do that with digits?)
    """,
    properties={**TENSOR, "one column": 1},
    mistakes=[
        ("x.flip(-1)", "x.flip(-2)", "Left to right: the last axis. That is upside down."),
        ("r < 0.5", "r > 0.5", "Mirror those whose number is below 0.5."),
        ("x.flip(-1)", "x.flip(0)", "That exchanges the pictures. Mirror each along its last axis."),
        ("torch.where((r < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)", "x.flip(-1)", "Only some of them."),
    ],
    hints=["torch.where with a (b, 1, 1, 1) condition chooses picture by picture."],
)
def mirror_some(x, r):
    """x (b, c, h, w) with some pictures mirrored; r is (b,)."""
    return torch.where((r < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)


@mirror_some.cases
def _(r):
    numbers = torch.tensor([0.1, 0.8, 0.3, 0.9, 0.6])
    for dtype in (torch.float32, torch.float64):
        yield Case("values", (r.normal(5, 3, 4, 6, dtype=dtype), numbers[torch.randperm(5, generator=r.generator)]))
    yield Case("one column", (r.normal(2, 3, 4, 1), torch.tensor([0.2, 0.7])))


@mirror_some.picture
def _(r):
    return r.digits(6), torch.tensor([0.1, 0.9, 0.4, 0.6, 0.2, 0.7])


@LESSON.exercise(
    "12.2",
    "Average the weights",
    points=3,
    text="""
    The weights of a training jump from step to step. Their moving average draws better pictures:
    `average = decay average + (1 - decay) weight`, for each tensor. Return new tensors; leave both lists as they are.
    """,
    properties={**TENSOR, "decay 0 takes the new ones": 1},
    mistakes=[
        ("decay * a + (1 - decay) * w", "(1 - decay) * a + decay * w", "decay is the share of the old average."),
        ("decay * a + (1 - decay) * w", "decay * a + w", "The new weights have the share 1 - decay."),
        (
            "decay * a + (1 - decay) * w",
            "a.mul_(decay).add_(w, alpha=1 - decay)",
            "Make new tensors: this changes the ones that you were given.",
        ),
        ("decay * a + (1 - decay) * w", "(a + w) / 2", "The shares are decay and 1 - decay."),
    ],
    hints=["A list comprehension over zip(average, weights)."],
)
def average_weights(average, weights, decay):
    """The new average, a list of tensors, of two lists of tensors of the same shapes; decay is a number."""
    return [decay * a + (1 - decay) * w for a, w in zip(average, weights)]


@average_weights.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shapes = ((3, 2), (4,), (2, 3, 5))
        yield Case(
            "values",
            (
                [r.normal(*s, dtype=dtype) for s in shapes],
                [r.normal(*s, dtype=dtype) for s in shapes],
                r.number(0.6, 0.9),
            ),
        )
    yield Case("decay 0 takes the new ones", ([r.normal(2)], [r.normal(2)], 0.0))


@average_weights.picture
def _(r):
    one, other = r.digits(2).split(1)
    return [([one], [other], decay) for decay in (1.0, 0.75, 0.5, 0.25, 0.0)]


@LESSON.exercise(
    "12.3",
    "Unit scale in, unit scale out",
    points=6,
    text="""
    With alpha = 1 the noise grows to 80, and no network likes such inputs. EDM wraps it
    ([Karras et al., 2022](https://arxiv.org/abs/2206.00364), eq. 7 and table 1):
    `x0 = c_skip xt + c_out net(c_in xt, c_noise)`, where d is the standard deviation of the data and

    - `c_skip = d^2 / (sigma^2 + d^2)`
    - `c_out = sigma d / sqrt(sigma^2 + d^2)`
    - `c_in = 1 / sqrt(sigma^2 + d^2)`
    - `c_noise = log(sigma) / 4`

    `net(x, c_noise)` is given. Return x0.
    """,
    properties={**TENSOR, "much noise": 1, "little noise": 1},
    mistakes=[
        ("c_in * xt, c_noise", "xt, c_noise", "The network sees c_in xt."),
        (
            "c_skip = d**2 / (sigma**2 + d**2)",
            "c_skip = sigma**2 / (sigma**2 + d**2)",
            "With little noise xt is nearly the answer: c_skip must go to 1 there.",
        ),
        ("c_out = sigma * d / total", "c_out = sigma * d / total**2", "c_out has a square root below."),
        ("c_noise = sigma.log() / 4", "c_noise = sigma", "The network is told log(sigma) / 4."),
        ("c_in = 1 / total", "c_in = 1 / total**2", "c_in has a square root below: it is one over the scale of xt."),
        ("c_skip * xt + c_out", "xt + c_out", "xt is weighed by c_skip."),
    ],
    hints=["total = sqrt(sigma^2 + d^2) is the standard deviation of xt.", "At sigma = d, c_skip is one half."],
)
def precondition(net, xt, sigma, d):
    """x0 (b, c, h, w) of xt (b, c, h, w) at noise sigma (); d is a number, net is (x, c_noise ()) -> (b, c, h, w)."""
    total = (sigma**2 + d**2).sqrt()
    c_skip = d**2 / (sigma**2 + d**2)
    c_out = sigma * d / total
    c_in = 1 / total
    c_noise = sigma.log() / 4
    return c_skip * xt + c_out * net(c_in * xt, c_noise)


@precondition.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        net = Belief(r.uniform(low=0.3, high=0.8, dtype=dtype), r.normal(*shape[1:], dtype=dtype))
        yield Case("values", (net, 3 * r.normal(*shape, dtype=dtype), r.uniform(low=1.5, high=3.0, dtype=dtype), 0.5))
    net = Belief(torch.tensor(0.6), r.normal(3, 2, 4))
    yield Case("much noise", (net, 80 * r.normal(1, 3, 2, 4), torch.tensor(80.0), 0.5))
    yield Case("little noise", (net, r.normal(1, 3, 2, 4), torch.tensor(0.05), 0.5))


@precondition.picture
def _(r):
    net = Belief(torch.tensor(0.3), r.digits(1)[0])
    x0, eps = r.digits(1), r.normal(1, 1, 20, 20)
    return [(net, x0 + sigma * eps, torch.tensor(sigma), 0.5) for sigma in (0.05, 0.2, 0.5, 2.0, 20.0)]


@LESSON.exercise(
    "12.4",
    "Which noise to train on",
    points=4,
    text="""
    EDM trains most on the levels where there is something to learn: log(sigma) is normal, with a mean of -1.2 and a standard
    deviation of 1.2 ([Karras et al., 2022](https://arxiv.org/abs/2206.00364), table 1). And it weighs the squared error by
    `(sigma^2 + d^2) / (sigma d)^2`. Return both, from unit noise `n`: `(sigma, weight)`.
    """,
    properties={**TENSOR, "one": 1},
    mistakes=[
        ("(mean + std * n).exp()", "mean + std * n", "That is log(sigma)."),
        ("(mean + std * n).exp()", "(std + mean * n).exp()", "Mean and standard deviation have changed places."),
        ("/ (sigma * d) ** 2", "/ (sigma * d)", "The square below is missing."),
        (
            "(sigma**2 + d**2) / (sigma * d) ** 2",
            "(sigma * d) ** 2 / (sigma**2 + d**2)",
            "Upside down: little noise has a large weight.",
        ),
        ("(mean + std * n).exp()", "10 ** (mean + std * n)", "The natural logarithm: exp."),
    ],
    hints=["Two lines."],
)
def noise_to_train_on(n, mean, std, d):
    """(sigma, weight), both (b,), of unit noise n (b,); mean and std of log(sigma), and d, are numbers."""
    sigma = (mean + std * n).exp()
    return sigma, (sigma**2 + d**2) / (sigma * d) ** 2


@noise_to_train_on.cases
def _(r):
    yield Case("values", (r.normal(7), -1.2, 1.2, 0.5))
    yield Case("values", (r.normal(5, dtype=torch.float64), -0.4, 1.0, 0.7))
    yield Case("one", (torch.zeros(1), -1.2, 1.2, 0.5))


@noise_to_train_on.picture
def _(r):
    return torch.linspace(0, 2, 60), -1.2, 1.2, 0.5


@LESSON.exercise(
    "12.5",
    "The learning rate's way",
    points=4,
    text="""
    A training starts gently and ends gently: over the first `warmup` steps the rate rises evenly from 0 to `top`, and from
    there it falls along half a cosine to 0 at the last step. Return the rate of every step from 0 to `steps`.
    """,
    properties={"values": 3, "types": 1, "no warm-up": 1},
    mistakes=[
        (
            "0.5 * (1 + torch.cos(share * torch.pi))",
            "torch.cos(share * torch.pi / 2)",
            "Half a cosine, from 1 over 0.5 in the middle to 0: (1 + cos) / 2.",
        ),
        ("0.5 * (1 + torch.cos(share * torch.pi))", "1 - share", "It falls along a cosine, not along a line."),
        ("(i - warmup) / (steps - warmup)", "i / steps", "The fall begins when the rise has ended."),
        ("top * i / warmup", "top", "Over the first steps it rises from 0."),
        (
            "0.5 * (1 + torch.cos(share * torch.pi))",
            "0.5 * (1 - torch.cos(share * torch.pi))",
            "It must fall: (1 + cos) / 2.",
        ),
    ],
    hints=["Two formulas for all steps, and torch.where(i < warmup, rise, fall)."],
)
def rates(steps, warmup, top):
    """float32 (steps + 1,) learning rates; steps and warmup are int, warmup < steps, top is a number."""
    i = torch.arange(steps + 1)
    share = (i - warmup) / (steps - warmup)
    fall = top * 0.5 * (1 + torch.cos(share * torch.pi))
    return torch.where(i < warmup, top * i / warmup, fall)


@rates.cases
def _(r):
    yield Case("values", (int(r.whole(20, 30)), int(r.whole(4, 8)), r.number(0.5, 2)))
    yield Case("values", (int(r.whole(9, 15)), int(r.whole(2, 5)), r.number(0.5, 2)))
    yield Case("no warm-up", (6, 0, 1.0))


@rates.picture
def _(r):
    return 200, 20, 0.008
