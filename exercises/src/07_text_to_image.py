from __future__ import annotations

import math

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson
from minidiff.grading.wire import WordBelief

LESSON = Lesson(
    "07",
    "text_to_image",
    "Text to image",
    """
    How do words get into a picture? Pixels look at words, captions are left out now and then, and guidance
    makes the words count for more than they do by themselves.
    """,
)


@LESSON.exercise(
    "7.1",
    "Classifier-free guidance",
    points=3,
    text="""
    Ask twice: once with the prompt, once with nothing. Then go from the answer to nothing in the direction of the prompt,
    `scale` times as far ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598), eq. 6, with scale = 1 + w).
    """,
    properties={**TENSOR, "scale 1 turns it off": 1, "scale 0 leaves out the words": 1},
    mistakes=[
        (
            "x0_null + scale * (x0 - x0_null)",
            "x0 + scale * (x0 - x0_null)",
            "Start at the answer to nothing: with scale 1 the answer to the prompt must come out.",
        ),
        (
            "x0_null + scale * (x0 - x0_null)",
            "x0_null + scale * (x0_null - x0)",
            "That is away from the prompt: the difference is the wrong way round.",
        ),
        (
            "x0_null + scale * (x0 - x0_null)",
            "x0 + scale * (x0_null - x0)",
            "Guidance the wrong way: prompt and nothing have changed places.",
        ),
        (
            "x0_null + scale * (x0 - x0_null)",
            "scale * (x0 - x0_null)",
            "The difference is added to the answer to nothing.",
        ),
        (
            "x0_null + scale * (x0 - x0_null)",
            "scale * x0 + (1 + scale) * x0_null",
            "The weights must add up to 1: scale and 1 - scale.",
        ),
    ],
    hints=["At scale 0 you are at x0_null, at scale 1 at x0; go on along this line."],
)
def guide(x0, x0_null, scale):
    """The guided x0 (b, c, h, w) of the answers to the prompt and to nothing, both (b, c, h, w); scale is a number."""
    return x0_null + scale * (x0 - x0_null)


@guide.cases
def _(r):
    for scale, dtype in ((r.number(1.5, 4), torch.float32), (r.number(0.2, 0.8), torch.float64)):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), scale))
    yield Case("scale 1 turns it off", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 1.0))
    yield Case("scale 0 leaves out the words", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 0.0))


@guide.picture
def _(r):
    x0 = r.digits(1)
    null = torch.nn.functional.avg_pool2d(x0, 5, 1, 2)
    return [(x0, null, scale) for scale in (0.0, 1.0, 2.0, 4.0, 8.0)]


@LESSON.exercise(
    "7.2",
    "Leave captions out",
    points=2,
    text="""
    To be able to ask "with nothing", the network must have learned it: in training, some captions are replaced by `""`.
    `r` holds one random number in [0, 1) for each caption. Leave out those whose number is below `p`.
    """,
    properties={"values": 3, "inputs": 1, "p = 0 leaves out none": 1, "p = 1 leaves out all": 1},
    mistakes=[
        (
            '"" if x < p else caption',
            '"" if x > p else caption',
            "Leave out where the number is below p: the share p of all.",
        ),
        (
            '["" if x < p else caption for caption, x in zip(captions, r.tolist())]',
            "[caption for caption, x in zip(captions, r.tolist()) if x >= p]",
            'The batch keeps its size: put "" in place of the caption.',
        ),
        (
            '["" if x < p else caption for caption, x in zip(captions, r.tolist())]',
            '["" if float(r[0]) < p else caption for caption in captions]',
            "Decide for each caption by its own number.",
        ),
        ('"" if x < p', "None if x < p", 'Nothing is the empty caption, "".'),
    ],
    hints=["One list comprehension over captions and numbers."],
)
def leave_out(captions, r, p):
    """The captions (a list of b str), with "" in place of some; r is a tensor (b,), p a number."""
    return ["" if x < p else caption for caption, x in zip(captions, r.tolist())]


