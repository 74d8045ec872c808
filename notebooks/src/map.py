# %% [markdown]
# # The map of the course
#
# On this page is the whole system, and the lesson that builds each part of it. Every picture here is computed by the next cell,
# with the weights that ship with the course.
#
# Begin with [00 · Start here](00_start_here.ipynb). Shift+Enter runs a cell. The words are explained in the [glossary](glossary.ipynb).

# %%
import textwrap

from matplotlib.figure import Figure
from minidiff import TextToImage, viz
from minidiff.metrics import Judge
from minidiff.painted import ATTRIBUTES

PROMPT = "a small bold red seven in the top right corner on yellow paper"
model = TextToImage.load("painted")
walk = list(model.walk(PROMPT, seed=3, steps=10))
ctx = model.encode([PROMPT])[0, : len(PROMPT.split())]


def picture(axes, x, title):
    """One picture (1, 3, h, w), or a text, under its title."""
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[], box_aspect=1)
    if isinstance(x, str):
        axes.text(0.5, 0.5, textwrap.fill(x, 16), ha="center", va="center", fontsize=10)
    else:
        axes.imshow(viz.visible(x[0]).clamp(-1, 1).permute(1, 2, 0) / 2 + 0.5)


figure = Figure(figsize=(9.6, 2.2), layout="constrained")
panels = figure.subplots(1, 6)
picture(panels[0], PROMPT, "the prompt")
panels[1].imshow(ctx, aspect="auto", cmap="coolwarm", vmin=-3, vmax=3)
panels[1].set_yticks(range(len(ctx)), PROMPT.split(), fontsize=6)
panels[1].set(xticks=[], box_aspect=1)
panels[1].set_title("its vectors: 06", fontsize=10)
picture(panels[2], walk[0].xt, "noise: 02")
picture(panels[3], walk[0].x0, "first guess: 03, 07")
picture(panels[4], walk[5].xt, "on the walk: 04, 05")
picture(panels[5], walk[-1].x0, "the picture")
viz.show(
    figure,
    "From left to right: a prompt, its word vectors, noise, a blurred first guess, "
    "a picture under some noise, and the finished picture.",
)

# %% [markdown]
# ## How a picture is drawn
#
# 1. The **tokenizer** and the **text encoder** turn the prompt into vectors: [06](06_words_to_vectors.ipynb).
# 2. The walk begins with **noise**, the end of a way that is known exactly: [02](02_adding_noise.ipynb).
# 3. The **denoiser** guesses the picture behind the noise: [03](03_learning_to_denoise.ipynb).
#    Its parts are convolutions, which [01](01_pixels_and_networks.ipynb) takes apart.
# 4. **Cross-attention** brings the words to the picture, and **guidance** makes them count: [07](07_text_to_image.ipynb).
# 5. The **sampler** moves a little towards the guess and asks again: [04](04_sampling_step_by_step.ipynb).
#    With better moves, few steps are enough: [05](05_faster_samplers.ipynb).
#
# ## What is built around it
#
# - **Prompts**: what more words change, what a negative prompt does, and where the model fails: [08](08_prompting.ipynb).
# - **Latents**: the same walk in a smaller space, with a VAE at its end: [09](09_latent_space.ipynb).
# - **Editing**: change, complete and vary a given picture, by the same loop: [10](10_editing.ipynb).
# - **Judging**: how good the pictures are, and how each measure can be fooled: [11](11_judging_images.ipynb).
# - **Photographs**: all of it once more, in colour: [12](12_colour_photos.ipynb).
#
# Somebody has to say whether a picture shows what was asked for. The **judge** measures it from the pixels.
# Here is what it sees in the picture above.

# %%
seen = Judge.load()(walk[-1].x0)[0].tolist()
for (name, values), value in zip(ATTRIBUTES.items(), seen, strict=True):
    print(f"{name:7} {values[value]}")

# %% [markdown]
# ## The lessons
#
# | lesson | | what you can do afterwards |
# | --- | --- | --- |
# | **00** | **[Start here](00_start_here.ipynb)** | draw from a prompt and look at every step |
# | **01** | **[Pixels and networks](01_pixels_and_networks.ipynb)** | train a small network that reads digits, and look inside it |
# | **02** | **[Adding noise](02_adding_noise.ipynb)** | turn pictures into noise, and choose how fast |
# | **03** | **[Learning to denoise](03_learning_to_denoise.ipynb)** | train the network that draws, and say what it learns |
# | **04** | **[Sampling step by step](04_sampling_step_by_step.ipynb)** | follow the way back from noise, and see what the network believes |
# | **05** | **[Faster samplers](05_faster_samplers.ipynb)** | reach the same quality in fewer steps |
# | **06** | **[Words to vectors](06_words_to_vectors.ipynb)** | build the part that reads the prompt |
# | **07** | **[Text to image](07_text_to_image.ipynb)** | connect words and pictures; derive guidance |
# | **08** | **[Prompting](08_prompting.ipynb)** | measure what a prompt changes, and where it fails |
# | **09** | **[Latent space](09_latent_space.ipynb)** | draw in a smaller space than pixels |
# | **10** | **[Editing](10_editing.ipynb)** | change, complete and vary given pictures |
# | **11** | **[Judging images](11_judging_images.ipynb)** | measure quality, and see how each measure can be fooled |
# | **12** | **[Colour photos](12_colour_photos.ipynb)** | draw photographs, and say what they cost and what they prove |
#
# Every lesson is a notebook of its own. Each starts from shipped weights, so the order is yours to choose.
# The order of the numbers asks for nothing that was not shown before.
#
# Each lesson from 01 on has exercises, in the folder [exercises](../exercises/01_pixels_and_networks.ipynb).
# Run `minidiff progress` in a terminal to see what you have solved.
