# %% [markdown]
# # 09 · Latent space
#
# A walk asks the network many times, and every answer covers every pixel.
# Yet most pixels say what their neighbours say. Much of the work is spent on paper.
#
# In this lesson the walk moves to a smaller space. A pair of small networks, the VAE, turns a picture into a short code, the *latent*,
# and turns the code back into a picture. Denoiser, sampler and words stay what they were. They now draw latents.
#
# Afterwards you can
#
# - say what is lost when a picture is told in fewer numbers, in decibels,
# - derive the loss of a VAE, and train one,
# - say why latents need the variance 1, and give it to them,
# - walk in latents with a sampler that you know,
# - measure what latents save, and what they cost,
# - tell a fault of the VAE from a fault of the denoiser.
#
# You train a small VAE here, on your own machine. All else is shipped. The next cells measure what the lesson will cost.

# %%
import copy
import json
import math
import os
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from minidiff import (
    VAE,
    ConvNet,
    TextToImage,
    batches,
    cfg,
    dpmpp_2m,
    mnist,
    painted_digits,
    train,
    viz,
)
from minidiff.data import to_float
from minidiff.metrics import Judge, adherence_by_attribute, in_chunks, psnr
from minidiff.painted import asked, full_caption
from minidiff.recipes import draw_many
from minidiff.train import Format
from minidiff.vae import kl
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

SEED = 0
STEPS = 400
MILESTONES = [50, 100, 200, 400]
QUESTIONS = 8_000  # pictures that each of two networks is asked about in this lesson

# %%
in_pixels = TextToImage.load("painted")
in_latents = TextToImage.load("latent")
vae = in_latents.vae
stream = batches(painted_digits(inks="all"), 32, seed=SEED)  # pictures in all inks


