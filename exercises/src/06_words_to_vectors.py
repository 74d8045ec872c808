from __future__ import annotations

import math
import re

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "06",
    "words_to_vectors",
    "Words to vectors",
    """
    A network knows no words, only numbers. Here you number the words, place them, and let them look at one another.
    """,
)
WORDS = "a an seven three eight red blue bold small large leaning left right on yellow paper in the top corner".split()


def _caption(r, n):
    return " ".join(r.pick(WORDS) for _ in range(n))


@LESSON.exercise(
    "6.1",
    "Split a caption",
    points=2,
    text="""
    Split a caption into its words: lower-case, in order. A word is a run of letters a to z or a run of digits.
    All else, such as commas and spaces, only separates.
    """,
    properties={"values": 3, "nothing in it": 1},
    mistakes=[
        ("caption.lower()", "caption", 'Make the caption lower-case first: "A" and "a" are one word.'),
        ('r"[a-z]+|[0-9]+"', 'r"[a-z]+"', "Numbers are words, too."),
        ('r"[a-z]+|[0-9]+"', 'r"[a-z0-9]+"', 'A run of digits ends a word of letters: "no7" is two words.'),
        (
            're.findall(r"[a-z]+|[0-9]+", caption.lower())',
            "caption.lower().split()",
            "Commas and full stops are not part of a word.",
        ),
    ],
    hints=["re.findall with a pattern for a run of letters or a run of digits."],
)
def caption_words(caption):
    """The words of the caption, a list of str."""
    return re.findall(r"[a-z]+|[0-9]+", caption.lower())


@caption_words.cases
def _(r):
    yield Case("values", (f"A {r.pick(WORDS)}, {_caption(r, 3)}.",))
    yield Case("values", (f"{_caption(r, 2).title()}  no{int(r.whole(2, 90))}; {r.pick(WORDS)}!",))
    yield Case("values", ("The digit 7 (large)\n on BLUE paper",))
    yield Case("nothing in it", ("",))
    yield Case("nothing in it", (" ... ",))


@LESSON.exercise(
    "6.2",
    "The vocabulary",
    points=2,
    text="""
    Which words are there? Return every word of the captions once, in alphabetical order.
    The captions are lower-case, with one space between words.
    """,
    properties={"values": 3, "no captions": 1},
    mistakes=[
        (
            "sorted({word for caption in captions for word in caption.split()})",
            "sorted(word for caption in captions for word in caption.split())",
            "Each word once: use a set.",
        ),
        (
            "sorted({word for caption in captions for word in caption.split()})",
            "list(dict.fromkeys(word for caption in captions for word in caption.split()))",
            "In alphabetical order, so that the numbers do not hang on the order of the captions.",
        ),
        ("caption.split()", "caption", "Those are letters. Split each caption into words."),
    ],
    hints=["sorted of a set."],
)
def vocabulary(captions):
    """The words of all captions, a sorted list of str."""
    return sorted({word for caption in captions for word in caption.split()})


@vocabulary.cases
def _(r):
    for n in (4, 7):
        yield Case("values", ([_caption(r, 5) + " the a" for _ in range(n)],))
    yield Case("no captions", ([],))


@LESSON.exercise(
    "6.3",
    "Words to numbers",
    points=3,
    text="""
    Number the words: the first of the vocabulary is 1. The number 0 means "no word" and fills up a caption that is
    shorter than `length`. What goes beyond `length` is cut off. Every word is in the vocabulary.
    """,
    properties={"values": 3, "types": 1, "an empty caption": 1, "a caption that is too long": 1},
    mistakes=[
        ("words.index(word) + 1", "words.index(word)", "The first word is number 1: 0 is kept for no word."),
        (
            "numbers + [0] * (length - len(numbers))",
            "[0] * (length - len(numbers)) + numbers",
            "Fill up behind the words, not before them.",
        ),
        ("[:length]", "", "Cut off what goes beyond length."),
        (
            "numbers + [0] * (length - len(numbers))",
            "numbers + [len(words) + 1] * (length - len(numbers))",
            "No word is number 0.",
        ),
    ],
    hints=["Numbers first, cut to length, then zeros."],
)
def encode_caption(caption, words, length):
    """int64 numbers (length,) of a caption with one space between words; words is the vocabulary, a list of str."""
    numbers = [words.index(word) + 1 for word in caption.split()][:length]
    return torch.tensor(numbers + [0] * (length - len(numbers)), dtype=torch.long)


