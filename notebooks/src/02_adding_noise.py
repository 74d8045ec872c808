# %% [markdown]
# # 02 · Adding noise
#
# To make a picture out of noise is hard. To make noise out of a picture is easy: add noise until nothing is left.
#
# The network of the next lesson learns to walk this way backwards. So it must be known exactly.
# In this lesson nothing is learned. You build the way, measure how much of a picture is left at every place of it,
# and see that four well-known ways are one.
#
# Afterwards you can
#
# - say why noise adds in squares, and jump to any place of the way in one step,
# - read the curves `alpha` and `sigma`, the SNR and the noise `level`,
# - turn any of the processes DDPM, EDM, Flow and Cosine into any other,
# - design a schedule, and tell a bad one by its signs.
#
# The next cell says what the lesson costs here.

# %%
import json
import math
import os
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from minidiff import (
    DDPM,
    EDM,
    ConvNet,
    Cosine,
    Denoiser,
    Flow,
    Process,
    Step,
    TextToImage,
    ddim,
    mnist,
    painted_digits,
    viz,
)
from minidiff.data import moons, to_float
from minidiff.metrics import adherence
from torch.testing import assert_close

SEED = 0
MILESTONES = [0.2, 0.5, 0.7, 0.8, 0.9]

# %%
generator = torch.Generator().manual_seed(SEED)
digits = mnist()
known = to_float(digits.pixels).flatten(1)  # (9000, 784)
model = TextToImage.load()
reader = ConvNet.load("digits").eval()

noise = torch.randn(50, 1, 28, 28, generator=generator)
times = []
with torch.no_grad():
    for _ in range(3):
        start = time.perf_counter()
        model.denoiser(noise, torch.tensor(1.0), model.encode([""] * 50))
        times.append(time.perf_counter() - start)
print(f"This lesson takes about {150 * min(times):.0f} s here; nothing is trained.")
print(f"(On the processor, {os.cpu_count()} cores.)")

# %% [markdown]
# ## From picture to noise
#
# Three pictures under more and more noise. The number above is the noise `level`: 0 is the picture, 1 is noise alone.

# %%
pictures = to_float(painted_digits(split="held_out", variants=1)[20:24].pixels)
eps = torch.randn(pictures.shape, generator=generator)
levels = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0])
rows = {}
for i in (0, 2, 3):
    x0, same_eps = (
        x[i : i + 1].expand(len(levels), -1, -1, -1) for x in (pictures, eps)
    )
    rows[" " * i] = Cosine().add_noise(x0, same_eps, levels)
viz.show(
    viz.table(rows, [f"{level:g}" for level in levels]),
    "Three painted digits that vanish in noise from left to right.",
)

# %% [markdown]
# Each noisy picture is a mixture of two things: the picture `x0`, and `eps`, a random number for every pixel.
# The random numbers have mean 0 and standard deviation 1.
#
#     xt = alpha x0 + sigma eps
#
# `alpha` says how much picture there is, `sigma` how much noise. The whole lesson is about these two numbers.
#
# ## Predict, then run
#
# Noise is often added in many small steps. So first: how do two noises add up?
#
# Add noise of standard deviation 3 to a picture. Then add other noise, of standard deviation 4.
# What is the standard deviation of all the noise together: 7, or 5, or something else?
#
# And if a hundred noises of 0.1 are added?

# %%
a, b = torch.randn(2, 1_000_000, generator=generator)
print(f"3 and 4 together: {(3 * a + 4 * b).std():.2f}")
print(f"if the second noise is the first again: {(3 * a + 4 * a).std():.2f}")

total = torch.zeros(100_000)
for _ in range(100):
    total += 0.1 * torch.randn(100_000, generator=generator)
print(f"a hundred of 0.1 together: {total.std():.2f}")

