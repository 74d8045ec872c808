from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "08",
    "prompting",
    "Prompting",
    """
    Prompts are vectors, and so one can calculate with them: add them, weigh their words, move away from one.
    And one can measure whether a picture shows what was asked for.
    """,
)


@LESSON.exercise(
    "8.1",
    "The same guidance, in the paper's letters",
    points=3,
    text="""
    The paper writes guidance with noise and with a weight w that is 0 where guidance is off:
    `(1 + w) eps - w eps_null` ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598), eq. 6).
    A negative prompt is only another "nothing": here `eps_negative` stands in its place.
    """,
    properties={**TENSOR, "w = 0 turns it off": 1},
    mistakes=[
        (
            "(1 + w) * eps - w * eps_negative",
            "w * eps - (1 + w) * eps_negative",
            "The prompt has weight 1 + w, the negative prompt -w.",
        ),
        (
            "(1 + w) * eps - w * eps_negative",
            "(1 + w) * eps + w * eps_negative",
            "Away from the negative prompt: a minus.",
        ),
        (
            "(1 + w) * eps - w * eps_negative",
            "w * eps + (1 - w) * eps_negative",
            "That is the scale of 7.1. Here w = 0 means off.",
        ),
        (
            "(1 + w) * eps - w * eps_negative",
            "(1 + w) * eps_negative - w * eps",
            "Prompt and negative prompt have changed places.",
        ),
        ("(1 + w) * eps - w * eps_negative", "eps - w * eps_negative", "The weights must add up to 1."),
    ],
    hints=["Copy the formula; which of the two is moved away from?"],
)
def away_from(eps, eps_negative, w):
    """The guided noise (b, c, h, w) of two answers of this shape; w is a number."""
    return (1 + w) * eps - w * eps_negative


@away_from.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype), r.number(0.7, 4)))
    yield Case("w = 0 turns it off", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), 0.0))


@away_from.picture
def _(r):
    eps = r.normal(1, 1, 20, 20)
    return [(eps - 0.3 * r.digits(1), eps, w) for w in (-1.0, 0.0, 1.0, 3.0)]


@LESSON.exercise(
    "8.2",
    "Several prompts at once",
    points=4,
    text="""
    Each prompt pulls in its own direction, away from nothing. Add the pulls, each with its weight
    ([Liu et al., 2022](https://arxiv.org/abs/2206.01714)): `x0_null + sum_i w_i (x0_i - x0_null)`.
    A negative weight pushes away.
    """,
    properties={**TENSOR, "one prompt": 1},
    mistakes=[
        (
            "x0_null + (weights.view(-1, 1, 1, 1, 1) * (x0s - x0_null)).sum(0)",
            "(weights.view(-1, 1, 1, 1, 1) * x0s).sum(0)",
            "Each prompt counts by its difference from nothing, and the sum is added to nothing.",
        ),
        (".sum(0)", ".mean(0)", "The pulls are added, not averaged."),
        ("(x0s - x0_null)", "(x0_null - x0s)", "The difference is the wrong way round."),
        (
            "x0_null + (weights.view(-1, 1, 1, 1, 1) * (x0s - x0_null)).sum(0)",
            "(weights.view(-1, 1, 1, 1, 1) * (x0s - x0_null)).sum(0)",
            "Add the sum to the answer to nothing.",
        ),
        (
            "weights.view(-1, 1, 1, 1, 1)",
            "weights.softmax(0).view(-1, 1, 1, 1, 1)",
            "Use the weights as they are; they need not add up to 1.",
        ),
    ],
    hints=["x0s - x0_null broadcasts over the prompts; view the weights as (k, 1, 1, 1, 1)."],
)
def combine_prompts(x0s, x0_null, weights):
    """x0 (b, c, h, w) of the answers x0s (k, b, c, h, w) to k prompts and x0_null (b, c, h, w); weights are (k,)."""
    return x0_null + (weights.view(-1, 1, 1, 1, 1) * (x0s - x0_null)).sum(0)


@combine_prompts.cases
def _(r):
    for k, dtype in ((3, torch.float32), (2, torch.float64)):
        shape = r.shape()
        yield Case(
            "values", (r.normal(k, *shape, dtype=dtype), r.normal(*shape, dtype=dtype), 2 * r.normal(k, dtype=dtype))
        )
    yield Case("one prompt", (r.normal(1, 1, 2, 4, 3), r.normal(1, 2, 4, 3), torch.tensor([2.5])))


