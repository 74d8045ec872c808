# %% [markdown]
# # 01 · Pixels and networks
#
# A picture is a table of numbers. A network is a formula with many numbers of its own.
# It gets them by being corrected, many times.
#
# In this lesson you take both apart. You train a network that reads handwritten digits, and look at what it looks for.
#
# Why a reader, in a course about drawing? Somebody must say whether a drawn picture shows what was asked for.
# In the later lessons that is the work of a *judge*. At the end of this one you have trained its eye yourself.
#
# Afterwards you can
#
# - say what shape a picture has, and in which range its numbers lie,
# - compute a convolution by hand,
# - write the training loop of a network in a dozen lines, without an optimizer from a library,
# - look at the filters and the features of a network,
# - tell the usual faults of a training apart.
#
# The next cell measures what the trainings will cost here. They run on the processor: these networks are too small
# for a graphics card to matter.

# %%
import copy
import json
import math
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from minidiff import ConvNet, Step, batches, mnist, painted_digits, train, viz
from minidiff.data import DIGIT_WORDS, to_float
from minidiff.metrics import Judge, adherence_by_attribute, in_chunks
from minidiff.painted import COLOURS, DIGIT, full_caption
from minidiff.recipes import ink_of
from minidiff.train import Format
from torch import nn
from torch.testing import assert_close
from tqdm.auto import tqdm, trange

SEED = 0
STEPS = 400
MILESTONES = [10, 50, 150, 400]
JUDGE_STEPS = 300

# %%
digits, held_out = mnist(), mnist(split="held_out")
paint = painted_digits()
stream = batches(paint, 32, augment=ink_of, seed=SEED)
form = Format(channels_last=True)


def seconds_a_step(network, batch):
    times = []
    for _ in range(6):
        start = time.perf_counter()
        network(batch).backward()
        times.append(time.perf_counter() - start)
    return min(times)


torch.manual_seed(SEED)
by_hand = ConvNet(widths=(8, 8))  # about the work of the network written below
judge_like = ConvNet(widths=(16, 32, 64))
small = next(iter(batches(digits, 64, seed=SEED)))
cost = 3.5 * STEPS * seconds_a_step(by_hand, small)
cost += 1.3 * JUDGE_STEPS * seconds_a_step(judge_like, next(iter(stream)))
print(f"The trainings below take about {cost:.0f} s here.")
print(f"(On the processor, {os.cpu_count()} cores.)")

# %% [markdown]
# ## What a judge sees
#
# Here are ten *painted digits*: handwriting in coloured ink on coloured paper.
# From [lesson 06](06_words_to_vectors.ipynb) on they are what the course describes and draws.
#
# Above each stands the digit that the shipped judge reads in it. Below are sentences: all that it can tell of the first four.
# It was given the pixels and nothing else.

# %%
shown = painted_digits(split="held_out", variants=1, inks="all")[20:30]
seen = Judge.load()(to_float(shown.pixels))

for number, row in enumerate(seen[:4].tolist(), 1):
    print(f"{number}. {full_caption(row)}")
viz.show(
    viz.table({"": to_float(shown.pixels)}, [DIGIT_WORDS[d] for d in seen[:, DIGIT]]),
    "Ten digits in many colours, each below the word for what it shows.",
)

# %% [markdown]
# Colours, stroke, lean, size and place can be measured: on a painted digit they follow from the pixels by a few formulas.
# Which digit it is does not. No formula is known for "a seven". That part is a network, and it learned from examples.
#
# ## A picture is a table of numbers
#
# Start with a plain digit. On the left is the whole picture, on the right the part in the frame, with its numbers.
# Each says how much ink a pixel has, from 0 to 255.

# %%
pixels = held_out.pixels[5, 0]
top, left, size = 7, 9, 11
figure = Figure(figsize=(9.6, 4.4), layout="constrained")
whole, part = figure.subplots(1, 2)
whole.imshow(pixels, cmap="gray")
frame = Rectangle((left - 0.5, top - 0.5), size, size, fill=False, color="C1", lw=2)
whole.add_patch(frame)
cut = pixels[top : top + size, left : left + size]
part.imshow(cut, cmap="gray")
for y, row in enumerate(cut.tolist()):
    for x, value in enumerate(row):
        ink = "black" if value > 127 else "white"
        part.text(x, y, value, color=ink, ha="center", va="center", fontsize=9)