# %% [markdown]
# Five, because 9 + 16 = 25. Noise adds in squares. The reason is one line. The mean is 0, so the variance is the mean of the square:
#
#     mean of (3 a + 4 b)^2 = 9 (mean of a^2) + 24 (mean of a b) + 16 (mean of b^2) = 9 + 0 + 16
#
# The middle term vanishes because `a` knows nothing of `b`: their product is as often positive as negative, and by as much.
# Where it does not vanish, as for a noise added to itself, the rule is another.
#
# So a hundred small noises do not make a hundred times as much, but ten times. They undo each other in part.
#
# ## A thousand small steps are one leap
#
# This is how DDPM destroys a picture ([Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239), eq. 2;
# first [Sohl-Dickstein and others, 2015](https://arxiv.org/abs/1503.03585)).
# In each of a thousand steps the picture shrinks a little, and a little noise comes in:
#
#     x <- sqrt(1 - beta) x + sqrt(beta) eps
#
# `beta` is small, and grows from step to step. The shrinking is there so that the variance stays what it is:
# if it was 1, it is `(1 - beta) + beta = 1` again.
#
# Must one take the steps one by one? After two of them, `x0` has been multiplied by `sqrt((1 - beta_1) (1 - beta_2))`.
# The noises add in squares. And if `x0` has variance 1, so has everything together, so what is not picture is noise (eq. 4):
#
#     alpha_bar = (1 - beta_1) (1 - beta_2) ... (1 - beta_t)
#     xt = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps
#
# The cell takes the steps one by one, with 20,000 copies of the number 1, and compares.

# %%
beta = torch.linspace(1e-4, 0.02, 1000)
alpha_bar = (1 - beta).cumprod(dim=0)

x = torch.ones(20_000)
print("step    picture: walked, leapt    noise: walked, leapt")
for i in range(1000):
    x = (1 - beta[i]).sqrt() * x + beta[i].sqrt() * torch.randn(
        20_000, generator=generator
    )
    if i + 1 in (1, 100, 250, 500, 1000):
        leap = alpha_bar[i].sqrt(), (1 - alpha_bar[i]).sqrt()
        print(
            f"{i + 1:4} {x.mean():16.3f} {leap[0]:8.3f} {x.std():16.3f} {leap[1]:8.3f}"
        )

# %% [markdown]
# One leap replaces a thousand steps. That is why training is cheap: to see a picture at any noise,
# one multiplies twice and adds.
#
# `minidiff` goes one step further. It makes the steps infinitely small, so that time runs from `t = 0` to `t = 1`.
# The sum over `beta` becomes an integral ([Song and others, 2021](https://arxiv.org/abs/2011.13456), eq. 33).
# The thousand steps come close to it.

# %%
t = torch.arange(1, 1001) / 1000
limit = DDPM().alpha(t) - alpha_bar.sqrt()
print(f"largest difference of alpha: {limit.abs().max():.4f}")
assert_close(DDPM().alpha(t), alpha_bar.sqrt(), atol=0.005, rtol=0)

# %% [markdown]
# ## The same in the plane
#
# A picture is a point in a space with as many directions as it has pixels. We cannot see that space,
# but we can see one with two directions. Here are points on two moons, under the same kind of noise.
# The colour says where a point began, in the upper half or in the lower.

# %%
points = moons(1000, seed=SEED)  # (1000, 2, 1, 1): pictures of one pixel
upper = points[:, 1, 0, 0] > 0
eps = torch.randn(points.shape, generator=generator)
figure = Figure(figsize=(9.6, 2.5), layout="constrained")
for axes, level in zip(
    figure.subplots(1, 5, sharex=True, sharey=True),
    (0.0, 0.15, 0.3, 0.6, 1.0),
    strict=True,
):
    xt = Cosine().add_noise(points, eps, torch.tensor(level))[:, :, 0, 0]
    for one, colour in ((upper, "C0"), (~upper, "C1")):
        axes.plot(*xt[one][:200].T, ".", markersize=2, color=colour)
    axes.set(title=f"level {level:g}", aspect="equal", xlim=(-3.2, 3.2), ylim=(-3, 3))
    print(f"level {level:4}: variance {xt.var(dim=0).mean():.2f}")
viz.show(figure, "Two moons blur, melt together, and end as one round cloud.")

