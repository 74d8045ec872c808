# %% [markdown]
# # 08 · Prompting
#
# Somebody has a picture in mind and describes it. How much of it comes out?
# There is a lot of advice on prompts. Little of it is measured.
#
# In this lesson you measure it. A judge looks at every picture and says which of seven attributes are as they were meant.
#
# Afterwards you can
#
# - say what each further word of a prompt buys, and what is left to the seed,
# - derive the negative prompt, and say when it does nothing and when it does harm,
# - give a word more or less weight,
# - find out whether a prompt was misheard or misdrawn,
# - predict where a model fails that has learned which words go with which pictures, and nothing else.
#
# Nothing is trained here, and no graphics card is needed. The network is the shipped one for painted digits, which
# [lesson 07](07_text_to_image.ipynb) explains. The cell after the next one measures what the lesson will cost on this machine.

# %%
import math
import os
import re
import textwrap
import time

import numpy as np
import torch
from matplotlib.figure import Figure
from minidiff import (
    Cosine,
    TextToImage,
    UnknownWord,
    ddim,
    dpmpp_2m,
    painted_digits,
    viz,
)
from minidiff.data import MIXTURE_MEANS, MIXTURE_STD, mixture_denoiser, to_uint8
from minidiff.metrics import Judge, adherence_by_attribute, look
from torch.testing import assert_close

QUESTIONS = 52_000  # pictures that the network is asked about in this lesson

# %%
from minidiff.painted import (
    ATTRIBUTES,
    COLOURS,
    DIGIT,
    INK,
    LEAN,
    PAPER,
    PLACE,
    SIZE,
    STROKE,
    UNSAID,
    UNSEEN_INK,
    CaptionReader,
    asked,
    full_caption,
    painted_captions,
    stroke_width,
)

model = TextToImage.load("painted")
judge = Judge.load()

