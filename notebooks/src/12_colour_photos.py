# %% [markdown]
# # 12 · Colour photos
#
# So far every picture was made for the course. The paper has one colour, the ink another, and a digit is a few strokes.
#
# A photograph comes as it is: any light, any background, any side of the animal.
#
# In this lesson the walk draws photographs. They are small ones, of ten kinds of things, learned from
# [CIFAR-10](https://www.cs.toronto.edu/~kriz/cifar.html) (Krizhevsky, 2009).
#
# Afterwards you can
#
# - say what changes from digits to photographs, and show in code that the rest does not,
# - derive how a network is fed and asked in unit size, whatever the contrast of the data,
# - say at which noise level it is decided what a photograph shows,
# - measure what guidance buys and costs where no exact judge exists,
# - work out what a training costs, and set it beside published ones,
# - look for copies of training photographs, and say how little such a search proves.
#
# Nothing is trained here, and no graphics card is needed. The weights are shipped. They were trained on a graphics card;
# further down you see how long this machine would take.
#
# The photographs are not shipped. A few cells look at real ones if they are on this machine, and say so if they are not.
# What was measured on real ones is stored in this notebook. Their pictures are not, since nobody gave leave to hand them out.
#
# The next cells measure what the lesson will cost.

# %%
import math
import os
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from IPython.display import display
from minidiff import (
    ConvNet,
    Denoiser,
    TextToImage,
    UnknownWord,
    cfg,
    cifar10,
    ddim,
    move,
    painted_digits,
    viz,
)
from minidiff.data import PHOTO_FORMS, PHOTO_WORDS, DataError, to_float
from minidiff.metrics import adherence, in_chunks, precision_recall
from minidiff.recipes import draw_many
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

QUESTIONS = 32_000  # pictures that the network is asked about in this lesson
N = 200  # pictures in each set

# %%
model = TextToImage.load("cifar10")
process = model.denoiser.process
reader = ConvNet.load("photos").eval()  # says what a photograph shows