# %% [markdown]
# In the end there is one round cloud, the same for any data. That is the point of the matter:
# from that cloud anyone can draw a new point, and walk back.
#
# The variance stays near 1, because that of the moons is near 1, and `alpha^2 + sigma^2 = 1`.
#
# ## Four processes
#
# A way from data to noise is two curves, `alpha` and `sigma`. Here are the four that most models use, each in one line.
#
# - **Cosine**: a quarter of a circle at even speed
#   ([Nichol and Dhariwal, 2021](https://arxiv.org/abs/2102.09672), eq. 17, as by [Salimans and Ho, 2022](https://arxiv.org/abs/2202.00512)).
# - **DDPM**: the thousand steps, infinitely small.
# - **EDM**: the picture never shrinks, and noise is piled on it up to 80
#   ([Karras and others, 2022](https://arxiv.org/abs/2206.00364), table 1).
# - **Flow**: a straight line from picture to noise ([Liu and others, 2023](https://arxiv.org/abs/2209.03003);
#   [Lipman and others, 2023](https://arxiv.org/abs/2210.02747)).


# %%
def my_cosine(t):
    return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)


def my_ddpm(t):
    log_alpha_bar = -(0.1 * t + (20 - 0.1) * t**2 / 2)  # minus the integral of beta
    return torch.exp(log_alpha_bar / 2), torch.sqrt(1 - torch.exp(log_alpha_bar))


def my_edm(t):
    return torch.ones_like(t), t


def my_flow(t):
    return 1 - t, t


curves = {Cosine(): my_cosine, DDPM(): my_ddpm, EDM(): my_edm, Flow(): my_flow}
share = torch.linspace(0, 1, 201, dtype=torch.float64)  # of the way
x0, eps = torch.randn(2, 201, 1, 4, 4, generator=generator, dtype=torch.float64)
for process, curve in curves.items():
    alpha, sigma = curve(share * process.t_max)
    mine = alpha.view(-1, 1, 1, 1) * x0 + sigma.view(-1, 1, 1, 1) * eps
    assert_close(mine, process.add_noise(x0, eps, share * process.t_max))
    print(f"{process}: equal to minidiff's at 201 times from 0 to {process.t_max:g}")

# %%
figure = Figure(figsize=(7.6, 2.9), layout="constrained")
left, right = figure.subplots(1, 2)
for process, dash in zip(curves, ["-", "--", "-.", ":"], strict=True):
    t = share * process.t_max
    left.plot(share, process.alpha(t), dash, lw=2, label=str(process)[:-2])
    right.plot(
        share, process.sigma(t).clamp(max=1.3), dash, lw=2, label=str(process)[:-2]
    )
left.set(title="alpha, the picture", xlabel="t, as a share of t_max", ylim=(-0.05, 1.3))
right.set(title="sigma, the noise", xlabel="t, as a share of t_max", ylim=(-0.05, 1.3))
right.legend(loc="lower right", fontsize=8)
for axes in (left, right):
    axes.grid(alpha=0.3)
viz.show(
    figure,
    "Four curves of alpha fall, EDM's stays at one; four curves of sigma rise.",
)

# %% [markdown]
# (EDM's `sigma` leaves the picture at once: it goes up to 80.)
#
# Before you run the next cell: the four look very different. Take one picture and one noise, and go a third of the way in each.
# In which of the four is most of the picture left?

# %%
x0 = to_float(mnist(split="held_out").pixels[5:6])
eps = torch.randn(x0.shape, generator=generator)
stops = torch.linspace(0, 1, 9)


def at_unit_variance(process, t):
    """xt for these times, divided by sqrt(alpha^2 + sigma^2)."""
    scale = torch.sqrt(process.alpha(t) ** 2 + process.sigma(t) ** 2)
    x, same_eps = (a.expand(len(t), -1, -1, -1) for a in (x0, eps))
    return process.add_noise(x, same_eps, t) / scale.view(-1, 1, 1, 1)


rows = {
    str(process)[:-2]: at_unit_variance(process, stops * process.t_max)
    for process in curves
}
for process in curves:
    third = torch.tensor(process.t_max / 3)
    ratio = (process.alpha(third) / process.sigma(third)) ** 2
    print(f"{str(process)[:-2]:7} (alpha / sigma)^2 after a third: {ratio:.3f}")
viz.show(
    viz.table(rows, [f"{stop:.0%}" for stop in stops]),
    "One digit on its way to noise in four rows; in EDM's only the first is clear.",
)