for axes in (whole, part):
    axes.set(xticks=[], yticks=[])
print("one picture: ", tuple(held_out.pixels[5].shape), held_out.pixels.dtype)
print("all of them: ", tuple(held_out.pixels.shape))
viz.show(figure, "A handwritten digit, and the brightness of its pixels as numbers.")

# %% [markdown]
# A batch of pictures has the shape `(n, c, h, w)`: how many, how many colour channels, height, width.
# A grey picture has one channel, a coloured one has three: red, green and blue.
#
# Networks do not get the bytes. They get `x0`, which lies between -1 and 1:
#
#     x0 = pixels / 127.5 - 1
#
# So no ink is -1 and full ink is 1, and the middle is 0. Noise, which lesson 02 adds, has its middle at 0 as well.

# %%
mine = held_out.pixels.float() / 127.5 - 1
assert_close(mine, to_float(held_out.pixels))
print(f"smallest {mine.min():.0f}, largest {mine.max():.0f}, mean {mine.mean():.2f}")

# %% [markdown]
# Because pictures are numbers, one can compute with them. A digit is painted by mixing two colours,
# with the ink of the pixel as the share:
#
#     painted = paper + ink (colour - paper)
#
# The cell does it for each channel, and shows the three channels as grey pictures of their own.

# %%
ink = held_out.pixels[5:6].float() / 255  # (1, 1, 28, 28), from 0 to 1
paper = torch.tensor(COLOURS["yellow"]).view(1, 3, 1, 1)
colour = torch.tensor(COLOURS["blue"]).view(1, 3, 1, 1)
painted = paper + ink * (colour - paper)  # (1, 3, 28, 28), from 0 to 255
x = painted / 127.5 - 1

channels = [x[:, c : c + 1].expand(-1, 3, -1, -1) for c in range(3)]
grey = (2 * ink - 1).expand(-1, 3, -1, -1)
viz.show(
    viz.table(
        {"": torch.cat([grey, x, *channels])},
        ["ink", "painted", "red", "green", "blue"],
        scale=4,
    ),
    "A digit in grey, in blue on yellow, and the three channels of the latter.",
)

# %% [markdown]
# Yellow paper is bright in red and in green, and blue ink is bright in blue.
# So in the blue channel the ink is brighter than the paper, and in the other two it is darker.
#
# ## Predict, then run
#
# How could a program read a digit? The simplest way: compare it, pixel by pixel, with every digit whose label is known,
# and answer with the label of the nearest one.
#
# Nearest means: the sum of the squared differences of all pixels is smallest.
#
# Decide before you run the cell. How many of a hundred new digits does it read right?
# (New means *held out*: put aside, and never learned from.)
# And how many, if each new digit is first moved to the right, by two pixels, or by four?

# %%
known, truth = to_float(digits.pixels), held_out.labels
new = to_float(held_out.pixels)


def moved(x, pixels):
    """x (n c h w), moved to the right by so many pixels; empty paper comes in."""
    return F.pad(x, (pixels, 0), value=-1.0)[..., : x.shape[3]]


def nearest(x):
    return digits.labels[torch.cdist(x.flatten(1), known.flatten(1)).argmin(dim=1)]


right = {"nearest pixels": {}}
for pixels in (0, 2, 4):
    share = (nearest(moved(new, pixels)) == truth).float().mean().item()
    right["nearest pixels"][pixels] = share
    print(f"moved by {pixels} pixels: {share:.0%} read right")

# %% [markdown]
# Untouched, the digits are nearly all read right. Moved a little, many are lost, and soon most of them.
#
# To this way of comparing, a moved seven has nothing in common with a seven: the ink lies on other pixels.
# What has not changed are the parts. There is still a bar, a corner and a slanted stroke.
#
# So look for parts, and look for them everywhere.
#
# ## Looking for an edge: convolution
#
# A part that one can look for with few numbers is an edge, where dark meets bright. Take this table, the *filter*:
#
#     -1  0  1
#     -2  0  2
#     -1  0  1
#
# Lay it on the picture, multiply each number with the pixel below it, and add up.
# On even ground the sum is 0. Where the picture gets brighter to the right, the sum is large.
#
# Do that at every place. The sums are a picture again. That is a convolution, and the table is by Sobel and Feldman
# ([1968](https://en.wikipedia.org/wiki/Sobel_operator)).