@encode_caption.cases
def _(r):
    words = sorted(set(WORDS))
    for n in (3, 5):
        yield Case("values", (_caption(r, n), words, 7))
    yield Case("an empty caption", ("", words, 4))
    yield Case("a caption that is too long", (_caption(r, 9), words, 6))


@encode_caption.picture
def _(r):
    words = ["a", "bold", "eight", "on", "paper", "red", "seven"]
    return [(caption, words, 6) for caption in ("a red seven", "a bold eight on red paper", "seven")]


@LESSON.exercise(
    "6.4",
    "Sines for places",
    points=4,
    text="""
    Attention does not see the order of the words. So every place gets a vector of its own
    ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.5), from `angle = place / 10000^(2 i / dim)`:
    column 2 i holds its sine, column 2 i + 1 its cosine, for i = 0 to dim / 2 - 1. Places count from 0.
    """,
    properties={"values": 3, "types": 1, "one place": 1},
    mistakes=[
        ("10000 ** (2 * i / dim)", "10000 ** (i / dim)", "The exponent is 2 i / dim."),
        (
            "torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)",
            "torch.cat([angle.sin(), angle.cos()], dim=1)",
            "Sine and cosine take turns: columns 2 i and 2 i + 1.",
        ),
        (
            "torch.stack([angle.sin(), angle.cos()], dim=2)",
            "torch.stack([angle.cos(), angle.sin()], dim=2)",
            "The sine comes first.",
        ),
        ("torch.arange(length)[:, None]", "torch.arange(1, length + 1)[:, None]", "Places count from 0."),
    ],
    hints=[
        "Angles (length, dim / 2) by broadcasting a column of places over a row of i.",
        "torch.stack(..., dim=2).flatten(1) lets two tables take turns.",
    ],
)
def places(length, dim):
    """float32 (length, dim), a row for each place; dim is even."""
    i = torch.arange(dim // 2)
    angle = torch.arange(length)[:, None] / 10000 ** (2 * i / dim)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


@places.cases
def _(r):
    yield Case("values", (int(r.whole(5, 9)), 6))
    yield Case("values", (int(r.whole(1400, 1500)), 8))
    yield Case("one place", (1, 4))


@places.picture
def _(r):
    return 24, 32


@LESSON.exercise(
    "6.5",
    "Attention",
    points=5,
    text="""
    Every query looks at all keys, and takes of the values in proportion:
    `softmax(q k^T / sqrt(d)) v` ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), eq. 1), where d is the width of q.
    """,
    properties={**TENSOR, "one key": 1, "gradients": 1},
    mistakes=[
        ("/ math.sqrt(q.shape[-1])", "", "Divide by the root of the width, or the softmax gets too sure of itself."),
        ("/ math.sqrt(q.shape[-1])", "/ q.shape[-1]", "Divide by the root of the width, not by the width."),
        (".softmax(-1)", ".softmax(-2)", "The weights of one query add up to 1: softmax over the keys, the last axis."),
        ("math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])", "The root of the width d, not of the number of keys."),
        (".softmax(-1) @ v", " @ v", "The softmax is missing."),
    ],
    hints=["k.transpose(-1, -2) is k^T for a batch."],
)
def attention(q, k, v):
    """(b, n, e) of queries q (b, n, d), keys k (b, l, d) and values v (b, l, e)."""
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


@attention.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case(
            "values",
            (r.normal(2, 5, 6, dtype=dtype), r.normal(2, 4, 6, dtype=dtype), r.normal(2, 4, 3, dtype=dtype)),
            gradients=True,
        )
    yield Case("one key", (r.normal(1, 3, 5), r.normal(1, 1, 5), r.normal(1, 1, 2)))


@attention.picture
def _(r):
    turn = torch.linspace(0, 2 * torch.pi, 16)
    places = 3 * torch.stack([turn.cos(), turn.sin()], 1)[None]
    return places, places, torch.eye(16)[None]


@LESSON.exercise(
    "6.6",
    "Several heads",
    points=6,
    text="""
    One look is not enough: one head may look for the colour, another for the size. Cut the width d into `heads` equal parts,
    next to one another; let each part attend on its own, as in 6.5; and put the results side by side again
    ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.2.2, without its projections).
    """,
    properties={**TENSOR, "one head": 1, "as many heads as numbers": 1},
    mistakes=[
        ("/ math.sqrt(d // heads)", "/ math.sqrt(d)", "The width of a head is d / heads: divide by the root of that."),
        (
            "x.view(b, -1, heads, d // heads).transpose(1, 2)",
            "x.reshape(b, heads, -1, d // heads)",
            "This cuts the words apart, not the width: view as (b, l, heads, d / heads), then swap axes 1 and 2.",
        ),
        (
            "out.transpose(1, 2).reshape(b, -1, d)",
            "out.reshape(b, -1, d)",
            "Swap the axes of heads and words back before you join.",
        ),
        (
            "x.view(b, -1, heads, d // heads).transpose(1, 2)",
            "x.view(b, -1, d // heads, heads).permute(0, 3, 1, 2)",
            "The parts of a head stand next to one another: (heads, d / heads), in this order.",
        ),
    ],
    hints=[
        "(b, l, d) -> (b, l, heads, d / heads) -> (b, heads, l, d / heads), then attention as before.",
        "And back: transpose(1, 2), then reshape to (b, n, d).",
    ],
)
def many_heads(q, k, v, heads):
    """(b, n, d) of queries (b, n, d), keys (b, l, d) and values (b, l, d)."""
    b, _, d = q.shape
    q, k, v = (x.view(b, -1, heads, d // heads).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / math.sqrt(d // heads)).softmax(-1)
    out = weights @ v
    return out.transpose(1, 2).reshape(b, -1, d)


@many_heads.cases
def _(r):
    for heads, dtype in ((2, torch.float32), (3, torch.float64)):
        yield Case(
            "values",
            (r.normal(2, 5, 12, dtype=dtype), r.normal(2, 4, 12, dtype=dtype), r.normal(2, 4, 12, dtype=dtype), heads),
        )
    yield Case("one head", (r.normal(1, 3, 6), r.normal(1, 5, 6), r.normal(1, 5, 6), 1))
    yield Case("as many heads as numbers", (r.normal(1, 3, 4), r.normal(1, 2, 4), r.normal(1, 2, 4), 4))


@many_heads.picture
def _(r):
    x = r.normal(1, 16, 8)
    return x, x, torch.eye(16, 8)[None], 2


@LESSON.exercise(
    "6.7",
    "How alike are two words?",
    points=3,
    text="""
    Meaning becomes geometry: words that are used alike point in like directions. Return the cosine of the angle between
    every two word vectors: their product, divided by both lengths. A vector of zeros is like nothing: there, return 0.
    """,
    properties={**TENSOR, "a vector of zeros": 1},
    mistakes=[
        ("unit @ unit.T", "words @ words.T", "Divide by the lengths, or long vectors look like everything."),
        (
            "keepdim=True).clamp(min=1e-12)",
            "keepdim=True).square().clamp(min=1e-12)",
            "The length is the root of the sum of squares.",
        ),
        ("words.norm(dim=1", "words.norm(dim=0", "The length of a word is taken over its numbers, axis 1."),
        (".clamp(min=1e-12)", "", "A vector of zeros has length 0: do not divide by it."),
    ],
    hints=["Make every row a unit vector first; then one matrix product does it."],
)
def similarity(words):
    """(n, n) cosines of the rows of words (n, d)."""
    unit = words / words.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit @ unit.T


@similarity.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case("values", (r.normal(5, 3, dtype=dtype) * r.uniform(5, 1, low=0.5, high=4.0, dtype=dtype),))
    yield Case("a vector of zeros", (torch.cat([r.normal(2, 4), torch.zeros(1, 4)]),))


@similarity.picture
def _(r):
    return (r.normal(4, 6).repeat_interleave(4, 0) + 0.4 * r.normal(16, 6),)
