from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "09",
    "latent_space",
    "Latent space",
    """
    A VAE folds a picture into fewer numbers, and a diffusion model then draws in those. Here you write the loss of the
    VAE, the trick that lets gradients through chance, and the two numbers that make its latents fit for diffusion.
    """,
)


@LESSON.exercise(
    "9.1",
    "Fold the pixels",
    points=4,
    text="""
    The cheapest way to fewer places: each square of `f` x `f` pixels becomes one place with `f * f` times the channels.
    Nothing is lost. The channels of a square stand in the order channel, row, column, as in `pixel_unshuffle`,
    which is not to be used here.
    """,
    properties={**TENSOR, "one square": 1},
    mistakes=[
        ("permute(0, 1, 3, 5, 2, 4)", "permute(0, 1, 5, 3, 2, 4)", "Within a square the row comes before the column."),
        (
            "permute(0, 1, 3, 5, 2, 4)",
            "permute(0, 3, 5, 1, 2, 4)",
            "The channel comes first, then row and column within the square.",
        ),
        (
            "x.view(b, c, h // f, f, w // f, f).permute(0, 1, 3, 5, 2, 4)",
            "x.view(b, c, f, h // f, f, w // f).permute(0, 1, 2, 4, 3, 5)",
            "Neighbours belong to one square: split h into (h / f, f), not into (f, h / f).",
        ),
    ],
    hints=["view as (b, c, h / f, f, w / f, f), permute, reshape."],
)
def fold(x, f):
    """(b, c * f * f, h / f, w / f) of x (b, c, h, w)."""
    b, c, h, w = x.shape
    parts = x.view(b, c, h // f, f, w // f, f).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(b, c * f * f, h // f, w // f)


@fold.cases
def _(r):
    yield Case("values", (r.normal(2, 3, 4, 6), 2))
    yield Case("values", (r.normal(1, 2, 9, 6, dtype=torch.float64), 3))
    yield Case("one square", (r.normal(1, 1, 2, 2), 2))


@fold.picture
def _(r):
    return r.digits(2), 2


@LESSON.exercise(
    "9.2",
    "Chance that gradients pass",
    points=3,
    text="""
    The encoder says where a latent may lie: `mean` and log variance. Draw one, so that gradients reach both:
    the mean plus the standard deviation times unit noise
    ([Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114), section 2.4).
    """,
    properties={**TENSOR, "gradients": 1, "hardly any variance": 1},
    mistakes=[
        (
            "(0.5 * logvar).exp()",
            "logvar.exp()",
            "That is the variance. The standard deviation is its root: exp(logvar / 2).",
        ),
        ("(0.5 * logvar).exp()", "logvar", "logvar is a logarithm: take exp of half of it."),
        ("(0.5 * logvar).exp()", "(2 * logvar).exp()", "The root halves the logarithm: exp(logvar / 2)."),
        (
            "(0.5 * logvar).exp() * eps",
            "((0.5 * logvar).exp() * eps).detach()",
            "Gradients must reach logvar, too: no detach.",
        ),
    ],
    hints=["The root of exp(l) is exp(l / 2)."],
)
def draw_latent(mean, logvar, eps):
    """z of mean, logvar and unit noise eps, all of one shape."""
    return mean + (0.5 * logvar).exp() * eps


@draw_latent.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", tuple(r.normal(*shape, dtype=dtype) for _ in range(3)), gradients=True)
    yield Case("hardly any variance", (r.normal(2, 3), torch.full((2, 3), -20.0), r.normal(2, 3)))


@draw_latent.picture
def _(r):
    mean = r.digits(1).expand(5, -1, -1, -1).contiguous()
    logvar = torch.linspace(-6, 1, 5).view(-1, 1, 1, 1).expand_as(mean).contiguous()
    return mean, logvar, r.normal(5, 1, 20, 20)


@LESSON.exercise(
    "9.3",
    "How far from a unit Gaussian?",
    points=4,
    text="""
    The divergence of `N(mean, exp(logvar))` from `N(0, 1)`, for each number on its own
    ([Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114), appendix B):
    `(mean^2 + exp(logvar) - 1 - logvar) / 2`. Return its sum over all but the batch.
    """,
    properties={**TENSOR, "gradients": 1, "a unit Gaussian": 1},
    mistakes=[
        ("0.5 * (mean", "1.0 * (mean", "The half is missing."),
        ("- 1 - logvar", "+ 1 + logvar", "The signs: of a unit Gaussian it is 0."),
        (
            "logvar.exp()",
            "(2 * logvar).exp()",
            "logvar is already that of the variance, not of the standard deviation.",
        ),
        ("mean.square()", "mean.abs()", "The mean is squared."),
        (".flatten(1).sum(1)", ".flatten(1).mean(1)", "The sum over the numbers is wanted."),
        (".flatten(1).sum(1)", ".sum()", "One value for each picture."),
    ],
    hints=["Check: mean 0 and logvar 0 give 0."],
)
def kl_to_unit(mean, logvar):
    """(b,) of mean and logvar, both (b, d, h, w)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)


@kl_to_unit.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        yield Case("values", (r.normal(*shape, dtype=dtype), r.normal(*shape, dtype=dtype)), gradients=True)
    yield Case("a unit Gaussian", (torch.zeros(2, 1, 3, 2), torch.zeros(2, 1, 3, 2)))


@kl_to_unit.picture
def _(r):
    return torch.linspace(-3, 3, 40).view(-1, 1, 1, 1), torch.zeros(40, 1, 1, 1)


@LESSON.exercise(
    "9.4",
    "The loss of the VAE",
    points=5,
    text="""
    Both parts in one number: the mean squared error between the picture and what came back, over everything, plus `beta`
    times the divergence of 9.3, here as the mean over all latent numbers. `beta` weighs the two
    ([Higgins et al., 2017](https://openreview.net/forum?id=Sy2fzU9gl)).
    """,
    properties={**TENSOR, "gradients": 1, "beta = 0": 1},
    mistakes=[
        ("error + beta * kl", "error - beta * kl", "Both are losses: add them."),
        ("error + beta * kl", "beta * error + kl", "beta weighs the divergence."),
        (
            "(x - back).square().mean()",
            "(x - back).square().sum()",
            "The mean over the pixels, so that beta means the same at every size.",
        ),
        ("(x - back).square().mean()", "(x - back).abs().mean()", "The squared error."),
        (
            "(mean.square() + logvar.exp() - 1 - logvar).mean()",
            "(mean.square() + logvar.exp() - 1 - logvar).sum()",
            "The divergence is averaged over the latent numbers here.",
        ),
    ],
    hints=["Two lines: error and kl."],
)
def vae_loss(x, back, mean, logvar, beta):
    """A tensor () of pictures x and back, both (b, c, h, w), and mean and logvar (b, d, h', w'); beta is a number."""
    error = (x - back).square().mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return error + beta * kl


@vae_loss.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape, latent = r.shape(), r.shape()
        args = (
            r.normal(*shape, dtype=dtype),
            r.normal(*shape, dtype=dtype),
            r.normal(*latent, dtype=dtype),
            r.normal(*latent, dtype=dtype),
        )
        yield Case("values", (*args, r.number(0.3, 0.7)), gradients=True)
    yield Case(
        "beta = 0", (r.normal(1, 2, 4, 3), r.normal(1, 2, 4, 3), r.normal(1, 2, 1, 1), r.normal(1, 2, 1, 1), 0.0)
    )


@vae_loss.picture
def _(r):
    x, logvar = r.digits(1)[..., ::2, ::2].clone(), torch.zeros(1, 2, 3, 3)
    return [(x, 0.9 * x, m * torch.ones(1, 2, 3, 3), logvar, 0.1) for m in torch.linspace(-2, 2, 21).tolist()]


@LESSON.exercise(
    "9.5",
    "Latents at unit scale",
    points=5,
    text="""
    Diffusion adds noise of scale 1, so the data must have scale 1, too
    ([Rombach et al., 2022](https://arxiv.org/abs/2112.10752), appendix G). Measure mean and standard deviation of each
    channel on many latents, over pictures and places, and return the latents at mean 0 and standard deviation 1, the
    shift and the scale. The standard deviation is torch's own, with n - 1.
    """,
    properties={**TENSOR, "one channel": 1},
    mistakes=[
        (
            "(z - shift) / scale, shift, scale",
            "z / scale - shift, shift, scale",
            "Take the mean away first, then divide.",
        ),
        (
            "z.std((0, 2, 3), keepdim=True)",
            "z.var((0, 2, 3), keepdim=True)",
            "The standard deviation, not the variance.",
        ),
        (
            "z.std((0, 2, 3), keepdim=True)",
            "z.std((0, 2, 3), keepdim=True, correction=0)",
            "torch's own standard deviation divides by n - 1.",
        ),
        ("z.mean((0, 2, 3), keepdim=True)", "z.mean()", "Every channel has its own mean."),
        ("(z - shift) / scale, shift, scale", "(z - shift) * scale, shift, scale", "Divide by the scale to get to 1."),
    ],
    hints=["z.mean((0, 2, 3), keepdim=True) is one number for each channel."],
)
def unit_latents(z):
    """(latents (n, d, h, w), shift (1, d, 1, 1), scale (1, d, 1, 1)) of z (n, d, h, w)."""
    shift = z.mean((0, 2, 3), keepdim=True)
    scale = z.std((0, 2, 3), keepdim=True)
    return (z - shift) / scale, shift, scale


@unit_latents.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        wide = r.uniform(1, shape[1], 1, 1, low=1.5, high=6.0, dtype=dtype)
        yield Case("values", (wide * r.normal(*shape, dtype=dtype) + 3 * r.normal(1, shape[1], 1, 1, dtype=dtype),))
    yield Case("one channel", (4 * r.normal(2, 1, 3, 5) + 1,))


@unit_latents.picture
def _(r):
    return (4 * r.digits(5) + 3,)


@LESSON.exercise(
    "9.6",
    "What came back",
    points=3,
    text="""
    How much did folding and unfolding cost? The peak signal-to-noise ratio of pictures in [-1, 1], in decibels:
    `10 log10(2^2 / mean squared error)`, where 2 is the width of the range. One value for each picture.
    """,
    properties={**TENSOR, "one picture": 1},
    mistakes=[
        ("4 / error", "1 / error", "The range from -1 to 1 is 2 wide: 2^2 = 4."),
        ("4 / error", "255**2 / error", "255 belongs to bytes. These pictures are in [-1, 1]."),
        ("10 * torch.log10", "20 * torch.log10", "10, not 20: the error is already squared."),
        ("torch.log10(4 / error)", "torch.log(4 / error)", "The logarithm to base 10."),
        (".flatten(1).mean(1)", ".mean()", "One value for each picture."),
    ],
    hints=["First the error of each picture, then one line."],
)
def psnr_per_picture(x, back):
    """(b,) decibels of pictures x and back, both (b, c, h, w)."""
    error = (x - back).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


@psnr_per_picture.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        shape = r.shape()
        x = r.normal(*shape, dtype=dtype)
        yield Case(
            "values", (x, x + 0.1 * r.normal(*shape, dtype=dtype) * r.uniform(shape[0], 1, 1, 1, low=0.2, dtype=dtype))
        )
    yield Case("one picture", (r.normal(1, 1, 3, 2), r.normal(1, 1, 3, 2)))


@psnr_per_picture.picture
def _(r):
    x = r.digits(1).expand(30, -1, -1, -1)[..., ::2, ::2].clone()
    return x, x + torch.linspace(0.02, 1, 30).view(-1, 1, 1, 1) * r.normal(*x.shape)
