# %% [markdown]
# # 05 · Faster samplers
#
# A walk asks the network once at every step, and the network is where the time goes.
# A sampler that needs half the steps draws twice as fast, with the same weights.
#
# In this lesson you write three samplers and find out how fast each comes to the right end.
#
# Afterwards you can
#
# - say what curve a sampler follows, and how far it strays from it,
# - write Euler, Heun and DPM-Solver++(2M), and derive each,
# - measure the order of a method, and say what it promises and what it does not,
# - walk by another process than the one that a network was trained with,
# - tell an error that more steps will mend from one that they will not.
#
# Nothing is trained here, and no graphics card is needed. The network is the shipped one.
# The next cell but one measures what the lesson will cost on this machine.

# %%
import math
import os
import time
from functools import partial
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from minidiff import (
    DDPM,
    EDM,
    ConvNet,
    Cosine,
    Denoiser,
    Flow,
    Step,
    TextToImage,
    ddim,
    dpmpp_2m,
    euler,
    heun,
    mnist,
    move,
    viz,
)
from minidiff.data import mixture, mixture_denoiser, to_float
from minidiff.metrics import in_chunks
from torch.testing import assert_close

QUESTIONS = 19_000  # pictures that the network is asked about in this lesson

# %%
model = TextToImage.load()
reader = ConvNet.load("digits").eval()
digits = [f"the digit {d}" for d in range(10)]