# %%
def my_convolution(x, weight):
    """x (n, c, h, w) under filters weight (k, c, f, f) -> (n, k, h - f + 1, ...)."""
    k, _, f, _ = weight.shape
    h, width = x.shape[2] - f + 1, x.shape[3] - f + 1
    out = torch.zeros(len(x), k, h, width)
    for dy in range(f):
        for dx in range(f):
            pixel = x[:, :, dy : dy + h, dx : dx + width]  # below this number
            out += torch.einsum("nchw,kc->nkhw", pixel, weight[:, :, dy, dx])
    return out


to_the_right = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
down = to_the_right.T
sobel = torch.stack([to_the_right, -to_the_right, down, -down])[:, None]  # (4, 1, 3, 3)

x = new[5:6]
edges = my_convolution(x, sobel)
assert_close(edges, F.conv2d(x, sobel))
assert_close(my_convolution(moved(x, 4), sobel), F.pad(edges, (4, 0))[..., :26])

pictures = torch.cat([F.pad(edges.relu().transpose(0, 1), (1, 1, 1, 1)) / 4 - 1])
viz.show(
    viz.table(
        {"": torch.cat([x, pictures])},
        ["the digit", "to the right", "to the left", "downwards", "upwards"],
        scale=4,
    ),
    "A digit and four pictures, each bright where an edge has one direction.",
)

# %% [markdown]
# Above each picture stands the direction in which the digit gets brighter. Each filter answers most to edges of its own direction.
#
# The first check in the cell says that PyTorch computes the same. The second says what we wanted:
# if the picture moves, the sums move with it, and nothing else changes.
#
# (In mathematics the table would be turned by half a turn first. Nobody does that here, because the numbers are learned anyway.)
#
# ## From edges to digits
#
# Who would want to write down a filter for the loop of a six? Leave its numbers open and let the computer find them.
# This is the network, after [LeCun and others (1998)](https://doi.org/10.1109/5.726791):
#
# - **Convolution.** Eight filters of 5 x 5 numbers, so eight pictures come out.
# - **ReLU.** Negative sums become 0: either the part is there, or it is not.
# - **Pooling.** Of each 2 x 2 sums keep the largest. It is forgotten where exactly the part was.
# - **The same once more**, with sixteen filters. They look at the eight pictures of parts, so they find parts made of parts.
# - **Linear.** Each of ten numbers, the *logits*, is a weighted sum of all that was found. One for each digit.
#
# (Theirs took the mean of each 2 x 2 sums, times a number that was learned, and a smooth curve in place of ReLU.
# That ReLU trains better was found later: [Glorot, Bordes and Bengio, 2011](https://proceedings.mlr.press/v15/glorot11a.html).)


# %%
def new_network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )


torch.manual_seed(SEED)
reader = new_network()
untrained = copy.deepcopy(reader)

h = new[5:6]
print(f"{'the picture':12}", tuple(h.shape[1:]))
for layer in reader:
    h = layer(h)
    print(f"{type(layer).__name__:12}", tuple(h.shape[1:]))
print(f"{sum(p.numel() for p in reader.parameters()):,} numbers to be found")

# %% [markdown]
# ## How wrong is it?
#
# The logits become shares that are positive and add up to 1. That is the *softmax*:
#
#     p_k = exp(logit_k) / (the sum of exp over all ten)
#
# Then ask which share the true digit got. The loss is the negative logarithm of that share, the *cross-entropy*.
# If the true digit got all, the loss is 0. If it got nothing, there is no limit.
#
# Before any training the ten shares are about equal, a tenth each. The loss must be about the logarithm of ten.


# %%
def my_loss(logits, labels):
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -p[torch.arange(len(labels)), labels].log().mean()


with torch.no_grad():
    logits = reader(new)
assert_close(my_loss(logits, truth), F.cross_entropy(logits, truth))
print(f"loss before training: {my_loss(logits, truth):.3f}")
print(f"logarithm of ten:     {math.log(10):.3f}")

