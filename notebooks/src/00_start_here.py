# %% [markdown]
# # 00 · Start here
#
# Type a few words, and a network draws what they say.
# It begins with pure noise and takes a little of it away at a time.
#
# In this lesson you use such a network and look at every one of its steps.
# In the lessons that follow you build each of its parts, and train them on your own machine.
#
# Press Shift+Enter to run a cell, or choose *Run > Run All Cells* for all of them.
# You need neither a graphics card nor a connection.

# %%
import time
from itertools import pairwise

import torch
from minidiff import ConvNet, TextToImage, ddim, mnist, viz
from minidiff.data import to_float

start = time.perf_counter()
model = TextToImage.load()
digits = model.draw([f"the digit {d}" for d in range(10)], seed=0)
seconds = time.perf_counter() - start

parameters = sum(p.numel() for p in model.parameters())
print(f"Loading the model and drawing ten digits took {seconds:.1f} s on this machine.")
print(
    f"The model has {parameters:,} parameters. It learned from: {model.card['data']}."
)

# %%
real = to_float(mnist().pixels)
distance = torch.cdist(digits.flatten(1), real.flatten(1))
nearest = real[distance.argmin(dim=1)]
viz.show(
    viz.table({"drawn": digits, "nearest real digit": nearest}),
    "Ten drawn digits above ten real ones, which look like them but are not equal.",
)

# %% [markdown]
# The network drew each picture from its prompt, "the digit 0" to "the digit 9", and from its own random noise.
# Below each stands the digit that comes nearest to it among those that ship with the course.
# The network learned a way of drawing, not these pictures.
#
# ## How one picture comes to be
#
# Here is the seven again, step by step, from left to right.
#
# The upper row is what the program holds in its hands. It is called `xt`, and it starts as noise.
#
# The lower row is the network's guess at the finished picture. It is called `x0`.
# At each step the program moves `xt` a little way towards the guess, and asks the network again.

# %%
steps = list(model.walk("a seven", seed=7, steps=10))
viz.show(
    viz.film_strip(steps),
    "Above, noise turns into a seven. Below, the guess: a blur, then a seven.",
)

# %% [markdown]
# The first guess is a blur. From noise alone nobody can tell which seven it will be, so the network answers
# with something like the mean of all sevens.
# [Lesson 03](03_learning_to_denoise.ipynb) shows that this is exactly what it should do.
#
# ## Predict, then run
#
# The next cell draws one prompt with eight seeds. A seed chooses the noise that the walk starts from.
#
# Before you run it, decide: which of these will differ from picture to picture, and which will not?
# The digit, the slant, the thickness of the stroke, the place on the paper.

# %%
viz.show(
    viz.grid(model.draw(["a seven"] * 8, seed=0), columns=8),
    "Eight sevens, each in another handwriting.",
)

# %% [markdown]
# The words fix the digit. The noise fixes the slant, the stroke and whatever else varies.
# The place does not: every digit that the network learned from stands in the middle.
#
# Now the same eight seeds with an empty prompt. What will you see?

# %%
viz.show(
    viz.grid(model.draw([""] * 8, seed=0), columns=8),
    "Eight digits of several kinds, because no prompt chose one.",
)

# %% [markdown]
# ## Play
#
# Change the prompt, the negative prompt or the seed, and press Enter.
# A negative prompt names what the picture should move away from.
# Then drag the slider *Step*, or move it with the arrow keys, to see how the picture came to be.
#
# The model knows only the words in the list below. Try another word as well: it tells you which known words are near.

# %%
print("Words this model knows:", ", ".join(model.tokenizer.words))

# %%
from minidiff.widgets import Playground

Playground(model, "a handwritten seven", seed=7)

# %% [markdown]
# ## The whole walk in one cell
#
# The control above calls `model.walk`, and `model.walk` is a short loop.
#
# Each `xt` is a mixture of picture and noise: `xt = alpha x0 + sigma eps`.
# At time `t = 1` it is all noise, at time `t = 0` all picture.
# If the network guesses `x0`, the noise `eps` follows. Then the same two can be mixed again, for an earlier time `s`,
# with less noise.

# %%
process = model.denoiser.process
ctx = model.encode(["a seven"])  # the prompt as numbers
xt = process.prior((1, 1, 28, 28), seeds=[7])  # pure noise
ts = process.timesteps(10)  # from 1 to 0

with torch.no_grad():
    for t, s in pairwise(ts):
        x0 = model.denoiser(xt, t, ctx)
        eps = (xt - process.alpha(t) * x0) / process.sigma(t)
        xt = process.alpha(s) * x0 + process.sigma(s) * eps

mine = xt.clamp(-1, 1)

# %% [markdown]
# This sampler is called DDIM ([Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502)).
# The pictures above come from a faster relative of it, which [lesson 05](05_faster_samplers.ipynb) derives.
# The library has it too, and both must draw the same picture.
# The next cell stops with an error if they do not.

# %%
library = model.draw("a seven", seed=7, steps=10, sampler=ddim, cfg_scale=1)
torch.testing.assert_close(mine, library)
viz.show(
    viz.table({"mine": mine, "minidiff": library}, scale=3),
    "Two equal sevens, one drawn by the loop and one by minidiff.",
)

# %% [markdown]
# `cfg_scale=1` turns off *guidance*, which makes the picture follow the prompt more closely.
# It was on in all pictures before. [Lesson 07](07_text_to_image.ipynb) derives it.
#
# ## What went wrong
#
# More guidance is not always better. The rows below differ in nothing else.
#
# Look for the signs of too much of it: strokes that are all white and too thick, and stray pieces of ink.
# If your pictures ever look like the last row, turn the guidance down. More steps would not help.

# %%
prompts = [f"the digit {d}" for d in range(10)]
guided = {}
for scale in (1.0, 2.0, 8.0, 30.0):
    guided[f"guidance {scale:g}"] = model.draw(prompts, seed=0, cfg_scale=scale)
viz.show(
    viz.table(guided),
    "Four rows of digits. With more guidance strokes get thicker, then break up.",
)

# %% [markdown]
# ## Milestone
#
# Does it draw what it was asked for? A second network, trained only to read digits, looks at a hundred drawn ones.
# The cell prints its count beside the one that was measured when the weights were made.

# %%
asked = torch.arange(100) % 10
start = time.perf_counter()
drawn = model.draw([f"the digit {d}" for d in asked.tolist()], seed=100)
seconds = time.perf_counter() - start

reader = ConvNet.load("digits").eval()
with torch.no_grad():
    read = reader.logits(drawn).argmax(dim=1)

share = (read == asked).float().mean()
expected = model.card["quality"]
print(f"drawn in {seconds:.1f} s")
print(f"here:     {share:.1%} of {len(asked):,} digits read as asked")
print(f"expected: {expected['guidance 2']['adherence']:.2%} of {expected['n']:,}")

# %% [markdown]
# ## Where this goes
#
# You have used every part of the system, and have built none of it. The [map of the course](map.ipynb) shows the parts
# and the lesson that builds each. Every lesson starts alone, from shipped weights, so the order is yours to choose.
#
# ## To think about
#
# 1. Suppose every walk started from the same noise. What could the model still draw, and what never again?
# 2. Find two prompts that mean the same. Draw both with one seed. Are the pictures equal? Should they be?
# 3. Ask for "a seven" with the negative prompt "a one". Then ask for "a seven" with the negative prompt "a seven".
#    What does each of them move away from?
# 4. The network has seen only digits. What could it do with the prompt "a cat", if it did not refuse?
#
# ---
#
# Next: [01 · Pixels and networks](01_pixels_and_networks.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