@combine_prompts.picture
def _(r):
    x0s = r.digits(2)[:, None]
    null = torch.full((1, 1, 20, 20), -0.8)
    return [
        (x0s, null, torch.tensor(weights)) for weights in ((1.0, 0.0), (0.7, 0.3), (0.5, 0.5), (0.0, 1.0), (1.0, -0.7))
    ]


@LESSON.exercise(
    "8.3",
    "Weigh the words",
    points=4,
    text="""
    In `a (bold:1.5) seven` the word bold shall count for more. Move its vector away from that of "no word":
    `nothing + weight (ctx - nothing)`, each word by its own weight. At weight 0 it becomes
    that of "no word".
    """,
    properties={**TENSOR, "weight 1 changes nothing": 1, "weight 0 is no word": 1},
    mistakes=[
        (
            "nothing + weights[:, :, None] * (ctx - nothing)",
            "weights[:, :, None] * ctx",
            "Weigh the difference from nothing: nothing itself is not a vector of zeros.",
        ),
        (
            "nothing + weights[:, :, None] * (ctx - nothing)",
            "ctx + weights[:, :, None] * (ctx - nothing)",
            "Start at nothing: weight 1 must change nothing.",
        ),
        ("(ctx - nothing)", "(nothing - ctx)", "The difference is the wrong way round."),
        ("weights[:, :, None]", "weights.mean(1)[:, None, None]", "Each word has its own weight."),
        (
            "nothing + weights[:, :, None] * (ctx - nothing)",
            "weights[:, :, None] * (ctx - nothing)",
            "Add nothing again.",
        ),
    ],
    hints=["weights[:, :, None] gives every word's weight to all its numbers."],
)
def weigh_words(ctx, nothing, weights):
    """ctx (b, l, d) with weighted words; nothing is (1, l, d), the encoding of the empty prompt, weights are (b, l)."""
    return nothing + weights[:, :, None] * (ctx - nothing)


@weigh_words.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case(
            "values",
            (
                r.normal(3, 5, 4, dtype=dtype),
                r.normal(1, 5, 4, dtype=dtype),
                r.uniform(3, 5, low=-1.0, high=2.0, dtype=dtype),
            ),
        )
    yield Case("weight 1 changes nothing", (r.normal(1, 3, 2), r.normal(1, 3, 2), torch.ones(1, 3)))
    yield Case("weight 0 is no word", (r.normal(2, 3, 4), r.normal(1, 3, 4), torch.zeros(2, 3)))


@weigh_words.picture
def _(r):
    return r.normal(1, 6, 5), torch.zeros(1, 6, 5), torch.tensor([[1.0, 1.0, 2.0, 1.0, 0.0, 0.5]])


@LESSON.exercise(
    "8.4",
    "Too much contrast",
    points=5,
    text="""
    Strong guidance makes pictures too bright and too dark. A remedy
    ([Lin et al., 2024](https://arxiv.org/abs/2305.08891), eq. 15 and 16): scale the guided answer to the standard deviation
    of the answer to the prompt, each picture over all its numbers, and mix: `share` of that, the rest of the guided answer.
    """,
    properties={**TENSOR, "share 0 changes nothing": 1, "one picture": 1},
    mistakes=[
        (
            "std(x0) / std(guided)",
            "std(guided) / std(x0)",
            "Upside down: the guided answer gets the spread of the plain one.",
        ),
        (
            "share * rescaled + (1 - share) * guided",
            "(1 - share) * rescaled + share * guided",
            "share is the share of the rescaled answer.",
        ),
        ("x.std((1, 2, 3), keepdim=True)", "x.std()", "Each picture has its own standard deviation."),
        (
            "x.std((1, 2, 3), keepdim=True)",
            "x.var((1, 2, 3), keepdim=True)",
            "The standard deviation, not the variance.",
        ),
        ("share * rescaled + (1 - share) * guided", "rescaled", "Mix the two by share."),
    ],
    hints=["x.std((1, 2, 3), keepdim=True) is one number for each picture."],
)
def rescale(guided, x0, share):
    """The mixed answer (b, c, h, w); guided and x0, the answer to the prompt, have this shape; share is a number."""

    def std(x):
        return x.std((1, 2, 3), keepdim=True)

    rescaled = guided * (std(x0) / std(guided))
    return share * rescaled + (1 - share) * guided