# %% [markdown]
# ## Training
#
# For each of its numbers, ask: if it grew a little, would the loss grow or fall, and how fast?
# That is the gradient, and `backward()` computes it for all numbers at once.
# Then change each number a little in the direction in which the loss falls, and take new digits.
#
#     p <- p - rate * (dloss / dp)
#
# `rate` is the *learning rate*: how far a step goes.
#
# This is all there is to training a network. The largest ones differ in size and in the details of that one line.
#
# Before you run it, decide: how many of a hundred new digits will it read wrong, after 10 steps, after 50, and at the end?
# In one step it sees 64 digits.


# %%
@torch.no_grad()
def share_wrong(network, x=new, y=truth):
    return (network(x).argmax(dim=1) != y).float().mean().item()


def learn(network, steps, rate=0.1, x=known, y=digits.labels):
    """Train by plain gradient descent; yields the loss after every step."""
    for _ in trange(steps, unit="step"):
        rows = torch.randint(len(x), (64,))
        loss = F.cross_entropy(network(x[rows]), y[rows])
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in network.parameters():
                p -= rate * p.grad
        yield loss.item()


losses, at_milestone = [], {}
print(f"before:    {share_wrong(reader):.1%} wrong")
for step, loss in enumerate(learn(reader, STEPS), 1):
    losses.append(loss)
    if step in MILESTONES:
        at_milestone[step] = share_wrong(reader)
        print(f"step {step:3}:  {at_milestone[step]:.1%} wrong")

# %% [markdown]
# ## What it looks for
#
# Here are its eight first filters, as they were before the training, by chance, and as they are now.
# Bright numbers want ink, dark ones want paper.

# %%
before, after = untrained[0].weight.detach(), reader[0].weight.detach()


def as_pictures(weight):
    return weight / weight.abs().amax(dim=(1, 2, 3), keepdim=True)


viz.show(
    viz.table({"before": as_pictures(before), "after": as_pictures(after)}, scale=14),
    "Eight filters of random grey squares; below, many are bright on one side.",
)

# %% [markdown]
# After the training many are bright on one side and dark on the other: they are edge filters, in several directions.
# Others look for a line. Nobody told the network about edges.
#
# Is that only what we want to see? Measure it. A slope in any direction is a mixture of two tables,
# one that rises to the right and one that rises downwards.
# What share of a filter, as a sum of squares, is such a slope? A random filter has 25 numbers in no order,
# so two of 25 parts are expected.

# %%
y, x = torch.meshgrid(torch.arange(-2.0, 3), torch.arange(-2.0, 3), indexing="ij")
slopes = torch.stack([x, y]).flatten(1) / x.norm()  # two directions of length 1


def share_of_slope(weight):
    weight = weight.flatten(1)
    return (weight @ slopes.T).square().sum(dim=1) / weight.square().sum(dim=1)


print(f"expected of a random filter: {2 / 25:.0%}")
for name, weight in (("before", before), ("after", after)):
    each = ", ".join(f"{share:.0%}" for share in share_of_slope(weight))
    print(f"{name:6} mean {share_of_slope(weight).mean():.0%}, each: {each}")

# %% [markdown]
# And this is what the eight filters say about one digit. Bright means: here it is.
# Some do not look for ink at all. They find empty paper.

# %%
with torch.no_grad():
    found = reader[:2](new[5:6])  # (1, 8, 24, 24), after the ReLU
pictures = 2 * (found / found.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6))[0] - 1
viz.show(
    viz.table(
        {
            "filter": F.interpolate(as_pictures(after), size=24),
            "found": pictures[:, None],
        },
        scale=3,
    ),
    "Eight filters, and below each the places in a digit where it found its part.",
)

# %% [markdown]
# The second layer looks at these eight pictures together. Its filters cannot be shown as a small picture,
# but one can ask which pieces of real digits excite them most
# ([Zeiler and Fergus, 2014](https://arxiv.org/abs/1311.2901)).
#
# Each row below belongs to one of its sixteen filters, in two columns of eight. It shows the seven held-out pieces, 14 x 14 pixels,
# that this filter answers to most. What do the pieces of a row have in common?

