# %% [markdown]
# # 03 · Learning to denoise
#
# A network that draws is a network that cleans.
# It is shown a picture under noise and guesses the picture. It learns nothing else.
#
# In this lesson you train one from nothing, on your own machine, until it draws digits.
#
# Afterwards you can
#
# - say what a perfect denoiser would answer, and check a trained one against it,
# - write the training loop of a diffusion model in a dozen lines,
# - explain why one step is not enough,
# - tell a training that failed from a sampling that failed.
#
# The next cell measures what that will cost here.

# %%
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.figure import Figure
from minidiff import (
    MLP,
    Cosine,
    Denoiser,
    TextToImage,
    batches,
    cfg,
    ddim,
    mnist,
    train,
    viz,
)
from minidiff.data import (
    MIXTURE_MEANS,
    MIXTURE_STD,
    all_digit_captions,
    digit_captions,
    mixture,
    mixture_denoiser,
    to_float,
)
from minidiff.train import TrainingError, best_device, measure_format
from PIL import Image
from torch.testing import assert_close

SEED = 0
STEPS = 500
MILESTONES = [50, 150, 300, 500]

# %%
torch.manual_seed(SEED)
device = best_device()
digits = mnist().to(device)
model = TextToImage.new(all_digit_captions(), widths=(32, 64), blocks=1).to(device)
stream = batches(digits, 64, captions=digit_captions, seed=SEED)
form, seconds = measure_format(model, next(iter(stream)))

shipped = TextToImage.load().to(device)
card = shipped.card
cost = STEPS * seconds[form] * 1.3
print(f"The training below takes about {cost:.0f} s here.")
print(f"(On {device}, {os.cpu_count()} cores, in {form}.)")
print(f"The shipped model took {card['seconds']:,} s on {card['hardware']}.")

# %% [markdown]
# ## What a denoiser does
#
# Here is one digit under more and more noise. Below it stands what the shipped network makes of it.
#
# The noise `level` goes from 0, the picture, to 1, nothing but noise.
# The network gets no words here. It has only the noisy picture and its level.

# %%
held_out = mnist(split="held_out").to(device)
process = shipped.denoiser.process
levels = torch.tensor([0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], device=device)

x0 = to_float(held_out.pixels[5:6]).expand(len(levels), -1, -1, -1)
eps = torch.randn(1, 1, 28, 28, device=device).expand_as(x0)
xt = process.add_noise(x0, eps, levels)
with torch.no_grad():
    guess = shipped.denoiser(xt, levels, shipped.encode([""] * len(levels)))

titles = [f"{level:.1f}" for level in levels]
viz.show(
    viz.table({"picture": x0, "noisy": xt, "guess": guess}, titles),
    "A digit, the digit under growing noise, and the guess, which turns to a blur.",
)

# %% [markdown]
# With little noise the network repairs. With more it has to guess, and the guess may be another digit.
# At level 1 the noise says nothing about the picture, and the guess is a grey blur.
#
# ## Predict, then run
#
# Is the blur a flaw of this network? Suppose you were shown pure noise and asked for the picture behind it.
# Your error is the squared distance to the true picture. You could answer
#
# - a sharp digit, chosen at random,
# - the mean of all digits, which is a blur.
#
# Which of them has the smaller error, and by what factor? Decide, and then run the cell.

# %%
truth = to_float(held_out.pixels)
sharp = to_float(digits.pixels[: len(truth)])
mean = to_float(digits.pixels).mean(dim=0)

print(f"error of a random sharp digit: {F.mse_loss(sharp, truth):.3f}")
print(
    f"error of the mean of all digits: {F.mse_loss(mean.expand_as(truth), truth):.3f}"
)

with torch.no_grad():
    noise = process.prior((1, 1, 28, 28), seeds=[0]).to(device)
    blur = shipped.denoiser(noise, torch.tensor(1.0), shipped.encode([""]))
