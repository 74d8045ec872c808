from __future__ import annotations

import math

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson
from minidiff.grading.wire import Belief, Schedule

LESSON = Lesson(
    "10",
    "editing",
    "Editing",
    """
    One loop, four tools: start the walk elsewhere, keep some pixels, move the view, turn the noise a little.
    """,
)


@LESSON.exercise(
    "10.1",
    "Start in the middle",
    points=4,
    text="""
    To redraw a picture, put noise on it and walk back from there
    ([Meng et al., 2022](https://arxiv.org/abs/2108.01073)). `strength` is the noise level at which to start.
    For the cosine process that is the time itself, so alpha is `cos(strength pi / 2)` and sigma its sine.
    Return the start `xt`.
    """,
    properties={**TENSOR, "strength 0 keeps the picture": 1, "strength 1 keeps nothing": 1},
    mistakes=[
        (
            "math.cos(angle) * image + math.sin(angle) * eps",
            "math.sin(angle) * image + math.cos(angle) * eps",
            "Strength 0 must keep the picture: the two scales have changed places.",
        ),
        (
            "math.cos(angle) * image + math.sin(angle) * eps",
            "(1 - strength) * image + strength * eps",
            "That is the straight line of Flow. Here the process is the cosine one.",
        ),
        (
            "math.cos(angle) * image + math.sin(angle) * eps",
            "image + math.sin(angle) * eps",
            "The picture shrinks as the noise grows.",
        ),
        ("angle = strength * math.pi / 2", "angle = strength * math.pi", "Strength 1 is a quarter turn, pi / 2."),
    ],
    hints=["It is 2.1 with the scales of 2.2."],
)
def start_from(image, eps, strength):
    """xt (b, c, h, w) of image and unit noise eps, both (b, c, h, w); strength is a number in [0, 1]."""
    angle = strength * math.pi / 2
    return math.cos(angle) * image + math.sin(angle) * eps


@start_from.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), r.number(0.15, 0.42)))
    yield Case("strength 0 keeps the picture", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 0.0))
    yield Case("strength 1 keeps nothing", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 1.0))


@start_from.picture
def _(r):
    x0 = r.digits(5)
    return x0, r.normal(*x0.shape), 0.45


@LESSON.exercise(
    "10.2",
    "The rest of the way",
    points=4,
    text="""
    A walk that starts in the middle needs the rest of the time grid: `start` itself, and then every time of `ts` that is
    smaller. `ts` falls to 0. If `start` is a time of the grid, it must not come twice.
    """,
    properties={**TENSOR, "a start that is on the grid": 1, "a start below all but 0": 1},
    mistakes=[
        ("ts[ts < start]", "ts[ts <= start]", "A start that is on the grid comes twice: only smaller times."),
        (
            "torch.cat([ts.new_tensor([start]), ts[ts < start]])",
            "ts[ts < start]",
            "The walk begins at start: put it first.",
        ),
        ("ts[ts < start]", "ts[ts > start]", "The times after the start are the smaller ones: a walk goes down."),
        (
            "torch.cat([ts.new_tensor([start]), ts[ts < start]])",
            "start * ts / ts[0]",
            "That squeezes the whole grid. Keep its times below start, so that fewer steps remain.",
        ),
    ],
    hints=["ts[ts < start] picks times; torch.cat joins."],
)
def rest_of_the_way(ts, start):
    """The times (n,) of the walk from start, a number, along ts (steps + 1,); the number format is that of ts."""
    return torch.cat([ts.new_tensor([start]), ts[ts < start]])


@rest_of_the_way.cases
def _(r):
    for steps, dtype in ((int(r.whole(5, 9)), torch.float64), (int(r.whole(9, 14)), torch.float32)):
        yield Case("values", (torch.linspace(1, 0, steps + 1, dtype=dtype), r.number(0.51, 0.59)))
    yield Case("a start that is on the grid", (torch.linspace(1, 0, 5), 0.5))
    yield Case("a start below all but 0", (torch.linspace(1, 0, 5), 0.1))


@rest_of_the_way.picture
def _(r):
    return torch.linspace(1, 0, 41, dtype=torch.float64), 0.6