model.draw(digits * 10, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw(digits * 10, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)

# %% [markdown]
# ## The same pictures for less
#
# All rows come from the same network and the same noise. The label says which sampler, and how often it asked the network.
#
# The first row is a walk with very small steps. The others had to do with a tenth of its calls, or less.


# %%
def drawn(sampler, steps, process=None, prompts=digits):
    """Pictures from the seeds 0, 1, 2 ... with guidance off, so one call a question."""
    return model.draw(
        prompts,
        seed=0,
        steps=steps,
        sampler=sampler,
        process=process,
        cfg_scale=1.0,
    )


rows = {
    "DDIM\n100 calls": drawn(ddim, 100),
    "DDIM\n10 calls": drawn(ddim, 10),
    "2M, DDPM's clock\n10 calls": drawn(dpmpp_2m, 10, DDPM()),
    "2M, DDPM's clock\n6 calls": drawn(dpmpp_2m, 6, DDPM()),
}
end = rows["DDIM\n100 calls"]
for name, pictures in rows.items():
    away = (pictures - end).square().mean().sqrt()
    print(f"{name.replace(chr(10), ', '):27} {away:.3f} from the first row")
viz.show(
    viz.table(rows),
    "Four rows of nearly the same ten digits, drawn with fewer and fewer calls.",
)

# %% [markdown]
# "2M" is short for a sampler that you will derive below. "DDPM's clock" says at which levels it stops on the way.
# Both matter, and the lesson takes them one after the other.
#
# ## A walk is a curve
#
# [Lesson 04](04_sampling_step_by_step.ipynb) found a move without chance, DDIM: keep the noise, and mix it again.
#
#     xs = alpha_s x0 + sigma_s eps        where xt = alpha_t x0 + sigma_t eps
#
# Subtract the two, and divide by the time that passed:
#
#     (xs - xt) / (s - t) = (alpha_s - alpha_t) / (s - t) x0 + (sigma_s - sigma_t) / (s - t) eps
#
# Make the step very small. The fractions become derivatives, and the walk becomes a smooth curve with the slope
#
#     u = dx/dt = alpha' x0 + sigma' eps
#
# This is the probability flow of [Song and others, 2021](https://arxiv.org/abs/2011.13456) (eq. 13).
# Every sampler of this lesson tries to follow this curve. With small enough steps all end at the same picture.
# They differ in how they get from one point of it to the next.
#
# ## A world where the curve is known
#
# To see how far a sampler strays we need the true curve, and so a denoiser without error. In the world of eight islands
# there is one, the library's `mixture_denoiser(process)`. [Lesson 03](03_learning_to_denoise.ipynb) derives it.
#
# ## One straight step: Euler
#
# The simplest way along a curve: look at the slope, and go straight until the next time.
#
#     xs = xt + (s - t) u
#
# DDIM is nearly this. It takes the fractions from above in place of the derivatives.
# Where `alpha` and `sigma` are straight lines, in Flow and in EDM, both are the same.
#
# ## Two looks: Heun
#
# Euler uses the slope where the step begins. But the curve bends, and at its end the slope is another.
# Heun goes there first, looks, comes back, and takes the mean of both. It asks the network twice a step
# ([Karras and others, 2022](https://arxiv.org/abs/2206.00364), algorithm 1).


# %%
def slope(process, xt, x0, t):
    eps = (xt - process.alpha(t) * x0) / process.sigma(t)
    d_alpha, d_sigma = process.rates(t)  # alpha' and sigma'
    return d_alpha * x0 + d_sigma * eps


def my_euler(denoise, process, xt, ts):
    for t, s in pairwise(ts):
        xt = xt + (s - t) * slope(process, xt, denoise(xt, t), t)
    return xt


def my_heun(denoise, process, xt, ts):
    for t, s in pairwise(ts):
        u = slope(process, xt, denoise(xt, t), t)
        xs = xt + (s - t) * u
        if s > 0:  # at s = 0 there is no noise left to divide by
            u = (u + slope(process, xs, denoise(xs, s), s)) / 2
        xt = xt + (s - t) * u
    return xt


# %% [markdown]
# ## One memory: DPM-Solver++(2M)
#
# Is there a way to know the bend without asking twice? Yes: remember the last answer.
#
# First, look closer at what the curve does. Divide it by `sigma`, and call the logarithm of signal over noise `lam`.
# (It is half of what `minidiff` calls `logsnr`.)
#
#     xt / sigma = (alpha / sigma) x0 + eps        lam = log(alpha / sigma)
#
# Along the slope `u`, by the rule for fractions, the `eps` drops out:
#
#     d(xt / sigma) / dt = (alpha / sigma)' x0      so      d(xt / sigma) / dlam = exp(lam) x0
#
# This is exact. The noise needs no approximation at all. Only the guess does, and how it changes from `t` to `s`:
#
#     xs / sigma_s = xt / sigma_t + the integral of exp(lam) x0(lam) from lam_t to lam_s
#
# If the guess stays as it is, the integral is `(alpha_s / sigma_s - alpha_t / sigma_t) x0`.
# Multiply by `sigma_s`, and that is the move of DDIM, to the letter. So DDIM makes no error while the guess stays.
#
# If the guess changes, its value in the middle of the step is the better one. It lies half a step ahead,
# and the last two guesses, `last` and `x0`, tell where it is going. With `r` = (last step) / (this step), both measured in `lam`:
#
#     middle = x0 + (x0 - last) / (2 r)
#
# So the sampler is DDIM with another guess. It asks the network once a step
# ([Lu and others, 2022](https://arxiv.org/abs/2211.01095), algorithm 2).


# %%
def my_2m(denoise, process, xt, ts):
    lam = torch.log(process.alpha(ts) / process.sigma(ts))
    last = None
    for i, (t, s) in enumerate(pairwise(ts)):
        x0 = guess = denoise(xt, t)
        if last is not None and s > 0:  # lam is infinite where s = 0
            r = (lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])
            guess = x0 + (x0 - last) / (2 * r)
        xt, _ = move(process, xt, guess, t, s)
        last = x0
    return xt


mine = {euler: my_euler, heun: my_heun, dpmpp_2m: my_2m}
for process in (Cosine(), DDPM(), EDM(), Flow()):
    exact = mixture_denoiser(process)
    xt, ts = process.prior((5, 2, 1, 1), range(5)).double(), process.timesteps(12)
    for library, ours in mine.items():
        *_, last = library(exact, process, xt, ts)
        assert_close(ours(exact, process, xt, ts), last.x0)
    if type(process) in (EDM, Flow):  # where alpha and sigma are straight lines
        *_, last = ddim(exact, process, xt, ts)
        assert_close(my_euler(exact, process, xt, ts), last.x0)