error = F.mse_loss(blur.expand_as(truth), truth)
print(f"error of the network's guess from pure noise: {error:.3f}")
viz.show(
    viz.table({"mean": mean[None], "network": blur}, scale=3),
    "Two grey blurs that look alike: the mean of all digits and the network's guess.",
)

# %% [markdown]
# The blur wins. A random digit is wrong twice: by the spread of the truth, and by its own.
#
# So a network that is trained on the squared error learns to answer with a mean.
# Given `xt`, it is the mean over all pictures that could be behind it, each weighted by how likely it is:
#
#     x0 = E[x0 | xt]
#
# Nothing can have a smaller error. The rest of this lesson follows from that one line.
#
# ## A world where the best answer is known
#
# For pictures nobody can compute that mean. For a small world of points we can.
#
# The points lie on eight islands. Island `k` has the centre `m_k`, and a point strays from it by a Gaussian
# of standard deviation `s`. Noise is added as always, `xt = alpha x0 + sigma eps`.
#
# Take one island. Seen through the noise, it is a Gaussian around `alpha m_k`, with this variance:
#
#     var = alpha^2 s^2 + sigma^2
#
# All islands are equally likely. By Bayes' rule, the share of island `k` in the explanation of `xt` is
#
#     share_k = exp(-|xt - alpha m_k|^2 / (2 var)) / (the sum of the same over all islands)
#
# If `xt` came from island `k`, the part `alpha^2 s^2 / var` of its stray is real and the rest is noise.
# Divide by `alpha` to get back to clean points, and take the mean over the islands:
#
#     x0 = sum_k share_k (m_k + (alpha s^2 / var) (xt - alpha m_k))


# %%
def exact(xt, t):
    """E[x0 | xt] for points xt (n, 2) at time t of the Cosine process."""
    alpha, sigma = math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)
    var = alpha**2 * MIXTURE_STD**2 + sigma**2
    stray = xt[:, None] - alpha * MIXTURE_MEANS  # (n, 8, 2)
    share = (-stray.square().sum(dim=2) / (2 * var)).softmax(dim=1)  # (n, 8)
    guess = MIXTURE_MEANS + alpha * MIXTURE_STD**2 / var * stray
    return (share[:, :, None] * guess).sum(dim=1)


some = 2 * torch.randn(100, 2)
theirs = mixture_denoiser(Cosine())(some.view(-1, 2, 1, 1), torch.tensor(0.6))
assert_close(exact(some, 0.6), theirs.flatten(1))

# %% [markdown]
# ## A network that was never told
#
# Now a small network. It does not know the islands. It sees noisy points and is corrected, many times.
#
# This is the whole training of a diffusion model. Draw clean data, a time and noise. Mix them.
# Ask the network, compare, take a step.
#
# What is it asked for? Here and in the rest of the course it is `v = alpha eps - sigma x0`
# ([Salimans and Ho, 2022](https://arxiv.org/abs/2202.00512)). With little noise this is nearly the noise,
# with much noise nearly the picture, its sign turned. Its size is about the same at every level.
# And together with `xt` it gives both `x0` and `eps`.

# %%
torch.manual_seed(SEED)
points = mixture(20_000)  # (n, 2, 1, 1): pictures of one pixel
toy = MLP(channels=2)
with torch.no_grad():
    # PyTorch's own start is so small that the net stays a linear map for long.
    toy.layers[0].weight[:, :2].normal_()
optimizer = torch.optim.Adam(toy.parameters(), lr=5e-3)
fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=1500)

for _ in range(1500):
    x0 = points[torch.randint(len(points), (256,))]
    t, eps = torch.rand(256), torch.randn_like(x0)
    alpha = torch.cos(t * math.pi / 2).view(-1, 1, 1, 1)
    sigma = torch.sin(t * math.pi / 2).view(-1, 1, 1, 1)
    xt = alpha * x0 + sigma * eps
    v = alpha * eps - sigma * x0
    loss = (toy(xt, t) - v).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    fall.step()