@LESSON.exercise(
    "10.3",
    "Keep what is known",
    points=3,
    text="""
    To fill a hole, put the known pixels back into the network's guess at every step: where `mask` is True the pixel of
    `known`, elsewhere the guess. The mask may be smaller than the picture, such as (h, w) for all pictures.
    """,
    properties={**TENSOR, "a mask for all pictures": 1, "nothing is known": 1},
    mistakes=[
        ("torch.where(mask, known, x0)", "torch.where(mask, x0, known)", "True means known: the wrong way round."),
        ("torch.where(mask, known, x0)", "known", "Only the known pixels; the others stay as guessed."),
        ("torch.where(mask, known, x0)", "x0 * ~mask", "Where the mask is True, the known pixel must stand, not 0."),
        (
            "torch.where(mask, known, x0)",
            "torch.where(mask, (known + x0) / 2, x0)",
            "A known pixel is known: do not mix it with the guess.",
        ),
    ],
    hints=["torch.where chooses place by place, and broadcasts."],
)
def keep_known(x0, known, mask):
    """x0 (b, c, h, w) with known pixels; known has its shape, mask is True or False and broadcasts to it."""
    return torch.where(mask, known, x0)


@keep_known.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), r.uniform(*shape) < 0.5))
    yield Case("a mask for all pictures", (r.normal(2, 3, 4, 5), r.normal(2, 3, 4, 5), r.uniform(4, 5) < 0.5))
    yield Case("nothing is known", (r.normal(1, 2, 3, 4), r.normal(1, 2, 3, 4), torch.zeros(3, 4, dtype=torch.bool)))


@keep_known.picture
def _(r):
    across, down = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="xy")
    return r.normal(5, 1, 20, 20), r.digits(5), across + down < 20


@LESSON.exercise(
    "10.4",
    "Turn the noise",
    points=4,
    text="""
    Variations of a picture come from noise that is nearly the same. A sum of two noises has too large a scale, and their
    mean too small a one. A turn keeps it: `cos(a) eps + sin(a) other`, with `a` the share `amount` of a quarter turn.
    """,
    properties={**TENSOR, "amount 0 is the same noise": 1},
    mistakes=[
        (
            "math.cos(a) * eps + math.sin(a) * other",
            "(1 - amount) * eps + amount * other",
            "The scale of a mean of two noises is below 1. Turn instead: cosine and sine.",
        ),
        (
            "math.cos(a) * eps + math.sin(a) * other",
            "eps + amount * other",
            "The scale of a sum of two noises is above 1. Turn instead: cosine and sine.",
        ),
        (
            "math.cos(a) * eps + math.sin(a) * other",
            "math.sin(a) * eps + math.cos(a) * other",
            "Amount 0 must give the first noise.",
        ),
        ("a = amount * math.pi / 2", "a = amount", "amount is a share of a quarter turn: times pi / 2."),
    ],
    hints=["cos^2 + sin^2 = 1 keeps the variance at 1."],
)
def turn_noise(eps, other, amount):
    """Unit noise between eps and other, both (b, c, h, w); amount is a number in [0, 1]."""
    a = amount * math.pi / 2
    return math.cos(a) * eps + math.sin(a) * other


@turn_noise.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), r.number(0.15, 0.4)))
    yield Case("amount 0 is the same noise", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 0.0))


