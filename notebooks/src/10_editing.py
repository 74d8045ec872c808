# %% [markdown]
# # 10 · Editing
#
# So far every walk began with nothing but noise. Here a picture comes first, and the walk changes it:
# it redraws the picture, fills a hole in it, goes on beyond its edge, or makes others like it.
#
# These are four tools. All of them are the loop that you know, with another start or another guess.
#
# Afterwards you can
#
# - redraw a picture from a noise level of your choice, and say beforehand what will stay,
# - fill a hole so that every known pixel stays exactly as it is, and prove that it does,
# - say in what way the filling is only nearly right, and measure it where the truth is known,
# - draw what lies beyond the edge, and pictures that are near another one,
# - tell an edit that went wrong from one that worked, by four numbers.
#
# Nothing is trained here, and no graphics card is needed.
# The next cells load the model and measure what the lesson will cost on this machine.

# %%
import math
import os
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from minidiff import (
    EDM,
    Step,
    TextToImage,
    cfg,
    ddim,
    dpmpp_2m,
    inpaint,
    move,
    painted_digits,
    viz,
)
from minidiff.data import (
    DIGIT_WORDS,
    MIXTURE_MEANS,
    MIXTURE_STD,
    mixture,
    mixture_denoiser,
    to_float,
    to_uint8,
)
from minidiff.metrics import Judge, adherence_by_attribute, look
from minidiff.painted import ATTRIBUTES, COLOURS, DIGIT, asked, full_caption
from minidiff.process import unit_noise
from torch.testing import assert_close

QUESTIONS = 33_000  # pictures that the network is asked about in this lesson

# %%
model = TextToImage.load("painted")
process = model.denoiser.process
judge = Judge.load()  # says what a painted digit shows
paint = painted_digits(split="held_out", variants=1)  # a thousand real ones