@rescale.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        guided = 3 * r.normal(*shape, dtype=dtype) * r.uniform(shape[0], 1, 1, 1, low=0.5, high=2.0, dtype=dtype)
        yield Case("values", (guided, r.normal(*shape, dtype=dtype), r.number(0.6, 0.8)))
    yield Case("share 0 changes nothing", (r.normal(2, 3, 4, 5), r.normal(2, 3, 4, 5), 0.0))
    yield Case("one picture", (r.normal(1, 1, 3, 2), r.normal(1, 1, 3, 2), 0.5))


@rescale.picture
def _(r):
    x0 = 0.7 * r.digits(1)
    return [(2.5 * x0 - 0.5, x0, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


@LESSON.exercise(
    "8.5",
    "Did the picture do it?",
    points=5,
    text="""
    A judge says of each picture which digit it shows, in which ink, and so on: one number for each attribute.
    The prompt asked for some attributes and left out others, which are -1. For each attribute, return the share of the
    pictures that asked for it and got it. Where nobody asked, return nan.
    """,
    properties={**TENSOR, "nobody asked": 1},
    mistakes=[
        ("asked >= 0", "asked > 0", "0 is an attribute like any other. Only -1 means not asked."),
        (
            "(hits & said).sum(0) / said.sum(0)",
            "hits.float().mean(0)",
            "What was not asked for counts neither way: divide by the number of prompts that asked.",
        ),
        (
            "(hits & said).sum(0) / said.sum(0)",
            "(hits | ~said).float().mean(0)",
            "What was not asked for is no success: leave it out.",
        ),
        (
            "(hits & said).sum(0) / said.sum(0)",
            "(hits & said).sum(1) / said.sum(1)",
            "One share for each attribute, over the pictures: axis 0.",
        ),
        (
            "/ said.sum(0)",
            "/ said.sum(0).clamp(min=1)",
            "Where nobody asked the share is nan, not 0: 0 / 0 gives it by itself.",
        ),
    ],
    hints=["Two tables of True and False: asked for, and got. Sum their & over the pictures."],
)
def adherence(asked, found):
    """float32 (k,) shares of asked and found, both int64 (n, k)."""
    said, hits = asked >= 0, asked == found
    return (hits & said).sum(0) / said.sum(0)


@adherence.cases
def _(r):
    for n in (9, 14):
        found = r.whole(0, 3, n, 4)
        asked = torch.where(r.uniform(n, 4) < 0.6, found, r.whole(0, 3, n, 4))
        asked = torch.where(r.uniform(n, 4) < 0.3, torch.tensor(-1), asked)
        asked[:2], found[:2] = torch.tensor([[0] * 4, [-1] * 4]), torch.tensor([[0] * 4, [1] * 4])
        yield Case("values", (asked, found))
    yield Case("nobody asked", (torch.tensor([[-1, 2], [-1, 1]]), torch.tensor([[0, 2], [1, 2]])))


@adherence.picture
def _(r):
    asked = r.whole(-1, 3, 40, 6)
    return asked, torch.where(r.uniform(40, 6) < torch.linspace(0.1, 0.9, 6), asked, r.whole(0, 3, 40, 6))


@LESSON.exercise(
    "8.6",
    "Say it in three ways",
    points=3,
    text="""
    Open: write three different prompts for one picture, a bold red seven on yellow paper. Each must say all of this and
    nothing else, in words that the model of the painted digits knows. Lesson 08 lists them; there are synonyms.
    """,
    properties={"values": 2, "only known words": 1, "nothing more is asked": 1, "three different wordings": 1},
    hints=['Synonyms: "bold" and "thick", "paper" and "background"; the digit may be written "7".'],
    judge="three_prompts",
)
def three_prompts():
    """Three prompts, a list of str."""
    return [
        "a bold red seven on yellow paper",
        "a thick red 7 on a yellow background",
        "a red bold seven on yellow paper",
    ]


@three_prompts.cases
def _(r):
    yield Case("values", ())