# %% [markdown]
# The network answers with `v`. Two lines of algebra turn that into a guess of the picture, because
# `alpha^2 + sigma^2 = 1`:
#
#     alpha xt - sigma v = alpha (alpha x0 + sigma eps) - sigma (alpha eps - sigma x0) = x0
#
# Did it find the exact answer? Each line in the picture starts at a noisy point and ends at the exact guess, a ring.
# The dot is the network's guess. Where it lies in the ring, both agree.


# %%
def learned(xt, t):
    alpha, sigma = math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)
    with torch.no_grad():
        v = toy(xt[:, :, None, None], torch.full((len(xt),), t)).flatten(1)
    return alpha * xt - sigma * v


figure = Figure(figsize=(9.6, 3.7), layout="constrained")
for axes, t in zip(
    figure.subplots(1, 3, sharex=True, sharey=True), (0.2, 0.5, 1.0), strict=True
):
    x0 = mixture(2000, seed=1)
    xt = process.add_noise(x0, torch.randn_like(x0), torch.tensor(t)).flatten(1)
    best, ours = exact(xt, t), learned(xt, t)
    print(
        f"level {t}: error of the exact guess {F.mse_loss(best, x0.flatten(1)):.3f}, "
        f"mean squared distance of the network from it {F.mse_loss(ours, best):.4f}"
    )
    axes.plot(*x0[:, :, 0, 0].T, ",", color="0.6")
    axes.plot(
        *torch.stack([xt, best])[:, :40].permute(2, 0, 1), color="0.4", linewidth=0.7
    )
    axes.plot(
        *best[:40].T, "o", markersize=8, fillstyle="none", color="C0", label="exact"
    )
    axes.plot(*ours[:40].T, ".", color="C1", label="network")
    axes.set(title=f"level {t}", aspect="equal", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
axes.legend(loc="lower right")
viz.show(
    figure,
    "Lines from noisy points to exact guesses; the network's guesses lie close by.",
)

# %% [markdown]
# Look at level 1. Every line ends in the middle, where no point of the data lies.
# That is the grey blur again: the mean of the eight islands is on none of them.
#
# ## Why one step is not enough
#
# So the best denoiser there is, asked once, gives nothing that looks like data.
#
# The way out is to believe it only a little. Move a short way towards the guess and ask again, from the new place.
# There the noise is smaller, fewer islands are in question, and the guess is sharper.
#
# The next cell walks with the exact denoiser, so that no error of a network can be blamed.

# %%
figure = Figure(figsize=(9.6, 2.9), layout="constrained")
noise = process.prior((1000, 2, 1, 1), seeds=range(1000))


def on_an_island(x):
    near = torch.cdist(x.flatten(1), MIXTURE_MEANS).min(dim=1).values
    return (near < 2 * MIXTURE_STD).float().mean()


def denoise(xt, t):
    return exact(xt.flatten(1), float(t)).view_as(xt)


for axes, steps in zip(
    figure.subplots(1, 4, sharex=True, sharey=True), (1, 3, 10, 25), strict=True
):
    *_, last = ddim(denoise, process, noise, process.timesteps(steps))
    axes.plot(*mixture(1000).flatten(1).T, ",", color="0.6")
    axes.plot(*last.x0.flatten(1).T, ".", markersize=2, color="C0")
    axes.set(title=f"{steps} step{'s' * (steps > 1)}", aspect="equal")
    print(f"{steps:2} steps: {on_an_island(last.x0):.1%} lie on an island")
print(f"    data: {on_an_island(mixture(10_000)):.1%}")
viz.show(
    figure,
    "After one step all points are in the middle, after ten on eight islands.",
)

# %% [markdown]
# ## From points to pictures: the U-Net
#
# Nothing of this changes for pictures. Only the network does.
#
# It is a U-Net ([Ronneberger, Fischer and Brox, 2015](https://arxiv.org/abs/1505.04597);
# for diffusion [Ho, Jain and Abbeel, 2020](https://arxiv.org/abs/2006.11239)).
# It looks at the picture at several sizes. The small ones show what the digit is, the large ones where its ink is.
# On the way up, each size gets back what was saved on the way down.
# Its parts are *residual blocks*: each adds its answer to what came in, so that it only has to learn a change.
#
# The cell shows the sizes that one picture passes through.

# %%
net = model.denoiser.net
ctx = model.encode(["a seven"])
with torch.no_grad():
    emb = net.embed(torch.tensor([0.5], device=device), ctx)
    middle, saved = net.encode(torch.zeros(1, 1, 28, 28, device=device), emb, ctx)
    out = net.decode(middle, saved, emb)

print(f"{'the picture':28}", (1, 28, 28))
for i, h in enumerate(saved):
    print(f"{f'down {i + 1}, saved for later':28}", tuple(h.shape[1:]))
print(f"{'middle: attention, words':28}", tuple(middle.shape[1:]))
for i, h in enumerate(reversed(saved)):
    print(f"{f'up {i + 1}, with what was saved':28}", tuple(h.shape[1:]))
print(f"{'the answer: v':28}", tuple(out.shape[1:]))
parameters = sum(p.numel() for p in model.parameters())
print(f"{parameters:,} parameters, with those that read the words")

# %% [markdown]
# The words come in as `ctx`: one vector for each word of the caption. Lessons 06 and 07 are about them.
# In one caption of ten all words are dropped, so that the network also learns to do without.
#
# ## The loss, written out
#
# This is the loss of the toy once more, with words. For the Cosine process the level is the time.


# %%
def my_loss(net, x0, ctx, t, eps):
    alpha = torch.cos(t * math.pi / 2).view(-1, 1, 1, 1)
    sigma = torch.sin(t * math.pi / 2).view(-1, 1, 1, 1)
    xt = alpha * x0 + sigma * eps
    v = alpha * eps - sigma * x0
    return (net(xt, t, ctx) - v).square().mean()


# %% [markdown]
# `minidiff` has the same loss, for any process and any target. Both must agree.
# We compare on the trained network. A new U-Net answers 0 to everything, so any mistake in `xt` would stay hidden.

# %%
batch = next(iter(stream))
denoiser = shipped.denoiser
ctx = shipped.encode(batch.captions)
t, eps = torch.rand(len(batch.x0), device=device), torch.randn_like(batch.x0)

with torch.no_grad():
    mine = my_loss(denoiser.net, batch.x0, ctx, t, eps)
    library = denoiser.loss(batch.x0, ctx, t=t, eps=eps).mean()
assert_close(mine, library)
print(f"mine {mine:.6f}, minidiff {library:.6f}")

# %% [markdown]
# ## Train it
#
# `train()` is the loop of the toy with some things added, each to learn more in the same time.
#
# - It draws some levels more often than others ([Karras and others, 2022](https://arxiv.org/abs/2206.00364), section 5).
#   Here they are the high ones, where it is decided what the picture will be.
# - It clips the gradient, and lets the learning rate rise and fall.
# - It brings the update of each matrix near to a rotation ([Jordan and others, 2024](https://kellerjordan.github.io/posts/muon/)).
# - It uses the number format that is fastest on this machine.
# - It keeps a moving average of the weights, `ema`, which draws better than the weights themselves
#   (Ho, Jain and Abbeel keep one, too).
#
# It yields after every step. So what to do along the way is an ordinary loop: here, at a few milestones,
# draw ten digits from fixed seeds and measure the loss on held-out digits.
#
# Before you run it, decide: after how many of the steps can you tell the digits?

# %%
share = (torch.arange(len(held_out), device=device) * 0.618034 + 0.5) % 1
t = model.denoiser.process.quantile(share)  # levels as in training, the same each time
eps = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).to(device)
captions = [f"the digit {d}" for d in held_out.labels.tolist()]
prompts = [f"the digit {d}" for d in range(10)]