model.draw(["a seven"] * 50, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw(["a seven"] * 50, steps=4, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)

# %% [markdown]
# ## One picture in mind
#
# Say somebody wants one particular picture: a small bold red seven that leans to the right,
# in the top left corner of yellow paper.
#
# From row to row the prompt says one thing more. The columns are six seeds, the same in every row.

# %%
ORDER = (DIGIT, INK, PAPER, SIZE, PLACE, STROKE, LEAN)  # what is said first


def tell(row, n):
    """The prompt that says the first n of the seven attributes of this row."""
    return full_caption([v if i in ORDER[:n] else UNSAID for i, v in enumerate(row)])


words = "a small bold red seven leaning right in the top left corner on yellow paper"
wish = asked(words)
told = [tell(wish, n) for n in range(8)]
rows = {prompt: model.draw([prompt] * 6, seed=20) for prompt in told}
viz.show(
    viz.table({textwrap.fill(prompt, 30): x for prompt, x in rows.items()}),
    "Eight rows of six pictures; with each further word they come to look more alike.",
)

# %% [markdown]
# The first row can be anything. In the last one all six pictures are nearly the one that was meant.
# Look at the last column too. Its seed likes red paper, and there "a red seven" all but vanishes.
# Nobody had said that the two colours must differ.
#
# ## A judge
#
# "Nearly" is no measure. Seven attributes say all that a caption can say of a painted digit, and a judge can name
# all seven from the pixels alone. A small network reads the digit. The rest is measured: the two colours, the width of
# the stroke, its lean, the size and the place.
#
# Here is what it says of the first picture of the row "a red seven". A judge can err too, so beside it stands how often it is right on
# real handwriting that it was not trained on.

# %%
NAMES = list(ATTRIBUTES)
known = judge.reader.card["quality"]
seen = judge(rows["a red seven"])[0].tolist()
for (name, values), value in zip(ATTRIBUTES.items(), seen, strict=True):
    print(f"{name:7} {values[value]:9} (judge right: {known[name]:6.1%})", end="  ")
    print("of:", ", ".join(values))
print(f"all seven right: {known['all']:.1%} of {known['n']:,} real pictures")


def share(seen, column, value):
    """The share of rows of attributes that have this value in this column."""
    number = ATTRIBUTES[NAMES[column]].index(value)
    return (seen[:, column] == number).float().mean().item()


# %% [markdown]
# `asked` turns a prompt into such a row, with -1 where it says nothing.
# The **adherence** of an attribute is the share of pictures that show it as asked. A prompt that leaves the attribute open
# does not count, neither for nor against. Large models are measured in this way, too: there the judge finds objects,
# counts them, and looks at their colours and places ([Ghosh, Hajishirzi and Schmidt, 2023](https://arxiv.org/abs/2310.11513)).

# %%
prompts = ["a red seven", "a seven on blue paper", "a red nine", "a green two"]
said = torch.tensor([asked(prompt) for prompt in prompts])
seen = judge(model.draw(prompts, seed=1))
print("ink, asked:", said[:, INK].tolist(), "seen:", seen[:, INK].tolist())

hits = [a == s for a, s in zip(said[:, INK], seen[:, INK], strict=True) if a != UNSAID]
mine = sum(map(float, hits)) / len(hits)
assert_close(mine, adherence_by_attribute(said, seen)["ink"])
print(f"{mine:.0%} of the {len(hits)} that asked for an ink, by hand and by minidiff")

# %% [markdown]
# ## Predict, then run
#
# Now a hundred people, each with another picture in mind. All describe their picture in eight ways, from "a digit" to everything.
# For each way the judge counts what is as they meant it, said or not.
#
# What is not said can still be right, by luck. The next cell prints how often two painted digits that have nothing to do with
# each other are alike.


# %%
def wished(inks="seen"):
    """Attributes (100, 7) of pictures of which all seven can be said."""
    found = painted_digits(inks=inks, clear=True).attributes(mixed[:400])
    return found[(found != UNSAID).all(dim=1)][:100]


paint = painted_digits()  # of which only the attributes are needed
mixed = torch.randperm(len(paint), generator=torch.Generator().manual_seed(1))
wishes = wished()
strangers = paint.attributes(mixed[1000:21_000])

luck = strangers == strangers.roll(1, dims=0)
for i in ORDER:
    print(f"{NAMES[i]:7} alike in {luck[:, i].float().mean():4.0%} of pairs")
print(f"right by luck alone: {luck.float().sum(dim=1).mean():.1f} of 7")

# %% [markdown]
# Before you go on, decide:
#
# - Digit, ink, paper and size are said, the other three are not. How many of the hundred get exactly the picture that they meant?
# - And when everything is said?

# %%
right, exactly = torch.zeros(8, 7), torch.zeros(8)
for n in range(8):
    drawn = model.draw([tell(row, n) for row in wishes.tolist()], seed=1000)
    full = judge(drawn)  # in the end: of the full prompts
    hits = full == wishes
    right[n] = hits.float().mean(dim=0)[list(ORDER)]
    exactly[n] = hits.all(dim=1).float().mean()

figure = Figure(figsize=(7.6, 3.8), layout="constrained")
axes = figure.subplots()
axes.imshow(right, aspect="auto", cmap="cividis", vmin=0, vmax=1)
for n, line in enumerate(right.tolist()):
    for i, value in enumerate(line):
        colour = "white" if value < 0.6 else "black"
        axes.text(i, n, f"{value:.2f}", ha="center", va="center", color=colour)
axes.set_xticks(range(7), [NAMES[i] for i in ORDER])
axes.set_yticks(range(8), ["a digit", *(f"+ {NAMES[i]}" for i in ORDER)])
viz.show(
    figure,
    "A table that fills up like a staircase: the share of pictures in which an "
    "attribute is right jumps up in the row where it is first said.",
)

# %%
for n in range(8):
    off = 2 * math.sqrt(exactly[n] * (1 - exactly[n]) / len(wishes))
    print(f"{n} said: {7 * right[n].mean():.1f} of 7 right, ", end="")
    print(f"all seven in {exactly[n]:.0%} of the pictures, give or take {off:.0%}")

# %% [markdown]
# Detailed prompts give closer pictures. The table also says why, and what to expect.
#
# Each column jumps in the row where its attribute is first said. Before that row it is luck.
# (The place is an exception. A large digit always stands in the centre, so the size settles its place, too. Most of these pictures are large.)
#
# So a word does not make a picture better in general. It settles the one thing that it speaks of.
#
# In one row the ink is said and the paper is not. There a digit can get paper of its own colour and vanish, like the red seven above.
# That is rare: nearly all digits of that row can still be read.
#
# An exact hit needs all seven at once. While three of them are left to luck, exact hits stay rare.
# That is why a short prompt disappoints somebody who has a picture in mind, and nobody else.
#
# The last row shows what this small model can do. Digit, colours, size and place come out as asked nearly always.
# Stroke and lean do a little less often. Where a model misses what it was told, more words do not help.
#
# ## What the words leave open, the seed decides
#
# Here are two prompts that differ in both colours, with the same seeds. They say nothing of place, lean and stroke.
# How often are two pictures alike in these, if both come from one seed? And if they come from two?

# %%
pair = ["a small black seven on yellow paper", "a small blue seven on white paper"]
one, two = (model.draw([prompt] * 60, seed=0) for prompt in pair)
first, second = judge(one), judge(two)
for i in (PLACE, LEAN, STROKE):
    same, other = first[:, i] == second[:, i], first[:, i] == second[:, i].roll(1)
    print(f"{NAMES[i]:7} alike: {same.float().mean():4.0%} with one seed,", end=" ")
    print(f"{other.float().mean():4.0%} with two")
viz.show(
    viz.table({"black on yellow": one[:10], "blue on white": two[:10]}),
    "Two rows of ten small sevens; many in one column stand in the same place.",
)

# %% [markdown]
# The noise is where the rest comes from. With one seed the two pictures mostly stand in the same place, and mostly lean the same way.
# Not always: other words lead the walk another way. (With the stroke both numbers are high. Most strokes are of one width,
# and so there is less to decide.)
#
# So keep the seeds when you compare prompts, or you compare luck. Change the seed when the prompt is right and the picture is not.
#
# What does a seed choose from? Nobody told the model how a seven is to lean. Here are a hundred drawn ones,
# with guidance and without it, beside the sevens of the training pictures.

# %%
sevens = model.draw(["a seven"] * 100, seed=0)
plain = model.draw(["a seven"] * 100, seed=0, cfg_scale=1.0)
guided, unguided = judge(sevens), judge(plain)
real = strangers[strangers[:, DIGIT] == 7]
print("         guidance 2  guidance 1  training")
for i in (LEAN, STROKE, SIZE):
    for value in ATTRIBUTES[NAMES[i]]:
        parts = [share(found, i, value) for found in (guided, unguided, real)]
        print(f"{value:8}", *(f"{part:10.0%}" for part in parts))

# %% [markdown]
# What the prompt leaves open is answered from the statistics of the training pictures. What was frequent there is frequent here.
# But the shares are not all equal: this model draws too many large digits, with guidance and without it.
# The other differences are small enough to be chance.
#
# In a large model the same happens with everything that a prompt does not say: the age, the clothes, the light, the country.
# There the habits are stereotypes, and they can be stronger than in the world itself
# ([Bianchi and others, 2023](https://arxiv.org/abs/2211.03759)).
#
# ## Other words, another order
#
# These are the words that the model knows. Some mean the same: thin and fine, bold and thick, small and little, large and big,
# leaning and slanting, upright and straight, centre and middle, paper and background. Each digit has a word and a figure.

# %%
print(textwrap.fill(", ".join(model.tokenizer.words), 88))

# %% [markdown]
# A picture can be wrong for two reasons. The prompt was **misheard**: the text encoder took it for another one.
# Or it was **misdrawn**: the denoiser did not do what it heard.
#
# Here the two can be told apart. The text encoder of this model was trained before any picture was drawn, to tell the seven attributes from
# captions alone. The layer that it answered with ships too. So we can ask what it hears in a prompt.

# %%
hearer = CaptionReader.load()
ids = model.tokenizer(["a red seven on yellow paper"])
assert_close(hearer.encoder(ids), model.encoder(ids))  # the ears of the model


def heard(prompt):
    """What the text encoder takes this prompt to say, as a plain prompt."""
    return full_caption(hearer.read([prompt])[0].tolist())


for prompt in (
    "a thick little slanting left 7 on a red background",
    "a red seven on yellow paper",
    "on yellow paper a red seven",
):
    print(f"{prompt}\n    is heard as: {heard(prompt)}")

# %% [markdown]
# The last one is misheard. It is good English, and yet the red has gone to the paper, and the yellow is lost.
#
# How much does the wording matter? Sixty of the people from above say all that they have in mind, in five ways.
# The captions of the training are of the second kind: any synonyms, and the words before and after the digit in any order.


# %%
def plainly(row):
    return full_caption(row.tolist())


def retold(row):
    """As a caption of the training; one that names the digit, which a few do not."""
    caption = ""
    while asked(caption)[DIGIT] == UNSAID:
        (caption,) = painted_captions(row[None], chance, detail=1.0)
    return caption


def paper_first(row):
    """What stands behind the digit comes first."""
    digit, ink, paper, stroke, lean, size, place = row.tolist()
    before = full_caption([digit, ink, UNSAID, stroke, UNSAID, size, UNSAID])
    behind = full_caption([UNSAID, UNSAID, paper, UNSAID, lean, size, place])
    return f"{behind.split('digit ')[1]} {before}"


def key_words(row):
    return " ".join(word for word in plainly(row).split() if word not in GLUE)


def shuffled(row):
    return " ".join(chance.permutation(plainly(row).split()))


GLUE = {"a", "an", "in", "on", "the"}
chance = np.random.default_rng(0)
people = wishes[:60]
said = torch.tensor([asked(plainly(row)) for row in people])

# %%
wordings = {
    "plain": plainly,
    "retold": retold,
    "key words": key_words,
    "paper first": paper_first,
    "shuffled": shuffled,
}
print("              heard right      drawn right                 ink and paper")
print("              all   ink        all   ink   digit           exchanged")
examples = []
for name, wording in wordings.items():
    prompts = [wording(row) for row in people]
    seen = full[:60] if name == "plain" else judge(model.draw(prompts, seed=1000))
    got = hearer.read(prompts) == said
    hits = (seen == said) | (said == UNSAID)
    swapped = (seen[:, INK] == said[:, PAPER]) & (seen[:, PAPER] == said[:, INK])
    parts = [got.all(dim=1), got[:, INK], hits.all(dim=1), hits[:, INK], hits[:, DIGIT]]
    a, b, c, d, e = (f"{part.float().mean():4.0%}" for part in parts)
    print(f"{name:12} {a}  {b}       {c}  {d}  {e}            ", end="")
    print(f"{swapped.float().mean():4.0%}")
    examples.append(f"{name:12} {prompts[3]}")
print("\n".join(["", *examples]))

# %% [markdown]
# Other words, and any order of the training: no difference beyond chance. Key words alone are heard less well,
# though they leave out nothing but "a", "on", "in" and "the". Yet they are drawn no worse.
#
# With the paper first, hardly any prompt is heard right. In most of them no ink is heard, and the later colour is taken for that of the paper.
# In every caption of the training the ink stood before the paper.
# So "of two colours, the second is the paper" was as good a rule as grammar, and the encoder learned something like it.
# Nothing ever told it that the word "paper" is what matters.
#
# Large models of pictures and text have been found to take little notice of the order of words, for a like reason: they could do well without
# ([Yuksekgonul and others, 2023](https://arxiv.org/abs/2210.01936)).
# The remedy for whoever writes prompts: say it as captions say it.
#
# ## Away from something
#
# [Lesson 07](07_text_to_image.ipynb) derives guidance. The network is asked with the prompt and with nothing, and the guess goes on
# in the direction of the difference ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598), eq. 6):
#
#     x0 = x0_null + scale (x0_ctx - x0_null)
#
# Read it as a journey. It starts at `x0_null`, comes to `x0_ctx`, and goes on, away from where it started.
# What if it starts somewhere else? Put the answer to another prompt in the place of `x0_null`.
# Then the guess moves away from that. A **negative prompt** is this and no more
# ([AUTOMATIC1111, 2022](https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Negative-prompt)).
#
# First in the world of eight islands, where the exact denoiser of any group of islands is known.
# The prompt is "anywhere". The negative prompt is "the island on the right".
# A point is *at sea* if it lies more than four standard deviations of an island from the middle of the nearest one.

# %%
process = Cosine()


def exact(islands):
    """E[x0 | xt] for points (n, 2, 1, 1) of these islands, as derived in lesson 03."""
    return mixture_denoiser(
        process, torch.zeros(8).index_fill(0, torch.tensor(islands), 1)
    )


def away(start, to, scale, low=0.0):
    """From the guess `start` to the guess `to` and beyond, at levels from `low` up."""

    def denoise(xt, t):
        if process.level(t) < low:
            return to(xt, t)
        x0_null = start(xt, t)
        return x0_null + scale * (to(xt, t) - x0_null)

    return denoise


anywhere, on_the_right = exact(list(range(8))), exact([0])
walks = {
    "scale 1": away(on_the_right, anywhere, 1.0),
    "scale 2": away(on_the_right, anywhere, 2.0),
    "scale 2, levels above 0.5": away(on_the_right, anywhere, 2.0, low=0.5),
    "what was meant": exact(list(range(1, 8))),
}

# %%
figure = Figure(figsize=(9.6, 2.7), layout="constrained")
noise, ts = process.prior((800, 2, 1, 1), range(800)), process.timesteps(40).float()
for axes, (name, denoise) in zip(
    figure.subplots(1, 4, sharex=True, sharey=True), walks.items(), strict=True
):
    *_, last = ddim(denoise, process, noise, ts)
    points = last.x0.flatten(1)
    far = torch.cdist(points, MIXTURE_MEANS)
    at_sea = (far.amin(dim=1) > 4 * MIXTURE_STD).float().mean()
    counts = torch.bincount(far.argmin(dim=1), minlength=8).tolist()
    print(f"{name:26} nearest island: {counts}, at sea: {at_sea:.0%}")
    axes.plot(*points.T, ".", markersize=2)
    axes.plot(*MIXTURE_MEANS.T, "o", fillstyle="none", color="0.4", markersize=11)
    axes.plot(*MIXTURE_MEANS[0], "x", color="tab:red", markersize=11)
    axes.set(aspect="equal", xlim=(-4.6, 3), ylim=(-3.8, 3.8))
    axes.set_title(name, fontsize=10)
viz.show(
    figure,
    "Points around eight islands, one of them crossed out. At scale 1 it is full. "
    "At scale 2 it is nearly empty, but the points lie outside of all islands.",
)

# %% [markdown]
# The first island of each list is the forbidden one. Three things can be seen, and all three will come back with pictures.
#
# - **Scale 1 does nothing.** Put 1 into the formula: `x0_null` cancels, and the negative prompt with it.
# - **Away from this is not anything but this.** The forbidden island is avoided. But so are its neighbours, and most points go to the
#   opposite side. The last panel shows what was meant.
# - **Too far.** When little noise is left, it is plain which island a point belongs to. But the answer to the negative prompt still lies
#   on the forbidden island. So the guess is pushed beyond the right one, out to sea.
#   With guidance at the high levels alone, where the choice is made, the points come back to land.
#
# ## A negative prompt for pictures
#
# The same with the network. It is asked with the prompt and with the negative prompt, at every step.


# %%
def drawn_by(denoise, n):
    """x0 at the end of the walk of n pictures, from the seeds 0, 1, 2 ..."""
    noise = process.prior((n, *model.shape), range(n))
    *_, last = dpmpp_2m(denoise, process, noise, process.timesteps(10))
    return last.x0


def answers(prompts, xt, t):
    """The network's x0 for each of these prompts, a list."""
    ctx = model.encode(prompts).repeat_interleave(len(xt), dim=0)
    with torch.no_grad():
        x0 = model.denoiser(torch.cat([xt] * len(prompts)), t, ctx)
    return x0.chunk(len(prompts))


def negative_walk(xt, t):
    x0, x0_null = answers(["a seven", "a red seven"], xt, t)
    return x0_null + 2.0 * (x0 - x0_null)


mine = model.pictures(drawn_by(negative_walk, 6))
library = model.draw(["a seven"] * 6, negative="a red seven", seed=0, cfg_scale=2.0)
assert_close(mine, library, rtol=0, atol=1e-3)
print("By hand and by model.draw(negative=...): the same pictures.")

# %% [markdown]
# Sevens, with the ink left open. We want no red ones. Three negative prompts are tried: "a digit in red", "a red seven", and "a red digit".
#
# Before you run it: which inks will become rarer, and which more frequent? Think of the islands.
# And how will the three differ?
#
# The cell also says it in the prompt: "a not red seven". The model never saw the word "not" and says so.
# A system that passes over unknown words would hear "a red seven".

# %%
try:
    model.draw("a not red seven")
except UnknownWord as problem:
    print("a not red seven:", problem)

inks, rows = {"no negative": guided[:60]}, {"no negative": sevens[:8]}
for name, prompt, negative in (
    ("negative: a digit in red", "a seven", "a digit in red"),
    ("negative: a red seven", "a seven", "a red seven"),
    ("negative: a red digit", "a seven", "a red digit"),
    ('"not" passed over', "a red seven", ""),
):
    drawn = model.draw([prompt] * 60, negative, seed=0)
    inks[name], rows[name] = judge(drawn), drawn[:8]
for name, seen in inks.items():
    print(f"{name:24} red ink {share(seen, INK, 'red'):4.0%},", end=" ")
    print(f"red paper {share(seen, PAPER, 'red'):4.0%},", end=" ")
    print(f"read as a seven {share(seen, DIGIT, 'seven'):4.0%}")
print(f"without guidance, read as a seven: {share(unguided, DIGIT, 'seven'):.0%}")
print("a digit in red, is heard as:", heard("a digit in red"))
viz.show(
    viz.table(rows),
    "Five rows of eight sevens. The first two have mostly the same inks, the next two "
    "none that is red, and in the last all are red.",
)

# %%
figure = Figure(figsize=(9.6, 2.3), layout="constrained")
paints = [tuple(channel / 255 for channel in rgb) for rgb in COLOURS.values()]
for axes, (name, seen) in zip(
    figure.subplots(1, 4, sharey=True), list(inks.items())[:4], strict=True
):
    axes.bar(
        range(8), [share(seen, INK, c) for c in COLOURS], color=paints, edgecolor="0.4"
    )
    axes.set_xticks(range(8), COLOURS, rotation=90, fontsize=8)
    axes.set_title(name, fontsize=10)
viz.show(
    figure,
    "Four bar charts of inks. With the two negative prompts that are heard, red and "
    "orange are gone or nearly so, and white and blue have grown.",
)

# %% [markdown]
# A negative prompt avoids what it names. And it does more than that.
#
# - **It has to be heard as it is meant.** No caption of the training said "in red". The reader takes "a digit in red" for any digit.
#   The denoiser gets more from it than that, but some red inks stay. The single word "red" would have done: a few captions were as bare as that.
# - **It avoids the neighbours too.** Orange is the nearest colour to red, and it is gone as well.
#   What grows is what lies farthest from red: white and blue.
# - **What it shares with the prompt loses its guidance.** "A red seven" moves away from red, but also from sevens.
#   Both answers hold a seven, so their difference holds none. The seven comes as without guidance, and more of them go wrong.
#   "A red digit" names what is not wanted and nothing else. It costs a few sevens, too: the push itself does harm.
#   At this strength the two are hard to tell apart. The next section pushes harder.
# - **"Not" in the prompt does the opposite.** The word "red" is there, and red is what comes.
#   Large models that compare pictures and texts know the word "not", and still often do no better with it than chance
#   ([Alhamoud and others, 2025](https://arxiv.org/abs/2501.09425)).
#   Captions say what is in a picture, and seldom what is not.
#
# ## Several pulls at once
#
# Multiply the formula out for a negative prompt. Then add the answer to the empty prompt, `x0_null`, and take it away again:
#
#     x0 = scale x0_ctx - (scale - 1) x0_negative
#        = x0_null + scale (x0_ctx - x0_null) - (scale - 1) (x0_negative - x0_null)
#
# So the prompt and the negative prompt both pull, each along its difference from nothing. The pull of the negative prompt has a minus.
# Its strength is `scale - 1`. That is why it is off at scale 1, and why its strength cannot be chosen freely. (In the first line the two weights add up to 1.
# So the same line holds for `eps`, with which the paper on guidance writes it.)
#
# Whoever pays for a third question can choose it, and can add as many prompts as they like
# ([Liu and others, 2022](https://arxiv.org/abs/2206.01714)).


# %%
def without(negative, strength):
    def denoise(xt, t):
        x0_null, seven, other = answers(["", "a seven", negative], xt, t)
        return x0_null + 2.0 * (seven - x0_null) - strength * (other - x0_null)

    return denoise


same = drawn_by(without("a red seven", 1.0), 6)  # scale 2, so scale - 1 is 1
assert_close(model.pictures(same), library, rtol=0, atol=1e-3)

rows = {}
for strength in (0.5, 2.0, 4.0):
    for negative in ("a red digit", "a red seven"):
        x0 = drawn_by(without(negative, strength), 24)
        seen = judge(model.pictures(x0))
        print(f"{strength:g} x {negative}:", end=" ")
        print(f"red {share(seen, INK, 'red'):4.0%},", end=" ")
        print(f"seven {share(seen, DIGIT, 'seven'):4.0%},", end=" ")
        print(f"numbers outside [-1, 1]: {(x0.abs() > 1).float().mean():5.1%}")
        rows[f"{strength:g} x {negative}"] = model.pictures(x0[:6])
viz.show(
    viz.table(rows),
    "Six rows of digits. With more strength they get thicker, whiter and bluer, "
    "and fewer of them are sevens.",
)

# %% [markdown]
# Half the strength is enough here: no digit is red any more, and nearly all are still sevens.
#
# At strength 2 the pull away from "a red seven" takes back all of the pull to "a seven", and most are no sevens any more.
# Away from "a red digit" there are more of them.
# At strength 4 the pictures are out at sea: swollen strokes, glaring colours. With either negative prompt hardly a seven is left.
#
# ## A word that counts for more
#
# Many tools let you write `(bold:1.5)`: this word shall count for more
# ([AUTOMATIC1111, 2022](https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis)). How?
#
# A prompt is a list of vectors, one for each word, and so is the empty prompt. The vector of "bold" differs from that of
# "no word" at the same place. Move it along this difference, one and a half times as far.
# That is the rule of [ComfyUI](https://github.com/comfyanonymous/ComfyUI/blob/master/comfy/sd1_clip.py). Others have other rules.

# %%
ctx, nothing = model.encode(["a large bold seven on white paper", ""]).split(1)
at = 2  # where "bold" stands
mine = ctx.clone()
mine[:, at] = nothing[:, at] + 1.5 * (ctx[:, at] - nothing[:, at])
assert_close(mine, model.encode(["a large (bold:1.5) seven on white paper"]))


def stroke(drawn):
    """The mean width of their strokes in pixels."""
    _, coverage = look(to_uint8(drawn))
    return stroke_width(coverage).mean().item()


lengths = ctx[0, :7].norm(dim=1)
print(f"lengths of the seven vectors: {lengths.min():.1f} to {lengths.max():.1f}")
rows = {}
for word in ("", *(f"(bold:{weight}) " for weight in (-1, 0, 1, 1.5, 2, 3))):
    prompt = f"a large {word}seven on white paper"
    drawn = model.draw([prompt] * 24, seed=0)
    seen, name = judge(drawn), word or "no word"
    print(f"{name:11} stroke {stroke(drawn):.2f} pixels,", end=" ")
    print(f"bold {share(seen, STROKE, 'bold'):4.0%},", end=" ")
    print(f"seven {share(seen, DIGIT, 'seven'):4.0%},", end=" ")
    print(f"white paper {share(seen, PAPER, 'white'):4.0%}", end="")
    length = model.encode([prompt])[0, at].norm()
    print(f", vector {length:.1f} long" if word else "")
    rows[name] = drawn[:6]
viz.show(
    viz.table(rows),
    "Seven rows on white paper. The strokes of the sevens grow with the weight; in the "
    "last row most of the paper is empty.",
)

# %% [markdown]
# The weight works, and between 0 and 2 it is a dial. The stroke gets wider with it. At weight 0 the word is as good as not there.
# Below 0 the strokes do not get thinner than without the word: less than nothing of "bold" is not "thin".
# With the plain word nearly all of them are called bold. Above weight 1 they only get bolder still.
#
# It is a dial with a short range. The encoder ends with a normalisation, so all its vectors are about equally long.
# With a weight well above 1 or below 0 a vector is longer than any that the network was trained with.
# At weight 3 the paper is white as it was asked for, and empty: one word drowns the seven.
#
# Does it help to weigh the two weakest attributes of the table, stroke and lean? The hundred people try it.

# %%
SHAPES = r"\b(thin|medium|bold|leaning left|leaning right|upright)\b"
prompts = [re.sub(SHAPES, r"(\1:1.6)", full_caption(row)) for row in wishes.tolist()]
print(prompts[0])
heavy = judge(model.draw(prompts, seed=1000))


def tell_shares(name, meant, seen):
    shares = adherence_by_attribute(meant, seen)
    print(f"{name:12}", " ".join(f"{key} {part:4.0%} " for key, part in shares.items()))


tell_shares("as it was", wishes, full)
tell_shares("weights 1.6", wishes, heavy)

# %% [markdown]
# Stroke and lean come out about as before, and the digit pays for it. There are no more exact hits than there were.
# A weight makes some words louder than the others. It does not make the model draw better.
#
# ## Statistics, not meaning
#
# Each digit has one ink in which it is never shown in training. No training picture shows an orange six, for instance.
# Here a hundred people want exactly such pictures.

# %%
strange = wished("unseen")
never = judge(model.draw([full_caption(row) for row in strange.tolist()], seed=1000))
print("never seen:", ", ".join(f"{ink} {d}" for d, ink in enumerate(UNSEEN_INK)))
tell_shares("seen", wishes, full)
tell_shares("never seen", strange, never)

# %% [markdown]
# About as good as with inks that were seen, within the chance of so few pictures. The model has learned
# ink and digit apart, and so it can put them together in new ways. That is the good side of its statistics.
# (Nearly apart: the table under "Milestone" also counts a thousand pictures. There an ink that was never seen is missed a little more often.)
#
# Now prompts that a person would understand, or would ask about. Say for each what you would draw, before you run the cell.

# %%
odd = {
    "on yellow paper a red seven": (INK, PAPER),
    "a thin bold seven": (STROKE,),
    "a seven a three": (DIGIT,),
    "a two seven": (DIGIT,),
    "a red seven on red paper": (INK, PAPER),
    "a large seven in the top left corner": (SIZE, PLACE),
    "a left seven": (LEAN,),
}
rows = {}
for prompt, columns in odd.items():
    drawn = model.draw([prompt] * 24, seed=0)
    seen = judge(drawn)
    rows[textwrap.fill(prompt, 24)] = drawn[:8]
    print(f"{prompt}\n    heard: {heard(prompt)}")
    for i in columns:
        values = ATTRIBUTES[NAMES[i]]
        counts = torch.bincount(seen[:, i], minlength=len(values)).tolist()
        found = [f"{c} {v}" for v, c in zip(values, counts, strict=True) if c]
        print(f"    drawn, {NAMES[i]}: {', '.join(found)}")
viz.show(
    viz.table(rows),
    "Seven rows of pictures: yellow sevens on red paper, sevens of middling stroke, "
    "sevens and threes, twos and sevens, red paper with hardly anything on it, "
    "small digits in a corner, and sevens that lean left.",
)

# %% [markdown]
# - **On yellow paper a red seven**: misheard. The paper is drawn as it was heard, and the yellow that nobody heard becomes the ink.
# - **A thin bold seven**: the two words pull in opposite directions, and the stroke comes out in between.
#   A person would have asked.
# - **A seven a three**: no training picture held two digits. The words fight for one place. Now one of them wins, now the other,
#   and sometimes neither. The reader hears only the last.
# - **A two seven**: to this model "two" is the name of a shape. It cannot count, because no caption ever did.
#   The reader hears a seven, and yet many pictures show a two.
# - **A red seven on red paper**: both words are obeyed, and nothing can be seen. That ink and paper differ was true of every
#   training picture, but no word said so.
# - **A large seven in the top left corner**: only small digits ever stood in corners. So "corner" also says small, and it is louder than "large".
#   The reader hears no corner at all.
# - **A left seven**: the word alone makes sevens lean, although the reader of captions hears nothing.
#   So what it hears is not all that the vectors hold, least of all with prompts unlike any caption. It is a help, and the picture decides.
#
# The model knows which words go with which pictures. Where a prompt is like a caption, this looks like understanding.
# Elsewhere it does what is nearest in its statistics, and it never says that it did not understand.
#
# ## Play
#
# First a lattice of guidance scales and negative prompts for one prompt. All pictures are computed already, so the sliders work without a kernel.
# Below the pictures stands how many "follow the prompt". Here that means: they show a seven that is not red.

# %%
from minidiff.widgets import GuidanceExplorer, Playground


def wanted(drawn):
    seen = judge(drawn)
    return ((seen[:, DIGIT] == 7) & (seen[:, INK] != 2)).float().mean().item()


GuidanceExplorer(
    model,
    "a seven",
    scales=(1, 2, 4, 8),
    negatives=("", "a red digit", "a red seven"),
    n=5,
    measure=wanted,
    progress=False,
)

# %% [markdown]
# And here is the whole system. Type a prompt of your own. Give a word a weight. Find a prompt that you understand and the model does not,
# and look up with `heard(...)` whether it was misheard or misdrawn.

# %%
Playground(model, "a large (bold:1.5) green three", "a digit on yellow paper", seed=6)

# %% [markdown]
# ## What went wrong
#
# Somebody wants sevens that are not red. The labels say which negative prompt was tried, at scale 2 if nothing else is said.
# Four of the rows have a fault. Which do you see at once? The distance that is printed is that from the same seeds,
# at the same scale, without a negative prompt.
#
# The last row is a check. It draws "a digit in red" as a prompt.

# %%
alone = {1.0: plain[:24], 2.0: sevens[:24]}
alone[8.0] = model.draw(["a seven"] * 24, seed=0, cfg_scale=8.0)
cases = {
    "no negative": ("", 2.0),
    "a digit in red": ("a digit in red", 2.0),
    "a red digit,\nscale 1": ("a red digit", 1.0),
    "a red seven": ("a red seven", 2.0),
    "a red digit,\nscale 8": ("a red digit", 8.0),
    "no negative,\nscale 8": ("", 8.0),
    "a red digit": ("a red digit", 2.0),
}
rows = {}
for name, (negative, scale) in cases.items():
    drawn = alone[scale]
    if negative:
        drawn = model.draw(["a seven"] * 24, negative, seed=0, cfg_scale=scale)
    seen, moved = judge(drawn), (drawn - alone[scale]).square().mean().sqrt()
    print(f"{name.replace(chr(10), ' '):21} moved by {moved:.2f},", end=" ")
    print(f"red {share(seen, INK, 'red'):4.0%},", end=" ")
    print(f"seven {share(seen, DIGIT, 'seven'):4.0%},", end=" ")
    print(f"glaring {(drawn.abs() == 1).float().mean():4.0%}")
    rows[name] = drawn[:6]
rows["prompt:\na digit in red"] = model.draw(["a digit in red"] * 6, seed=0)
viz.show(
    viz.table(rows),
    "Eight rows of pictures. At scale 8 with a negative prompt the strokes are thick "
    "and the colours glaring. The last row shows digits in many inks.",
)

# %% [markdown]
# How to tell them apart:
#
# - **Nothing moves at all.** The scale is 1, and the negative prompt cancels.
# - **Less moves.** The pictures change less than with the other two at scale 2, and some red ink is left. The negative prompt was
#   only half heard. Draw it as a prompt, as in the last row. It must show what you want to avoid, and here not every digit is red.
# - **It is avoided, but the subject suffers.** Some are no longer read as sevens. The negative prompt shares words with the prompt. Take them out.
#   With so few pictures at scale 2 this is hard to see, as the last negative prompt costs sevens, too. At strength 2, above, it was plain.
# - **Glaring colours and swollen strokes.** Too strong. At the same scale without a negative prompt the colours still hold,
#   so the scale alone is not to blame. Use less of it, or give the negative prompt its own strength.
#
# ## Milestone
#
# Your hundred pictures with all seven attributes said, against the thousand that were measured when the weights were made.
# A share that was counted on a hundred is uncertain, and the last column says by how much.

# %%
quality = model.card["quality"]
print(f"{'':8} {'seen inks':>20}   {'never seen inks':>20}   give or take")
both = {"seen inks": (wishes, full), "unseen inks": (strange, never)}
mine = {key: adherence_by_attribute(*pair) for key, pair in both.items()}
for name in (*NAMES, "all"):
    parts = [f"{mine[k][name]:5.0%}, expected {quality[k][name]:4.0%}" for k in both]
    expected = quality["seen inks"][name]
    off = 2 * math.sqrt(expected * (1 - expected) / len(wishes))
    print(f"{name:8} {parts[0]:>20}   {parts[1]:>20}   {off:.0%}")
print(f"expected: n = {quality['n']:,}, {quality['sampler']}")

# %% [markdown]
# ## To think about
#
# 1. What does guidance do if the negative prompt is the prompt itself? And if the prompt is empty and the negative prompt is not?
# 2. Too much guidance makes colours glaring. One remedy gives the guided guess the standard deviation of the answer to the prompt
#    ([Lin and others, 2024](https://arxiv.org/abs/2305.08891), eq. 15). Would that bring the points of the islands back to land?
# 3. The encoder mostly takes the second of two colours for that of the paper. Which captions would you add to the training, so that it cannot?
#    How would you notice that another short cut is still there?
# 4. How would you teach the word "not"? Who would write such captions, and of which pictures?
#
# ---
#
# Exercises: [08 · Prompting](../exercises/08_prompting.ipynb).
# Next: [09 · Latent space](09_latent_space.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