model.draw([""] * 100, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw([""] * 100, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)

# %% [markdown]
# ## Four tools
#
# On the left is what the model is given. To the right of it is what it makes of that, each time from other noise.
#
# - **img2img** redraws the whole picture. It was asked for a three.
# - **Inpainting** draws what is missing, here the grey part. It was asked for a three, too.
# - **Outpainting** goes on beyond the edge. It was asked for another three there.
# - **Variations** are pictures near a given one, which the model has drawn itself.


# %%
def chosen(n=1, skip=0, **wanted):
    """Real painted digits that show what is wanted, and their attributes (n, 7)."""
    found = paint.attributes(torch.arange(len(paint)))
    fits = torch.ones(len(paint), dtype=torch.bool)
    for name, value in wanted.items():
        column = list(ATTRIBUTES).index(name)
        fits &= found[:, column] == ATTRIBUTES[name].index(value)
    rows = fits.nonzero()[skip : skip + n, 0]
    return to_float(paint[rows].pixels), found[rows]


seven, its = chosen(digit="seven", size="large")
caption = full_caption(its[0].tolist())
three = caption.replace("seven", "three")
top = torch.zeros(32, 32, dtype=torch.bool)  # True = known
top[:14] = True
print("The given picture:", caption)

drawn = {
    "img2img": model.img2img(seven, [three] * 7, strength=0.8),
    "inpainting": model.inpaint(seven, top, [three] * 7),
    "outpainting": model.outpaint(seven, [three] * 3, right=26),
    "variations": model.variations(caption, 7, amount=0.3),
}
given = [seven, torch.where(top, seven, 0), seven, model.draw(caption)]
rows = {
    name: torch.cat([first, others])
    for first, (name, others) in zip(given, drawn.items(), strict=True)
}
hidden = torch.zeros(1, 3, 32, 26)
wide = torch.cat([hidden, drawn["outpainting"][..., 6:]])
rows["outpainting"] = torch.cat([seven.expand(4, -1, -1, -1), wide], dim=3)
viz.show(
    viz.table(rows, scale=3),
    "Four rows: a seven redrawn, a hole filled, a sheet continued, and variations.",
)

# %% [markdown]
# The given picture is real handwriting, from the sample of digits that ships with the course.
# The model has seen this handwriting in training, though hardly ever painted like this.
#
# ## One loop with three inputs
#
# Here is the walk of [lesson 04](04_sampling_step_by_step.ipynb), without fresh noise.
# `move` goes from `xt` at time `t` to less noise at time `s`.
# The guess `x0` is guided by a prompt, as in [lesson 07](07_text_to_image.ipynb).


# %%
def my_walk(denoise, xt, ts):
    for t, s in pairwise(ts):
        xt, _ = move(process, xt, denoise(xt, t), t, s)
    return xt


def asking(prompts):
    """The guided denoiser for these prompts."""
    ctx, null = model.encode(prompts), model.encode([""] * len(prompts))
    return torch.no_grad()(cfg(model.denoiser, ctx, null, scale=2.0))


noise = process.prior((8, 3, 32, 32), seeds=range(8))
ts = process.timesteps(20)
prompts = [three] * 8
mine = my_walk(asking(prompts), noise, ts)
library = model.draw(prompts, seed=0, steps=20, sampler=ddim)
assert_close(mine.clamp(-1, 1), library, rtol=0, atol=1e-3)
print("my_walk draws what model.draw draws.")

# %% [markdown]
# The loop has three inputs: a denoiser, a start, and the times. Each tool changes one or two of them.
#
# | tool | the denoiser | the start `xt` | the times `ts` |
# | --- | --- | --- | --- |
# | img2img | | the given picture, under noise | begin at the level of that noise |
# | inpainting | knows some of the pixels | | |
# | outpainting | knows those that stay in view | | |
# | variations | | nearly the noise of another picture | |
#
# ## Start from a picture: img2img
#
# Every `xt` on a walk is a picture under noise. So a walk can be entered anywhere: take a given picture,
# put as much noise on it as belongs to that time, and go on from there.
# That is SDEdit ([Meng and others, 2022](https://arxiv.org/abs/2108.01073); there the way back adds fresh noise).
#
# The noise level at which the walk is entered is called `strength`. Here it is 0.6.

# %%
rest = ts[8:]  # from level 0.6 down to 0
print(f"level at the start: {process.level(rest[0]):.2f}, moves: {len(rest) - 1}")
xt = process.add_noise(seven, noise, rest[0])
mine = my_walk(asking(prompts), xt, rest)

library = model.img2img(seven, prompts, strength=0.6, steps=20, sampler=ddim)
assert_close(mine.clamp(-1, 1), library, rtol=0, atol=1e-3)
viz.show(
    viz.table({"start": xt[:4], "mine": mine[:4], "minidiff": library[:4]}),
    "A seven under noise from four seeds, and below it twice the same four pictures.",
)

# %% [markdown]
# ### In the world of eight islands
#
# What does the strength decide? Look first where everything is known: at the points on eight islands, with the exact denoiser of
# [lesson 03](03_learning_to_denoise.ipynb).
#
# The cross is a clumsy sketch of a point. No real point lies there. The blue points are what img2img makes of it.

# %%
exact = mixture_denoiser(process)  # E[x0 | xt], as derived in lesson 03


def from_island(x):
    """The distance of each point to the centre of its island."""
    return torch.cdist(x.flatten(1), MIXTURE_MEANS).min(dim=1).values


cross = torch.tensor([2.1, 1.0]).view(1, 2, 1, 1)
eps = unit_noise((1000, 2, 1, 1), seeds=range(1000))
figure = Figure(figsize=(9.6, 2.7), layout="constrained")
panels = figure.subplots(1, 4, sharex=True, sharey=True)
for axes, strength in zip(panels, (0.1, 0.3, 0.5, 0.9), strict=True):
    times = torch.linspace(strength, 0, 40)
    end = my_walk(exact, process.add_noise(cross, eps, times[0]), times)
    moved = (end - cross).flatten(1).norm(dim=1).mean()
    off = from_island(end).mean()
    print(f"strength {strength}: {moved:.2f} from the sketch, {off:.2f} from an island")
    axes.plot(*mixture(500).flatten(1).T, ".", markersize=2, color="0.8")
    axes.plot(*end[:200].flatten(1).T, ".", markersize=3)
    axes.plot(*cross.flatten(1).T, "x", color="C3")
    axes.set(title=f"strength {strength:g}", aspect="equal", ylim=(-2, 2))
print(f"real points are {from_island(mixture(20_000)).mean():.2f} from their island")
viz.show(
    figure,
    "The points leave the cross for the two islands near it, and at last go to all.",
)

# %% [markdown]
# With little noise the result stays at the sketch, and is no real point. With much noise it is a real point,
# and has nothing to do with the sketch. In between it is nearly real *and* still near. That strength has to be found.
#
# Now the same with a sketch of a digit. It is made of two straight bars.


# %%
def colour(name):
    return (torch.tensor(COLOURS[name]) / 127.5 - 1).view(1, 3, 1, 1)


y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
bar = (y >= 7) & (y < 10) & (x >= 9) & (x < 23)
slope = (y >= 7) & (y < 26) & ((x - (22 - 0.6 * (y - 7))).abs() < 2)
sketch = torch.where(bar | slope, colour("blue"), colour("white"))

strengths = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
rows = {}
for seed in (0, 2):
    drawn = [
        model.img2img(sketch, "a blue seven on white paper", strength, seed=seed)
        for strength in strengths
    ]
    rows[f"seed {seed}"] = torch.cat([sketch, *drawn])
viz.show(
    viz.table(rows, ["sketch", *map(str, strengths)]),
    "A seven of two bars becomes handwriting, and at strength 1 another seven.",
)

# %% [markdown]
# The bars become strokes as the strength grows. At strength 1 nothing of the sketch is left, and it is another seven.
#
# ## Predict, then run
#
# Fifty small digits, each somewhere on a sheet of paper. The prompt asks for *another* digit, as in "a three". It says nothing else.
#
# As the strength grows, the given picture is lost bit by bit. In which order do these go: the digit, its place,
# the colour of the ink, the colour of the paper? And at which strength does the new digit come?
#
# Decide, and then run the cell. The judge measures what stayed.

# %%
small, before = chosen(50, size="small")
target = (before[:, DIGIT] + 3) % 10  # another digit than the given one
prompts = [f"a {DIGIT_WORDS[d]}" for d in target.tolist()]
kept = {name: [] for name in ("paper", "ink", "place", "digit", "new digit")}
strips = [small[:3]]

print("strength  " + "".join(f"{name:>11}" for name in kept))
for strength in strengths:
    drawn = model.img2img(small, prompts, strength)
    seen = judge(drawn)
    same = (seen == before).float().mean(dim=0).tolist()
    shares = dict(zip(ATTRIBUTES, same, strict=True))
    shares["new digit"] = (seen[:, DIGIT] == target).float().mean().item()
    for name, values in kept.items():
        values.append(shares[name])
    print(f"{strength:8}  " + "".join(f"{shares[name]:11.0%}" for name in kept))
    strips.append(drawn[:3])
curves = {name: (strengths, values) for name, values in kept.items()}
viz.show(
    viz.plot(curves, "strength", "share of pictures"),
    "Five curves over the strength: paper falls last, the new digit rises.",
)

# %%
rows = {prompts[i]: torch.stack([pictures[i] for pictures in strips]) for i in range(3)}
viz.show(
    viz.table(rows, ["given", *map(str, strengths)]),
    "Three of the fifty pictures, redrawn with more and more strength.",
)

# %% [markdown]
# Why does the paper hold out so long? The noise hides single pixels. It does not hide the mean of many.
# A mean over `n` pixels of one colour keeps its signal `alpha`, and its noise shrinks to `sigma / sqrt(n)`. So
#
#     signal over noise, for a part of n pixels = (alpha / sigma) sqrt(n)
#
# The next cell counts the pixels of paper and of ink in the fifty pictures, and prints this number.
# Where it comes down to about one, the part is lost.

# %%
_, coverage = look(to_uint8(small))
ink = (coverage > 0.5).sum(dim=(1, 2)).float().mean().item()
parts = {"paper": 1024 - ink, "all ink": ink, "4 pixels": 4.0}
print("strength  " + "".join(f"{name:>11}" for name in parts))
for strength in strengths:
    t = torch.tensor(strength)
    ratio = (process.alpha(t) / process.sigma(t)).item()
    line = "".join(f"{ratio * math.sqrt(n):11.1f}" for n in parts.values())
    print(f"{strength:8}  {line}")
print(f"The paper has {1024 - ink:.0f} pixels, the ink {ink:.0f}.")

# %% [markdown]
# The digit goes first, then the ink and the place. The paper stays until hardly anything else is left.
# The new digit comes as the old one goes. Where it first outnumbers the old one, most pictures still have their ink and their place.
#
# Whether two strokes meet is a matter of a few pixels, and so the digit goes early.
# Its ink and its place hang on all pixels of the ink together, and the paper on nearly all there are.
#
# So the strength is a choice of scale. What is too small to be seen through the noise is drawn anew, by the prompt.
# What is larger stays.
#
# ## Keep what is known: inpainting
#
# Now some pixels are known, and must not change. The others are to be drawn so that they fit. `mask` is True where a pixel is known.
#
# The change is small. Wherever we know the picture, we need no guess: put the known pixels into `x0`. The loop stays as it is.
# ([Wang, Yu and Zhang, 2023](https://arxiv.org/abs/2212.00490), do so with all that is known of a picture by a linear rule.
# A mask is the simplest of these.)


# %%
def keep(denoise, known, mask):
    """The same denoiser, except that it knows the pixels of the mask."""

    def knowing(xt, t):
        x0 = denoise(xt, t).clone()
        x0[:, :, mask] = known[:, :, mask]
        return x0

    return knowing


left = torch.zeros(32, 32, dtype=torch.bool)
left[:, :16] = True
fifty, labels = chosen(50, size="large")
captions = [full_caption(row) for row in labels.tolist()]
known = fifty[:8]
guided = keep(asking(captions[:8]), known, left)
walk = list(ddim(guided, process, noise, ts))
one = [Step(step.i, step.t, step.xt[3:4], step.x0[3:4]) for step in walk]
viz.show(
    viz.film_strip(one, frames=8, scale=3),
    "Above, the picture under less and less noise; below, the guess, half of it sharp.",
)

# %% [markdown]
# In the guess (below), the known half is sharp from the beginning. In `xt` (above), it comes out of the noise at the same pace as the rest.
#
# Does that go well? It does, and exactly so. Take a known pixel, and suppose that at time `t` it is where it should be:
#
#     xt = alpha_t known + sigma_t eps
#
# The guess there is `known`. So the noise that `move` believes in is the true one, `(xt - alpha_t known) / sigma_t = eps`.
# It mixes the two again for the time `s`:
#
#     xs = alpha_s known + sigma_s eps
#
# That is where the pixel should be at time `s`, with the same `eps`. At the start it is right, and so it is right at every step.
# At the end, `alpha = 1` and `sigma = 0`, and the pixel is `known`.
#
# The cell checks both promises on the walk above. Then it compares with the library, also for a process whose start still
# contains the picture.

# %%
off = 0.0
for step in walk[:-1]:
    t = torch.tensor(step.t)
    hidden = (step.xt - process.alpha(t) * known) / process.sigma(t)
    off = max(off, (hidden - noise)[:, :, left].abs().max().item())
mine = my_walk(guided, noise, ts)
print(f"on the way: the noise over known pixels changed by {off:.6f} at most")
same = torch.equal(mine[..., left], known[..., left])
print("at the end: every known pixel as given:", same)

*_, last = ddim(inpaint(asking(captions[:8]), known, left), process, noise, ts)
assert_close(mine, last.x0)
settings = dict(seed=0, steps=20, sampler=ddim)
library = model.inpaint(known, left, captions[:8], **settings)
assert_close(mine.clamp(-1, 1), library, rtol=0, atol=1e-3)
library = model.inpaint(known, left, captions[:8], process=EDM(), **settings)
assert_close(library[..., left], known[..., left], rtol=0, atol=0)
rows = {"known": torch.where(left, known, 0), "drawn": mine, "the original": known}
viz.show(
    viz.table(rows),
    "Eight left halves, the same with right halves drawn to them, and the originals.",
)

# %% [markdown]
# The prompts were the captions of the originals, so the right halves had to show the same digit.
# They need not be the original halves. Another right half can fit the left one as well.
#
# ### Why not paste?
#
# Here are two other ways. The first: draw the picture by its prompt, and paste the known half over it at the end.
#
# The second: put the known pixels into `xt`, under the right amount of noise, and leave the guess alone
# ([Song and others, 2021](https://arxiv.org/abs/2011.13456), appendix I.2).
#
# Four numbers show the difference. *Known* and *rest* say how far the two halves are from the original, as a mean over pixels of the range -1 to 1.
# The *seam* is the mean difference of the two pixels on both sides of the border.
# *Lost ends* are strokes that reach the border and meet no ink on the other side, not even one pixel up or down.


# %%
def seam(x):
    return (x[:, :, :, 15] - x[:, :, :, 16]).abs().mean().item()


def lost_ends(x):
    """The share of stroke pixels at the border that meet no stroke beyond it."""
    _, coverage = look(to_uint8(x))
    sides = (coverage[:, :, 15:17] > 0.5).float().unbind(dim=2)
    near = [F.max_pool1d(side[:, None], 3, 1, 1)[:, 0] for side in sides]
    lost = sides[0] * (1 - near[1]) + sides[1] * (1 - near[0])
    return (lost.sum() / (sides[0] + sides[1]).sum()).item()


def report(name, x):
    """The four numbers of an edit: off the known half, off the other, seam, ends."""
    x = x.clamp(-1, 1)
    off = (x - fifty).abs()
    print(f"{name:18}{off[..., left].mean():8.3f}{off[..., ~left].mean():8.3f}", end="")
    print(f"{seam(x):8.3f}{lost_ends(x):12.0%}")


noise50 = process.prior(fifty.shape, seeds=range(50))
guided, short = asking(captions), process.timesteps(10)


def into_xt(xt, t):
    return guided(torch.where(left, process.add_noise(fifty, noise50, t), xt), t)


plain = my_walk(guided, noise50, short)
ways = {
    "the originals": fifty,
    "known in x0": my_walk(keep(guided, fifty, left), noise50, short),
    "known in xt": my_walk(into_xt, noise50, short),
    "pasted": torch.where(left, fifty, plain),
}

# %%
print(f"{'':18}{'known':>8}{'rest':>8}{'seam':>8}{'lost ends':>12}")
for name, x in ways.items():
    report(name, x)
viz.show(
    viz.table({name: x[:9] for name, x in ways.items()}),
    "Nine originals; the same with right halves drawn in three ways, the last torn.",
)

# %% [markdown]
# Pasting tears the strokes. While the right half was drawn, nobody told the network what would be on the left.
#
# Known pixels in `xt` do tell it, and fewer ends are lost. But look at the first column of numbers. At the end the network's own guess
# stands in place of the known pixels, and it is only near them.
#
# Known pixels in `x0` tell it as well, because `move` carries them into `xt`. And they are exact.
#
# Even so, more ends are lost than in the originals. The next section finds out why.
#
# ## Nearly right
#
# The known pixels are exact. Is what fills the hole right as well? *Right* means: everything that fits comes as often as it would
# in real pictures with these known pixels. For pictures nobody can count that. For the points on islands we can.
#
# Let the first number of a point be known: `c`, the centre of the island in the east. The second number is the hole.
# Then the point may be on the island in the east, or on one of its two neighbours, whose points reach as far as `c` now and then.
# By Bayes' rule, the share of island `k` is
#
#     share_k = exp(-((c - m_k) / s)^2 / 2) / (the sum of the same over all islands)
#
# where `m_k` is the first number of its centre, and `s` the spread of an island.
#
# Before you run the next two cells, decide: will inpainting find these shares? And if it does not, will more steps help?

# %%
c = MIXTURE_MEANS[0, 0]
fit = (-((c - MIXTURE_MEANS[:, 0]) ** 2) / (2 * MIXTURE_STD**2)).softmax(dim=0)
first = torch.tensor([True, False]).view(2, 1, 1)  # the first number is known
told = torch.tensor([c, 0.0]).view(1, 2, 1, 1).expand(4000, -1, -1, -1)
start = unit_noise((4000, 2, 1, 1), seeds=range(4000))
few, many = process.timesteps(25).float(), process.timesteps(400).float()


def on_islands(x):
    """The share of points on the three islands in the north-east, east, south-east."""
    near = torch.cdist(x.flatten(1), MIXTURE_MEANS).argmin(dim=1)
    return "".join(f"{(near == k).float().mean():8.0%}" for k in (1, 0, 7))


ends = {
    "25 steps": my_walk(inpaint(exact, told, first), start, few),
    "400 steps": my_walk(inpaint(exact, told, first), start, many),
}
print(" " * 24 + "   n.e.    east    s.e.")
print(f"{'the truth':24}" + "".join(f"{fit[k]:8.0%}" for k in (1, 0, 7)))
for name, x in ends.items():
    print(f"{name:24}{on_islands(x)}   known exactly: {bool((x[:, 0] == c).all())}")

# %% [markdown]
# The known number is exact, and yet the shares are far off. More steps do not help.
#
# The reason is what the denoiser gets to see. It is shown `xt`, in which the known number is under noise.
# At a high level it cannot make out that number. So it guesses the hole as if the number could be another one,
# and the walk heads for an island that does not fit. When the noise is low enough to see the number, most is decided.
#
# There are two ways out. The first is a denoiser that is told: `E[x0 | xt, known]`, with the known number free of noise.
# Here we can write it down. It is the exact denoiser of the second number alone, on islands weighted by `fit`.
#
# For pictures, a network has to be trained for it. It gets the known pixels and the mask as further inputs.
# Large systems have such networks, for example GLIDE ([Nichol and others, 2021](https://arxiv.org/abs/2112.10741)).
#
# The second way needs no training. Walk each step several times: down with fresh noise, up again, and down once more.
# So the hole can fall in with what is known while the level stays. This is RePaint
# ([Lugmayr and others, 2022](https://arxiv.org/abs/2201.09865), algorithm 1; there the known pixels are put into `xt`).
# The way up is a step on the chain of lesson 04, from `s` to `t`: `xt = up xs + spread noise`.


# %%
def informed(xt, t):
    """E[x0 | xt, and the first number is c]."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    var = alpha**2 * MIXTURE_STD**2 + sigma**2
    centre = MIXTURE_MEANS[:, 1]
    stray = xt[:, 1, 0] - alpha * centre  # (n, 8)
    share = (fit.log() - stray.square() / (2 * var)).softmax(dim=1)
    guess = (share * (centre + alpha * MIXTURE_STD**2 / var * stray)).sum(dim=1)
    return torch.stack([torch.full_like(guess, c), guess], dim=1)[:, :, None, None]


def walk_again(denoise, xt, ts, times):
    """A walk with fresh noise that takes each of its steps so many times."""
    for t, s in pairwise(ts):
        up = process.alpha(t) / process.alpha(s)
        spread = torch.sqrt(process.sigma(t) ** 2 - (up * process.sigma(s)) ** 2)
        for i in range(times):
            if i > 0:
                xt = up * xs + spread * torch.randn_like(xs)
            mean, std = move(process, xt, denoise(xt, t), t, s, eta=1.0)
            xs = mean + std * torch.randn_like(mean)
        xt = xs
    return xt


torch.manual_seed(0)
for times in (1, 4, 16, 64):
    name = f"each step {times} time{'s' * (times > 1)}"
    ends[name] = walk_again(inpaint(exact, told, first), start, few, times)
ends["told, 25 steps"] = my_walk(informed, start, few)

# %%
print(" " * 24 + "   n.e.    east    s.e.  width of the east")
for name, x in ends.items():
    east = x[torch.cdist(x.flatten(1), MIXTURE_MEANS).argmin(dim=1) == 0, 1]
    print(f"{name:24}{on_islands(x)} {east.std():8.3f}")
shares = "".join(f"{fit[k]:8.0%}" for k in (1, 0, 7))
print(f"{'the truth':24}{shares} {MIXTURE_STD:8.3f}")

y = torch.linspace(-1.8, 1.8, 300)[:, None]
bell = torch.exp(-((y - MIXTURE_MEANS[:, 1]) ** 2) / (2 * MIXTURE_STD**2))
truth = (fit * bell).sum(dim=1) / (MIXTURE_STD * math.sqrt(2 * math.pi))
figure = Figure(figsize=(9.6, 2.7), layout="constrained")
panels = figure.subplots(1, 3, sharey=True)
for axes, name in zip(
    panels, ("25 steps", "each step 16 times", "told, 25 steps"), strict=True
):
    second = ends[name][:, 1, 0, 0].numpy()
    axes.hist(second, bins=60, density=True, color="0.75", label="drawn")
    axes.plot(y, truth, label="the truth")
    axes.set(title=name, xlabel="the second number", yticks=[])
axes.legend()
viz.show(
    figure,
    "Three histograms: three equal humps, then more and more of the true middle one.",
)

# %% [markdown]
# The denoiser that is told comes to the right shares, and its humps are about as wide as the truth.
# Repeated steps come nearer to the right shares, and pay for it in calls.
#
# But look at the middle picture and at the last column: their humps are too narrow. In a long move too little fresh noise is added
# ([lesson 04](04_sampling_step_by_step.ipynb)), and here the same mistake is made many times. Shorter steps would make it smaller.
#
# What of this holds for pictures? Here there is no truth to compare with, but there are seams and lost ends.
# Take the fifty pictures once more, and spend three times as many calls on them: on more steps, or on each step again.

# %%
torch.manual_seed(0)
knowing = keep(guided, fifty, left)
tries = {
    "10 steps": ways["known in x0"],
    "30 steps": my_walk(knowing, noise50, process.timesteps(30)),
    "30, fresh noise": walk_again(knowing, noise50, process.timesteps(30), 1),
    "each step 3 times": walk_again(knowing, noise50, short, 3),
    "the originals": fifty,
}
print(f"{'':18}{'known':>8}{'rest':>8}{'seam':>8}{'lost ends':>12}")
for name, x in tries.items():
    report(name, x)
viz.show(
    viz.table({name: x[:9] for name, x in list(tries.items())[:4]}),
    "Right halves drawn by more steps, by fresh noise, and by repeated steps.",
)

# %% [markdown]
# It is as in the toy. More steps alone change little. Fresh noise helps, and repeated steps, which bring it too, help most.
#
# Pictures have an advantage over the toy, where one single number was known. Half a picture is many pixels,
# and we saw that many pixels show through much noise. So the paper and the place are seen early on.
# What is seen late is detail, such as where a stroke meets the border.
#
# ## What the words say in a hole
#
# The right half of an eight can also be the right half of a three. With the same known pixels, the prompt decides.
# The cell asks for three digits, thirty times each, and the judge reads what came.

# %%
eights, its = chosen(30, digit="eight", size="large")
rows = {"known": torch.where(~left, eights, 0)[:8]}
for word in ("eight", "three", "one"):
    wanted = its.clone()
    wanted[:, DIGIT] = DIGIT_WORDS.index(word)
    prompts = [full_caption(row) for row in wanted.tolist()]
    drawn = model.inpaint(eights, ~left, prompts)
    share = (judge(drawn)[:, DIGIT] == wanted[:, DIGIT]).float().mean()
    print(f"asked for {word + ':':7} {share:.0%} are read as asked")
    rows[f"a ... {word}"] = drawn[:8]
viz.show(
    viz.table(rows),
    "Right halves of eights; new left halves make them eights or threes, but no ones.",
)

# %% [markdown]
# A prompt can only do what the known pixels allow.
#
# ## Beyond the edge: outpainting
#
# What lies to the right of a picture? Move the view. The picture moves to the left, and what stays in view is known.
# What comes into view is a hole. So outpainting needs nothing new.
#
# `roll` moves the pixels in a circle. What left on one side comes back on the other, where the mask says that it is not known.

# %%
view = torch.arange(32) + 26  # the columns of the picture that the moved view shows
inside = (view < 32).expand(32, 32)
moved = seven.roll(-26, -1).expand(8, -1, -1, -1)
mine = my_walk(keep(asking([three] * 8), moved, inside), noise, ts)

library = model.outpaint(seven, [three] * 8, right=26, steps=20, sampler=ddim)
assert_close(mine.clamp(-1, 1), library, rtol=0, atol=1e-3)
print("keep on the moved picture draws what model.outpaint draws.")

# %% [markdown]
# A large digit nearly fills its picture. So move the view until it is out of sight, keep a strip of its paper,
# and draw the next digit. Any number can be written on one sheet in this way, although the network only knows single digits.

# %%
sheets = {}
for ink, paper in (("blue", "yellow"), ("red", "white"), ("orange", "black")):
    views = []
    for i, word in enumerate(("one", "nine", "eight", "four")):
        prompt = f"a large {ink} {word} on {paper} paper"
        if i == 0:
            views = [model.draw(prompt, seed=3)]
        else:
            views.append(model.outpaint(views[-1], prompt, right=26, seed=3 + i))
    read = judge(torch.cat(views))[:, DIGIT].tolist()
    print(f"{ink} on {paper}: the judge reads", " ".join(map(str, read)))
    sheet = torch.cat([views[0], *(x[..., 6:] for x in views[1:])], dim=3)
    sheets[f"{ink}\non {paper}"] = sheet
viz.show(
    viz.table(sheets, scale=4),
    "Three long sheets of paper, each with the number 1984 in handwriting.",
)

# %% [markdown]
# ## Near a picture: variations
#
# With a walk that adds no noise, the start decides the picture. A start near it gives a picture near it.
# To get there, turn the noise a little towards other noise, by the angle `a`:
#
#     cos(a) eps + sin(a) other
#
# Independent noises add up by their squares, and `cos^2 + sin^2 = 1`. So this is unit noise again.
# A mixture is not: half of each has the variance `1/4 + 1/4`. `amount` is the angle as a share of a right angle.
# (Between two seeds, [Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502), section 5.3, turn in this way.
# As a tool for variations it is in [AUTOMATIC1111, 2022](https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#variations).)

# %%
eps = unit_noise((8, 3, 32, 32), seeds=[3] * 8)
other = unit_noise((8, 3, 32, 32), seeds=range(4, 12))
a = torch.tensor(0.3) * math.pi / 2
turned = a.cos() * eps + a.sin() * other
print(f"spread: {eps.std():.2f}, turned {turned.std():.2f}, ", end="")
print(f"mixed {((eps + other) / 2).std():.2f}")

prompts = ["a three"] * 8
mine = my_walk(asking(prompts), turned, ts)
library = model.variations("a three", 8, 0.3, seed=3, steps=20, sampler=ddim)
assert_close(mine.clamp(-1, 1), library, rtol=0, atol=1e-3)

centre, rows = model.draw("a three", seed=3), {}
for amount in (0.1, 0.3, 0.6):
    near = model.variations("a three", 7, amount, seed=3)
    rows[f"amount {amount}"] = torch.cat([centre, near])
viz.show(
    viz.table(rows),
    "A three, and seven others that differ from it more and more with the amount.",
)

# %% [markdown]
# How far does an amount go? The next cell draws forty pictures that were asked for by their digit alone. All else was left to the noise.
# The judge compares each picture with its variation. The last row, a full right angle, is another start altogether.

# %%
prompts = [f"a {DIGIT_WORDS[i % 10]}" for i in range(40)]
target = torch.arange(40) % 10
base = model.draw(prompts, seed=100)
was = judge(base)
amounts = (0.1, 0.2, 0.4, 0.7, 1.0)
stay = {name: [] for name in ("as asked", "ink", "paper", "size", "place", "lean")}
first_asked = (was[:, DIGIT] == target).float().mean().item()
print("amount  distance" + "".join(f"{name:>10}" for name in stay))
print(f"{0:6}{0:10.2f}{first_asked:10.0%}")
for amount in amounts:
    drawn = model.draw(prompts, seed=100, variation=(amount, 500))
    seen = judge(drawn)
    same = (seen == was).float().mean(dim=0).tolist()
    shares = dict(zip(ATTRIBUTES, same, strict=True))
    shares["as asked"] = (seen[:, DIGIT] == target).float().mean().item()
    for name, values in stay.items():
        values.append(shares[name])
    far = (drawn - base).square().mean().sqrt()
    line = "".join(f"{shares[name]:10.0%}" for name in stay)
    print(f"{amount:6}{far:10.2f}{line}")
curves = {name: (amounts, values) for name, values in stay.items()}
viz.show(
    viz.plot(curves, "amount", "share of pictures"),
    "The share that is as asked stays level; what the prompt leaves open changes.",
)

# %% [markdown]
# The digit was asked for, and it comes about as often at every amount. Turned noise is as good as any.
# (By chance alone, a share of forty pictures that is nearly all of them moves by a picture or two. A share near a half moves by more.)
#
# What the prompt leaves open is up to the noise. A little turn, and now and then the ink or the paper is suddenly another.
# So for pictures that are really near, say more in the prompt. In the figure at the top of this lesson it said everything.
#
# Size and lean change by degrees. The judge draws a line somewhere, and a digit near the line may cross it after a small change.
#
# And if the noise is not turned? The next cell goes half of the way from twenty noises to twenty others, by a turn and by the mean.
# The third row starts from their sum. The contrast is the spread of the pixels within a picture.

# %%
eps, other = (unit_noise((20, 3, 32, 32), range(20), stream) for stream in (0, 1))
starts = {
    "turned": (eps + other) / math.sqrt(2),  # cos and sin of half a right angle
    "mean": (eps + other) / 2,
    "sum": eps + other,
}
rows = {}
for name, start in starts.items():
    rows[name] = my_walk(asking(prompts[:20]), start, short).clamp(-1, 1)
    contrast = rows[name].flatten(2).std(dim=2).mean()
    print(f"{name:6} spread of the start {start.std():.2f}, contrast {contrast:.2f}")
viz.show(
    viz.table({name: pictures[:6] for name, pictures in rows.items()}),
    "Six digits from turned noise, fainter ones from the mean, and grainy ones.",
)

# %% [markdown]
# The mean has too little noise, and its pictures are a little fainter. The sum has too much, and the surplus stays as grain.
# [Lesson 04](04_sampling_step_by_step.ipynb) shows the same grain, from another fault.
#
# ## Play
#
# Paint over the left half of the eight, and press *Draw what is painted over*. The prompt asks for a three. What else can it become?
#
# The buttons of *Beyond the edge* move the view. *Keep the result* makes it the new picture, so that one edit can follow another.

# %%
from minidiff.widgets import PaintMask

PaintMask(model, eights[1], "a three")

# %% [markdown]
# ## What went wrong
#
# Five edits of the fifty pictures. In all of them the left half was to be kept, and the right half drawn anew.
#
# - *pasted*: the known half was put back at the end, and not before.
# - *mask inverted*: somebody took True for "draw here".
# - *strength 0* and *strength 1*: img2img was used, with one of its two ends.
#
# You know the four numbers, and one of the faults. What will the numbers be for each? Only one line is healthy.

# %%
edits = {
    "healthy": ways["known in x0"],
    "pasted": ways["pasted"],
    "mask inverted": my_walk(keep(guided, fifty, ~left), noise50, short),
    "strength 0": model.img2img(fifty, captions, strength=0.0),
    "strength 1": plain,
}
print(f"{'':18}{'known':>8}{'rest':>8}{'seam':>8}{'lost ends':>12}")
report("the originals", fifty)
for name, x in edits.items():
    report(name, x)
rows = {"known": torch.where(left, fifty, 0)[:6]}
rows |= {name: x[:6] for name, x in edits.items()}
viz.show(
    viz.table(rows),
    "Six known halves, and five edits of them, of which only the first is right.",
)

# %% [markdown]
# How to tell them apart, from the numbers alone:
#
# - **The known pixels changed.** Nothing may change them, so this is a fault of the program. If they and only they changed,
#   the mask is inverted. If all changed, there was no mask, or it did not reach the guess.
# - **Nothing changed at all.** The walk had nothing to do: strength 0, or a mask that is True everywhere.
# - **The known pixels are exact, but the strokes do not meet.** The hole was drawn without knowing them.
#   Look for a mask that is used only at the end.
# - **All of this is healthy, and the picture is still odd.** Then look at the prompt. It may ask for what the known pixels do not allow.
#
# A picture alone can mislead. A strength of 0 shows a perfect picture, and it is the old one.
#
# ## Milestone
#
# Erase a digit and have it painted again. Of a hundred real pictures, only a frame two pixels wide is known. The prompt is the caption.
#
# What should come out? The frame shows the paper, and the prompt says all else. So with the denoiser of this lesson, which knows the frame,
# the prompts should be followed as well as without a frame. That was measured when the weights were made, with the same sampler.
# A share of so few pictures is uncertain, and the cell prints by how much.
# (Where not one picture failed then, it prints zero. A single failure here would still be no fault.)
# Even so, about one row in twenty lies outside by chance. There are eight rows, so one of them may lie a little outside.

# %%
frame = torch.ones(32, 32, dtype=torch.bool)
frame[2:-2, 2:-2] = False
original = paint[100:200]
sheets = to_float(original.pixels)
prompts = [full_caption(row) for row in original.labels.tolist()]
start = process.prior(sheets.shape, seeds=range(1000, 1100))
knowing = keep(asking(prompts), sheets, frame)
*_, last = dpmpp_2m(knowing, process, start, process.timesteps(10))
drawn = last.x0.clamp(-1, 1)

wanted = torch.tensor([asked(prompt) for prompt in prompts])
found = adherence_by_attribute(wanted, judge(drawn))
quality = model.card["quality"]
for name, share in found.items():
    p = quality["seen inks"][name]
    column = list(found).index(name)
    n = (wanted[:, column] >= 0).sum() if name != "all" else len(wanted)
    off = 2 * math.sqrt(p * (1 - p) / n)
    print(f"{name:7} mine {share:4.0%}, expected {p:6.1%}, give or take {off:.1%}")
print(f"expected: of {quality['n']:,} pictures ({quality['sampler']})")
exact_frame = torch.equal(drawn[..., frame], sheets[..., frame])
print("every pixel of the frame is as it was:", exact_frame)
rows = {"known": torch.where(frame, sheets, 0)[:10], "drawn": drawn[:10]}
viz.show(
    viz.table(rows | {"the original": sheets[:10]}),
    "Ten frames of paper, the digits that were drawn into them, and the originals.",
)

# %% [markdown]
# ## To think about
#
# 1. Put the known pixels into `x0`, but walk with Euler or Heun of [lesson 05](05_faster_samplers.ipynb). Are the known pixels still exact?
#    Which line of the proof needs `move`?
# 2. How would you train a network that is told the known pixels without noise? What are its inputs?
#    Which masks would you show it, and what goes wrong if you only show it squares?
# 3. Look closely at the paper on both sides of a border. Its shade is not always the same. Could guidance be to blame?
#    Measure the seam with the scale 1 and with the scale 3.
# 4. Two variations have the same amount, from the same picture. How far are they from one another: nearer than from the picture, or farther?
#    Work out the angle between their noises.
#
# ---
#
# Exercises: [10 · Editing](../exercises/10_editing.ipynb).
# Next: [11 · Judging images](11_judging_images.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