# %%
with torch.no_grad():
    found = reader[:5](new)  # (1000, 16, 8, 8)
pieces = new.unfold(2, 14, 2).unfold(3, 14, 2)[:, 0]  # what each of the 8 x 8 sees

rows = []
for k in range(16):
    strongest, place = found[:, k].flatten(1).max(dim=1)
    best = strongest.topk(7).indices
    rows.append(pieces[best, place[best] // 8, place[best] % 8])
gap = torch.full((1, 14, 14), 0.0)
lines = [torch.cat([rows[k], gap, rows[k + 8]]) for k in range(8)]
viz.show(
    viz.grid(torch.cat(lines)[:, None], columns=15, scale=3),
    "Rows of pieces of digits; the pieces of a row show one shape, such as a hook.",
)

# %% [markdown]
# Some rows are strokes in one direction, some are bends that open to one side, some are corners or ends.
# So edges became shapes. They are found wherever they are, and in more than one digit. The last layer only counts votes.
#
# ## Where it is wrong
#
# Here are held-out digits that it reads wrong, those first where it was most certain.
# Above each: what it says, and in brackets the truth.

# %%
with torch.no_grad():
    p = reader(new).softmax(dim=1)
certain, said = p.max(dim=1)
wrong = (said != truth).nonzero()[:, 0]
wrong = wrong[certain[wrong].argsort(descending=True)]

print(f"{len(wrong)} of {len(new):,} are read wrong.")
print(f"mean certainty where right: {certain[said == truth].mean():.0%}")
print(f"mean certainty where wrong: {certain[said != truth].mean():.0%}")
print(f"certainty about the first in the row: {certain[wrong[0]]:.0%}")
titles = [f"{said[i]} ({truth[i]})" for i in wrong[:12]]
viz.show(
    viz.table({"": new[wrong[:12]]}, titles),
    "Twelve digits, each below what the network said of it.",
)

# %% [markdown]
# Would you have known? Most of them you would. So small a network, after so few steps, does not read as well as you do.
#
# Its certainty is a help, but not a promise: the first in the row is wrong with hardly a doubt.
#
# ## The same with `minidiff`: the eye of a judge
#
# `ConvNet` is a larger network of the same parts, and its loss is the one you wrote.
# Three times it makes the picture smaller. At the end it takes the mean over all places, so where a part lies no longer counts.

# %%
torch.manual_seed(SEED)
eye = ConvNet(widths=(16, 32, 64))
batch = next(iter(stream))
with torch.no_grad():
    mine, library = my_loss(eye.logits(batch.x0), batch.labels[:, DIGIT]), eye(batch)
assert_close(mine, library)
print(f"mine {mine:.6f}, minidiff {library:.6f}")

# %% [markdown]
# It is to read painted digits, of any colour and size, anywhere on the paper. Its batches come from `painted_digits()`.
# `ink_of` takes the colours off first: it measures how far each pixel is covered with ink.
#
# `train()` is your loop with a better rule for the step. Lesson 03 says what is in it.

# %%
for state in train(
    eye, stream, steps=JUDGE_STEPS, lr=6e-3, warmup=50, format=form, device="cpu"
):
    pass
eye = state.ema
print(f"{state.images:,} painted digits in {state.seconds:.0f} s")

# %% [markdown]
# A `Judge` is such a network with the formulas for the other six attributes. Here is one with your network in it,
# beside the shipped one. Both judge the same thousand painted digits, in inks that yours never saw on these digits among them.
# The last column is what the card of the shipped network says, for ten times as many.

# %%
paintings = painted_digits(split="held_out", variants=1, inks="all")[:1000]
judges = {"yours": Judge(eye), "shipped": Judge.load()}
shares = {
    name: adherence_by_attribute(paintings.labels, judge(to_float(paintings.pixels)))
    for name, judge in judges.items()
}
card = judges["shipped"].reader.card
print(f"{'read right':12} {'yours':>8} {'shipped':>8} {'its card':>8}")
for name in shares["yours"]:
    row = shares["yours"][name], shares["shipped"][name], card["quality"][name]
    print(f"{name:12} " + " ".join(f"{share:8.1%}" for share in row))

# %% [markdown]
# You may use your judge wherever the course uses the shipped one. Where it goes: in [lesson 08](08_prompting.ipynb) a judge says how often
# a generator did what the prompt asked. In [lesson 11](11_judging_images.ipynb) the numbers in front of its last layer, the *features*,
# say how like real digits the drawn ones are.
#
# ## Back to the question
#
# Move the held-out digits again. Three readers, the same digits.

# %%
for name, network in (("by hand", reader), ("minidiff", eye.logits)):
    right[name] = {}
    for pixels in (0, 2, 4):
        said = in_chunks(network, moved(new, pixels)).argmax(dim=1)
        right[name][pixels] = (said == truth).float().mean().item()

print(f"{'moved by':16} " + " ".join(f"{f'{n} pixels':>9}" for n in (0, 2, 4)))
for name, shares in right.items():
    print(f"{name:16} " + " ".join(f"{share:9.0%}" for share in shares.values()))

# %% [markdown]
# The network by hand stands a small move: pooling forgets where exactly a part was. A large one is too much for it, because its last
# layer still knows places. The mean over all places does not, and it was trained on digits that lie here and there.
#
# ## Play
#
# What does your reader make of a digit that turns? A six, a nine, a four and a one turn by half a turn.
# Below each is its answer, drawn: the mean of all digits of each kind, mixed by the ten shares.
# If it is sure, you see one clean digit. If it wavers, you see two.
#
# First as a strip, where each column is one moment, then as a slider.
# Decide first: at the end, what will it read in place of the four?

# %%
kinds = torch.stack([known[digits.labels == d].mean(dim=0) for d in range(10)])
chosen = torch.stack([new[truth == d][2] for d in (6, 9, 4, 1)])


def turned(x, angle):
    c, s = math.cos(angle), math.sin(angle)
    where = F.affine_grid(
        torch.tensor([[[c, s, 0.0], [-s, c, 0.0]]]).expand(len(x), -1, -1),
        list(x.shape),
        align_corners=False,
    )
    return F.grid_sample(x + 1, where, align_corners=False) - 1  # outside: paper


steps = []
for i in range(19):
    xt = turned(chosen, i / 18 * math.pi)
    with torch.no_grad():
        p = reader(xt).softmax(dim=1)
    answer = torch.einsum("nk,kchw->nchw", p, kinds)
    steps.append(Step(i, i / 18, xt, answer))
viz.show(
    viz.film_strip(steps, frames=10),
    "Four digits turn upside down; under each moment the digit that is read in it.",
)

# %%
from minidiff.widgets import StepScrubber

StepScrubber(
    steps,
    titles=("the digit as it turns", "the digits that are read in it"),
    label="Digits that turn upside down",
)

# %% [markdown]
# It has ten answers and must give one. "None of these" is not among them.
#
# ## What went wrong
#
# Now break it on purpose. Three faults in the training, each in a new network:
#
# - the steps are thirty times too large,
# - the labels are shuffled, so that they say nothing about the pictures,
# - it learns from sixty digits only, again and again.
#
# Each gets 150 steps.
#
# And two faults in the use of the good network:
#
# - the pixels come in another range, from 0 to 1,
# - the digits come as dark ink on bright paper.
#
# Before you run it: in which of the five is the loss of the training low and the reading bad?

# %%
shuffled = digits.labels[torch.randperm(len(digits))]
faults = {
    "steps too large": dict(rate=3.0),
    "labels shuffled": dict(y=shuffled),
    "sixty digits": dict(x=known[:60], y=digits.labels[:60]),
}
curves = {"healthy": losses[:150]}
print(f"{'':18} {'last losses':>12} {'held-out':>12} {'wrong':>8}")


def report(name, losses, network, x):
    with torch.no_grad():
        loss = F.cross_entropy(network(x), truth)
    last = torch.tensor(losses[-20:]).mean()
    print(f"{name:18} {last:12.3f} {loss:12.3f} {share_wrong(network, x):8.1%}")


report(f"healthy, {STEPS} steps", losses, reader, new)
for name, fault in faults.items():
    torch.manual_seed(SEED)
    broken = new_network()
    curves[name] = list(learn(broken, 150, **fault))
    report(name, curves[name], broken, new)
report("from 0 to 1", losses, reader, (new + 1) / 2)
report("dark on bright", losses, reader, -new)

# %%
smooth = {
    name: (range(10, 151), torch.tensor(c).unfold(0, 10, 1).mean(dim=1))
    for name, c in curves.items()
}
viz.show(
    viz.plot(smooth, "step", "training loss, mean of 10 steps", log="y"),
    "Four loss curves: two fall, two stay high.",
)

# %% [markdown]
# How to tell them apart:
#
# - **The training loss stays at the logarithm of ten.** Nothing is learned. Either the steps are too large and the network is
#   destroyed in the first of them, or there is nothing to learn. Make the steps smaller first. If that does not help,
#   look at some pictures with their labels.
# - **The training loss falls to nothing, the held-out loss does not.** It learns by heart. More data, or fewer steps.
# - **Both were good, and in use it is wrong.** The pictures are not like those it learned from. Look at them as the network sees them:
#   shape, range, dark or bright. It raises no error. The wrong range costs little here, and is found all the later for it.
#
# ## Can a reader draw?
#
# One more failure, a famous one. The reader knows what a seven is. Could one ask it for a picture of a seven?
#
# Start from weak noise. Compute how each *pixel* should change to make the reader more certain, and change it.
# It is the training loop, with the picture in the place of the network.

# %%
torch.manual_seed(SEED)
wanted = torch.arange(10)
start = 0.3 * torch.randn(10, 1, 28, 28)
x = start.clone().requires_grad_()
for _ in tqdm(range(200)):
    loss = F.cross_entropy(reader(x), wanted, reduction="sum")
    (slope,) = torch.autograd.grad(loss, x)
    x = (x - 0.1 * slope).detach().clamp(-1, 1).requires_grad_()

with torch.no_grad():
    p = reader(x).softmax(dim=1)[wanted, wanted]
print(f"certainty about the wanted digit: {p.min():.1%} to {p.max():.1%}")
viz.show(
    viz.table({"start": start, "end": x.detach()}, [DIGIT_WORDS[d] for d in range(10)]),
    "Two rows of noise. The reader takes the lower row for the digits zero to nine.",
)

# %% [markdown]
# The reader is certain, and we see noise ([Nguyen, Yosinski and Clune, 2015](https://arxiv.org/abs/1412.1897)).
# From a real picture it takes even less: a change that nobody sees
# ([Szegedy and others, 2014](https://arxiv.org/abs/1312.6199)).
#
# It learned what tells a seven from the other nine. It never had to know what makes a picture a picture.
# To draw one must know that, and the way to learn it leads through noise. The next two lessons take it.
#
# Keep this failure in mind in [lesson 11](11_judging_images.ipynb): a judge can be fooled, most easily by pictures that were made to please it.
#
# ## Milestones
#
# How many should your network by hand have read wrong on the way? Three runs from three seeds were measured beforehand.

# %%
expected = json.loads(Path("expected/01_pixels_and_networks.json").read_text())
for step, values in expected["at_milestone"].items():
    low, high = min(values), max(values)
    yours = at_milestone.get(int(step))
    yours = "not measured" if yours is None else f"{yours:.1%} wrong"
    print(f"step {step:>3}: {yours}, expected {low:.1%} to {high:.1%}")
digit = card["quality"]["digit"]
print(f"the shipped judge, after {card['images']:,} digits: {1 - digit:.1%} wrong")

# %% [markdown]
# A little outside the range is nothing to worry about. Far above it is a fault. The list above tells where to look.
#
# ## To think about
#
# 1. Why does the loss use the share of the true digit, and not simply count the mistakes?
#    Try to compute the gradient of a count.
# 2. Mix all 784 pixels of every picture in one fixed random order. Would nearest pixels still read them? Would your network?
# 3. Set one filter of the second layer to zero, and count the mistakes again, digit by digit.
#    Which filter is missed most, and by which digit?
# 4. Give the reader an eleventh answer: "no digit". What would you train it with? Could it then be fooled no more?
#
# ---
#
# Exercises: [01 · Pixels and networks](../exercises/01_pixels_and_networks.ipynb).
# Next: [02 · Adding noise](02_adding_noise.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