@turn_noise.picture
def _(r):
    across = torch.arange(20.0).expand(1, 1, 20, 20)
    stripes, bars = (1.4 * torch.where(x // 3 % 2 > 0, 1.0, -1.0) for x in (across, across.mT))
    return [(stripes.contiguous(), bars.contiguous(), amount) for amount in (0.0, 0.25, 0.5, 0.75, 1.0)]


@LESSON.exercise(
    "10.5",
    "Look beyond the edge",
    points=5,
    text="""
    To draw what lies right of the picture, move the view by `right` pixels: the picture moves left, what leaves the view is
    forgotten, and what comes into it is not known. Return the moved picture, with 0 where nothing is known,
    and a mask (h, w) that is True where it is. `right` is at least 0 and less than w.
    """,
    properties={"values": 3, "types": 1, "inputs": 1, "no move": 1},
    mistakes=[
        (
            "moved[..., : w - right] = image[..., right:]",
            "moved[..., right:] = image[..., : w - right]",
            "When the view moves right, the picture moves left.",
        ),
        (
            "moved[..., : w - right] = image[..., right:]",
            "moved[...] = image.roll(-right, -1)",
            "What left the view on one side must not come back on the other: 0 there.",
        ),
        (
            "mask[:, : w - right] = True",
            "mask[:, w - right :] = True",
            "True means known: that is the part that was there before.",
        ),
        ("mask[:, : w - right] = True", "mask[: h - right] = True", "The view moves along the columns."),
    ],
    hints=["Start with zeros, and copy image[..., right:] to the left edge."],
)
def move_view(image, right):
    """(moved (b, c, h, w), mask (h, w) of bool) of an image (b, c, h, w); right is an int."""
    h, w = image.shape[-2:]
    moved, mask = torch.zeros_like(image), torch.zeros(h, w, dtype=torch.bool)
    moved[..., : w - right] = image[..., right:]
    mask[:, : w - right] = True
    return moved, mask


@move_view.cases
def _(r):
    yield Case("values", (r.normal(2, 3, 5, 7), 2))
    yield Case("values", (r.normal(1, 2, 4, 6, dtype=torch.float64), 4))
    yield Case("no move", (r.normal(1, 1, 3, 2), 0))


@move_view.picture
def _(r):
    return r.digits(5), 6


@LESSON.exercise(
    "10.6",
    "Fill a hole",
    points=6,
    text="""
    The whole tool: walk by steps of DDIM as in 4.5, but at every step put the known pixels into the guess, as in 10.3,
    before you use it. Then the known part stays on its own way from noise to the picture, and the hole is drawn to fit.
    """,
    properties={**TENSOR, "all is known": 1},
    mistakes=[
        ("torch.where(mask, known, denoise(xt, t))", "torch.where(mask, denoise(xt, t), known)", "True means known."),
        (
            "torch.where(mask, known, denoise(xt, t))",
            "denoise(xt, t)",
            "The known pixels are not used: put them into every guess.",
        ),
        ("denoise(xt, t)", "denoise(xt, s)", "The network must be told the noise level that xt has now: t."),
        (
            "eps = (xt - process.alpha(t) * x0) / process.sigma(t)",
            "eps = (xt - process.alpha(t) * denoise(xt, t)) / process.sigma(t)",
            "The believed noise must fit the guess with the known pixels in it.",
        ),
        (
            "xt = process.alpha(s) * x0 + process.sigma(s) * eps",
            "xt = process.alpha(s) * x0 + process.sigma(t) * eps",
            "Mix for the next time: sigma(s).",
        ),
    ],
    hints=["It is 4.5 with one more torch.where."],
)
def fill_hole(denoise, process, xt, ts, known, mask):
    """x0 (b, c, h, w) at the end of a walk from xt along ts (steps + 1,), the last of which is 0; mask (h, w)."""
    for t, s in zip(ts[:-1], ts[1:]):
        x0 = torch.where(mask, known, denoise(xt, t))
        eps = (xt - process.alpha(t) * x0) / process.sigma(t)
        xt = process.alpha(s) * x0 + process.sigma(s) * eps
    return xt


@fill_hole.cases
def _(r):
    for name, dtype in (("cosine", torch.float32), ("flow", torch.float64)):
        _, c, h, w = shape = r.shape()
        belief = Belief(r.uniform(low=0.3, high=0.8, dtype=dtype), r.normal(c, h, w, dtype=dtype))
        ts = torch.linspace(0.95, 0.02, 5, dtype=dtype)
        yield Case(
            "values",
            (
                belief,
                Schedule(name),
                r.normal(*shape, dtype=dtype),
                ts,
                r.normal(*shape, dtype=dtype),
                r.uniform(h, w) < 0.5,
            ),
        )
    belief, known = Belief(torch.tensor(0.5), r.normal(1, 3, 2)), r.normal(2, 1, 3, 2)
    everything = torch.ones(3, 2, dtype=torch.bool)
    yield Case(
        "all is known",
        (belief, Schedule("cosine"), r.normal(2, 1, 3, 2), torch.tensor([0.95, 0.5, 0.0]), known, everything),
    )


@fill_hole.picture
def _(r):
    digits = r.digits(5)
    belief = Belief(torch.tensor(0.1), 0.9 * digits.mean(0))
    left = torch.arange(20).expand(20, 20) < 11
    return belief, Schedule("cosine"), r.normal(5, 1, 20, 20), torch.linspace(0.95, 0, 6), digits, left