@torch.no_grad()
def held_out_loss(model):
    """The loss of each held-out digit, always under the same noise."""
    return model.denoiser.loss(truth, model.encode(captions), t=t, eps=eps)


losses, at_milestone, drawn = [], {}, {}
for state in train(model, stream, steps=STEPS, format=form):
    losses.append(state.loss)
    if state.step in MILESTONES:
        at_milestone[state.step] = held_out_loss(state.ema).mean().item()
        drawn[state.step] = state.ema.draw(prompts, seed=0)
mine = state.ema
rate = state.images_per_second
print(f"{state.images:,} images in {state.seconds:.0f} s, {rate:,.0f} a second")

# %%
viz.show(
    viz.grid(mine.draw(prompts, seed=10), columns=10),
    "Ten digits from zero to nine, drawn by the new network.",
)

# %%
smooth = torch.tensor(losses).unfold(0, 10, 1).mean(dim=1)
viz.show(
    viz.plot(
        {"loss": (range(10, len(losses) + 1), smooth)},
        "step",
        "loss, mean of 10 steps",
        log="xy",
    ),
    "The training loss falls fast at first, then slowly.",
)

# %% [markdown]
# ## Where the loss comes from
#
# One number hides a lot. The same held-out loss, split by noise level:

# %%
# Twenty groups of fifty digits, from little noise to much.
by_noise = t.argsort().view(20, 50)
level = t[by_noise].mean(dim=1).cpu()


