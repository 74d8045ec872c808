# %% [markdown]
# # 04 · Sampling step by step
#
# A denoiser answers one question: which picture could be behind this noise?
# A sampler turns that answer into a walk, from pure noise to a picture. It has no weights and learns nothing.
#
# In this lesson you derive the walk and write it in a few lines.
#
# Afterwards you can
#
# - follow a walk, and measure the noise that is left at every step,
# - say when the network makes up its mind about the picture,
# - derive one move, with fresh noise or without it: DDPM, DDIM and all that lies between,
# - say what a seed decides,
# - tell a sampler that adds too much noise from one that adds too little.
#
# Nothing is trained here, and no graphics card is needed. The network is the shipped one, which [lesson 03](03_learning_to_denoise.ipynb) shows how to train.
# The next cell measures what the lesson will cost on this machine.

# %%
import math
import os
import time
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from minidiff import ConvNet, Step, TextToImage, ddim, mnist, move, viz
from minidiff.data import MIXTURE_MEANS, mixture, mixture_denoiser, to_float
from minidiff.metrics import in_chunks
from minidiff.painted import PaintedDigits, full_caption
from torch.testing import assert_close

QUESTIONS = 20_000  # pictures that the network is asked about in this lesson

model = TextToImage.load()
process = model.denoiser.process
reader = ConvNet.load("digits").eval()  # reads digits; lesson 01 trains one
prompts = [f"the digit {d}" for d in range(10)]