model.draw([""] * 100, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw([""] * 100, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)
print(f"The shipped network took {model.card['seconds']:,} s to train,")
print(f"on: {model.card['hardware']}.")

# %% [markdown]
# ## Ten kinds of pictures
#
# Each row has one prompt, such as "a photo of a frog". Each column has one seed.


# %%
def photo_of(word):
    return f"a photo of a{'n' if word[0] == 'a' else ''} {word}"


sheet = {word: model.draw([photo_of(word)] * 5, seed=0) for word in PHOTO_WORDS}
viz.show(
    viz.table(sheet),
    "Ten rows of five drawn photographs, a row for each of: "
    + ", ".join(PHOTO_WORDS)
    + ".",
)

# %% [markdown]
# Stand back from the screen: small pictures look better from a distance. And look down a column. What do pictures have in common that began with the same noise?
#
# Here are three of the walks. Below each is what the network guesses at that step.

# %%
three = [photo_of(word) for word in ("frog", "ship", "horse")]
steps = list(model.walk(three, seed=[0, 1, 2]))
viz.show(
    viz.film_strip(steps, frames=5, scale=3),
    "Three walks from noise to a frog, a ship and a horse, and the guesses on the way.",
)

# %% [markdown]
# The guesses begin as a few soft colours. Shapes come later, and detail last. Further down this is measured.
#
# ## Real ones
#
# Are there real photographs on this machine? If not, the next line says how to get them, and the lesson goes on.

# %%
try:
    photos, fresh = cifar10(), cifar10("held_out")
except DataError as problem:
    photos = fresh = None
    print("No photographs here, and the lesson goes on without them.")
    print(problem)
else:
    print(f"{len(photos):,} photographs to train on, {len(fresh):,} held out")
MISSING = "Real photographs are needed for this. How to get them stands above."

# %%
if photos is None:
    print(MISSING)
else:
    real = {
        word: to_float(fresh.pixels[(fresh.labels == i).nonzero()[:3, 0]])
        for i, word in enumerate(PHOTO_WORDS)
    }
    display(  # left out when stored
        viz.show(
            viz.table(real),
            "Ten rows of three real photographs, held out from the training.",
        )
    )

# %% [markdown]
# Real ones are just as small, and some of them are hard to read, too.
#
# How good are the drawn ones? That was measured when the weights were made, and stands on their card, for two walks.
# The second walk has more guidance, and its levels are set by another clock ([lesson 05](05_faster_samplers.ipynb)).
# For the words see [lesson 11](11_judging_images.ipynb).

# %%
quality = dict(model.card["quality"])
best = quality.pop("at its best")  # with more guidance, by another clock
for key, value in quality.items():
    print(f"{key.replace('_', ' '):17} {value}")
print(f"\n{best['sampler']}:")
for key in ("adherence", "frechet_distance", "recall"):
    print(f"{key.replace('_', ' '):17} {best[key]}")
known = reader.card["quality"]
print(
    f"\nthe reader names {known['accuracy']:.0%} of real photographs rightly ", end=""
)
print(f"({known['n']:,} of {known['on']})")

# %% [markdown]
# *Adherence* is the share of pictures in which a second network, the reader, sees what was asked for.
# By chance it would be a tenth, since there are ten words.
#
# This reader makes mistakes, as the last line says. The judge of painted digits measures colours and strokes by rules. Nobody has such rules for frogs.
# So do not take an adherence here for more exact than its reader.
#
# The Frechet distance stands on the features of the same reader. It can be compared with its floor, and with nothing in any paper.
#
# Compare the lines. The reader finds what was asked for in drawn photographs about as often as in real ones, and in the second walk more often.
# Yet the distance is many times its floor, and the second walk is worse in distance and in recall. To be read rightly is not yet to look real.
#
# ## What changes
#
# Not much has to. Here are the settings of this model beside those of the one that paints digits.

# %%
digits = TextToImage.load("painted")


def settings(model):
    """The configuration of a model in short lines."""
    parts = {k: v for k, v in model.config.items() if k not in ("words", "encoder")}
    net = {f"net, {key}": value for key, value in parts.pop("net").items()}
    parts["words"] = len(model.tokenizer.words)
    parts["parameters"] = sum(p.numel() for p in model.parameters())
    return parts | net


mine, other = settings(model), settings(digits)
print(f"{'':16} {'digits':>14} {'photographs':>14}")
for key, value in mine.items():
    mark = "" if value == other.get(key) else "   <"
    print(f"{key:16} {other.get(key)!s:>14} {value!s:>14}{mark}")

# %% [markdown]
# Marked lines differ. Process and target do not. The network has more blocks and knows other words.
# And `sigma_data` is new. It is explained below.
#
# The walk does not know what it draws. Here it is once more, with guidance in one line, and it draws with both models.


# %%
@torch.no_grad()
def my_walk(denoiser, ctx, null, xt, steps=10, scale=2.0):
    """Every place of the walk, and the guess there; without fresh noise."""
    ts = denoiser.process.timesteps(steps)
    for t, s in pairwise(ts):
        x0, x0_null = denoiser(xt, t, ctx), denoiser(xt, t, null)
        x0 = x0_null + scale * (x0 - x0_null)
        yield xt, t, x0
        xt, _ = move(denoiser.process, xt, x0, t, s)
    yield xt, ts[-1], xt


def my_draw(model, prompts, xt, **settings):
    ctx, null = model.encode(prompts), model.encode([""] * len(prompts))
    *_, (xt, _, _) = my_walk(model.denoiser, ctx, null, xt, **settings)
    return xt.clamp(-1, 1)


red = "a large bold red seven on yellow paper"
noise = process.prior((4, 3, 32, 32), seeds=range(4))
for each, prompt in ((digits, red), (model, photo_of("frog"))):
    mine = my_draw(each, [prompt] * 4, noise)
    library = each.draw([prompt] * 4, seed=0, sampler=ddim)
    assert_close(mine, library, rtol=0, atol=1e-3)
    print(f"mine and minidiff's are equal: {prompt}")

# %% [markdown]
# Three things do change, and all of them are about the data: the captions, the mirror, and the contrast.
#
# ### The captions
#
# A photograph of CIFAR-10 has a label, one of ten words, and nothing else. A caption is that word in one of a few forms.

# %%
for form in PHOTO_FORMS:
    print(form.format(a="a", it="frog"))
print("\nwords:", ", ".join(model.tokenizer.words))

for prompt in ("a photo of a house", "a red frog", "two frogs"):
    try:
        model.encode([prompt])
    except UnknownWord as problem:
        print(f"\n{prompt}: {problem}")

# %% [markdown]
# Painted digits are told in many words, and the words were true. Here nobody wrote down that a frog is red, or that there are two.
# The forms differ in their words and not in what they say: "small" is no promise.
#
# What no caption says, no prompt can ask for. It is left to the noise.
#
# ### The mirror
#
# A frog in a mirror is a frog. So half of the photographs were mirrored in training, by chance
# (after [Ho and others, 2020](https://arxiv.org/abs/2006.11239), appendix B). That doubles the data at no cost.
# To change training pictures in a way that leaves what they show is called *augmentation*. With digits it would be a mistake: a mirrored seven is no seven.
#
# What does a network learn from it? Suppose the data hold each picture as often as its mirror image.
# Then a picture explains `xt` as well as its mirror image explains the mirrored `xt`. So for the best guess, the mean `E[x0 | xt]`,
#
#     guess(mirrored xt) = mirrored guess(xt)
#
# Nothing in the network says so. It has to find out. Has it? The cell goes along a walk of each model, mirrors `xt` at every step,
# and compares the two sides. 0 is full agreement.

# %%
pairs = {"digits": (digits, red), "photographs": (model, photo_of("frog"))}
noise = process.prior((20, 3, 32, 32), seeds=range(20))
print("level      " + "".join(f"{t:6.1f}" for t in process.timesteps(10)[:-1]))
rows = {}
for name, (each, prompt) in pairs.items():
    ctx, null = each.encode([prompt] * 20), each.encode([""] * 20)
    line = []
    for xt, t, _ in list(my_walk(each.denoiser, ctx, null, noise, scale=1.0))[:-1]:
        with torch.no_grad():
            guess = each.denoiser(xt, t, ctx)
            mirrored = each.denoiser(xt.flip(3), t, ctx).flip(3)
        line.append((mirrored - guess).norm() / guess.norm())
    print(f"{name:11}" + "".join(f"{value:6.2f}" for value in line))
    rows[name] = my_draw(each, [prompt] * 5, noise[:5])
    back = my_draw(each, [prompt] * 5, noise[:5].flip(3)).flip(3)
    rows[f"{name},\nnoise mirrored"] = back
viz.show(
    viz.table(rows),
    "Digits and photographs; below each the same from mirrored noise, mirrored back.",
)

# %% [markdown]
# Look at the pictures in pairs. The lower row of each pair was drawn from mirrored noise, and then mirrored back.
# For a network that has learned the mirror fully, both rows are the same. With the frogs they nearly are.
# For digits they must not be: sevens came out of the mirrored noise as well, and mirrored back they are no sevens.
#
# The numbers say the same at high levels. At low ones both models agree well with their mirror image, for there `xt` itself is nearly the guess.
#
# ### The contrast
#
# Ink on paper fills the range from -1 to 1 to its ends. Photographs keep more to the middle. The cell measures both.

# %%
paint = to_float(painted_digits(split="held_out", variants=1)[:500].pixels)
several = torch.cat(list(sheet.values()))
sizes = {"painted digits": paint, "drawn photographs": several}
if photos is not None:
    sizes["real photographs"] = to_float(photos.pixels[:5000])
for name, x in sizes.items():
    print(f"{name:18} mean {x.mean():5.2f}, standard deviation {x.std():.2f}")
print(f"sigma_data: {digits.denoiser.sigma_data} and {model.denoiser.sigma_data}")

# %% [markdown]
# `sigma_data` is the standard deviation of the data. The model of photographs was told it in a round number. That of digits was left at 1,
# which is what the library takes if nobody says otherwise. Why does a model want to know it?
#
# ## In unit size
#
# A network learns best when its inputs and its answers are about as large as 1. Without care, neither is.
#
# Let the data have the standard deviation `d` and a mean near 0. Then `xt = alpha x0 + sigma eps` has the variance
#
#     scale^2 = alpha^2 d^2 + sigma^2
#
# So the network is shown `xt / scale`. That was the easy half.
#
# Now the answer. Let the guess be a share of `xt` itself, plus what the network says:
#
#     x0 = c_skip xt + c_out answer
#
# Turned round, the network should answer `(x0 - c_skip xt) / c_out`. This is to have the variance 1, so
#
#     c_out^2 = (1 - alpha c_skip)^2 d^2 + c_skip^2 sigma^2
#
# One number is still free. A mistake of the network reaches the guess `c_out` times as large. So choose the `c_skip` that makes `c_out` small.
# The right side is a parabola over `c_skip`. Its slope is 0 where
#
#     c_skip = alpha d^2 / scale^2        and then  c_out = sigma d / scale
#
# With `alpha = 1` these are the numbers of [Karras and others, 2022](https://arxiv.org/abs/2206.00364), table 1 and appendix B.6.
# They call it *preconditioning*.
#
# Try it on single numbers: a coin with the sides `d` and `-d`. The cell tries many `c_skip`, and marks the formula.

# %%
torch.manual_seed(0)
d = 0.5
x0 = d * (2 * torch.randint(2, (20_000,)) - 1.0)
eps = torch.randn(20_000)
tried, curves, best = torch.linspace(-0.2, 1.4, 81), {}, {}
for level in (0.1, 0.3, 0.5, 0.8):
    t = torch.tensor(level)
    alpha, sigma = process.alpha(t), process.sigma(t)
    scale = (alpha**2 * d**2 + sigma**2).sqrt()
    xt = process.add_noise(x0, eps, t)
    left = (x0 - tried[:, None] * xt).square().mean(dim=1).sqrt()
    c_skip, c_out = alpha * d**2 / scale**2, sigma * d / scale
    curves[f"level {level}"] = (tried, left)
    best[level] = (c_skip, c_out)
    assert_close(left.min(), c_out, rtol=0.02, atol=0)
    print(f"level {level}: least {left.min():.3f} ", end="")
    print(f"at {tried[left.argmin()]:5.2f}; formula {c_out:.3f} at {c_skip:5.2f}")

figure = viz.plot(curves, "c_skip", "what is left for the network")
figure.axes[0].plot(*zip(*best.values(), strict=True), "o", color="black")
figure.axes[0].set(ylim=(0, 0.8))
viz.show(figure, "Four valleys over c_skip; a dot lies at the bottom of each.")

# %% [markdown]
# At low levels `xt` is nearly the answer, and little is left to say. At high levels `xt` tells nothing, and everything is left: `d`.
# In between, `c_skip xt` is the best straight line through the points. The network only has to say what no straight line can.
#
# What is it, then, that the network is asked for? Put the two numbers in, and sort:
#
#     (x0 - c_skip xt) / c_out = (sigma x0 / d - alpha d eps) / scale
#
# The factors `alpha d / scale` and `sigma / scale` are a cosine and a sine: their squares add up to 1.
# So this is the `v` of [lesson 03](03_learning_to_denoise.ipynb), for data divided by `d`, and with the other sign. The library asks for
#
#     v = (alpha d eps - sigma x0 / d) / scale
#
# With `d = 1` and the Cosine process the `scale` is 1, and it is the old `v`.
#
# Guess and loss by hand, for both models:


# %%
def parts(denoiser, t):
    """scale, c_skip and c_out at times t (b,), each (b, 1, 1, 1)."""
    alpha, sigma = denoiser.process.alpha(t), denoiser.process.sigma(t)
    d = denoiser.sigma_data
    scale = (alpha**2 * d**2 + sigma**2).sqrt()
    found = scale, alpha * d**2 / scale**2, sigma * d / scale
    return [each.view(-1, 1, 1, 1) for each in found]


@torch.no_grad()
def my_answer(denoiser, xt, t, ctx):
    scale, _, _ = parts(denoiser, t)
    return -denoiser.net(xt / scale, denoiser.process.level(t), ctx)  # v is minus this


def my_guess(denoiser, xt, t, ctx):
    _, c_skip, c_out = parts(denoiser, t)
    return c_skip * xt + c_out * my_answer(denoiser, xt, t, ctx)


def my_loss(denoiser, x0, eps, t, ctx):
    _, c_skip, c_out = parts(denoiser, t)
    xt = denoiser.process.add_noise(x0, eps, t)
    wanted = (x0 - c_skip * xt) / c_out
    return (my_answer(denoiser, xt, t, ctx) - wanted).square().mean(dim=(1, 2, 3))


torch.manual_seed(0)
t, eps = torch.linspace(0.05, 1, 20), torch.randn(20, 3, 32, 32)
for (each, prompt), x0 in zip(pairs.values(), (paint, several), strict=True):
    denoiser, ctx, x0 = each.denoiser, each.encode([prompt] * 20), x0[:20]
    xt = process.add_noise(x0, eps, t)
    with torch.no_grad():
        assert_close(my_guess(denoiser, xt, t, ctx), denoiser(xt, t, ctx))
        library = denoiser.loss(x0, ctx, t=t, eps=eps)
    assert_close(my_loss(denoiser, x0, eps, t, ctx), library, rtol=1e-3, atol=1e-4)
    print(f"sigma_data {denoiser.sigma_data}: guess and loss agree with minidiff's")

# %% [markdown]
# And if the model is told a wrong `d`? Then the wanted answers are not of unit size. Here is their mean square at five levels, for the drawn photographs.

# %%
levels = torch.tensor([0.02, 0.1, 0.4, 0.7, 1.0])
x0 = several.repeat(5, 1, 1, 1)
eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
t = levels.repeat_interleave(len(several))
print("level        " + "".join(f"{level:8.2f}" for level in levels))
for d in (0.1, 0.25, 0.5, 1.0, 2.5):
    told = Denoiser(model.denoiser.net, process, "v", d)
    _, c_skip, c_out = parts(told, t)
    wanted = (x0 - c_skip * process.add_noise(x0, eps, t)) / c_out
    sizes = wanted.square().flatten(1).mean(dim=1).view(5, -1).mean(dim=1)
    print(f"told {d:<8}" + "".join(f"{size:8.2f}" for size in sizes))

# %% [markdown]
# At the lowest level a wrong `d` does the least harm, because there the answer is nearly the noise. At high levels it is nearly `x0 / d`.
#
# Told too small a `d`, the answers of the high levels are far larger than those of the low ones, and their squares count in the loss.
# The low levels are drowned. Told too large a `d`, the network hardly hears of the highest levels, where a walk begins.
#
# By a factor of two it is no disaster. The network is told the level too, and can learn to make up for a size that depends on it.
# What it cannot change is how much each level counts.
#
# ## What a word knows
#
# At level 1 there is only noise. It says nothing of the picture, so the best guess depends on the word alone: it is the mean of all
# photographs with this word.
#
# The first row shows this first guess, the mean over a few noises, with its contrast doubled.
# Where there are real photographs, the second row shows the mean of all those with this label.

# %%
eps = process.prior((16, 3, 32, 32), seeds=range(16))
guesses = []
for word in PHOTO_WORDS:
    with torch.no_grad():
        guesses.append(model.denoiser(eps, 1.0, model.encode([photo_of(word)] * 16)))
first = torch.stack(guesses)  # (words, noises, c, h, w)
means = first.mean(dim=1)
stray = (first - means[:, None]).square().mean().sqrt()
print(f"from noise to noise the guess changes by {stray:.3f}, ", end="")
print(f"from word to word by {means.std(dim=0).square().mean().sqrt():.3f}")
rows = {"first guess": (2 * means).clamp(-1, 1)}
if photos is not None:
    true = [to_float(photos.pixels[photos.labels == i]).mean(dim=0) for i in range(10)]
    true = (torch.stack(true) + torch.stack(true).flip(3)) / 2  # with mirror images
    rows["mean of\nphotographs"] = (2 * true).clamp(-1, 1)
    off = (means - true).square().mean().sqrt()
    print(f"from the mean of the photographs it is {off:.3f} away")
viz.show(
    viz.table(rows, PHOTO_WORDS, scale=3),
    "Ten blurs, a first guess for each word; some are bluer, some browner.",
)

# %% [markdown]
# A blur is all that a word says for certain: where it is light, where it is dark, and of which colour.
# The rest of the picture has to come from the noise, one level after the other.
#
# ## Predict, then run
#
# Frog or ship: at which noise level is that decided?
#
# The cell begins a walk with one word and goes on with another. It changes the word after no step, after one, after two, and so on.
# At the end the reader says what it sees. Two more curves tell how much of the first picture is left. *Coarse* looks at the mean colours of patches of 8 x 8 pixels,
# *fine* at what is left when those are taken away.
#
# Think of painted digits, where the paper was settled first, and the rest later and about together ([lesson 07](07_text_to_image.ipynb)).
# Three things are settled here: the word that the reader sees, the coarse, the fine. In which order? At high levels, in the middle, or at low ones?

# %%
STEPS, PAIRS = 10, 60
before = torch.arange(PAIRS) % 10
after = (before + 5) % 10  # a frog becomes an automobile
noise = process.prior((PAIRS, 3, 32, 32), seeds=range(PAIRS))
ts = process.timesteps(STEPS)
one, two = (
    cfg(
        model.denoiser,
        model.encode([photo_of(PHOTO_WORDS[i]) for i in kind]),
        model.encode([""] * PAIRS),
        scale=2.0,
    )
    for kind in (before, after)
)
with torch.no_grad():
    begun = list(ddim(one, process, noise, ts))
    ends = [
        list(ddim(two, process, begun[k].xt, ts[k:]))[-1].x0 for k in tqdm(range(STEPS))
    ] + [begun[-1].x0]


def coarse(x):
    return F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)


