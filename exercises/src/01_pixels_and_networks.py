from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "01",
    "pixels_and_networks",
    "Pixels and networks",
    """
    A picture is a tensor of numbers, and a network is arithmetic on them.
    Here you turn pixels into numbers and back, and write the two operations that read a digit.
    """,
)


@LESSON.exercise(
    "1.1",
    "Bytes to numbers",
    points=2,
    text="""
    Files store a pixel as a byte from 0 to 255. Networks want numbers around 0.
    Map 0 to -1 and 255 to 1, evenly, in float32.
    """,
    properties={**TENSOR, "black and white": 1},
    mistakes=[
        ("/ 127.5 - 1", "/ 255", "That is from 0 to 1. It must go from -1 to 1."),
        ("/ 127.5 - 1", "/ 128 - 1", "White must be 1 exactly: half of 255 is 127.5."),
        ("/ 127.5 - 1", "/ 255 - 1", "Black is -1 now, but white is 0: divide by half of 255."),
        (
            "pixels.float() / 127.5 - 1",
            "pixels / torch.tensor(127, dtype=torch.uint8) - 1",
            "Turn the bytes into float32 first; 127 is not half of 255.",
        ),
    ],
    hints=["Divide by 127.5, half of 255, and take away 1."],
)
def pixels_to_numbers(pixels):
    """Numbers in [-1, 1], float32, of the shape of pixels, which are uint8."""
    return pixels.float() / 127.5 - 1


@pixels_to_numbers.cases
def _(r):
    for shape in (r.shape(), (5, 3)):
        yield Case("values", (r.whole(0, 256, *shape).to(torch.uint8),))
    yield Case("black and white", (torch.tensor([0, 255], dtype=torch.uint8),))


@pixels_to_numbers.picture
def _(r):
    return (((r.digits(5) + 1) * 127.5).to(torch.uint8),)