model.draw([""] * 100, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw([""] * 100, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)

# %% [markdown]
# ## One walk
#
# Here is a seven on its way, from left to right. Above each column stands its noise level.
#
# - `xt` is what the sampler holds. It starts as noise.
# - `x0` is the network's guess at the picture behind it.
# - The last row is what the next move changes in `xt`, three times as strong.

# %%
walk = list(model.walk("a seven", seed=7, steps=10, sampler=ddim))
held = torch.cat([step.xt for step in walk])
rows = {
    "xt": held,
    "x0": torch.cat([step.x0 for step in walk]),
    "change": 3 * held.diff(dim=0),
}
levels = [f"{process.level(torch.tensor(step.t)):.1f}" for step in walk]
viz.show(
    viz.table(rows, levels),
    "Noise becomes a seven in ten moves; the guess is a blur first; changes are grain.",
)

# %% [markdown]
# The first moves add a faint outline. The last ones mostly take grain away.
#
# ## The noise goes, step by step
#
# Is it true that the noise shrinks at every step? In the middle of the picture, ink and noise are mixed up.
# But the paper along the edge of a digit is nearly always black, so `x0 = -1` there.
# What varies at the edge is noise, and hardly anything else. That makes the edge a thermometer.
#
# At time `t` the process promises noise of the standard deviation `sigma(t)`.
# The next cell makes a hundred walks, without any words, and reads the thermometer at each of their steps.

# %%
edge = torch.ones(28, 28, dtype=torch.bool)
edge[2:-2, 2:-2] = False


def thermometer(x):
    """The standard deviation along the edge of pictures (n, 1, 28, 28)."""
    return x[:, 0, edge].std().item()


walks = list(model.walk([""] * 100, seed=0, steps=25, cfg_scale=1.0, sampler=ddim))
promised = process.sigma(torch.tensor([step.t for step in walks])).tolist()
measured = [thermometer(step.xt) for step in walks]
for i in range(0, 26, 5):
    print(f"step {i:2}: promised {promised[i]:.3f}, measured {measured[i]:.3f}")
print(f"the edge of real digits: {thermometer(to_float(mnist().pixels)):.3f}")
viz.show(
    viz.plot(
        {"promised": (range(26), promised), "measured": (range(26), measured)},
        "step",
        "noise in xt",
    ),
    "The measured noise falls with the promised sigma, from one to nearly nothing.",
)

# %% [markdown]
# The two curves lie on each other. The walk goes down the stairs that lesson 02 went up.
# What is left at the end is no noise. Now and then a stroke comes near the edge, as in real digits.
#
# The network is not told to keep this promise. The sampler keeps it, by the size of its moves.
# Keep the thermometer in mind. At the end of the lesson it finds a fault that nobody sees.
#
# ## Predict, then run
#
# Nobody told these hundred walks which digit to draw. Most end at a digit, some at a sign that is none.
# The reader must name one all the same.
#
# At each step the guess `x0` shows what the network believes so far, and a second network reads the digit in it.
#
# Before you run the cell, decide: at which noise level has half of the walks settled on the digit that they end with?
# Near 1, in the middle, or near 0?

# %%
with torch.no_grad():
    belief = torch.stack([reader.logits(step.x0) for step in walks]).softmax(dim=2)
leader = belief.argmax(dim=2)  # (26 steps, 100 walks): the digit that is read
settled = (leader == leader[-1]).flip(0).cumprod(dim=0).flip(0)  # and stays
share = settled.float().mean(dim=1)
half = walks[int((share >= 0.5).nonzero()[0])].t

print(f"half of the walks have settled at level {half:.2f}")
print(
    f"at level 0.5 it is {share[[s.t <= 0.5 for s in walks].index(True)]:.0%} of them"
)
viz.show(
    viz.plot(
        {"settled": ([step.t for step in walks], share)},
        "noise level (the walk goes from right to left)",
        "share of walks",
    ),
    "The share of walks that have settled rises from nothing at level 1 to all at 0.",
)

# %% [markdown]
# Most is decided while the picture still looks like noise. What comes later is detail.
# Training spends most of its effort on these high levels, for this reason.
#
# Now the walks that changed their mind most often. Under each moment of the walk stands the guess.

# %%
changes = (leader[1:] != leader[:-1]).sum(dim=0)
restless = changes.argsort(descending=True, stable=True)[:3]
for i in restless.tolist():
    order = [leader[0, i].item()]
    order += [b for a, b in pairwise(leader[:, i].tolist()) if a != b]
    print("read, one after the other:", " ".join(map(str, order)))
some = [Step(s.i, s.t, s.xt[restless], s.x0[restless]) for s in walks]
viz.show(
    viz.film_strip(some, frames=13),
    "Three walks; the guess under each is first one digit, then another.",
)

# %% [markdown]
# A guess is a mean over all pictures that are still possible. As the noise goes, fewer are possible.
# Two of them can be close rivals for long, and then the guess looks like both.
#
# The reader is no judge of blurs. It has only seen sharp digits, and the first blur is always read as the same digit.
# So trust its answers from the moment when you can read the guess yourself.
#
# ## One move
#
# The sampler holds `xt = alpha_t x0 + sigma_t eps`. It wants an `xs` for an earlier time `s < t`, with less noise.
#
# Suppose the guess is right. Then `x0` is known, and so is the noise that was mixed with it:
#
#     eps = (xt - alpha_t x0) / sigma_t
#
# Whatever `xs` it makes, it must be what the network was trained on at time `s`: the signal `alpha_s x0`,
# and noise of the standard deviation `sigma_s`.
#
# Which noise? It can use the old one again, `eps`. It can draw a fresh one. Or it can take some of both.
# The next cell tries all three on a painted digit, where the true `x0` is known.

# %%
torch.manual_seed(0)
painted = PaintedDigits(mnist()[:100], variants=1)[[22]]
print(full_caption(painted.labels[0].tolist()))

x0 = to_float(painted.pixels)
t, s = torch.tensor(0.7), torch.tensor(0.4)
alpha_t, sigma_t = process.alpha(t), process.sigma(t)
alpha_s, sigma_s = process.alpha(s), process.sigma(s)

eps, fresh = torch.randn_like(x0), torch.randn_like(x0)
xt = alpha_t * x0 + sigma_t * eps
moved = {
    "xs, old noise": alpha_s * x0 + sigma_s * eps,
    "xs, some of both": alpha_s * x0 + sigma_s * (0.8 * eps + 0.6 * fresh),
    "xs, fresh noise": alpha_s * x0 + sigma_s * fresh,
}
for name, xs in moved.items():
    noise = (xs - alpha_s * x0) / sigma_s
    print(f"{name:16}: size of its noise {noise.std():.2f}, ", end="")
    print(f"likeness to the old noise {(noise * eps).mean():.2f}")
viz.show(
    viz.table({"": torch.cat([x0, xt, *moved.values()])}, ["x0", "xt", *moved], 4),
    "A painted digit, the digit under much noise, and three versions with less noise.",
)

# %% [markdown]
# All three are right. Each is the picture under noise of the same size, and no network could tell them apart.
#
# Why 0.8 and 0.6? Independent noises add up by their squares, and `0.8^2 + 0.6^2 = 1`.
# So if the fresh part has the standard deviation `std`, this much of the old one is left:
#
#     xs = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std fresh
#
# Every `std` from 0 to `sigma_s` keeps the promise. That is the whole family of moves
# ([Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502), eq. 12). With `std = 0` it is DDIM.
#
# ## How much fresh noise did DDPM add?
#
# An older sampler, DDPM ([Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239)),
# came from another thought. Noise was added a little at a time, on a chain: first to `xs`, then some more to get `xt`.
# So ask the chain: given `x0` and `xt`, where was `xs`?
#
# The chain makes `xt = a xs + c noise`. Since `xs` holds `alpha_s x0`, and `xt` must hold `alpha_t x0`,
#
#     a = alpha_t / alpha_s        c^2 = sigma_t^2 - a^2 sigma_s^2
#
# Let us ask by counting first, for a short move. The cell makes two million chains from one number `x0`
# and keeps those that end near a certain `xt`. Where were they at time `s`?

# %%
torch.manual_seed(0)
one, seen = torch.tensor(0.8), torch.tensor(-0.3)  # x0 and xt, single numbers
t, s = torch.tensor(0.45), torch.tensor(0.40)
alpha_t, sigma_t = process.alpha(t), process.sigma(t)
alpha_s, sigma_s = process.alpha(s), process.sigma(s)
a = alpha_t / alpha_s
c = torch.sqrt(sigma_t**2 - a**2 * sigma_s**2)

xs = alpha_s * one + sigma_s * torch.randn(2_000_000)
xt = a * xs + c * torch.randn(2_000_000)
kept = xs[(xt - seen).abs() < 0.01]

print(f"noise at t: promised {sigma_t:.3f}, counted {(xt - alpha_t * one).std():.3f}")
print(f"{len(kept):,} of the chains ended near xt = {seen:.1f}")
print(f"at time s they had the mean {kept.mean():.3f} and the spread {kept.std():.3f}")

# %% [markdown]
# Now the same by thought. Bayes' rule multiplies two Gaussians: what is known of `xs` from `x0`,
# and how well `xs` explains `xt`. Up to a constant, the logarithm of the product is
#
#     - (xs - alpha_s x0)^2 / (2 sigma_s^2)  -  (xt - a xs)^2 / (2 c^2)
#
# As a function of `xs` this is a parabola, so the answer is a Gaussian again.
# Complete the square: collect what stands before `xs^2`, and what stands before `xs`.
#
#     before -xs^2 / 2:    1 / var    = 1 / sigma_s^2 + a^2 / c^2
#     before  xs:          mean / var = alpha_s x0 / sigma_s^2 + a xt / c^2
#
# Bring the first line to one fraction. Its numerator is `c^2 + a^2 sigma_s^2`, which is `sigma_t^2`. So
#
#     var  = c^2 sigma_s^2 / sigma_t^2
#     mean = var (alpha_s x0 / sigma_s^2 + a xt / c^2)


# %%
def posterior(xt, x0, alpha_t, sigma_t, alpha_s, sigma_s):
    """Mean and standard deviation of xs, given both of its ends."""
    a = alpha_t / alpha_s
    c2 = sigma_t**2 - a**2 * sigma_s**2
    var = c2 * sigma_s**2 / sigma_t**2
    return var * (alpha_s * x0 / sigma_s**2 + a * xt / c2), var.sqrt()


mean, std = posterior(seen, one, alpha_t, sigma_t, alpha_s, sigma_s)
print(f"by the formula: mean {mean:.3f}, spread {std:.3f}")


def bell(x, mean, std):
    return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


figure = Figure(figsize=(6.4, 3.2), layout="constrained")
axes, x = figure.subplots(), torch.linspace(-1.8, 2.8, 400)
axes.hist(kept.numpy(), bins=60, density=True, color="0.8", label="counted chains")
axes.plot(x, bell(x, mean, std), label="formula: x0 and xt known")
axes.plot(x, bell(x, alpha_s * one, sigma_s), "--", label="only x0 known")
axes.set(xlabel="xs", yticks=[])
axes.legend()
viz.show(
    figure,
    "A histogram of counted chains, and the curve of the formula right on its top.",
)

# %% [markdown]
# The curve lies on the counted chains. Whoever has seen `xt` knows better where `xs` was: the curve moved, and it is narrower.
#
# ## From DDIM to DDPM with one number
#
# Is this posterior one of the moves above? Divide `var` by `sigma_s^2`, and put in `c` and `a`:
#
#     std = sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)
#
# Then `sqrt(sigma_s^2 - std^2)` is `a sigma_s^2 / sigma_t`. Put that into the move, with
# `eps = (xt - alpha_t x0) / sigma_t`, and its mean is that of the posterior, term by term.
#
# So DDPM is the move with this `std`, and DDIM the move with none.
# Between them lies a number, `eta`, that multiplies it (Song, Meng and Ermon, eq. 16).


# %%
def my_move(xt, x0, t, s, eta):
    """Mean and standard deviation of xs, for s < t."""
    alpha_t, sigma_t = process.alpha(t), process.sigma(t)
    alpha_s, sigma_s = process.alpha(s), process.sigma(s)
    eps = (xt - alpha_t * x0) / sigma_t
    std = eta * sigma_s * torch.sqrt(1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2)
    return alpha_s * x0 + torch.sqrt(sigma_s**2 - std**2) * eps, std


xt, x0 = torch.randn(2, 5, 1, 28, 28, dtype=torch.float64)
for t, s in ((0.9, 0.8), (0.7, 0.4), (0.3, 0.01)):
    t, s = torch.tensor([t, s], dtype=torch.float64)
    curves = [curve(r) for r in (t, s) for curve in (process.alpha, process.sigma)]
    assert_close(my_move(xt, x0, t, s, eta=1.0), posterior(xt, x0, *curves))
    for eta in (0.0, 0.5, 1.0):
        assert_close(my_move(xt, x0, t, s, eta), move(process, xt, x0, t, s, eta))
print("my_move with eta = 1 is the posterior, and minidiff.move for every eta.")

# %% [markdown]
# The paper of DDPM writes the same in other letters. It has a thousand small steps, each with a `beta`.
# Its `alpha_bar` is our `alpha^2`, and `1 - alpha_bar` is our `sigma^2`.
# Here is its equation 7 with its own numbers, beside our posterior.

# %%
beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
alpha_bar = torch.cumprod(1 - beta, dim=0)
for n in (1, 100, 999):
    bar_t, bar_s = alpha_bar[n], alpha_bar[n - 1]
    paper_mean = (
        bar_s.sqrt() * beta[n] / (1 - bar_t) * x0
        + (1 - beta[n]).sqrt() * (1 - bar_s) / (1 - bar_t) * xt
    )
    paper_std = ((1 - bar_s) / (1 - bar_t) * beta[n]).sqrt()
    curves = (bar_t.sqrt(), (1 - bar_t).sqrt(), bar_s.sqrt(), (1 - bar_s).sqrt())
    assert_close(posterior(xt, x0, *curves), (paper_mean, paper_std))
print("Equation 7 of the paper gives the same mean and standard deviation.")

# %% [markdown]
# ## The whole sampler
#
# In a real walk `x0` is not known. The guess stands in for it, and is asked for again after every move.
# That is all.


# %%
def my_walk(denoise, xt, ts, eta=0.0):
    for t, s in pairwise(ts):
        x0 = denoise(xt, t)
        xt, std = my_move(xt, x0, t, s, eta)
        if std > 0:
            xt = xt + std * torch.randn_like(xt)
    return xt


@torch.no_grad()
def denoise(xt, t):
    return model.denoiser(xt, t, ctx)


ctx = model.encode(prompts)
noise = process.prior((10, 1, 28, 28), seeds=range(10))
ts = process.timesteps(15)

for eta in (0.0, 0.5, 1.0):
    torch.manual_seed(0)
    mine = my_walk(denoise, noise, ts, eta)
    torch.manual_seed(0)
    *_, last = ddim(denoise, process, noise, ts, eta)
    assert_close(mine, last.x0)
viz.show(
    viz.table({"mine": mine, "minidiff": last.x0}),
    "Ten digits drawn by the loop above, and the same ten by minidiff.",
)

# %% [markdown]
# This loop draws when you choose the sampler `ddim` in [lesson 00](00_start_here.ipynb).
# The one it starts with, `dpmpp_2m`, is the same loop with a better guess: see [lesson 05](05_faster_samplers.ipynb).
#
# From lesson 07 on it also draws painted digits. It does not ask what the pictures show or how large they are.
#
# ## Straight on, or staggering
#
# What does `eta` change? Look at it where everything is known: in the world of eight islands from lesson 03, with the exact
# denoiser. All three panels start from the same four points.

# %%
exact = mixture_denoiser(process)  # E[x0 | xt], as derived in lesson 03


def points(n):
    return process.prior((n, 2, 1, 1), seeds=range(n))


figure = Figure(figsize=(9.6, 3.6), layout="constrained")
starts = torch.tensor([[0.1, -0.3], [-0.4, 0.2], [0.3, 0.6], [-1.6, -1.3]])
for axes, eta in zip(
    figure.subplots(1, 3, sharex=True, sharey=True), (0.0, 0.5, 1.0), strict=True
):
    torch.manual_seed(3)
    xt, ts = starts[:, :, None, None], process.timesteps(40).float()
    steps = list(ddim(exact, process, xt, ts, eta))
    paths = torch.stack([step.xt.flatten(1) for step in steps])
    axes.plot(*mixture(500).flatten(1).T, ".", markersize=2, color="0.85")
    axes.plot(*paths.permute(2, 0, 1), linewidth=1)
    axes.plot(*paths[0].T, "o", fillstyle="none", color="0.2", label="start")
    axes.plot(*paths[-1].T, "o", color="0.2", label="end")
    axes.set(title=f"eta {eta:g}", aspect="equal")
axes.legend(loc="lower right")
viz.show(
    figure,
    "Four paths to the islands: smooth curves for eta 0, more and more jagged above.",
)

# %% [markdown]
# With `eta = 0` the walk is a smooth curve, and its start decides where it ends.
# With `eta = 1` it staggers. Chance has a word at every step, and one start can end on any island.
#
# Both must end with points as they are in the data. Do they? The next cell measures how wide the islands come out.

# %%
torch.manual_seed(0)


def width(x):
    """The standard deviation of points around the centre of their island."""
    x = x.flatten(1)
    home = MIXTURE_MEANS[torch.cdist(x, MIXTURE_MEANS).argmin(dim=1)]
    return (x - home).std().item()


print("steps   " + "".join(f"eta {eta:<6g}" for eta in (0.0, 0.5, 1.0)))
for steps in (10, 25, 100, 400):
    line = f"{steps:5}   "
    for eta in (0.0, 0.5, 1.0):
        ts = process.timesteps(steps).float()
        *_, last = ddim(exact, process, points(2000), ts, eta)
        line += f"{width(last.x0):<10.3f}"
    print(line)
print(f"data    {width(mixture(20_000)):.3f}")

# %% [markdown]
# With many steps all columns reach the data. With few they do not, and the higher `eta`, the more steps it takes.
#
# With `eta = 1` the reason is the guess. The posterior was derived for a known `x0`, but the guess is a mean over many.
# In a long move that matters, and too little fresh noise is added. In a short one it does not.
#
# With `eta = 0` no noise is added. There the walk is a curve, and long moves cut its bends.
#
# So `eta = 0` is the choice for few steps. [Lesson 05](05_faster_samplers.ipynb) goes on from there.
#
# ## What a seed decides
#
# Now the digits again: the same noise for every row, with few steps and with many.
# The cell prints how far the two rows of each pair are apart, beside the distance between two seeds.
#
# It also checks what a seed promises: a picture drawn alone is the one that was drawn among ten others.

# %%
rows, far = {}, {}
for eta in (0.0, 0.5, 1.0):
    pair = [
        model.draw(prompts, seed=0, steps=n, sampler=ddim, eta=eta, cfg_scale=1.0)
        for n in (10, 50)
    ]
    rows[f"eta {eta:g}, 10 steps"], rows[f"eta {eta:g}, 50 steps"] = pair
    far[eta] = (pair[0] - pair[1]).square().mean().sqrt()
    print(f"eta {eta:3g}: from 10 to 50 steps the pictures move by {far[eta]:.2f}")
other = model.draw(prompts, seed=100, steps=50, sampler=ddim, eta=0.0, cfg_scale=1.0)
seeds = (other - rows["eta 0, 50 steps"]).square().mean().sqrt()
print(f"another seed, all else the same: {seeds:.2f}")

alone = model.draw("the digit 7", seed=7, steps=10, sampler=ddim, eta=1, cfg_scale=1)
assert_close(alone, rows["eta 1, 10 steps"][7:8], rtol=0, atol=1e-3)
viz.show(
    viz.table(rows),
    "Six rows of ten digits; the first two rows are nearly equal, the others are not.",
)

# %% [markdown]
# With `eta = 0` the noise is the picture's address. More steps only sharpen what the address says.
# With `eta = 1` the steps draw noise of their own, and another number of steps is another picture.
#
# An address can also lie between two others. Take the noise of two seeds and turn one into the other.
# Turn, and do not mix: half of one plus half of the other would be noise of the wrong size
# (Song, Meng and Ermon, section 5.3, turn it as well).

# %%
one, two = process.prior((2, 1, 28, 28), seeds=[5, 9]).split(1)
angle = torch.linspace(0, math.pi / 2, 9).view(-1, 1, 1, 1)
turned = angle.cos() * one + angle.sin() * two

ctx = model.encode(["a three"] * 9)
between = my_walk(denoise, turned, process.timesteps(15))
print(f"halfway, turned: {turned[4].std():.2f}, mixed: {((one + two) / 2).std():.2f}")
viz.show(
    viz.table({"noise": turned, "picture": between}),
    "Nine noises between two seeds, and nine threes that change into one another.",
)

# %% [markdown]
# ## Play
#
# Two walks from the same noise, without words: on the left `eta = 0`, on the right `eta = 1`.
# Drag the slider, or press the arrow keys. Where do the two guesses part?
#
# Then change the seed in the next cell, run both cells again, and look for a pair that ends with the same digit.

# %%
both = [
    Step(a.i, a.t, torch.cat([a.xt, b.xt]), torch.cat([a.x0, b.x0]))
    for a, b in zip(
        model.walk("", seed=3, steps=25, sampler=ddim, eta=0.0, cfg_scale=1.0),
        model.walk("", seed=3, steps=25, sampler=ddim, eta=1.0, cfg_scale=1.0),
        strict=True,
    )
]
viz.show(
    viz.film_strip(both, frames=13),
    "Two walks from one noise, each with its guess below, which end apart.",
)

# %%
from minidiff.widgets import StepScrubber

StepScrubber(both)

# %% [markdown]
# ## What went wrong
#
# Four samplers, three of them with a fault that is often made. All use the same network, with `eta = 1`.
#
# - *forgotten*: the mean is right, but the fresh noise is never added.
# - *no room*: the fresh noise is added, but the old noise is not reduced for it.
# - *same noise*: the generator is seeded inside the loop, so every step adds the same noise.
#
# Which of them will you see at once? Which one might pass as healthy?


# %%
def faulty_walk(fault, xt, ts):
    for t, s in pairwise(ts):
        x0 = denoise(xt, t)
        if fault == "same noise":
            torch.manual_seed(0)
        fresh = torch.randn_like(xt)
        mean, std = my_move(xt, x0, t, s, 1.0)
        if fault == "no room":
            mean, _ = my_move(xt, x0, t, s, 0.0)
        if fault == "forgotten":
            std = 0.0
        xt = mean + std * fresh
        if abs(s - 0.4) < 1e-6:
            print(f"{fault:10}: {thermometer(xt):.2f}", end="  ")
    return xt


ts, ctx = process.timesteps(25), model.encode(prompts * 8)
noise = process.prior((80, 1, 28, 28), seeds=range(80))
faults = {}
print(f"the thermometer at t = 0.4 should read {process.sigma(torch.tensor(0.4)):.2f}")
for fault in ("healthy", "forgotten", "no room", "same noise"):
    torch.manual_seed(1)
    drawn = faulty_walk(fault, noise, ts)
    spread = drawn.view(8, 10, -1).var(dim=0).mean()  # among pictures of one digit
    print(f"variance from seed to seed: {spread:.3f}")
    faults[fault] = drawn[:10]
    if fault in ("healthy", "forgotten"):
        faults[fault + ",\nother seeds"] = drawn[10:20]
viz.show(
    viz.table(faults),
    "Two healthy rows that differ, two smooth rows that are equal, and two of noise.",
)

# %% [markdown]
# How to tell them apart:
#
# - **Grain that stays.** More noise is in `xt` than the level says. The network takes the surplus for ink.
#   Read the thermometer: it is too high. Look for noise that is added without room, or twice.
# - **Clean, but all alike.** The digits without fresh noise look best of all, and yet they are wrong.
#   Every seed gives the same ones. The mean keeps only a little of the old noise, and counts on the fresh one.
#   So after a few steps no noise is left to choose a picture. The thermometer is far too low.
#   One picture alone does not show this fault. The variance does.
# - **Blur.** Too few steps. Then the thermometer is right, and more steps help. They help none of the faults above.
#
# ## Milestone
#
# Your loop against the numbers that were measured when the weights were made, with another sampler.
# The reader looks at two hundred digits, with guidance off. A share that was counted on so few is uncertain,
# and the cell prints by how much.

# %%
asked = torch.arange(200) % 10
ctx = model.encode([f"the digit {d}" for d in asked.tolist()])
noise = process.prior((200, 1, 28, 28), seeds=range(1000, 1200))
ts = process.timesteps(15)

quality = model.card["quality"]
expected = quality["guidance 1"]["adherence"]
for eta in (0.0, 1.0):
    torch.manual_seed(2)
    drawn = my_walk(denoise, noise, ts, eta).clamp(-1, 1)
    share = (in_chunks(reader.logits, drawn).argmax(dim=1) == asked).float().mean()
    off = 2 * math.sqrt(expected * (1 - expected) / len(asked))
    print(f"mine, eta {eta:g}: {share:.1%} read as asked, give or take {off:.1%}")
print(f"expected:    {expected:.1%} of {quality['n']:,} ({quality['sampler']})")
worst = max(abs(p - m) for p, m in zip(promised[:-1], measured[:-1], strict=True))
print(f"the thermometer was never off by more than {worst:.3f}")

# %% [markdown]
# ## To think about
#
# 1. With `eta = 0` the walk is a curve without chance. Could you walk it backwards, from a picture to its noise?
#    Try it on a digit with `minidiff.move`, `eta = 0` and `s > t`. Begin at `t = 0.01`: at 0 there is no noise to divide by.
#    (`my_move` would take the root of a negative number. Where?)
# 2. What happens with `eta = 2`? From which `eta` on does a move stop making sense, and which line says so?
# 3. The guess is a mean, and means are smooth. Why is the end of the walk sharp all the same?
# 4. A walk with `eta = 1` can mend a bad guess later, because it throws away old noise.
#    When would you want that, and what does it cost you? Think of the address of a picture.
#
# ---
#
# Exercises: [04 · Sampling step by step](../exercises/04_sampling_step_by_step.ipynb).
# Next: [05 · Faster samplers](05_faster_samplers.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