def left_of_first(view):
    """1 where an end looks like the first picture, 0 where as far off as the second."""
    first, second = view(ends[-1]), view(ends[0])
    off = [(view(end) - first).square().mean() for end in ends]
    return [1 - value / (second - first).square().mean() for value in off]


# %%
seen = [in_chunks(reader.logits, end.clamp(-1, 1)) for end in ends]
curves = {
    "second word": [adherence(logits, after) for logits in seen],
    "first word": [adherence(logits, before) for logits in seen],
    "coarse": left_of_first(coarse),
    "fine": left_of_first(lambda x: x - coarse(x)),
}
print(f"{'level':12}" + "".join(f"{t:6.1f}" for t in ts))
for name, values in curves.items():
    print(f"{name:12}" + "".join(f"{value:6.0%}" for value in values))
print(f"(A share of a half is uncertain by {1 / math.sqrt(PAIRS):.0%} here.)")
figure = viz.plot(
    {name: (ts, values) for name, values in curves.items()},
    "noise level at which the word is changed",
    "share",
)
figure.axes[0].invert_xaxis()
figure.axes[0].legend(loc=(0.72, 0.11))
viz.show(
    figure,
    "Over the level of the change: one curve falls, and three rise to the right.",
)

# %% [markdown]
# On the left the word is changed at once, and only the second counts. On the right it is never changed.
# Where the two words cross, it is decided what the reader sees.
#
# The coarse is settled first, in the first steps, then most of the fine. The two words cross only after that, in the middle of the walk.
# So much of the picture stands already when it is still open what the reader will call it.
#
# Here are three of these walks, one row each.