# %% [markdown]
# In Flow, by a little: its ratio of picture to noise is the largest. Why it is squared, and its name, come now.
#
# ## One way, four clocks
#
# What decides how much can be seen? Not `alpha` or `sigma` alone. A mixture of 2 parts picture and 2 parts noise is
# the mixture 1 and 1, only twice as bright. What counts is how much picture there is *for each part of noise*.
# Squared, it is the signal-to-noise ratio ([Kingma and others, 2021](https://arxiv.org/abs/2107.00630)):
#
#     SNR = alpha^2 / sigma^2          logsnr = log SNR
#
# It runs from infinity to 0, which is awkward for a slider. So draw `alpha` to the right and `sigma` upwards.
# Then every mixture is a point, and those that look alike lie on one ray from the corner.
# The angle of the ray, as a share of a right angle, is the noise `level`:
#
#     level = atan2(sigma, alpha) / (pi/2)

# %%
figure = Figure(figsize=(8.0, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
for level in (0.25, 0.5, 0.75):
    angle = level * math.pi / 2
    ray = 1.6 * math.cos(angle), 1.6 * math.sin(angle)
    left.plot([0, ray[0]], [0, ray[1]], color="0.8", zorder=0)
    left.text(*ray, f" level {level}", fontsize=9, color="0.4", va="bottom")
for process, dash in zip(curves, ["-", "--", "-.", ":"], strict=True):
    t = share**3 * process.t_max  # dense at the beginning, where EDM is fast
    alpha, sigma = process.alpha(t), process.sigma(t)
    seen = sigma < 1.7
    left.plot(alpha[seen], sigma[seen], dash, lw=2, label=str(process)[:-2])
    right.plot(share**3, process.level(t), dash, lw=2)
left.set(xlabel="alpha", ylabel="sigma", aspect="equal", xlim=(-0.05, 1.9))
left.set(ylim=(-0.05, 1.75))
right.set(xlabel="t, as a share of t_max", ylabel="level")
left.legend(loc="lower right", fontsize=8)
right.grid(alpha=0.3)
viz.show(
    figure,
    "Left: four ways cross the same rays. Right: they do so at different times.",
)

# %% [markdown]
# On the left, Cosine and DDPM walk on the same circle. Flow cuts the corner, EDM goes straight up. All cross the same rays, in the same order.
# On the right: they do it at different times. So there is one way from picture to noise, and a process is a clock for it, and a brightness
# (Kingma and others, section 5.1).
#
# That is a claim that one can check. Take the times at which the four have the same level, and divide each `xt` by
# `sqrt(alpha^2 + sigma^2)`. Then all four must hold the same picture.

# %%
rows = {}
for process in curves:
    t = torch.tensor([process.time(float(level)) for level in levels[1:-1]])
    rows[str(process)[:-2]] = at_unit_variance(process, t.float())
for row in rows.values():
    assert_close(row, rows["Cosine"], atol=1e-4, rtol=0)

t = torch.linspace(0.05, 0.95, 19)
for process, curve in curves.items():
    alpha, sigma = curve(t * process.t_max)
    my_level = torch.atan2(sigma, alpha) / (math.pi / 2)
    assert_close(my_level, process.level(t * process.t_max))
    my_logsnr = torch.log(alpha**2 / sigma**2)
    assert_close(my_logsnr, process.logsnr(t * process.t_max), atol=1e-3, rtol=1e-4)
    assert_close(
        my_logsnr,
        -2 * torch.log(torch.tan(my_level * math.pi / 2)),
        atol=1e-3,
        rtol=1e-3,
    )
viz.show(
    viz.table(rows, [f"{level:g}" for level in levels[1:-1]]),
    "Four equal rows of a digit under growing noise.",
)

# %% [markdown]
# Four equal rows. A network that is shown this picture and its level cannot know which process made it.
# Therefore a network of `minidiff` can be trained with one process and draw with another. Lesson 05 does so.
#
# ## Until nothing is left
#
# How much is left of a picture at a level? Looking is not enough: perhaps a better eye would see more.
#
# Here is the best eye there can be. It knows all 9,000 training digits, and knows that `xt` was made from one of them.
# Each is as likely as any other at first. By Bayes' rule, how likely it is after a look at `xt` follows from how well it explains it:
#
#     p_i = exp(-|xt - alpha x_i|^2 / (2 sigma^2)) / (the sum of the same over all digits)
#
# Before you run the cell, decide: up to which level can that eye still tell which *digit* it was, more often than not?
# And compare a reader that is excellent at clean digits, but has never seen noise.
#
# The cell also counts in *bits*, questions of yes or no. To find one of 9,000 pictures takes the base-2 logarithm of 9,000 of them.
# What is known is that number, less the questions that are still open after a look.


# %%
def best_eye(xt, level):
    """p (n, 9000): how likely each known picture is behind each xt."""
    alpha, sigma = Cosine().alpha(level), Cosine().sigma(level)
    distance = torch.cdist(xt.flatten(1), alpha * known)
    return (-distance.square() / (2 * sigma**2)).softmax(dim=1)


same_digit = torch.nn.functional.one_hot(digits.labels, 10).float()
chosen = torch.randperm(len(digits), generator=generator)[:400]
x0, truth = to_float(digits.pixels[chosen]), digits.labels[chosen]
eps = torch.randn(x0.shape, generator=generator)

everywhere, read, bits = {}, {}, {}
for level in [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0]:
    xt = Cosine().add_noise(x0, eps, torch.tensor(level))
    p = best_eye(xt, torch.tensor(level))
    everywhere[level] = round(adherence(p @ same_digit, truth), 4)
    with torch.no_grad():
        read[level] = adherence(reader.logits(xt), truth)
    doubt = -(p * p.clamp(min=1e-30).log2()).sum(dim=1).mean()  # in bits
    bits[level] = max(0.0, math.log2(len(known)) - doubt.item())
at_milestone = {level: everywhere[level] for level in MILESTONES}

# %%
figure = Figure(figsize=(8.0, 3.0), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(everywhere.keys(), everywhere.values(), "-")
left.plot(read.keys(), read.values(), "--")
left.axhline(0.1, color="0.6", lw=1)
left.text(0.35, 0.92, "the best eye", color="C0")
left.text(0.36, 0.45, "a reader of\nclean digits", color="C1")
left.text(0.0, 0.12, "by chance", color="0.4")
left.set(xlabel="level", ylabel="share of digits read right")
right.plot(bits.keys(), bits.values(), "-")
right.set(xlabel="level", ylabel="known about the picture, in bits")
for axes in (left, right):
    axes.grid(alpha=0.3)
print(f"which of {len(known):,} pictures it is: {math.log2(len(known)):.1f} bits")
for level in (0.5, 0.8, 0.9, 1.0):
    told = f"{everywhere[level]:4.0%} read right, {bits[level]:4.1f} bits"
    print(f"level {level}: {told}")
viz.show(
    figure,
    "The best eye reads nearly all digits far into the noise, the reader fails early.",
)

# %% [markdown]
# Two things are to be learned from this.
#
# The picture is there much longer than we see it. Noise hides pixels one by one, but a digit is hundreds of pixels that belong together.
# The reader fails early because it never had to use that. A network that is trained on noisy pictures learns it.
#
# And the decision falls late. Over the first half of the levels nothing is lost. Then, within a small part of the way, the picture goes,
# first which writing it was, then which digit. On the way back, that is where it is decided what the picture will be.
# So that is where training should look most. Lesson 03 does.
#
# At level 1 nothing is left: `alpha` is 0, all 9,000 are as likely as before, and the number of bits is 0.
#
# ## Design a schedule
#
# A drawing takes only a few steps, say ten. A schedule says at which levels they are. Here is what the four processes choose.
# (EDM does not walk evenly in its `t`; it has a rule of its own, eq. 5 of its paper.)

# %%
x0 = to_float(mnist(split="held_out").pixels[5:6])
eps = torch.randn(x0.shape, generator=generator)
rows = {}
for process in curves:
    ts = process.timesteps(10)
    rows[str(process)[:-2]] = at_unit_variance(process, ts.flip(0).float())
    print(f"{process!s:9}", " ".join(f"{x:.2f}" for x in process.level(ts).flip(0)))
viz.show(
    viz.table(rows),
    "A digit at the eleven places where each process stops, from picture to noise.",
)

# %% [markdown]
# Now your own. A process in `minidiff` is a class with two curves. It is easiest to say how the level shall depend on the time,
# and to let `alpha` and `sigma` follow on the circle.
#
# `power` bends the clock. With 1 it is Cosine. What will 3 do, and what one third? In which are most of the steps spent on noise?


# %%
class MySchedule(Process):
    def __init__(self, power=1.0, top=1.0):
        self.power, self.top = power, top

    def level_at(self, t):
        return self.top * t**self.power

    def alpha(self, t):
        return torch.sin((1 - self.level_at(t)) * math.pi / 2)

    def sigma(self, t):
        return torch.sin(self.level_at(t) * math.pi / 2)


t = torch.linspace(0, 1, 11)
assert_close(MySchedule().alpha(t), Cosine().alpha(t))
assert_close(MySchedule().sigma(t), Cosine().sigma(t))

powers = {"one third": 1 / 3, "1": 1.0, "3": 3.0}
viz.show(
    viz.table(
        {f"power {p}": at_unit_variance(MySchedule(v), t) for p, v in powers.items()}
    ),
    "Three rows of a digit: noisy early, evenly, and late.",
)

# %% [markdown]
# Which is best? Let the shipped network draw with each, from the same noise, `xT = sigma eps`, in few steps. The network stays as it is: it asks only for the level.
# A reader counts how many of a hundred digits came out as asked. That alone says little: a blur of all sevens reads well.
# So the cell also prints how much digits of one kind differ from seed to seed, as a share of the variance among real ones.
# If the share is small, the drawings are blurs, or all alike.

# %%
prompts = [f"the digit {d}" for d in range(10)] * 10
asked = torch.arange(100) % 10
ctx = model.encode(prompts)
noise = torch.randn(100, 1, 28, 28, generator=generator)


@torch.no_grad()
def draw(process, steps, told=None):
    """Walk back from `noise`; `told` is the process that the network believes in."""
    denoiser = Denoiser(model.denoiser.net, told or process)
    xt = process.sigma(torch.tensor(process.t_max)) * noise
    ts = process.timesteps(steps)
    *_, last = ddim(lambda xt, t: denoiser(xt, t, ctx), process, xt, ts)
    return last.x0


held_out = mnist(split="held_out")
real = to_float(held_out.pixels)
real = sum(real[held_out.labels == d].var(dim=0).mean() for d in range(10)) / 10


def judged(x):
    with torch.no_grad():
        right = adherence(reader.logits(x), asked)
    spread = x.view(10, 10, 28, 28).var(dim=0).mean() / real  # (seed, digit, h, w)
    return (
        f"{right:4.0%} read as asked, variance {spread:4.0%} of that among real digits"
    )


rows = {}
for power in (1 / 3, 0.5, 1.0, 2.0, 3.0):
    x = draw(MySchedule(power), 3)
    rows[f"power {power:.2f}"] = x[:10]
    print(f"power {power:.2f}: {judged(x)}")
viz.show(
    viz.table(rows),
    "Five rows of ten digits, each drawn in three steps with another clock.",
)

# %% [markdown]
# Compare this with the curves of what is left. With power 3 the first step leaps over all the levels at which it is decided
# what the picture will be. What comes out is near the mean of its kind. The steps it saves there it spends where nothing is left to decide.
#
# ## Play
#
# Your schedule as a slider, from noise to picture, in the order of drawing. On one side is `xt`. On the other is what the shipped network,
# which gets no words here, makes of it. Find the place at which its guess becomes the right digit, and the one at which it becomes the right picture.
#
# Change `power` and run the cell again.

# %%
power = 1.0
mine = MySchedule(power)
steps = []
nothing = model.encode([""])
for i, t in enumerate(mine.timesteps(24)):
    xt = mine.add_noise(x0, eps, t.float())
    with torch.no_grad():
        guess = Denoiser(model.denoiser.net, mine)(xt, t.float(), nothing)
    steps.append(Step(i, float(t), xt, guess))
viz.show(
    viz.film_strip(steps, frames=13),
    "From noise to a digit; below, a guess that turns from a blur into that digit.",
)

# %%
from minidiff.widgets import StepScrubber

StepScrubber(
    steps,
    titles=("xt, the picture under noise", "x0, the guess of a network"),
)

# %% [markdown]
# ## What went wrong
#
# Three bad schedules, each drawn with in ten steps.
#
# - **It stops too early.** The last level is 0.6, but the drawing starts from noise alone. Stable Diffusion was trained with a mild case
#   of this ([Lin and others, 2024](https://arxiv.org/abs/2305.08891)).
# - **It is nearly all noise.** EDM's process goes up to 80. Somebody walks it in ten even steps of `t`.
# - **The two sides disagree.** Somebody forgets the square: the noise is mixed by `sigma = 1 - alpha`, but the network is told the level of Cosine.
#
# Before you run it: which gives broken strokes, which a blur, and which digits that look fine but differ too little
# from seed to seed?


# %%
class TooFewSquares(Cosine):
    def sigma(self, t):
        return 1 - self.alpha(t)


class Even(EDM):
    def timesteps(self, steps):
        return torch.linspace(self.t_max, 0, steps + 1, dtype=torch.float64)


bad = {
    "healthy": (Cosine(), None),
    "stops too early": (MySchedule(top=0.6), None),
    "nearly all noise": (Even(), None),
    "sides disagree": (TooFewSquares(), Cosine()),
}
forward, drawn = {}, {}
for name, (process, told) in bad.items():
    t = process.timesteps(10).flip(0).float()
    forward[name] = at_unit_variance(process, t)
    drawn[name] = draw(process, 10, told)
    least = (process.alpha(t) ** 2 + process.sigma(t) ** 2).min()
    snr = (process.alpha(t[-1]) / process.sigma(t[-1])) ** 2
    print(f"{name:16} smallest alpha^2 + sigma^2 {least:.2f}, SNR at the end {snr:.4f}")
    print(f"{'':16} {judged(drawn[name])}")
viz.show(
    viz.table(forward),
    "Four rows, a digit from picture to noise. In the second row noise never wins.",
)

# %%
viz.show(
    viz.table({name: x[:10] for name, x in drawn.items()}),
    "Four rows of drawn digits: healthy ones, broken strokes, blurs, and clean ones.",
)

# %% [markdown]
# The first gives broken strokes, the second a blur. The third looks fine, and only the variance shows the fault.
#
# How to tell them apart:
#
# - **Look at the last picture of the forward row.** If you can still see the digit, the schedule stops too early.
#   The number for it is the SNR at the end: it should be nearly 0.
# - **Look at the first ones.** If the second is noise already, the steps are in the wrong place.
# - **Compute `alpha^2 + sigma^2`** at every time. On the circle it is 1. If it should be and is not, somebody forgot a square.
#
# Look at the forward row before you train anything: it costs nothing.
#
# ## Milestones
#
# How well does the best eye read, at five levels? Three runs from three seeds were measured beforehand.

# %%
expected = json.loads(Path("expected/02_adding_noise.json").read_text())
for level, values in expected["at_milestone"].items():
    low, high = min(values), max(values)
    yours = at_milestone.get(float(level))
    yours = "not measured" if yours is None else f"{yours:.1%}"
    print(f"level {level}: {yours} read right, expected {low:.1%} to {high:.1%}")

# %% [markdown]
# ## Where this goes
#
# The generators of this course use Cosine: `xt = alpha x0 + sigma eps` is the first line of their training.
# [Lesson 03](03_learning_to_denoise.ipynb) teaches a network the way back.
#
# ## To think about
#
# 1. Draw a picture twice as large, each pixel as four equal ones. Is as much left of it at level 0.8 as of the small one?
#    What does that mean for the schedule of large pictures ([Chen, 2023](https://arxiv.org/abs/2301.10972))?
# 2. The four processes hold the same pictures. Why then do people argue about which is best?
# 3. At level 1 all nine thousand digits are equally likely to the best eye. What is the mean of its guess, and where have you seen it?
# 4. The noise of each pixel is drawn alone. What would change if neighbours got similar noise, as a blur of noise has it?
#
# ---
#
# Exercises: [02 · Adding noise](../exercises/02_adding_noise.ipynb).
# Next: [03 · Learning to denoise](03_learning_to_denoise.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