@leave_out.cases
def _(r):
    captions = [f"the digit {i}" for i in range(8)]
    numbers = torch.tensor([0.05, 0.95, 0.15, 0.85, 0.35, 0.65, 0.25, 0.75])
    yield Case("values", (captions, numbers[torch.randperm(8, generator=r.generator)], 0.3))
    yield Case("values", (captions[:5], numbers[:5].flip(0), 0.2))
    yield Case("p = 0 leaves out none", (captions[:3], torch.tensor([0.0, 0.5, 0.9]), 0.0))
    yield Case("p = 1 leaves out all", (captions[:3], torch.tensor([0.0, 0.5, 0.999]), 1.0))


@LESSON.exercise(
    "7.3",
    "Pixels look at words",
    points=5,
    text="""
    In cross-attention the queries come from the picture and the keys and values from the words
    ([Rombach et al., 2022](https://arxiv.org/abs/2112.10752), section 3.3). With matrices that are multiplied from the right:
    `q = x Wq`, `k = ctx Wk`, `v = ctx Wv`, then attention as in 6.5. Add the result to `x`.
    """,
    properties={**TENSOR, "one word": 1, "gradients": 1},
    mistakes=[
        (
            "x @ wq, ctx @ wk, ctx @ wv",
            "x @ wq, x @ wk.new_ones(x.shape[-1], wk.shape[1]), x",
            "Keys and values come from the words, ctx.",
        ),
        (
            "return x + ",
            "return ",
            "The result is added to x, so that a layer that has learned nothing yet changes nothing.",
        ),
        (".softmax(-1)", ".softmax(1)", "The weights of a pixel add up to 1 over the words: the last axis."),
        ("/ math.sqrt(q.shape[-1])", "", "Divide by the root of the width of q."),
        ("/ math.sqrt(q.shape[-1])", "/ math.sqrt(ctx.shape[-1])", "The width is that of q, not that of the words."),
    ],
    hints=["Three products, then (q @ k.transpose(1, 2) / sqrt(d)).softmax(-1) @ v."],
)
def look_at_words(x, ctx, wq, wk, wv):
    """(b, n, c) of pixels x (b, n, c) and words ctx (b, l, e); wq is (c, d), wk (e, d) and wv (e, c)."""
    q, k, v = x @ wq, ctx @ wk, ctx @ wv
    return x + (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


@look_at_words.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        args = (r.normal(2, 6, 5, dtype=dtype), r.normal(2, 4, 3, dtype=dtype))
        yield Case(
            "values",
            (*args, r.normal(5, 7, dtype=dtype), r.normal(3, 7, dtype=dtype), r.normal(3, 5, dtype=dtype)),
            gradients=True,
        )
    yield Case("one word", (r.normal(1, 4, 2), r.normal(1, 1, 3), r.normal(2, 5), r.normal(3, 5), r.normal(3, 2)))


@look_at_words.picture
def _(r):
    x = torch.linspace(-2, 2, 16).view(1, 16, 1) * torch.ones(1, 1, 4)
    return x, r.normal(1, 4, 3), torch.ones(4, 5), r.normal(3, 5), r.normal(3, 4)


@LESSON.exercise(
    "7.4",
    "Guidance at some levels only",
    points=5,
    text="""
    `denoiser(xt, t, ctx)` returns x0. Write the guided version: ask with the prompt `ctx` and with nothing, `null`, and
    combine as in 7.1. But only where the noise level lies from `low` to `high`, both ends included
    ([Kynkaanniemi et al., 2024](https://arxiv.org/abs/2404.07724)); elsewhere the answer to the prompt is the answer.
    """,
    properties={**TENSOR, "outside of the interval": 1, "at its ends": 1},
    mistakes=[
        (
            "return denoiser(xt, t, ctx)",
            "return denoiser(xt, t, null)",
            "Outside of the interval the prompt still counts, without guidance.",
        ),
        ("low <= level <= high", "low < level < high", "Both ends belong to the interval."),
        ("low <= level <= high", "low <= level", "There is an upper end as well."),
        ("x0_null + scale * (x0 - x0_null)", "x0 + scale * (x0_null - x0)", "Prompt and nothing have changed places."),
        ("x0_null + scale * (x0 - x0_null)", "x0 + scale * (x0 - x0_null)", "Start at the answer to nothing."),
    ],
    hints=["First the case outside of the interval, with an early return."],
)
def guided_in(denoiser, xt, t, ctx, null, scale, level, low, high):
    """x0 (b, c, h, w) of xt (b, c, h, w) at time t (); ctx and null are (b, l, d), the others numbers."""
    if not low <= level <= high:
        return denoiser(xt, t, ctx)
    x0, x0_null = denoiser(xt, t, ctx), denoiser(xt, t, null)
    return x0_null + scale * (x0 - x0_null)


def _asked(r, level, low, high, dtype=torch.float32):
    shape = r.shape()
    denoiser = WordBelief(r.uniform(low=0.3, high=0.9, dtype=dtype), r.normal(*shape[1:], dtype=dtype))
    words = (r.normal(shape[0], 4, 3, dtype=dtype), r.normal(shape[0], 4, 3, dtype=dtype))
    return (
        denoiser,
        r.normal(*shape, dtype=dtype),
        torch.tensor(level, dtype=dtype),
        *words,
        r.number(2, 4),
        level,
        low,
        high,
    )


@guided_in.cases
def _(r):
    yield Case("values", _asked(r, r.number(0.3, 0.6), 0.1, 0.9))
    yield Case("values", _asked(r, r.number(0.3, 0.6), 0.0, 1.0, torch.float64))
    yield Case("outside of the interval", _asked(r, 0.05, 0.2, 0.8))
    yield Case("outside of the interval", _asked(r, 0.95, 0.2, 0.8))
    yield Case("at its ends", _asked(r, 0.2, 0.2, 0.8))
    yield Case("at its ends", _asked(r, 0.8, 0.2, 0.8))


@guided_in.picture
def _(r):
    belief = WordBelief(torch.tensor(0.2), 0.8 * r.digits(1)[0])
    xt, ctx, null = 0.5 * r.normal(1, 1, 20, 20), torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    return [(belief, xt, torch.tensor(t), ctx, null, 3.0, t, 0.3, 0.7) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]


@LESSON.exercise(
    "7.5",
    "Where did the word go?",
    points=5,
    text="""
    The weights of cross-attention say which pixel looked at which word. Make a heat map of one word for each picture:
    the mean over the heads, laid out as rows and columns, and scaled so that its largest place is 1
    (after [Tang et al., 2023](https://arxiv.org/abs/2210.04885)).
    """,
    properties={**TENSOR, "one head, one row": 1},
    mistakes=[
        ("weights[..., word].mean(1)", "weights[..., word].sum(1).clamp(max=1)", "The mean over the heads, axis 1."),
        ("weights[..., word].mean(1)", "weights[:, 0, :, word]", "Average over all heads, not only the first."),
        ("flat.amax(1, keepdim=True)", "flat.amax()", "Each picture's own largest place becomes 1."),
        ("flat.amax(1, keepdim=True)", "flat.sum(1, keepdim=True)", "Scale by the largest place, not by the sum."),
        (
            ".view(-1, height, width)",
            ".view(-1, width, height).transpose(1, 2)",
            "Pixels are counted row by row: view as (height, width).",
        ),
    ],
    hints=["Pick the word, average over the heads, divide by amax, then view as (b, height, width)."],
)
def heat_map(weights, word, height, width):
    """(b, height, width) of weights (b, heads, height * width, words), for the word of this number."""
    flat = weights[..., word].mean(1)
    return (flat / flat.amax(1, keepdim=True)).view(-1, height, width)


@heat_map.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        h, w = int(r.whole(2, 4)), int(r.whole(5, 7))
        yield Case("values", ((2 * r.normal(3, 4, h * w, 6, dtype=dtype)).softmax(-1), int(r.whole(0, 6)), h, w))
    yield Case("one head, one row", (r.normal(1, 1, 5, 3).softmax(-1), 2, 1, 5))


@heat_map.picture
def _(r):
    ink = (r.digits(4) + 1) / 2
    weights = torch.stack([ink.flatten(1), 1 - ink.flatten(1)], 2)[:, None]
    return (weights * torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)).contiguous(), 0, 20, 20