# %%
shown = {
    f"{PHOTO_WORDS[before[i]]} to\n{PHOTO_WORDS[after[i]]}": torch.stack(
        [end[i] for end in ends]
    )
    for i in (0, 6, 8)
}
viz.show(
    viz.table(shown, [f"{t:.1f}" for t in ts.tolist()]),
    "Three rows of eleven photographs, from the second word to the first one.",
)

# %% [markdown]
# Look, on the left, for pictures that have the background of one word and the thing of the other.
# A word does not say the same at all levels: first it is about the large colours, later about the thing. At the end it hardly changes anything.
#
# ## What guidance buys here
#
# The same two hundred prompts and seeds under four scales. There is no judge of colours and strokes, so the cell measures what it can:
#
# - *adherence*: how often the reader sees what was asked for,
# - *colour*: how far the three channels of a pixel are apart,
# - *contrast*: the standard deviation of the values in a picture,
# - *cut off*: the share of values at the very ends of the range,
# - *variety*: how far two pictures of one word are apart, in features of the reader.
#
# The last line has the same for real photographs, if there are any. With them there are two more columns,
# *precision* and *recall* of [lesson 11](11_judging_images.ipynb).


# %%
asked = torch.arange(N) % 10
prompts = [photo_of(PHOTO_WORDS[i]) for i in asked]
apart = (asked[:, None] == asked).triu(1)  # pairs of one word, each once