def by_level(model):
    return level, held_out_loss(model)[by_noise].mean(dim=1).cpu()


curves = {"mine": by_level(mine), "shipped": by_level(shipped)}
viz.show(
    viz.plot(curves, "noise level", "loss", log="y"),
    "Loss over the noise level: mine above the shipped model's, both high at the ends.",
)

# %% [markdown]
# A loss is never zero, and its size says little by itself. At every level there is a part that nobody can know.
# In the toy you saw it: the error of the exact guess.
#
# So compare a loss with that of a network that is known to work, at the same level. Do not compare it with zero.
#
# ## One step and many, on your network
#
# The walk of the toy, now with your network. All rows start from the same noise.
#
# A second question for each row: how much do pictures of one digit differ from seed to seed?
# The cell prints the variance over ten seeds, as a share of the variance among real digits.

# %%
rows = {}
real = sum(truth[held_out.labels == d].var(dim=0).mean() for d in range(10)) / 10
for steps in (1, 2, 5, 10, 25):
    pictures = mine.draw(prompts * 10, seed=0, steps=steps, cfg_scale=1.0)
    by_digit = rearrange(pictures, "(seed digit) c h w -> seed digit c h w", digit=10)
    spread = by_digit.var(dim=0).mean()
    rows[f"{steps} step{'s' * (steps > 1)}"] = pictures[:10]
    print(f"{steps:2} steps: {spread / real:.0%} of the variance among real digits")
viz.show(
    viz.table(rows),
    "Five rows of ten digits: blurs after one step, soft after two, sharp after ten.",
)

# %% [markdown]
# One step gives nearly the mean of all digits of the kind, whatever the noise. So the variance is nearly nothing.
# With more steps the pictures get sharp, and they differ as handwriting does.
#
# ## Play
#
# First three walks of your network as a strip: each column is one moment.
# Then the same walks as a slider, with every step. Drag it, or press the arrow keys.

# %%
walk = list(mine.walk(["a three", "a seven", "an eight"], seed=1, steps=15))
viz.show(
    viz.film_strip(walk, frames=9),
    "Three digits emerge from noise; under each moment the network's guess at it.",
)

# %%
from minidiff.widgets import StepScrubber

StepScrubber(walk)

# %% [markdown]
# ## What went wrong
#
# "The loss went down, but the pictures are noise." To find the fault, break things on purpose, one at a time.
#
# The first is a learning rate thirty times too high. Will the loss be infinite, will it stay where it was, or fall anyway?