@LESSON.exercise(
    "1.2",
    "Numbers to bytes",
    points=3,
    text="""
    The way back. A network may answer a little outside of [-1, 1]: such pixels become 0 or 255.
    Round to the nearest byte, do not cut off.
    """,
    properties={**TENSOR, "numbers outside of [-1, 1]": 1},
    mistakes=[
        (".round()", "", "Turning a float into uint8 cuts off what is behind the point. Round first."),
        (".clamp(0, 255)", "", "Clamp to 0 and 255: outside of it a byte starts again from the other end."),
        ("(x + 1) * 127.5", "(x + 1) * 255", "x + 1 goes up to 2: multiply by half of 255."),
        ("(x + 1) * 127.5", "x * 255", "x starts at -1, not at 0: add 1 and multiply by 127.5."),
    ],
    hints=["Undo 1.1, then round, clamp and turn into torch.uint8, in this order."],
)
def numbers_to_pixels(x):
    """uint8 pixels of the shape of x, whose numbers are in about [-1, 1]."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@numbers_to_pixels.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        bytes_ = r.whole(0, 256, *r.shape()).to(dtype)
        yield Case(
            "values", ((bytes_ + r.uniform(*bytes_.shape, low=-0.4, high=0.4, dtype=dtype)).clamp(0, 255) / 127.5 - 1,)
        )
    yield Case("numbers outside of [-1, 1]", (torch.tensor([-1.3, -1.01, 1.02, 1.5]),))


@numbers_to_pixels.picture
def _(r):
    return (1.4 * r.digits(5),)


@LESSON.exercise(
    "1.3",
    "How surprised is the network?",
    points=4,
    text="""
    A classifier answers with one number (logit) for each class. Softmax turns these into probabilities;
    the loss is the mean of `-log p(right class)` over the batch.
    It must also work for logits of a thousand, where `exp` is infinite.
    """,
    properties={**TENSOR, "large logits": 1, "gradients": 1},
    mistakes=[
        ("return -right.mean()", "return -right.sum()", "The mean over the batch is wanted, not the sum."),
        ("return -right.mean()", "return right.mean()", "The sign: a log probability is negative, a loss is not."),
        (
            "logits.logsumexp(1, keepdim=True)",
            "logits.logsumexp(0, keepdim=True)",
            "Classes stand along axis 1: normalise over that one.",
        ),
        (
            "logits - logits.logsumexp(1, keepdim=True)",
            "logits.exp().log() - logits.exp().sum(1, keepdim=True).log()",
            "exp of a large logit is infinite. See torch.logsumexp.",
        ),
        (
            "logits - logits.logsumexp(1, keepdim=True)",
            "logits.softmax(1)",
            "The logarithm of the probability is missing.",
        ),
    ],
    hints=[
        "log softmax is logits - logsumexp(logits) along the classes.",
        "gather(1, labels[:, None]) picks one number of each row.",
    ],
)
def cross_entropy(logits, labels):
    """Mean of -log p(label), a tensor (), for logits (b, classes) and labels (b,)."""
    log_p = logits - logits.logsumexp(1, keepdim=True)
    right = log_p.gather(1, labels[:, None])
    return -right.mean()


@cross_entropy.cases
def _(r):
    for b, classes, dtype in ((5, 3, torch.float32), (4, 10, torch.float64)):
        yield Case("values", (2 * r.normal(b, classes, dtype=dtype), r.whole(0, classes, b)), gradients=True)
    yield Case("large logits", (torch.tensor([[1000.0, 990.0], [-2000.0, 0.0]]), torch.tensor([1, 1])))


@cross_entropy.picture
def _(r):
    logits = torch.tensor([0.0, 1.0, -1.0])
    return [(torch.stack([logits, logits + torch.tensor([x, 0.0, 0.0])]), torch.tensor([1, 0])) for x in range(-6, 7)]


@LESSON.exercise(
    "1.4",
    "A convolution by hand",
    points=6,
    text="""
    Slide a filter over the picture: each output pixel is the sum of its neighbourhood times the filter.
    As in PyTorch, the filter is not turned round. Pad with zeros so that the size stays.
    Filters are 3 x 3. Loops over the nine places are fine; `conv2d` and `unfold` are not needed.
    """,
    properties={**TENSOR, "one pixel": 1, "a filter that only copies": 1},
    mistakes=[
        (
            "kernel[:, :, i, j]",
            "kernel[:, :, 2 - i, 2 - j]",
            "Here the filter is turned round. Networks do not do that: place (0, 0) meets the upper left neighbour.",
        ),
        ("kernel[:, :, i, j]", "kernel[:, :, j, i]", "Rows and columns of the filter have changed places."),
        (
            "(1, 1, 1, 1)",
            "(2, 0, 2, 0)",
            "The result is moved by one pixel: put the picture in the middle of the padding.",
        ),
        (
            "(x, (1, 1, 1, 1))",
            "(x, (1, 1, 1, 1), value=1.0)",
            "Pad with zeros.",
        ),
    ],
    hints=[
        "torch.nn.functional.pad(x, (1, 1, 1, 1)) puts a frame of zeros around x.",
        "For each place (i, j), the part [i : i + h, j : j + w] of it times kernel[:, :, i, j], summed over c: einsum helps.",
    ],
)
def convolve(x, kernel):
    """(b, o, h, w) of x (b, c, h, w) and kernel (o, c, 3, 3)."""
    h, w = x.shape[2:]
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    out = 0
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i : i + h, j : j + w]
            out = out + torch.einsum("bchw,oc->bohw", part, kernel[:, :, i, j])
    return out


@convolve.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(6, shape[1], 3, 3, dtype=dtype)))
    yield Case("one pixel", (r.normal(1, 2, 1, 1), r.normal(3, 2, 3, 3)))
    copy = torch.zeros(1, 1, 3, 3)
    copy[0, 0, 1, 1] = 1
    yield Case("a filter that only copies", (r.normal(2, 1, 4, 3), copy))


@convolve.picture
def _(r):
    edges = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    return r.digits(5) / 2, edges.view(1, 1, 3, 3) / 2