def measured(x):
    """What can be told of pictures (N, 3, 32, 32) without and with real ones."""
    features = in_chunks(reader.features, x)
    with torch.no_grad():
        obeyed = adherence(reader.head(features), asked)
    found = {
        "adherence": obeyed,
        "colour": (x.amax(dim=1) - x.amin(dim=1)).mean().item(),
        "contrast": x.flatten(1).std(dim=1).mean().item(),
        "cut off": (x.abs() > 0.99).float().mean().item(),
        "variety": torch.cdist(features, features)[apart].mean().item(),
    }
    if photos is not None:
        precision, recall = precision_recall(like_asked, features)
        found |= {"precision": precision, "recall": recall}
    return found


if photos is not None:
    rows = [(fresh.labels == i).nonzero()[20:, 0][: N // 10] for i in range(10)]
    genuine = to_float(fresh.pixels[torch.stack(rows, dim=1).flatten()])
    rows = [(fresh.labels == i).nonzero()[200:, 0][: N // 10] for i in range(10)]
    like_asked = in_chunks(
        reader.features, to_float(fresh.pixels[torch.stack(rows, dim=1).flatten()])
    )

# %%
scales = (1.0, 2.0, 4.0, 8.0)
drawn = {
    scale: draw_many(model, prompts, steps=10, cfg_scale=scale)
    for scale in tqdm(scales)
}
sweep = {f"guidance {scale:g}": measured(x) for scale, x in drawn.items()}
if photos is not None:
    sweep["real"] = measured(genuine)


def table(columns):
    kinds = {"colour": ".2f", "contrast": ".2f", "variety": ".2f", "cut off": ".1%"}
    names = next(iter(columns.values()))
    print(f"{'':14}" + "".join(f"{name:>11}" for name in names))
    for label, row in columns.items():
        told = (f"{v:11{kinds.get(name, '.0%')}}" for name, v in row.items())
        print(f"{label:14}" + "".join(told))


table(sweep)
print(f"(n = {N}; a share of a half is uncertain by {1 / math.sqrt(N):.0%})")
viz.show(
    viz.table({f"guidance {scale:g}": x[20:26] for scale, x in drawn.items()}),
    "Six photographs under four scales of guidance, in ever stronger colours.",
)

# %% [markdown]
# What to look for:
#
# - *Adherence* tells what is bought. Guidance 1 is the network alone: there far fewer pictures are read as asked than of real ones.
#   Where adherence stops rising, more guidance buys nothing that the reader can see.
# - *Colour*, *contrast* and *cut off* tell one part of the price. Guidance goes further in a direction, also where there is no further.
#   Compare with the line of the real ones, if you have it.
# - *Variety* and *recall* tell the other part: pictures of one word become alike.
#
# With much guidance adherence rises above that of real photographs. Such a picture is not better than a real one. It is only easier to read.
#
# In large systems there are ways around the strong colours. One is to bring the guess back into the range at every step
# ([Saharia and others, 2022](https://arxiv.org/abs/2205.11487), section 2.3).
# Another is to guide only at middle levels ([Kynkaanniemi and others, 2024](https://arxiv.org/abs/2404.07724)): `interval` of `model.draw`.
#
# ## Copies?
#
# A network could learn photographs by heart, and draw copies. Two questions help, and both need real photographs.
#
# **Does it know its training photographs better?** The loss is compared on photographs that it was trained on and on those held out,
# with the same noise. Whoever has learned by heart is better on the first, by more than chance allows.

# %%
if photos is None:
    print(MISSING)
else:
    torch.manual_seed(0)
    n = 1000
    t = process.quantile((torch.arange(n) + 0.5) / n)[torch.randperm(n)]
    eps = torch.randn(n, 3, 32, 32)
    told = {}
    for name, of in (("trained on", photos), ("held out", fresh)):
        some = of[torch.arange(n)]
        ctx = model.encode([photo_of(PHOTO_WORDS[i]) for i in some.labels])
        x0, losses = to_float(some.pixels), []
        with torch.no_grad():
            for rows in torch.arange(n).split(100):
                at = dict(t=t[rows], eps=eps[rows])
                losses.append(model.denoiser.loss(x0[rows], ctx[rows], **at))
        told[name] = torch.cat(losses)
        print(f"{name:10} loss {told[name].mean():.4f}")
    spread = (told["trained on"] - told["held out"]).std() / math.sqrt(n)
    print(f"by chance they differ by about {spread:.4f}")

# %% [markdown]
# **How near is the nearest one?** Take the drawn frogs, and for each the nearest of all frogs in the training data, by the features of the reader.
# Do the same with held-out frogs, which nobody can have copied. And ask as in [lesson 11](11_judging_images.ipynb): which of the two is nearer to the training data?
# Half of the time it should be the drawn one.

# %%
if photos is None:
    print(MISSING)
else:
    frog = PHOTO_WORDS.index("frog")
    training = to_float(photos.pixels[photos.labels == frog])
    held_out = to_float(fresh.pixels[fresh.labels == frog][:200])
    suspects = drawn[2.0][asked == frog]
    spaces = {"pixels": lambda x: x.flatten(1)}
    spaces["features"] = lambda x: in_chunks(reader.features, x)
    for name, space in spaces.items():
        known, mine, others = map(space, (training, suspects, held_out))
        away, at = torch.cdist(mine, known).min(dim=1)
        usual = torch.cdist(others, known).min(dim=1).values
        share = (away[:, None] < usual).float().mean()
        print(f"by {name:8} a drawn frog is nearer than a held-out one: {share:.0%}")
    rows = {"drawn": suspects[:8], "nearest in\ntraining": training[at[:8]]}
    display(  # left out when stored
        viz.show(
            viz.table(rows),
            "Eight drawn frogs, and below each the nearest frog of the training data.",
        )
    )

# %% [markdown]
# Look at the pairs, if you have them. A copy would be seen at once: the same animal, in the same place.
#
# The shares need more care. A soft picture is near to everything in pixels, since it has little detail that could be wrong.
# So a large share over pixels says that the drawn pictures are soft, and only then, perhaps, that they are copies.
# And features know the kind of thing better than the single picture: what looks very much like a frog is near to many frogs.
# With so few drawn frogs, chance moves both shares as well.
#
# None of this proves that there are no copies. It looked at twenty frogs.
# Larger models have been caught copying, mostly photographs that stood in their data many times
# ([Carlini and others, 2023](https://arxiv.org/abs/2301.13188)).
#
# ## What it costs
#
# The pictures are still far from real ones. Why are they no better? Count.
#
# Here are the operations of one training step for one picture, forward and backward, and how many pictures a second this machine gets through.
# Sums and products count as one operation each. The last line says what the training of the shipped weights really took, and on what.

# %%
BATCH = 32
x = torch.randn(BATCH, 3, 32, 32)
ctx = model.encode(["a frog"] * BATCH)


def training_step():
    model.denoiser.loss(x, ctx).mean().backward()
    model.zero_grad()


training_step()
with FlopCounterMode(display=False) as counter:
    training_step()
work = counter.get_total_flops() / BATCH  # for one picture
times = []
for _ in range(4):
    start = time.perf_counter()
    training_step()
    times.append(time.perf_counter() - start)
here = BATCH / min(times)
weights = sum(p.numel() for p in model.denoiser.parameters())
seen = model.card["images"]
print(f"{weights / 1e6:.1f} million parameters")
print(f"{work / 1e9:.2f} billion operations a picture")
print(f"{seen:,} pictures seen: each photograph {seen / 50_000:.0f} times")
print(f"{work * seen:.1e} operations in all")
print(f"this machine: {here:.0f} pictures a second, {here * work / 1e9:.0f} billion")
print(f"operations a second, and {seen / here / 3600:.1f} hours for the training")
print(f"it took {model.card['seconds'] / 60:.0f} minutes on: {model.card['hardware']}")

# %% [markdown]
# And others? These trainings are published, with what they took:
#
# - *DDPM on CIFAR-10*: [Ho and others, 2020](https://arxiv.org/abs/2006.11239), appendix B. One TPU v3-8, which they call similar to eight V100 cards.
# - *EDM on CIFAR-10*: [Karras and others, 2022](https://arxiv.org/abs/2206.00364); time and pictures as in [their code](https://github.com/NVlabs/edm#training-new-models).
#   Eight V100 cards.
# - *Stable Diffusion v1*: pictures of 256 x 256 and then 512 x 512 pixels with free captions, in latents. Steps, batch and hours as on
#   [its card](https://github.com/CompVis/stable-diffusion/blob/main/Stable_Diffusion_v1_Model_Card.md), on A100 cards.
#
# The last two columns say how long it would take to show the network of *this* lesson as many pictures: on this machine, and on one graphics card.
# For the card two numbers are assumed, and you can change them: what it can do at best, and which share of that so small a network gets out of it.
# Only their product counts. Check it: is the first line of the last column near the minutes that the training really took?

# %%
AT_BEST, SHARE = 100e12, 0.1  # operations a second of a card, and the share used
card = AT_BEST * SHARE / work  # pictures a second
published = {  # pictures seen, hours of one card or its like
    "DDPM on CIFAR-10": (800_000 * 128, 8 * 10.6),
    "EDM on CIFAR-10": (200e6, 8 * 48),
    "Stable Diffusion v1": ((237 + 194 + 515 + 195) * 1000 * 2048, 150_000),
}
rows = {"this lesson": (seen, None)} | published
print(f"{'':20}{'million':>10}{'times':>9}{'their':>12}{'hours':>10}{'hours':>9}")
print(f"{'':20}{'pictures':>10}{'ours':>9}{'card hours':>12}{'here':>10}{'a card':>9}")
for name, (images, hours) in rows.items():
    told = "" if hours is None else f"{hours:,.0f}"
    print(f"{name:20}{images / 1e6:10,.1f}{images / seen:9,.0f}{told:>12}", end="")
    print(f"{images / here / 3600:10,.1f}{images / card / 3600:9,.2f}")

# %% [markdown]
# The pictures are only one factor. The networks of the others are larger as well, so each picture costs them more.
# The first of them has 35.7 million parameters, and the last one 860 million in its [U-Net](https://github.com/CompVis/stable-diffusion) alone.
#
# So what is missing here is not an idea. It is the same loss and the same walk, with less of everything: fewer pictures seen, a smaller network,
# fewer pixels, fewer words.
#
# With a graphics card of your own, this command trains such a network for ten times as long. It fetches the photographs first,
# and saves on the way. Without `--steps` it takes as many as the shipped one did.
#
#     minidiff train cifar10 --download --compile --steps 90000
#
# Then compare its card with the one above, and not your eye with your hopes.
#
# ## Play
#
# Drag through the guidance, and choose a word. The line below tells what was measured at this scale, over all words.
# Where would you stop, for a frog, and for a ship?

# %%
from minidiff.widgets import StepScrubber
from minidiff.widgets.player import Player, axis, panel, together

shown = ("frog", "ship")
places = [(scale, word) for scale in scales for word in shown]


def six(scale, word):
    return drawn[scale][asked == PHOTO_WORDS.index(word)][:6]


def about(row):
    names = ("adherence", "colour", "contrast", "variety")
    return ", ".join(f"{name} {row[name]:.2f}" for name in names)


Player(
    "Drawn photographs by guidance",
    [
        axis("Guidance", [f"{scale:g}" for scale in scales], at=1),
        axis("Word", shown, kind="choice"),
    ],
    [panel("six seeds", 0, 6)],
    [together([six(*place) for place in places])],
    viz.table({f"guidance {scale:g}": six(scale, "frog") for scale in scales}, scale=1),
    "Six drawn frogs under four scales of guidance.",
    [about(sweep[f"guidance {scale:g}"]) for scale, _ in places],
)

# %% [markdown]
# And one walk, step by step. Until which step could it still become something else?

# %%
StepScrubber(model.walk(photo_of("frog"), seed=4))

# %% [markdown]
# To type prompts of your own, make a new cell with these two lines:
#
#     from minidiff.widgets import Playground
#     Playground(model, "a photo of a frog")
#
# ## What went wrong
#
# Six sets from the same prompts and seeds. The first is healthy. Each of the others has one fault.
#
# - *guidance 15*: far too much.
# - *two steps*: the walk was given two steps.
# - *sigma_data 1*: the network was trained for 0.5, and somebody built the denoiser for 1.
# - *other words*: the prompts got into another order on their way.
# - *no words*: every prompt was empty.
#
# *Grain* is what is left of a picture when each pixel is compared with the mean of its neighbours. Which numbers will tell which fault?

# %%
names = asked[:40]
wishes, noise = prompts[:40], process.prior((40, 3, 32, 32), seeds=range(40))
told_one = Denoiser(model.denoiser.net, process, "v", 1.0)
order = torch.randperm(40, generator=torch.Generator().manual_seed(0)).tolist()


def faulty(denoiser=model.denoiser, wishes=wishes, **settings):
    """The end of the walk, not cut off."""
    ctx, null = model.encode(wishes), model.encode([""] * 40)
    *_, (xt, _, _) = my_walk(denoiser, ctx, null, noise, **settings)
    return xt


faults = {
    "healthy": faulty(),
    "guidance 15": faulty(scale=15.0),
    "two steps": faulty(steps=2),
    "sigma_data 1": faulty(told_one),
    "other words": faulty(wishes=[wishes[i] for i in order]),
    "no words": faulty(wishes=[""] * 40),
}

# %%
print(f"{'':14}{'contrast':>10}{'cut off':>10}{'grain':>10}{'adherence':>11}")
for name, x in faults.items():
    seen = x.clamp(-1, 1)
    around = F.avg_pool2d(F.pad(seen, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    grain = (seen - around).square().mean().sqrt()
    obeyed = adherence(in_chunks(reader.logits, seen), names)
    print(f"{name:14}{seen.flatten(1).std(dim=1).mean():10.2f}", end="")
    print(f"{(x.abs() > 1).float().mean():10.1%}{grain:10.3f}{obeyed:11.0%}")
print(f"(n = {len(names)}; by chance one in ten is read as asked)")
viz.show(
    viz.table({name: x[:6].clamp(-1, 1) for name, x in faults.items()}),
    "Six rows of six photographs: a healthy one, and five with a fault each.",
)

# %% [markdown]
# How to tell them apart:
#
# | what you see | what the numbers say | the fault | the remedy |
# | --- | --- | --- | --- |
# | glaring colours, hard edges | much is cut off, high contrast, and adherence as high as ever | too much guidance | lower `cfg_scale`, or an `interval` |
# | soft blots | little grain, low contrast | too few steps | more steps; look whether a doubling still changes anything |
# | wrong contrast or grain in every picture, with any words | contrast and grain both off, and adherence falls | the network is not fed as it was trained | compare `sigma_data`, process and target with the card's configuration |
# | fine pictures of the wrong things | adherence near chance, the rest healthy | prompts and pictures got out of step | draw one picture alone, and look |
# | fine pictures of anything | nearly the same, with a little less contrast | the words do not arrive | compare two prompts with one seed |
#
# The last two have nearly the same numbers. Contrast is a little lower without words, for then guidance has nothing to strengthen.
# What tells them apart for certain is one experiment: change the prompt, keep the seed. If nothing changes, the words do not arrive.
#
# And if the walk is healthy, and the pictures are soft all the same? Then the network has seen too little, or is too small.
# No setting of the walk repairs that. The next section has what to expect.
#
# ## Milestone
#
# Your numbers, beside those of the card. The card measured more pictures, and with words in the order of real photographs.
# So only adherence can be compared, and only as far as chance allows.

# %%
share, n = quality["adherence"], quality["n"]
off = 2 * math.sqrt(share * (1 - share) / N)
mine = sweep["guidance 2"]["adherence"]
print(f"adherence here {mine:.1%}, the card {share:.1%}, give or take {off:.1%}")
print(f"({N} pictures here, {n:,} on the card; {quality['sampler']})")
reads = in_chunks(reader.logits, drawn[2.0]).argmax(dim=1)
print("\nof twenty each, read as asked:")
for i, word in enumerate(PHOTO_WORDS):
    taken = torch.bincount(reads[asked == i], minlength=10)
    taken[i], right = 0, taken[i].item()
    often = f"else mostly {PHOTO_WORDS[taken.argmax()]}" if taken.sum() else ""
    print(f"{word:11}{right:3}  {often}")
print("\ntrained by:", model.card["recipe"])
print(f"{model.card['steps']:,} steps, {model.card['hardware']}")

# %% [markdown]
# If you train the network yourself, expect this: soft colours first, then backgrounds, then things. Judge a training by pictures from fixed seeds
# and by its card. The loss soon hardly moves, although the pictures still get better. Most of it is noise that nobody can guess.
#
# ## What this is not
#
# - **It has ten words.** Others are refused, as you saw. Larger models take any word, known or not: their tokenizers cut it into known pieces.
# - **Its captions say one thing.** No colour, no number, no place, no "beside". It cannot learn from captions what they do not say.
# - **It is small.** 32 x 32 pixels are fewer than a thumbnail has. Enlarged, they stay what they are.
# - **Its judge was trained on the same photographs.** What reader and network have both overlooked, no number above shows.
# - **Its data have a history.** CIFAR-10 is a labelled part of a collection of 80 million pictures that were taken from the web by search words, and nobody was asked.
#   Its makers [withdrew the collection](https://groups.csail.mit.edu/vision/TinyImages/) in 2020, because offensive words and pictures had been found in it
#   ([Birhane and Prabhu, 2021](https://arxiv.org/abs/2006.16923)). CIFAR-10 came without a licence.
#
# What happens if a prompt says two things? Every word here is known. The combination is not.

# %%
both = {
    "a photo of a frog": ("frog", "ship"),
    "a photo of a frog ship": ("frog", "ship"),
    "a photo of a ship frog": ("frog", "ship"),
    "a photo of a cat horse": ("cat", "horse"),
}
rows = {}
for prompt, words in both.items():
    x = model.draw([prompt] * 20, seed=0)
    reads = in_chunks(reader.logits, x).argmax(dim=1)
    print(f"{prompt:26} read as", end=" ")
    for word in words:
        share = (reads == PHOTO_WORDS.index(word)).float().mean()
        print(f"{word} {share:.0%}", end="\n" if word == words[-1] else ", ")
    rows[prompt.removeprefix("a photo of ")] = x[:6]
viz.show(
    viz.table(rows),
    "Four rows of photographs; the prompts of three of them name two things.",
)

# %% [markdown]
# The network answers, and nothing in it knows that it was never asked such a thing. Painted digits could be combined in new ways,
# because their captions had several parts that vary freely. Here no caption ever had two. So none taught it what their order might mean,
# and "frog ship" and "ship frog" give nearly the same pictures.
#
# ## Where to go from here
#
# You have seen every part of a system that draws pictures from words, and have built each of them once.
#
# - Train this network for longer, on a graphics card, by the command above.
# - Bring it into latents ([lesson 09](09_latent_space.ipynb)): what would a VAE have to keep of a photograph?
# - Give it better captions. What would you write down about ten thousand frogs, and who would pay for it?
#
# ## To think about
#
# 1. Mirroring was right for frogs. Is it right for automobiles with letters on them? For a data set of left and right hands?
#    What would the network draw?
# 2. Take `sigma_data` to its two ends. What is the network asked for if `d` is very large, and what if it is very small?
#    Which two of `x0`, `eps` and `v` are these, up to a factor? (The second question of [lesson 03](03_learning_to_denoise.ipynb) is about them.)
# 3. A reader that had seen the drawn photographs in its training would give them a high adherence. How would you find out?
# 4. Somebody finds a photograph of their own among the pictures that your model draws. Which of the checks above could have told you before?
#
# ---
#
# Exercises: [12 · Colour photos](../exercises/12_colour_photos.ipynb).
# This is the last lesson. Next: train the network for longer, or go back to what you skipped, by the [map of the course](map.ipynb).
# See also the [glossary](glossary.ipynb).