# %%
torch.manual_seed(SEED)
broken = TextToImage.new(all_digit_captions(), widths=(32, 64), blocks=1)
try:
    *_, last = train(broken, stream, steps=100, lr=30 * 8e-3, warmup=10, format=form)
    broken = last.ema
    print(f"it ended; held-out loss {held_out_loss(broken).mean():.3f}")
except TrainingError as error:
    print(error)

# %% [markdown]
# It falls anyway, but not far enough: below the next cell stand the losses of a healthy and of an untrained network.
#
# The second fault is in the sampling. The network is trained well, but somebody tells it the wrong noise level.
# This happens whenever training and sampling do not use the same schedule.

# %%
net = mine.denoiser.net
wrong = Denoiser(lambda x, level, ctx: net(x, level / 2, ctx), Cosine())
noise = process.prior((10, 1, 28, 28), seeds=range(10)).to(device)
with torch.no_grad():
    guided = cfg(wrong, mine.encode(prompts), mine.encode([""] * 10), 2.0)
    *_, last = ddim(guided, process, noise, process.timesteps(10))

good, bad = held_out_loss(mine).mean(), held_out_loss(broken).mean()
untrained = (
    TextToImage.new(all_digit_captions(), widths=(32, 64), blocks=1).to(device).eval()
)
faults = {
    f"healthy\nloss {good:.3f}": mine.draw(prompts, seed=0),
    f"one step only\nloss {good:.3f}": mine.draw(prompts, seed=0, steps=1),
    f"wrong level told\nloss {good:.3f}": last.x0,
    f"learning rate\nloss {bad:.3f}": broken.draw(prompts, seed=0),
    f"untrained\nloss {held_out_loss(untrained).mean():.3f}": untrained.draw(
        prompts, seed=0
    ),
}
viz.show(
    viz.table(faults),
    "Five rows of ten pictures, one healthy and four with a fault each.",
)

# %% [markdown]
# How to tell them apart:
#
# - **The loss is as expected, but the pictures are wrong.** The network is fine. Look at the sampler: its steps,
#   its schedule, the level that it tells the network. A blur means too few steps.
# - **The loss stays far above the expected one.** The training failed. Lower the learning rate first.
# - **Both are as expected.** Then train for longer, or with a larger network.
#
# ## Milestones
#
# What should you have seen on the way? Three runs from three seeds were measured beforehand.
# The cell prints the range of their losses beside yours.
# Below it are your ten digits at each milestone, and those of one measured run.

# %%
file = "expected/03_learning_to_denoise.png"
expected = viz.read_settings(file)
sheet = to_float(torch.from_numpy(np.array(Image.open(file))))
known = rearrange(sheet, "(m top) (n left) -> m n 1 top left", top=28, left=28)

rows = {}
for step, before, pictures in zip(
    expected["milestones"], expected["loss"], known, strict=True
):
    low, high = min(before), max(before)
    yours = f"{at_milestone[step]:.3f}" if step in at_milestone else "not measured"
    print(f"step {step:4}: loss {yours}, expected {low:.3f} to {high:.3f}")
    if step in drawn:
        rows[f"step {step}\nyours"] = drawn[step]
    rows[f"step {step}\nexpected"] = pictures
viz.show(
    viz.table(rows),
    "Digits at four moments of the training, yours beside the expected ones.",
)

# %% [markdown]
# A loss a little outside the range is nothing to worry about. Another processor rounds in another way.
# A loss far above it is a fault. The list above tells where to look.
#
# ## To think about
#
# 1. The exact denoiser answers with a mean. Why then is the end of a walk not a mean?
# 2. Train the toy to predict `x0` in place of `v`. Which line has to change besides the loss?
#    What about predicting `eps`, and what happens to it at level 1?
# 3. The curve of the loss over the level is high at low noise. Does that harm the pictures?
#    Which levels would you train on more often?
# 4. Your network saw each of the digits a few times. How would you find out whether it has learned them by heart?
#
# ---
#
# Exercises: [03 · Learning to denoise](../exercises/03_learning_to_denoise.ipynb).
# Next: [04 · Sampling step by step](04_sampling_step_by_step.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