print("Three samplers, four processes: mine and minidiff's agree.")
print("Under EDM and Flow, Euler is DDIM.")

# %% [markdown]
# Here all three take four steps on one curve. The circles are where they stop.

# %%
process = Flow()
exact = mixture_denoiser(process)
start = torch.tensor([2.2, 1.1], dtype=torch.float64).view(1, 2, 1, 1)
fine = torch.cat([s.xt for s in heun(exact, process, start, process.timesteps(200))])
figure = Figure(figsize=(9.6, 3.4), layout="constrained")
panels = figure.subplots(1, 3, sharex=True, sharey=True)
for axes, sampler in zip(panels, (euler, heun, dpmpp_2m), strict=True):
    steps = list(sampler(exact, process, start, process.timesteps(4)))
    path = torch.cat([step.xt for step in steps]).flatten(1)
    miss = (path[-1] - fine[-1].flatten()).norm()
    axes.plot(*mixture(600).flatten(1).T, ".", markersize=2, color="0.85")
    axes.plot(*fine.flatten(1).T, color="0.5", label="the curve")
    axes.plot(*path.T, "o--", fillstyle="none", label=sampler.__name__)
    axes.plot(*path[0], "o", color="0.2", label="start")
    axes.set(title=f"misses by {miss:.2f}", aspect="equal")
    axes.set(xlim=(0.8, 2.4), ylim=(0.1, 1.3))
    axes.legend(loc="lower right")
viz.show(
    figure, "One curve three times, with the four steps of each sampler beside it."
)

# %% [markdown]
# ## Predict, then run
#
# Take twice as many steps, each half as long. By what does the error of each sampler shrink?
#
# - Not at all: the curve is what it is.
# - To a half, because the steps are half as long.
# - To a quarter.
#
# And will the best of them at many steps also be the best at few? Decide, and then run the cell.
#
# It walks from a hundred starts, under the process of EDM and on its grid, which takes small steps where there is little noise
# (Karras and others, eq. 5). A walk with very many steps stands in for the true curve.
# The error is measured at the last level before 0. The final jump from there is the same for all.

# %%
process = EDM()
exact = mixture_denoiser(process)
starts = process.prior((100, 2, 1, 1), range(100)).double()
*_, truth, _ = heun(exact, process, starts, process.timesteps(600))
counts = (4, 8, 16, 32, 64, 128)
error, calls = {}, {}
for sampler in (euler, heun, dpmpp_2m):
    name = sampler.__name__
    error[name], calls[name] = [], []
    for steps in counts:
        *_, last, _ = sampler(exact, process, starts, process.timesteps(steps))
        miss = (last.xt - truth.xt).flatten(1).norm(dim=1)
        error[name].append(miss.square().mean().sqrt().item())
        calls[name].append(2 * steps - 1 if sampler is heun else steps)

print("error     " + "".join(f"{steps:>10}" for steps in counts) + "  steps")
for name, errors in error.items():
    print(f"{name:10}" + "".join(f"{e:10.5f}" for e in errors))
print("shrinks by" + " " * 10, end="")
print("".join(f"{steps:>10}" for steps in counts[1:]))
shrink = {name: [a / b for a, b in pairwise(e)] for name, e in error.items()}
for name, factors in shrink.items():
    print(f"{name:20}" + "".join(f"{factor:10.2f}" for factor in factors))

# %%
curves = {name: (calls[name], error[name]) for name in error}
viz.show(
    viz.plot(curves, "network calls", "distance from the true end", log="xy"),
    "Error over calls: Euler falls slowly, Heun and 2M twice as steeply, and cross it.",
)