def seconds(work):
    """The faster of two runs: the first call of anything is slow."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def ask(model):
    return seconds(lambda: model.draw(["a seven"] * 50, steps=2, cfg_scale=1.0)) / 100


small, batch = VAE(widths=(16, 32)), next(iter(stream))
cost = STEPS * 1.3 * seconds(lambda: small(batch).backward())
print(f"The training below takes about {cost:.0f} s here.")
cost *= 2.5  # the toys, the judge and a second, shorter training
cost += QUESTIONS * (ask(in_pixels) + ask(in_latents))
print(f"The whole lesson takes about {cost:.0f} s ({os.cpu_count()} cores).")
print(f"The shipped VAE took {VAE.load('vae').card['seconds']:,} s to train.")

# %% [markdown]
# ## The same pictures from fewer numbers
#
# The first row was drawn in pixels, by the network of [lesson 07](07_text_to_image.ipynb).
# The second was drawn in latents, from the same prompts. The third shows one channel of its latents, before they were decoded.

# %%
prompts = [
    "a small bold red seven on yellow paper",
    "a large thin blue three on white paper",
    "a large bold green zero on black paper",
    "a large white five on purple paper",
    "a small orange eight in the top left corner on blue paper",
    "a large medium black four leaning right on orange paper",
    "a large bold yellow two on green paper",
    "a small purple six in the bottom right corner on white paper",
]
settings = dict(seed=80, steps=10, cfg_scale=3.0)
*_, last = in_latents.walk(prompts, **settings)
latent = last.x0


def enlarged(channel):
    """One channel of latents (n, h, w) as grey pictures of four times the side."""
    return F.interpolate(channel[:, None] / 3, scale_factor=4)


rows = {
    "in pixels": in_pixels.draw(prompts, **settings),
    "in latents": in_latents.pictures(latent),
    "a latent": enlarged(latent[:, 0]),
}
print(f"a picture: {tuple(rows['in pixels'].shape[1:])}, ", end="")
print(f"{rows['in pixels'][0].numel():,} numbers")
print(f"a latent:  {tuple(latent.shape[1:])}, {latent[0].numel():,} numbers")
viz.show(
    viz.table(rows, scale=2),
    "Eight painted digits drawn in pixels, eight in latents, and coarse grey latents.",
)

# %% [markdown]
# ## How many numbers does a picture need?
#
# Throw numbers away, and see what comes back. Here are three ways to tell a picture of 3,072 numbers in 256 or fewer.
#
# - **Average.** Keep the mean of every 4 x 4 pixels, for each of the three channels.
# - **PCA.** Keep how far the picture goes in each of the 256 directions in which pictures differ most.
#   Of all linear ways with as many numbers, it has the smallest squared error on the pictures that it was made from
#   ([Pearson, 1901](https://doi.org/10.1080/14786440109462720)).
# - **VAE.** Let a network fold the picture, and another one unfold it.
#
# The size of an error is told in decibels. Pixels lie in a range of the width 2, from -1 to 1.
# Take the root of the mean squared error as a share of this width. Then
#
#     PSNR = -20 log10(share)
#
# An error of a tenth of the range is 20 dB, and one of a hundredth 40 dB. Half the error is always about 6 dB more.


# %%
def my_psnr(x, back):
    share = (x - back).square().mean().sqrt() / 2
    return -20 * torch.log10(share)


known = to_float(painted_digits(inks="all")[torch.arange(3000)].pixels)
held_out = painted_digits(split="held_out", variants=1, inks="all")[:500]
truth = to_float(held_out.pixels)
judge = Judge.load()

mean = known.flatten(1).mean(dim=0)
torch.manual_seed(SEED)
_, _, directions = torch.svd_lowrank(known.flatten(1) - mean, q=256)  # nearly PCA, fast
code = (truth.flatten(1) - mean) @ directions  # (500, 256)

back = {
    "average": F.interpolate(F.avg_pool2d(truth, 4), scale_factor=4, mode="bilinear"),
    "PCA": (code @ directions.T + mean).view_as(truth),
    "VAE": in_chunks(vae.decode, in_chunks(vae.encode, truth)),
}
for name, pictures in back.items():
    assert_close(my_psnr(truth, pictures).item(), psnr(truth, pictures))
    kept = adherence_by_attribute(held_out.labels, judge(pictures))
    print(f"{name:8} {psnr(truth, pictures):.1f} dB, the judge still sees", end="")
    print(f" the digit in {kept['digit']:.0%}, all in {kept['all']:.0%}")
kept = adherence_by_attribute(held_out.labels, judge(truth))
print(f"{'original':8}          the judge sees the digit in", end="")
print(f" {kept['digit']:.0%}, all in {kept['all']:.0%}")
viz.show(
    viz.table({"original": truth[:8]} | {k: x[:8] for k, x in back.items()}),
    "Eight painted digits, and what comes back from averages, from PCA and a VAE.",
)

# %% [markdown]
# Averages lose the strokes. PCA keeps more of them, and leaves grain on the paper: its 256 directions are the same for all pictures,
# but a digit may lie anywhere.
#
# The network does better because it is not linear. What it does to a stroke can depend on where the stroke is, and on the colours around it.
# (The shipped VAE has seen this handwriting in training. Its decibels on handwriting that it has not seen stand at the end, under *Milestone*.)
#
# ## A code of two numbers
#
# How does one train such a pair? To see it all on paper, take plain handwriting and a code of only two numbers.
#
# The first thought: an encoder, a decoder, and the squared error between the picture and what comes back.
# That is an *autoencoder* ([Hinton and Salakhutdinov, 2006](https://doi.org/10.1126/science.1127647)). It is the next cell with `beta = None`. What `beta` does comes right after.

# %%
digits = mnist()
ink = to_float(digits.pixels).flatten(1)  # (9000, 784)


def my_kl(mean, std):
    return (mean**2 + std**2 - 1) / 2 - std.log()  # derived below


def train_toy(beta, steps=600):
    """(encoder, decoder) of handwriting; a plain autoencoder if beta is None."""
    torch.manual_seed(SEED)
    encoder = nn.Sequential(nn.Linear(784, 256), nn.SiLU(), nn.Linear(256, 4))
    decoder = nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 256))
    decoder.extend([nn.SiLU(), nn.Linear(256, 784), nn.Tanh()])
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        x = ink[torch.randint(len(ink), (128,))]
        mean, logvar = encoder(x).chunk(2, dim=1)
        if beta is None:
            loss = (decoder(mean) - x).square().mean()
        else:
            std = (logvar / 2).exp()
            code = mean + std * torch.randn_like(std)
            loss = (decoder(code) - x).square().mean()
            loss = loss + beta * my_kl(mean, std).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fall.step()
    return encoder, decoder


plain = train_toy(None)

# %% [markdown]
# Can it draw? Its decoder makes a digit of any two numbers. So choose two numbers by chance, from a unit Gaussian, and decode them.

# %%
new = mnist(split="held_out")


@torch.no_grad()
def codes(toy):
    """The codes (1000, 2) of held-out digits."""
    return toy[0](to_float(new.pixels).flatten(1))[:, :2]


@torch.no_grad()
def decoded(toy, code):
    return toy[1](code).view(-1, 1, 28, 28)


def scatter(axes, toy, title):
    for d in range(10):
        axes.plot(*codes(toy)[new.labels == d].T, ".", markersize=3, label=str(d))
    axes.add_patch(Circle((0, 0), 2, fill=False, edgecolor="black"))
    axes.set(title=title, aspect="equal")


chance = torch.randn(12, 2, generator=torch.Generator().manual_seed(1))
figure = Figure(figsize=(6.4, 3.6), layout="constrained")
axes = figure.subplots()
scatter(axes, plain, "codes of real digits; most chance codes lie in the ring")
figure.legend(loc="outside right upper", markerscale=3)
print(f"standard deviation of the codes: {codes(plain).std():.1f}")
viz.show(figure, "A cloud of codes, far wider than the ring around the middle.")

# %%
viz.show(
    viz.table({"decoded": decoded(plain, chance)}),
    "Twelve decoded chance codes of the plain autoencoder.",
)

# %% [markdown]
# A few kinds of digits come out, and the others hardly ever. The codes lie where they like.
# Nothing in the loss says how large they should be, or that the places between them mean something.
#
# So a chance code falls into a small part of the cloud, or into a hole. To draw, one would have to know where the codes are.
#
# ## From a point to a cloud
#
# Here is the thought of the *variational* autoencoder ([Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114)).
#
# Let the encoder answer not with a point but with a cloud, a Gaussian with a mean and a standard deviation for every number.
# It is written `q(code | x)`, in short `q`: where the code of `x` may lie. The decoder gets a code from anywhere in this cloud,
# and must be right there too.
# So close codes have to mean close pictures.
#
# Two things are missing.
#
# **How do gradients pass through chance?** Draw the chance first, `eps` from a unit Gaussian, and then
#
#     code = mean + std eps
#
# For a given `eps` that is a sum and a product, and gradients pass (their section 2.4).
# A standard deviation is never negative, but the answer of a network may be. So the encoder answers with `logvar`,
# the logarithm of the variance `std^2`. Then `std = exp(logvar / 2)`.
#
# **What keeps the cloud from shrinking to a point?** A price for being unlike a unit Gaussian.
# The price is the KL divergence. Call the cloud `q`, and let `p` be the unit Gaussian, also written `N(0, 1)`.
# For codes of this cloud, how much more likely are they under `q` than under `p`?
#
#     KL = the mean of  log q(code) - log p(code),  over codes drawn from q
#
# Up to a constant, which is the same for both, `log q = -(code - mean)^2 / (2 std^2) - log std` and `log p = -code^2 / 2`.
# The mean of `(code - mean)^2` is `std^2`, and that of `code^2` is `mean^2 + std^2`. So
#
#     KL = -1/2 - log std + (mean^2 + std^2) / 2
#
# That is `my_kl` above (their appendix B). Check it by counting, and against the library.

# %%
torch.manual_seed(SEED)
for mean, std in ((0.0, 1.0), (1.5, 1.0), (0.0, 0.1), (-0.5, 2.0)):
    q, p = torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0)
    code = mean + std * torch.randn(1_000_000)
    counted = (q.log_prob(code) - p.log_prob(code)).mean()
    formula = my_kl(torch.tensor(mean), torch.tensor(std))
    print(f"mean {mean:4}, std {std}: formula {formula:.3f}, counted {counted:.3f}")

mean, logvar = torch.randn(2, 5, 4, 8, 8)
assert_close(my_kl(mean, (logvar / 2).exp()), kl(mean, logvar))

# %% [markdown]
# The price is 0 for a unit Gaussian only. It grows slowly as the cloud shrinks, with the logarithm. A narrow cloud costs because it says more:
# it picks the code out of many.
#
# ## Why this sum?
#
# The error and the price are measured in different units. Why should one add them, and with what weight?
#
# Because the sum is a bound. Say that a code is drawn from `p = N(0, 1)`, and that the decoder makes a picture `x` of it
# with some Gaussian noise of standard deviation `r`. How likely is a real picture under this story? For any `q`
#
#     log p(x)  >=  mean over q of log p(x | code)  -  KL(q, p)
#
# (their equation 3; by their equation 1, what is missing on the right is the KL between `q` and the true answer
# `p(code | x)`, and no KL is negative).
# The right side is called the ELBO, the evidence lower bound. Make it large, and the story explains the pictures.
#
# In a world of single numbers all of it can be computed. Let the decoder be `x = code + noise`. Then `x` is a Gaussian of variance `1 + r^2`.

# %%
r, x = 0.5, 1.2
exactly = torch.distributions.Normal(0.0, math.sqrt(1 + r**2)).log_prob(torch.tensor(x))
print(f"log p(x) exactly: {exactly:.3f}")


def elbo(mean, std):
    """The bound for one number x, by the formulas for the means over q."""
    fit = -((x - mean) ** 2 + std**2) / (2 * r**2)
    fit = fit - math.log(r) - math.log(2 * math.pi) / 2
    return fit - my_kl(torch.tensor(mean), torch.tensor(std))


for mean, std in ((0.0, 1.0), (x, 0.1), (x, r), (x / (1 + r**2), r)):
    print(f"q with mean {mean:.2f}, std {std:.2f}: bound {elbo(mean, std):.3f}")
best = (x / (1 + r**2), r / math.sqrt(1 + r**2))  # what q should answer
print(f"q with mean {best[0]:.2f}, std {best[1]:.2f}: bound {elbo(*best):.3f}")
assert_close(elbo(*best), exactly)

# %% [markdown]
# The bound is never above the truth, and it touches it for the best `q`.
#
# Now the picture again. The noise of the decoder makes `log p(x | code) = -(squared error) / (2 r^2)`, up to a constant.
# Turn the sign, and multiply by `2 r^2 / (number of pixels)`. What is left is the loss that the toy was trained with:
#
#     loss = mean squared error + beta (mean of KL)        beta = 2 r^2 (numbers of the code) / (numbers of the picture)
#
# So `beta` says how exactly the decoder is meant. A small one asks for exact pictures and lets the code tell a lot.
# A large one saves on the code. As a weight to choose it is due to [Higgins and others, 2017](https://openreview.net/forum?id=Sy2fzU9gl).

# %%
toy = train_toy(beta=0.01)

figure = Figure(figsize=(9.6, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
scatter(left, plain, "autoencoder")
scatter(right, toy, "VAE")
viz.show(figure, "Wide codes of the autoencoder; codes of the VAE around a small ring.")

# %% [markdown]
# The same chance codes, decoded by both. Then a thousand of them: how often is each digit read in what comes out?

# %%
reader = ConvNet.load("digits").eval()  # of lesson 01
many = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
print(f"{'read, in %':33}" + "".join(f"{d:4}" for d in range(10)))
for name, each in (("autoencoder", plain), ("VAE", toy)):
    error = (decoded(each, codes(each)) - to_float(new.pixels)).square().mean()
    with torch.no_grad():
        read = reader.logits(decoded(each, many)).argmax(dim=1)
    shares = torch.bincount(read, minlength=10) / 10
    print(f"{name:11} (squared error {error:.3f})", end="")
    print("".join(f"{share:4.0f}" for share in shares.tolist()))
viz.show(
    viz.table(
        {"autoencoder": decoded(plain, chance), "VAE": decoded(toy, chance)},
    ),
    "Twelve decoded chance codes of the autoencoder, and the same twelve of the VAE.",
)

# %% [markdown]
# With the VAE the same chance codes fall where real codes are, and more kinds of digits come out. The price is an error a little larger.
# Both rows are blurred. Two numbers cannot tell much.
#
# ## The real one
#
# For painted digits two numbers are too few. The library's VAE makes four numbers for every 4 x 4 pixels, with convolutions
# (after [Rombach and others, 2022](https://arxiv.org/abs/2112.10752), section 3.1, much reduced). Here are the sizes on the way.

# %%
x = truth[:1]
print(f"{'the picture':32}", tuple(x.shape[1:]))
with torch.no_grad():
    for half, name in ((vae.encoder, "encoder"), (vae.decoder, "decoder")):
        for layer in half:
            before, x = x.shape, layer(x)
            if x.shape != before:
                about = f"{name}: {type(layer).__name__}"
                print(f"{about:32}", tuple(x.shape[1:]))
        if name == "encoder":
            mean, logvar = x.chunk(2, dim=1)
            x = mean
            print(f"{'means, and as many logvar':32}", tuple(x.shape[1:]))
parameters = sum(p.numel() for p in vae.parameters())
print(f"{parameters:,} parameters")

# %% [markdown]
# Its loss is that of the toy. `moments` gives mean and `logvar` of the cloud, `reconstruct` is the decoder.
# A batch brings its own generator, so that both sides see the same `eps`.


# %%
@torch.no_grad()
def my_loss(model, batch):
    mean, logvar = model.moments(batch.x0)
    std = (logvar / 2).exp()
    eps = torch.randn(mean.shape, generator=batch.generator())
    error = (model.reconstruct(mean + std * eps) - batch.x0).square().mean()
    return error + model.beta * my_kl(mean, std).mean()


with torch.no_grad():
    assert_close(my_loss(vae, batch), vae(batch))
print(f"mine and minidiff's: {my_loss(vae, batch):.5f}")

# %% [markdown]
# ## Train it
#
# A narrow one, in a short time. At each milestone the cell asks how near held-out pictures come back.
# Averages and PCA stand above. Which of them will it pass, and when?

# %%
torch.manual_seed(SEED)
mine = VAE(widths=(16, 32), beta=1e-4)


@torch.no_grad()
def again(model, x):
    """What comes back: the decoded mean of the cloud."""
    return in_chunks(lambda part: model.reconstruct(model.moments(part)[0]), x)


at_milestone, seen = {}, {"original": truth[:5]}
options = dict(lr=8e-3, warmup=20, ema=0.98, format=Format(), device="cpu")
for state in train(mine, stream, steps=STEPS, **options):
    if state.step in MILESTONES:
        pictures = again(state.ema, truth)
        at_milestone[state.step] = psnr(truth, pictures)
        seen[f"step {state.step}"] = pictures[:5]
        print(f"step {state.step:3}: {at_milestone[state.step]:.1f} dB")
mine = state.ema
print(f"{state.images:,} images in {state.seconds:.0f} s")
viz.show(
    viz.table(seen),
    "Five pictures as they come back at the milestones, from blots to blurred digits.",
)

# %% [markdown]
# Colours first, places next, strokes last.
# The averages are passed early. PCA is harder to pass: it takes the wider network of the shipped VAE, and its longer training.
#
# Is this `beta` a fair one? In the story the decoder has noise of the size `r`. Set it to the error that the decoder really makes,
# here at the mean of the cloud. Then the formula above says which `beta` belongs to it.
#
# The KL has a second use. Averaged over pictures, it bounds how much a latent can tell of its picture. Divided by the natural logarithm of 2,
# it is in bits.

# %%
for name, model in (("mine", mine), ("shipped", vae)):
    with torch.no_grad():
        error = (again(model, truth) - truth).square().mean().item()
        told = kl(*model.moments(truth)).flatten(1).sum(dim=1).mean() / math.log(2)
    fair = 2 * error * latent[0].numel() / truth[0].numel()
    print(f"{name:7}: beta {model.beta:g}, fair would be {fair:.2g}; ", end="")
    print(f"its latents tell at most {told:,.0f} bits of a picture")
print(f"a picture as bytes: {8 * truth[0].numel():,} bits")

# %% [markdown]
# The `beta` of the shipped VAE is about a fair one. Yours makes larger errors, and a larger `beta` would be fair.
# Its latents tell more bits all the same: a price this small needs a long training to be felt.
#
# ## Is a VAE enough to draw?
#
# The toy drew from chance codes. Try the same with the VAEs of painted digits: 256 numbers from a unit Gaussian.

# %%
mine.calibrate(known)  # explained below
chance = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(2))
with torch.no_grad():
    rows = {"mine": mine.decode(chance), "shipped": vae.decode(chance)}
viz.show(viz.table(rows), "Two rows of chance latents decoded: blots, and no digit.")

# %% [markdown]
# No. Each number on its own is as it should be, but a picture is in how they go together. Neighbours on paper have the same colour.
# Two numbers can be forced to be independent. For 256 of them that would cost much of the detail.
#
# So the work is shared ([Rombach and others, 2022](https://arxiv.org/abs/2112.10752), figure 2). The VAE takes care of the fine
# detail that neighbours share. Something else must know which latents are pictures: a diffusion model.
#
# ## A latent looked at
#
# Here are the four channels of some latents of real pictures. Can you see what each is about?

# %%
with torch.no_grad():
    real = vae.encode(truth[:8])
rows = {"picture": truth[:8]}
rows |= {f"channel {i + 1}": enlarged(real[:, i]) for i in range(4)}
viz.show(
    viz.table(rows),
    "Eight pictures, and four coarse grey pictures of each: its latent.",
)

# %% [markdown]
# A latent is a small picture itself. Places stay where they were, and colours and strokes are spread over all four channels.
# That is why the U-Net works on it as it is: it takes four channels for three.
#
# ## Between two pictures
#
# Go from one picture to another in a straight line. First through pixels, then through latents, and then through
# the two numbers of the toy.

# %%
share = torch.linspace(0, 1, 9).view(-1, 1, 1, 1)
a, b = truth[0:1], truth[1:2]
with torch.no_grad():
    path = vae.encode(a) + share * (vae.encode(b) - vae.encode(a))
    rows = {"pixels": a + share * (b - a), "latents": vae.decode(path)}
one, two = codes(toy)[[0, 1]].view(2, 1, 2)
line = (one + share[..., 0, 0] * (two - one)).view(-1, 2)
rows["two numbers"] = decoded(toy, line)
viz.show(
    viz.table(rows),
    "Three ways from one digit to another in nine pictures.",
)

# %% [markdown]
# In pixels the middle is a double exposure. In the latents it is no better: the strokes of one digit come apart before those of the other are there.
# With two numbers every place on the line is some shape. The fewer numbers a code has, the more each must mean, and the less it keeps.
#
# So 256 latents are a smaller space, but not a space where every place is a picture.
#
# ## Why latents need the variance 1
#
# Noise of the size 1 is added to latents, as it was to pixels. How much it hides depends on how large the latents are.
#
# And that is left to chance. Take a VAE, multiply the last layer of its encoder by five, and divide the first layer of its decoder by five.
# The pictures that come back are the same, and so is their error.

# %%
stretched = copy.deepcopy(vae)
with torch.no_grad():
    last, first = stretched.encoder[-1], stretched.decoder[0]
    for p in (last.weight, last.bias):
        p[:4] *= 5  # the means
    last.bias[4:] += 2 * math.log(5)  # the log variances
    first.weight /= 5
assert_close(again(stretched, truth[:20]), again(vae, truth[:20]), rtol=0, atol=1e-4)

process = in_latents.denoiser.process
levels = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.9])
eps = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
pixel_eps = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
with torch.no_grad():
    x0, rows = truth[2:3].expand(5, -1, -1, -1), {}
    rows["pixels"] = process.add_noise(x0, pixel_eps, levels)
    for name, model in (("latents", vae), ("five times\nas large", stretched)):
        code = model.moments(x0)[0]
        snr = (process.alpha(levels) / process.sigma(levels) * code.std()) ** 2
        print(f"{name.split()[0]:7}: standard deviation {code.std():.2f}, SNR", end="")
        print("".join(f"{value:8.2f}" for value in snr))
        rows[name] = model.reconstruct(process.add_noise(code, eps, levels))
viz.show(
    viz.table(rows, [f"level {level:.1f}" for level in levels], scale=3),
    "A digit under noise, in pixels, in latents, and in latents five times as large.",
)

# %% [markdown]
# In the last row the noise hides little until the very end. The SNR is 25 times as high at every level.
# A denoiser trained on such latents would see nothing hard at most levels, and at the top all is decided at once.
#
# So measure the latents once and bring each channel to mean 0 and standard deviation 1
# ([Rombach and others](https://arxiv.org/abs/2112.10752), appendix G, with one number for all channels). The library's `calibrate` keeps `shift` and `scale` inside the VAE,
# so that nobody has to remember them: `encode` applies them, and `decode` takes them back.

# %%
with torch.no_grad():
    code = in_chunks(lambda part: stretched.moments(part)[0], known)
    by_channel = code.transpose(0, 1).flatten(1)  # (4, all places of all pictures)
    shift, scale = by_channel.mean(dim=1), by_channel.std(dim=1)
    stretched.calibrate(known)
    assert_close(stretched.shift.flatten(), shift)
    assert_close(stretched.scale.flatten(), scale)
    unit = in_chunks(stretched.encode, truth)
print("scale, stretched:", [round(value, 2) for value in scale.tolist()])
print(f"held-out latents: mean {unit.mean():.2f}, standard deviation {unit.std():.2f}")
for name, model in (("mine", mine), ("the shipped VAE", vae)):
    values = [round(value, 2) for value in model.scale.flatten().tolist()]
    print(f"scale of {name}: {values}")

# %% [markdown]
# The shipped VAE hardly needs it. In a long training even a small price for size brings the codes near to a unit Gaussian.
# Yours was stopped early and does need it. So do VAEs that are trained with a far smaller `beta`. For that of Stable Diffusion one divides by about 5.5:
# the number 0.18215 that stands in so much code is its inverse (`scale_factor` in [its configuration](https://github.com/CompVis/stable-diffusion/blob/main/configs/stable-diffusion/v1-inference.yaml)).
#
# ## Latent diffusion
#
# There is nothing left to build. The loss is that of [lesson 03](03_learning_to_denoise.ipynb) with latents for pictures.
# Drawing is the walk of [lesson 05](05_faster_samplers.ipynb), with the guidance of [lesson 07](07_text_to_image.ipynb), and one line more.
# The library also limits how far a guess may go. `clip=math.inf` takes that away; you will see below what it is for.


# %%
@torch.no_grad()
def my_draw(prompts, seeds, steps, cfg_scale):
    ctx = in_latents.encode(prompts)
    null = in_latents.encode([""] * len(prompts))
    denoise = cfg(in_latents.denoiser, ctx, null, cfg_scale)
    noise = process.prior((len(prompts), 4, 8, 8), seeds)
    *_, last = dpmpp_2m(denoise, process, noise, process.timesteps(steps))
    return vae.decode(last.x0).clamp(-1, 1)  # the line


drawn = my_draw(prompts, range(8), steps=10, cfg_scale=3.0)
library = in_latents.draw(prompts, seed=0, steps=10, cfg_scale=3.0, clip=math.inf)
assert_close(drawn, library, rtol=0, atol=1e-4)

walk = list(in_latents.walk(prompts[:2], **settings))
visible = [in_latents.in_pixels(step) for step in walk]
viz.show(
    viz.film_strip(visible, frames=6, scale=3),
    "Two walks in latents, every step decoded; below each the decoded guess.",
)

# %% [markdown]
# The walk itself never sees a pixel. `in_pixels` decodes a step for us to look at. Decoded noise is not grain but blots,
# since one latent number stands for a patch.
#
# ## Predict, then run: what do latents save?
#
# A latent has a twelfth of the numbers of a picture. Both networks have the same widths and the same number of blocks.
# How many times as fast is a sheet of 64 pictures?
#
# - Twelve times.
# - About four times.
# - Not twice, since the decoder has to be paid as well.
#
# The two models take turns, so that whatever else the machine does strikes both. The cell prints medians.

# %%
ROUNDS, SHEET = 4, 64
shown = painted_digits(split="held_out", variants=1, clear=True)[: ROUNDS * SHEET]
wishes = [full_caption(row) for row in shown.labels.tolist()]
models = {"pixels": in_pixels, "latents": in_latents}
spent, drawn = {name: [] for name in models}, {name: [] for name in models}
unfold = []
for i in range(ROUNDS):
    part = wishes[i * SHEET : (i + 1) * SHEET]
    for name, model in models.items():
        start = time.perf_counter()
        pictures = model.draw(part, seed=i * SHEET, steps=10, cfg_scale=3.0)
        spent[name].append(time.perf_counter() - start)
        drawn[name].append(pictures)
    code = in_latents.latents(pictures)
    start = time.perf_counter()
    in_latents.pictures(code)
    unfold.append(time.perf_counter() - start)

once = {name: median(times) for name, times in spent.items()}
for name, time_once in once.items():
    network = time_once - (median(unfold) if name == "latents" else 0)
    print(f"{name:8}: {SHEET} pictures in {time_once:.2f} s, ", end="")
    print(f"{SHEET * 20 / network:,.0f} network calls a second")
print(f"to decode {SHEET} latents: {median(unfold):.2f} s, part of the time above")
print(f"latents are {once['pixels'] / once['latents']:.1f} times as fast")

# %% [markdown]
# Why this factor? The numbers of a picture are not what a network works on. The pixel network folds 2 x 2 pixels into channels first,
# so it works on 16 x 16 places. The latent network works on 8 x 8, a quarter. At every place both do the same work.
#
# Count the multiplications and additions.

# %%
ctx = in_pixels.encode(["a seven"])


def operations(work):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops() / 1e6


calls = {}
for name, model in models.items():
    x = torch.zeros(1, *model.shape)
    call = operations(lambda x=x, m=model: m.denoiser(x, torch.tensor(0.5), ctx))
    calls[name] = call
    print(f"{name:8}: {call:6.1f} million operations a call, ", end="")
    print(f"{20 * call:8,.0f} million for a picture in ten guided steps")
decoding = operations(lambda: vae.decode(torch.zeros(1, 4, 8, 8)))
print(f"decoding: {decoding:6.1f} million, once")
fewer = round((20 * call + decoding) / (2 * calls["pixels"]))
print(f"ten steps in latents are as much work as {fewer} steps in pixels")

# %% [markdown]
# The time saved and the work saved are close, but need not be the same: a processor does not handle large and small pictures at one speed.
#
# The decoder is paid once a picture, the network at every step. So the saving grows with the number of steps.
# It grows with the size of the picture, too. Stable Diffusion turns 512 x 512 x 3 numbers into 64 x 64 x 4.
# The work of attention goes with the square of the number of places. In the pixels of such a picture it would be the largest part.
#
# ## What it costs
#
# The judge looks at the same drawings. Beside them stand the real pictures that the prompts describe, before and after the VAE.
# The library gives a guess in latents an end: none of its numbers may leave the range from -2 to 2.
# In the column *not clipped*, the latent network draws once more without it.
# The last column is the pixel network with so few steps that it does the same work as the latent one.

# %%
wanted = torch.tensor([asked(wish) for wish in wishes])
real = to_float(shown.pixels)
columns = {
    "real": real,
    "real, VAE": in_chunks(vae.decode, in_chunks(vae.encode, real)),
    "pixels": torch.cat(drawn["pixels"]),
    "latents": torch.cat(drawn["latents"]),
    "not clipped": draw_many(
        in_latents, wishes, SHEET, steps=10, cfg_scale=3.0, clip=math.inf
    ),
    "pixels, less": draw_many(in_pixels, wishes, SHEET, steps=fewer, cfg_scale=3.0),
}
found = {k: adherence_by_attribute(wanted, judge(x)) for k, x in columns.items()}
print(" " * 8 + "".join(f"{name:>13}" for name in columns))
for attribute in found["real"]:
    line = "".join(f"{shares[attribute]:13.0%}" for shares in found.values())
    print(f"{attribute:8}{line}")
print(f"A share of a half is uncertain by {1 / math.sqrt(len(wishes)):.0%} here.")
for name, model in models.items():
    print(f"{name}: trained on {model.card['images']:,} images")
viz.show(
    viz.table({name: x[:6] for name, x in columns.items()}),
    "Six real pictures, the same through the VAE, and four rows of drawn ones.",
)

# %% [markdown]
# Read the table from left to right.
#
# - *real* and *real, VAE*: what the VAE alone takes away, before anything is drawn. Here that is next to nothing.
#   The first table of this lesson showed more, since it counts every stroke. Some are close to the border of two classes,
#   and there a tenth of a pixel decides. These prompts leave such strokes unsaid (`clear=True`).
#   A denoiser that draws in these latents can hardly be expected above the second column.
# - *pixels* and *latents*: the same steps, prompts and seeds. Latents fall behind in the strokes, and hardly elsewhere.
#   The VAE keeps the strokes of real pictures, so the fault is in what is drawn: the denoiser has not learned
#   exactly which latents mean a line of this width.
# - *latents* and *not clipped*: guidance pushes a guess on, past where the data are. Pixels end at -1 and 1 when they are shown.
#   Latents have no end, and what they decode to grows with them: strokes become bold. So the library clips them
#   (static thresholding, [Saharia and others, 2022](https://arxiv.org/abs/2205.11487)), at the price of slightly paler colours.
#   The stronger the guidance, the more this matters: draw with `cfg_scale=6.0`, once as it is and once with `clip=math.inf`.
# - *latents* and *pixels, less*: the same work, spent in two ways. Latents are not the only way to save. Fewer steps is another,
#   and which one is better is a question for a measurement like this one.
#
# So latents cut the cost, by about the factor of the places. The price has two parts: what the decoder cannot tell, with this VAE very little,
# and what is harder to draw in latents, here the strokes.
# What the saved time is good for is decided in training, where every step gets cheaper as well:
# in the same time a network sees several times as many pictures.
#
# ## Play
#
# The plane in which the latents of forty pictures differ most, decoded by your own VAE wherever you point.
# Drag the ring, or move the sliders. What do the two directions change, and what do they leave as it is? Then walk between two of the pictures.

# %%
from minidiff.widgets import LatentMap, StepScrubber

LatentMap(mine, truth[:40])

# %% [markdown]
# And the walk in latents from above, as a slider.

# %%
StepScrubber(visible)

# %% [markdown]
# ## What went wrong
#
# A system of two trained parts has two places to look for a fault. Here are six rows. The first is healthy.
# The last is there to compare. Each of the others has a fault of its own:
#
# - *scale forgotten*: the VAE is the stretched one from above, and nobody calibrated it.
# - *another VAE*: the latents of the shipped VAE are decoded by yours. Both are at unit scale.
# - *one step*: the walk takes a single step.
# - *beta 0.3*: a VAE that was trained with far too high a price, for a hundred steps.
#   It shows real pictures, encoded and decoded. The last row shows them by yours, after as many steps.
#
# Which of them can you tell by looking?

# %%
torch.manual_seed(SEED)
vague = VAE(widths=(16, 32), beta=0.3)
for state in train(vague, stream, steps=100, progress=False, **options):
    pass
vague = state.ema
vague.calibrate(known)
stretched.shift.zero_()
stretched.scale.fill_(1.0)  # as if nobody had measured

with torch.no_grad():
    rows = {
        "healthy": vae.decode(latent[:5]),
        "scale forgotten": stretched.decode(latent[:5]),
        "another VAE": mine.decode(latent[:5]),
        "one step": in_latents.draw(prompts[:5], **(settings | {"steps": 1})),
        "beta 0.3\nstep 100": again(vague, truth[:5]),
        "beta 1e-4\nstep 100": seen["step 100"],
    }
    for name, model in (
        ("healthy", vae),
        ("scale forgotten", stretched),
        ("another VAE", mine),
        ("beta 0.3", vague),
    ):
        latents = in_chunks(model.encode, truth)
        near = psnr(truth, in_chunks(model.decode, latents))
        print(f"{name:15}: there and back {near:4.1f} dB, ", end="")
        print(f"latents of size {latents.std():.2f}")
viz.show(
    viz.table(rows),
    "Six rows: healthy digits, three rows with faults of drawing, two of the VAE.",
)

# %% [markdown]
# How to tell them apart: **send real pictures there and back, without any walk**, and measure two numbers, as the cell did.
#
# - **There and back is bad.** The fault is in the VAE, and no denoiser can draw better than its VAE decodes. With `beta` too high the strokes go first,
#   because they cost the most to tell. Lower `beta`, or train for longer.
# - **There and back is good, but the size is not 1.** The scale was forgotten. What the denoiser draws comes out dull and faint,
#   since the decoder waits for larger numbers.
# - **Both are good, and the pictures are still blots.** Was it the right VAE? Encode real pictures with the one that the denoiser learned with,
#   and decode them with the one that you draw with. If that is bad, they are two different VAEs.
# - **All that is good.** It is the denoiser, or the walk. [Lesson 03](03_learning_to_denoise.ipynb) and
#   [lesson 05](05_faster_samplers.ipynb) tell which.
#
# ## Milestone
#
# How near should pictures have come back during the training? Three runs from three seeds were measured beforehand.

# %%
expected = json.loads(Path("expected/09_latent_space.json").read_text())
for step, values in expected["at_milestone"].items():
    low, high = min(values), max(values)
    yours = at_milestone.get(int(step))
    yours = "not measured" if yours is None else f"{yours:.1f} dB"
    print(f"step {step:>3}: {yours}, expected {low:.1f} to {high:.1f} dB")
quality = VAE.load("vae").card["quality"]
print(f"the shipped VAE: {psnr(truth, back['VAE']):.1f} dB here, ", end="")
print(f"{quality['psnr in dB']:.1f} dB on {quality['n']:,} pictures when it was made")

# %% [markdown]
# A little outside the range is nothing to worry about. Far below it is a fault.
#
# ## To think about
#
# 1. Train yours with `beta=0`. It comes back as well as before. What is the size of its codes,
#    and what happens to a picture if you move its code by a third of this size, in a random direction?
#    Compare with your own VAE.
# 2. The pixel network could fold 4 x 4 pixels into channels and would then work on 8 x 8 places, too, without any VAE.
#    What would it have to do by itself that the VAE now does once for all pictures?
# 3. The squared error asks for the mean of all pictures that a latent may stand for. What must a fine texture look like after decoding?
#    (Larger VAEs add a second loss, by a network that tells real pictures from decoded ones: [Esser, Rombach and Ommer, 2021](https://arxiv.org/abs/2012.09841).)
# 4. With twice the channels a latent keeps more, and the walk hardly costs more. Why not take sixteen?
#    What becomes harder, and for whom?
#
# ---
#
# Exercises: [09 · Latent space](../exercises/09_latent_space.ipynb).
# Next: [10 · Editing](10_editing.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