# %% [markdown]
# With many steps, twice the steps make Euler's error about half as large, and that of the other two about a quarter.
# Euler is of *first order*, the error goes with the length of the step. The others are of *second order*, it goes with its square.
#
# But look at the left end. With few steps the order is reversed, and Heun is the worst by far.
# The order of a method says how fast its error falls. It does not say where it begins.
#
# And look at the price. Heun pays two calls a step. 2M pays one, so at equal calls it is ahead.
#
# ## One network, many processes
#
# Now to pictures, and to the second choice: the clock.
#
# The shipped network was trained with Cosine. Can it walk under EDM, whose noise goes up to 80?
# Look at what it sees. A [`Denoiser`](../minidiff/denoiser.py) never shows it `xt` itself. It shows
#
#     x = xt / sqrt(alpha^2 + sigma^2)    and the level, the angle of (alpha, sigma) as a share of a right angle
#
# Divided so, any `xt` is a quarter turn from picture to noise: `x = cos(angle) x0 + sin(angle) eps`.
# That is the Cosine process. All others are the same turn, at another speed and another size.
#
# So the network needs no new training. It only has to be asked in its own words.


# %%
@torch.no_grad()
def my_denoiser(process, xt, t, ctx):
    """x0 from a network that was trained with Cosine, for xt of any process."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    angle = torch.atan2(sigma, alpha)
    x = xt / torch.sqrt(alpha**2 + sigma**2)
    level = (angle / (math.pi / 2)).expand(len(xt))
    v = model.denoiser.net(x, level, ctx)
    return torch.cos(angle) * x - torch.sin(angle) * v  # lesson 03


ctx = model.encode(digits)
pictures = to_float(mnist().pixels[:10])
for process in (Cosine(), DDPM(), EDM(), Flow()):
    denoiser = Denoiser(model.denoiser.net, process)
    for level in (0.1, 0.5, 0.9):
        t = torch.tensor(process.time(level))
        xt = process.add_noise(pictures, torch.randn(10, 1, 28, 28), t)
        with torch.no_grad():
            library = denoiser(xt, t, ctx)
        assert_close(my_denoiser(process, xt, t, ctx), library, rtol=0, atol=1e-4)
print("One network, four processes: mine and minidiff's guesses agree.")

# %% [markdown]
# What then is a process, for a trained network? A clock. It says at which levels the walk stops.
# Here is where each of them stops in ten steps.

# %%
clocks = {}
for process in (Cosine(), DDPM(), EDM(), Flow()):
    clocks[repr(process)[:-2]] = (range(11), process.level(process.timesteps(10)))
viz.show(
    viz.plot(clocks, "step", "noise level"),
    "Four curves from level 1 to 0: straight for Cosine, curved for the others.",
)

# %% [markdown]
# Will they draw the same digits? All of them turn along the same curve. So with small steps they must.
# With few steps it matters where the steps are.

# %%
many = digits * 10
end = drawn(heun, 30, prompts=many[:20])  # as near to the true end as we go
rows = {}
for process in (Cosine(), DDPM(), EDM(), Flow()):
    name = repr(process)[:-2]
    line = f"{name:7}"
    for sampler, steps in ((ddim, 60), (ddim, 8), (dpmpp_2m, 8)):
        pictures = drawn(sampler, steps, process)
        rows[f"{name}, {sampler.__name__}\n{steps} calls"] = pictures
        away = (pictures - end[:10]).square().mean().sqrt()
        line += f"{sampler.__name__} {steps}: {away:.3f}   "
    print(line)
order = [row for calls in ("60", "8") for row in rows if f"ddim\n{calls}" in row]
viz.show(
    viz.table({row: rows[row] for row in order}),
    "Eight rows of digits: equal with 60 calls, a little different with 8.",
)

# %% [markdown]
# The printed numbers are distances from the end of the true curve, over all pixels.
# With many steps four processes draw one set of digits. They were never four models.
#
# With few steps the clock counts for as much as the sampler. DDPM's clock takes its shortest steps where most is decided:
# at high levels, as lesson 04 has shown. EDM's clock waits there, then jumps through the middle, and waits again at the end.
# With first order, and on this network, that costs most.
#
# Which clock is best is measured, and not known beforehand. Another network may like another one.
#
# ## How many steps are enough?
#
# Now a hundred pictures for each sampler and number of calls. Three questions are put to them:
#
# - How far are they from the end of the true curve? This is asked of the first twenty.
# - How much of the picture is grey? Handwriting is black or white, but a blur is grey.
# - Does the reader see the digit that was asked for?

# %%
asked = torch.arange(100) % 10


def grey(x):
    """The share of pixels that are neither nearly black nor nearly white."""
    return (x.abs() < 0.8).float().mean().item()


found = {}
runs = [(ddim, n) for n in (2, 4, 8, 16)] + [(heun, n) for n in (2, 4, 8)]
for sampler, steps in runs + [(dpmpp_2m, n) for n in (4, 8, 16)]:
    pictures = drawn(sampler, steps, prompts=many)
    away = (pictures[:20] - end).square().mean().sqrt().item()
    read = in_chunks(reader.logits, pictures).argmax(dim=1) == asked
    calls = 2 * steps - 1 if sampler is heun else steps
    found.setdefault(sampler.__name__, []).append((calls, away))
    print(
        f"{sampler.__name__:8} {calls:2} calls: {away:.3f} from the end, "
        f"{grey(pictures):.1%} grey, {read.float().mean():.0%} read as asked"
    )
print(f"the end itself: {grey(end):.1%} grey")
print(f"real digits: {grey(to_float(mnist().pixels)):.1%} grey")

# %%
curves = {name: tuple(zip(*points, strict=True)) for name, points in found.items()}
figure = viz.plot(curves, "network calls", "distance from the end", log="xy")
axes = figure.axes[0]
axes.minorticks_off()
axes.set_xticks([2, 4, 8, 16], ["2", "4", "8", "16"])
axes.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
viz.show(
    figure,
    "Distance over calls for three samplers, on the Cosine clock; all curves fall.",
)

# %% [markdown]
# The picture of the toy is back. With many calls Heun and 2M win. With few, Heun loses, and 2M is as good as DDIM.
# Here the clock is that of Cosine, so the slopes are not as clean.
#
# For each sampler, fewer calls leave more grey. That is blur.
#
# Now the strange column. The reader likes the blurs best. With two steps nearly every digit is read as it was asked for.
# Such a picture is close to the mean of all sevens. It leaves out what is odd about a single one, and is easy to read.
#
# So one number is never enough. By this one, two steps would do. [Lesson 11](11_judging_images.ipynb) shows more numbers that can be fooled.
#
# ## Play
#
# Three walks from one noise in six steps: DDIM, Heun and 2M. Drag the slider. When do the guesses differ?

# %%
walks = [
    list(model.walk("a three", seed=2, steps=6, sampler=sampler, cfg_scale=1.0))
    for sampler in (ddim, heun, dpmpp_2m)
]
together = [
    Step(a.i, a.t, torch.cat([a.xt, b.xt, c.xt]), torch.cat([a.x0, b.x0, c.x0]))
    for a, b, c in zip(*walks, strict=True)
]
viz.show(
    viz.film_strip(together, scale=3),
    "Three walks in six steps from one noise, each with its guess below.",
)

# %%
from minidiff.widgets import StepScrubber

StepScrubber(together)

# %% [markdown]
# ## What went wrong
#
# You borrowed a network and walk by another process. The pictures are bad. Too few steps, or a mistake?
#
# Here are two mistakes.
#
# - *told t*: the network is told the time in place of the level. Under Cosine both are the same. Elsewhere they are not.
# - *wrong size*: the network is shown `xt` as it is, and not at unit variance.
#
# Each is walked twice, with ten steps and with forty. Before you run it: what do you expect the more steps to do?

# %%
net = model.denoiser.net


def by(process, fault, xt, t):
    alpha, sigma = process.alpha(t), process.sigma(t)
    size = torch.sqrt(alpha**2 + sigma**2)
    x = xt if fault == "wrong size" else xt / size
    level = t if fault == "told t" else process.level(t)
    with torch.no_grad():
        v = net(x, level.expand(len(xt)).float(), ctx)
    return (alpha * xt - sigma * size * v) / size**2


rows = {}
cases = [("healthy", EDM()), ("told t", Flow()), ("told t", DDPM())]
for fault, process in [*cases, ("wrong size", EDM())]:
    noise = process.prior((10, 1, 28, 28), seeds=range(10))
    name = f"{fault}, {repr(process)[:-2]}"
    for steps in (10, 40):
        denoise = partial(by, process, fault)
        *_, last = ddim(denoise, process, noise, process.timesteps(steps).float())
        away = (last.x0 - end[:10]).square().mean().sqrt()
        print(f"{name:15} {steps} steps: {away:.3f} from the end")
        rows[f"{name}\n{steps} steps"] = last.x0
for steps in (2, 4):
    rows[f"too few steps\n{steps} steps"] = drawn(ddim, steps)
viz.show(
    viz.table(rows),
    "Ten rows of digits: healthy ones, three with a fault, and blurs from few steps.",
)

# %% [markdown]
# How to tell them apart: **take four times the steps, from the same noise.**
#
# - **They get much closer to the end of the true curve.** It was the error of the sampler. Take more steps, or a better sampler.
# - **They hardly do.** Then it is no error of steps. The sampler follows a curve well, but the curve is wrong.
#   Compare what the network is told with what it was trained on: the level, and the size of what it sees.
# - **They were blurred, and get sharp.** Much too few steps.
#
# Look at the faults too. Under DDPM's clock the level is far from the time, and the strokes are doubled and tangled:
# the network was told of less noise than there is, and took noise for ink.
# At the wrong size the digits come apart, or are no longer those that were asked for.
#
# Under Flow the time is almost the level, and you would not see the fault. Only the number tells:
# it stays where it is when the steps get small. That is why one compares numbers, from the same seed.
#
# ## Milestones
#
# The orders that you measured, beside those that theory promises. Then the share of digits that are read as asked,
# for the sampler and the number of steps with which the shipped weights were measured.

# %%
promised = {"euler": 1, "heun": 2, "dpmpp_2m": 2}
for name, order in promised.items():
    print(f"{name:8}: order {math.log2(shrink[name][-1]):.2f}, expected {order}")

quality = model.card["quality"]
print(f"{quality['sampler']}, {quality['n']:,} digits when the weights were made:")
for scale in (1, 2):
    pictures = model.draw(many, seed=1000, steps=10, sampler=dpmpp_2m, cfg_scale=scale)
    share = (in_chunks(reader.logits, pictures).argmax(dim=1) == asked).float().mean()
    expected = quality[f"guidance {scale}"]["adherence"]
    off = 2 * math.sqrt(expected * (1 - expected) / len(many))
    print(f"guidance {scale}: {share:.0%} here, expected {expected:.2%}", end="")
    print(f", give or take {off:.1%} on so few")

# %% [markdown]
# The samplers of this lesson know nothing of digits. `model.walk` takes any of them as `sampler=`, and so does the model
# that draws painted digits. More pictures and more clocks are in [the benchmarks](../benchmarks/README.md).
#
# ## To think about
#
# 1. Why is the last step of all three samplers of first order? Does that spoil the order of the whole walk?
# 2. Try 2M on the grid of Cosine in the experiment with the islands. Is it still of second order?
#    Print the steps in `lam`, and see how uneven they are.
# 3. A network that answers with `u`, the slope of Flow, is trained with Flow alone. Can it walk by another process?
#    What has to be done with its answer first?
# 4. With `eta = 1` fresh noise is added at every step. Is there a curve that such a walk follows? What would its order mean?
#
# ---
#
# Exercises: [05 · Faster samplers](../exercises/05_faster_samplers.ipynb).
# Next: [06 · Words to vectors](06_words_to_vectors.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
