# %% [markdown]
# # 07 · Text to image
#
# A network that denoises draws what it likes. This lesson makes it draw what you say.
#
# Two things are added to the walk of [lesson 04](04_sampling_step_by_step.ipynb). The network is shown the words, at every step.
# And its guess is pushed further in the direction of the words, as far as you want.
#
# Afterwards you can
#
# - follow a prompt into the network, and compute by hand what it does there,
# - say at which steps a word decides, and about what,
# - say why some captions are left out in training,
# - derive classifier-free guidance, and measure what it costs,
# - tell guidance that is built wrong from guidance that is too strong.
#
# The network that draws is the shipped one. Two very small ones are trained here, on points, in seconds. No graphics card is needed.
# The next cell but one measures what the lesson will cost on this machine.

# %%
import os
import textwrap
import time

import torch
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
    dpmpp_2m,
    painted_digits,
    viz,
)
from minidiff.data import (
    MIXTURE_MEANS,
    MIXTURE_STD,
    mixture,
    mixture_denoiser,
    to_float,
    to_uint8,
)
from minidiff.metrics import Judge, adherence_by_attribute, look
from minidiff.painted import ATTRIBUTES, asked, full_caption, painted_captions
from torch.testing import assert_close

QUESTIONS = 32_000  # pictures that the network is asked about in this lesson

# %%
model = TextToImage.load("painted")
net, process = model.denoiser.net, model.denoiser.process
judge = Judge.load()

model.draw([""] * 100, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw([""] * 100, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores).")
print(
    f"This lesson asks it {QUESTIONS:,} times: about {QUESTIONS / rate:.0f} s in all."
)

# %% [markdown]
# ## What the words say
#
# Each row has one prompt, and each column one seed. Going down, the prompts say more and more.

# %%
prompts = [
    "",
    "a seven",
    "a red seven on yellow paper",
    "a small bold red seven leaning right in the top right corner on yellow paper",
]
rows = {
    textwrap.fill(prompt, 28) or "(no words)": model.draw([prompt] * 6, seed=1)
    for prompt in prompts
}
viz.show(
    viz.table(rows),
    "Four rows of painted digits; the more words, the more alike are those of a row.",
)

# %% [markdown]
# What the words say is the same in a whole row. What they do not say is left to the noise.
# (This is a small network, and it makes mistakes. Further down they are counted.)
#
# ## Painted digits
#
# This network learned from *painted digits*: real handwriting, in coloured ink on coloured paper.
# Each comes with a *caption*: words that are true of it. Some captions say much, some little, and one of these says nothing at all.
# That is no mistake, and we come back to it.

# %%
paint = painted_digits(clear=True)
stream = batches(paint, 100, captions=painted_captions, drop=0.1, seed=19)
batch = next(iter(stream))

figure = Figure(figsize=(9.6, 2.5), layout="constrained")
for axes, x, caption in zip(
    figure.subplots(1, 6), batch.x0, batch.captions, strict=False
):
    axes.imshow(x.permute(1, 2, 0) / 2 + 0.5)
    axes.set_title(textwrap.fill(caption, 20) or '""', fontsize=9, va="top", y=-0.1)
    axes.axis("off")
viz.show(
    figure,
    "Six painted digits, each above its caption: " + "; ".join(batch.captions[:6]),
)

# %% [markdown]
# Seven things can be said of such a picture. They are called its *attributes*.
# Of a stroke or a lean that is not clearly the one or the other, nothing is said.
#
# The course has pictures of its own because of these. Whether a picture obeys its prompt can be measured, one attribute after the other.
# A program does it, the *judge*. It looks at the pixels alone, and never at the prompt.
#
# Can it be trusted? Here it looks at a thousand real painted digits. Their handwriting was among what it learned from.
# Lesson 08 prints how it does on handwriting that it has never seen.

# %%
real = painted_digits(split="held_out", variants=1)[:]
shares = adherence_by_attribute(real.labels, judge(to_float(real.pixels)))
for name, values in ATTRIBUTES.items():
    print(f"{name:7} judged right: {shares[name]:6.1%}   {', '.join(values)}")
print(f"all     judged right: {shares['all']:6.1%}")

# %% [markdown]
# ## One word at a time
#
# Now change one thing in the prompt and keep the seeds. In each column the noise is the same.

# %%
seven = [7, 2, 4, 2, 2, 0, 2]  # an attribute each, in the order of the list above
swaps = {"digit": 3, "ink": 5, "paper": 1, "stroke": 0, "lean": 0, "place": 3}
columns = list(ATTRIBUTES)

rows = {textwrap.fill(full_caption(seven), 30): [full_caption(seven)] * 6}
for name, value in swaps.items():
    other = list(seven)
    other[columns.index(name)] = value
    rows[f"{name}: {ATTRIBUTES[name][value]}"] = [full_caption(other)] * 6
rows = {label: model.draw(same, seed=3) for label, same in rows.items()}
viz.show(
    viz.table(rows),
    "A row of red sevens, and six rows that differ from it in one attribute each.",
)

# %% [markdown]
# Each row follows its change, and keeps most of the rest. The handwriting comes out a little different in every row,
# and one or two of the threes look odd.
#
# How far can that be relied on? The next cell does the same with many prompts. It changes one attribute of each, draws with the old seed,
# and asks the judge what is different.

# %%
small = real.labels[real.labels[:, 5] == 0][:24]  # a place can only be said of these
donor = real.labels[100:124]  # other pictures, to take the new values from
many_seeds = list(range(100, 124))
before = judge(model.draw([full_caption(r) for r in small.tolist()], seed=many_seeds))

changed = []
for i in range(7):
    other = small.clone()
    other[:, i] = donor[:, i]
    new = (other != small).any(dim=1) & (other[:, 1] != other[:, 2])
    drawn = model.draw([full_caption(r) for r in other.tolist()], seed=many_seeds)
    changed.append((judge(drawn) != before)[new].float().mean(dim=0))
changed = torch.stack(changed)

figure = Figure(figsize=(5.4, 4.2), layout="constrained")
axes = figure.subplots()
axes.imshow(changed, cmap="Blues", vmin=0, vmax=1.3)
for i in range(7):
    for j in range(7):
        axes.text(j, i, f"{changed[i, j]:.0%}", ha="center", va="center", fontsize=9)
axes.set_xticks(range(7), columns)
axes.set_yticks(range(7), columns)
axes.set(xlabel="what changed in the picture", ylabel="what changed in the prompt")
viz.show(
    figure,
    "A table of seven by seven shares: high on the diagonal, lower or zero elsewhere; "
    "of the rest, most stands in the columns of digit, stroke and lean.",
)

# %% [markdown]
# On the diagonal stands what was asked for. All the rest are side effects.
#
# Colours do not change unasked, and size and place hardly ever. (A large digit has no place of its own, so the place does change with the size.)
# Stroke and lean do, and now and then the digit. They are three views of the same few pixels, and if those are drawn anew,
# any of the three may come out differently. Stroke and lean are also the hardest to steer.
#
# ## Words become vectors
#
# How does the network hear the words? [Lesson 06](06_words_to_vectors.ipynb) turned them into vectors, which are called `ctx`.
# There is one for each word. A prompt that is shorter than the longest caption is filled up with "no word".

# %%
prompt = full_caption(seven)
words = prompt.split()
ctx = model.encode([prompt])
print(f"{len(words)} words become ctx {tuple(ctx.shape)}: (prompt, places, features)")
print(f"the empty prompt becomes null {tuple(model.encode(['']).shape)}")

# %% [markdown]
# Who chose what the features mean? The encoder was trained first, without any picture. It read captions, and from its vectors
# a small layer had to tell which digit, which ink and so on were asked for. When the network learned to draw, the encoder stayed as it was.
# Large models do the same. Imagen hears by the encoder of a language model
# ([Saharia and others, 2022](https://arxiv.org/abs/2205.11487), section 2.1), and [Stable Diffusion](https://github.com/CompVis/stable-diffusion) by that of CLIP.
#
# From here the words take two ways into the U-Net.
#
# ## First way: heard everywhere
#
# Every block of the U-Net is told the noise level, as a vector. The words are added to this vector.
#
# But they are many, and it is one. So for each feature, the largest value among all words is taken, its *peak*. A linear layer makes
# a vector of the level's width from these. Why not the mean? In a long prompt it would be thinned out by all the words that have nothing
# to say about a feature. The peak is as high in a long prompt as in a short one.
#
# In a block, the vector becomes one factor and one shift for each channel of the picture
# ([Dhariwal and Nichol, 2021](https://arxiv.org/abs/2105.05233), section 3.1):
#
#     h = norm(h) (1 + scale) + shift
#
# So the words turn channels up and down, at all places alike. Here it is by hand, in the first block.
# In the code `silu` is a smooth ReLU. The block is a residual block (lesson 03), and `skip` passes on what came in.
#
# One thing comes before it that is not about words. The places of the picture have learned vectors of their own, `net.places`,
# because a convolution alone does not know where it is. They are added before the first block, and once more before the middle of the network.

# %%
level = torch.tensor([0.5])
with torch.no_grad():
    peak = ctx.max(dim=1).values  # (prompt, features)
    emb = torch.nn.functional.silu(net.level(level) + net.words(peak))
    assert_close(emb, net.embed(level, ctx))

    block = net.down[0]
    x = net.stem(process.prior((1, 3, 32, 32), seeds=[8])) + net.places[0]
    h = block.conv1(torch.nn.functional.silu(block.norm1(x)))
    scale, shift = rearrange(block.scale_shift(emb), "b (two c) -> two b c 1 1", two=2)
    h = block.norm2(h) * (1 + scale) + shift
    h = block.skip(x) + block.conv2(torch.nn.functional.silu(h))
    assert_close(h, block(x, emb))
print("The first block by hand and minidiff's agree.")

speaker = ctx[0].argmax(dim=0)  # for each feature, whose value is the largest
heard = torch.bincount(speaker, minlength=ctx.shape[1]).tolist()
print(f"Of {ctx.shape[2]} features, this many are heard from")
for i, n in enumerate(heard):
    print(f"{n:3}  {words[i] if i < len(words) else '(no word)'}")

# %% [markdown]
# Even small words are heard. Each vector already knows of its neighbours (lesson 06).
#
# This way has a limit. All places get the same answer. The next way gives each place one of its own.
#
# ## Second way: places look at words
#
# The second way is *cross-attention*. It is the attention of lesson 06, between two different things:
# the places of the picture ask, and the words answer.
#
# - Each place has a *query*: what it wants to know.
# - Each word has a *key*, which says what it is about, and a *value*, which is what it has to say.
# - A place compares its query with all keys, and takes the mean of the values, weighted by how well they fit.
#
# First a world that is small enough to see through. A picture has 8 x 8 places, and the query of each is where it lies.
# Three words have keys that point somewhere, and a colour for their value. The fourth points nowhere.

# %%
line = torch.linspace(-1, 1, 8)
queries = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(64, 2)
keys = 6 * torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
values = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [1, 1, -1], [0, 0, 0]])

scores = queries @ keys.T / 2**0.5  # the root of the width, as in lesson 06
weights = scores.softmax(dim=1)  # (places, words): how much each looks at each
answer = weights @ values  # (places, colours)

maps = rearrange(weights, "(high wide) words -> words 1 high wide", high=8)
maps = (2 * maps - 1).expand(-1, 3, -1, -1)
picture = rearrange(answer, "(high wide) c -> 1 c high wide", high=8)
names = ["left, red", "right, blue", "top, yellow", "anywhere, grey", "answer"]
viz.show(
    viz.table({"": torch.cat([maps, picture])}, names, scale=12),
    "Four maps that are bright left, right, at the top and in the middle; "
    "then a picture in red, blue, yellow and grey at these places.",
)

# %% [markdown]
# The first four pictures show where each word is looked at. The last one shows what the places are told.
#
# Nobody drew a border. A word is heard where its key fits the query.
#
# In the real layer, queries, keys and values are computed by matrices that are learned. It stands in the middle of the U-Net,
# where the picture also has 8 x 8 places. It has four *heads*: four attentions side by side, each on its share of the features.
# A last matrix joins their answers, and they are added to the picture
# ([Rombach and others, 2022](https://arxiv.org/abs/2112.10752), section 3.3).
#
# The next cell catches what goes into this layer while the network draws, and computes what comes out.


# %%
def attend(places, ctx, layer):
    """What these places are told by the words, and the weights of each head."""
    q, (k, v) = layer.q(places), layer.kv(ctx).chunk(2, dim=-1)
    told, weights = [], []
    for part in torch.arange(q.shape[-1]).chunk(layer.heads):
        scores = torch.einsum("bpd, bwd -> bpw", q[..., part], k[..., part])
        weights.append((scores / len(part) ** 0.5).softmax(dim=-1))
        told.append(weights[-1] @ v[..., part])
    return layer.out(torch.cat(told, dim=-1)), torch.stack(weights, dim=1)


caught = []
layer = net.middle[1]
hook = layer.register_forward_hook(lambda _, given, out: caught.append((*given, out)))
model.draw(prompt, seed=8, steps=5, cfg_scale=1.0)
hook.remove()

with torch.no_grad():
    for h, ctx, out in caught:
        x = rearrange(h, "b c high wide -> b (high wide) c")
        x = x + layer.self_attention(layer.norm_self(x))  # places look at places
        told, weights = attend(layer.norm_cross(x), ctx, layer.cross_attention)
        assert_close(rearrange(x + told, "b (h w) c -> b c h w", h=8), out)
print(f"{len(caught)} steps, picture {tuple(h.shape)}, words {tuple(ctx.shape)},")
print(f"weights {tuple(weights.shape)}: (prompt, heads, places, words).")
print("My cross-attention and minidiff's agree at every step.")

# %% [markdown]
# ## Which way does what?
#
# Cut one, and see what is missing. `net.embed` is the first way, and the second leads through `net.encode`.
# A way that is cut gets the empty prompt in place of the prompt. The row "neither" shows what is right by chance.
# No guidance is used in this cell (it comes further down), so even with both ways more goes wrong than in the pictures above.

# %%
shown = real.labels[200:240]
captions = [full_caption(row) for row in shown.tolist()]
wanted = torch.tensor([asked(caption) for caption in captions])
noise = process.prior((40, 3, 32, 32), seeds=range(40))
ts = process.timesteps(10).float()


def by_two_ways(heard, looked_at):
    """A denoise function that gives each way a ctx of its own."""

    @torch.no_grad()
    def denoise(xt, t):
        level = process.level(t).expand(len(xt))
        emb = net.embed(level, heard)
        v = net.decode(*net.encode(xt, emb, looked_at), emb)
        return process.alpha(t) * xt - process.sigma(t) * v  # lesson 03

    return denoise


ctx, null = model.encode(captions), model.encode([""] * 40)
with torch.no_grad():
    once = model.denoiser(noise, ts[3], ctx)
assert_close(by_two_ways(ctx, ctx)(noise, ts[3]), once)
ways = {
    "both ways": (ctx, ctx),
    "heard only": (ctx, null),
    "looked at only": (null, ctx),
    "neither": (null, null),
}
rows = {}
print(f"{'obeyed':15}" + "".join(f"{name:>8}" for name in ATTRIBUTES))
for name, pair in ways.items():
    *_, last = dpmpp_2m(by_two_ways(*pair), process, noise, ts)
    rows[name] = last.x0[:5]
    shares = adherence_by_attribute(wanted, judge(last.x0))
    print(f"{name:15}" + "".join(f"{shares[key]:8.0%}" for key in ATTRIBUTES))

# %%
viz.show(
    viz.table(rows),
    "Five painted digits with both ways, with each alone and with neither.",
)

# %% [markdown]
# The network has divided the work. The paper is the same everywhere, and its colour comes by the first way.
# The digit belongs to a part of the picture. It comes mostly by the second way, and is drawn better with both.
# The ink and the place need both. With one of the ways cut, many of them are wrong.
#
# Compare the two rows in the middle. In the upper one all papers are right, and most digits are wrong.
# In the lower one no paper is right, but most digits are.
#
# Nobody told it to do so. It was trained to guess pictures, and this is what came of it.
#
# ## Where each word is looked at
#
# The weights say which place looked at which word. `model.watch_words` writes them down during a walk.
#
# Below is one walk. Each row is a word, each column a step, and bright means much looked at. The last row is the guess.
# The maps of the four heads are averaged. [Tang and others, 2023](https://arxiv.org/abs/2210.04885) do so in a large model,
# and there also put all layers and all steps together.

# %%
with model.watch_words() as maps:
    walk = list(model.walk(prompt, seed=8, steps=8, cfg_scale=1.0))
(calls,) = maps.values()  # one layer; one entry (prompt, heads, places, words) a step
heat = torch.stack([weights.mean(dim=1)[0] for weights in calls])
heat = rearrange(heat, "step (high wide) word -> word step 1 high wide", high=8)
rows = {}
for word in ("top", "red", "seven", "bold", "yellow"):
    each = (heat[words.index(word)] / heat.max()).repeat_interleave(4, 2)
    rows[word] = (2 * each.repeat_interleave(4, 3) - 1).expand(-1, 3, -1, -1)
rows["x0"] = torch.cat([step.x0 for step in walk[:-1]])
viz.show(
    viz.table(rows, [f"{step.t:.2f}" for step in walk[:-1]]),
    "For five words, where they are looked at, at eight steps; below it the guesses.",
)

# %% [markdown]
# At first the maps are stripes and boxes, and do not show the seven. In pure noise a place knows little more than its own vector,
# which says where it lies, and asks by that. Later some of the maps come nearer to the digit, as that of *red* does. In the end all of them fade.
#
# One walk can mislead. So here is the same, counted over many prompts, with the words sorted by what they speak of.
# The left panel shows how much of all attention each kind gets.
# The right one compares the places that have ink in the finished picture with those that have none.


# %%
def kind(word, before, after):
    """What a word of a full caption speaks of."""
    if word in ATTRIBUTES["ink"]:
        return "paper's colour" if after == "paper" else "ink"
    if word in ("top", "bottom", "centre", "corner") or before in ("top", "bottom"):
        return "place"
    if word in (*ATTRIBUTES["digit"], *ATTRIBUTES["stroke"]):
        return "digit" if word in ATTRIBUTES["digit"] else "stroke"
    return "" if word else "no word"


labels = real.labels[real.labels[:, 5] == 0][:50]  # small, so that they have a place
captions = [full_caption(row) for row in labels.tolist()]
kinds = []
for caption in captions:
    line = ["", *caption.split(), *[""] * (19 - len(caption.split()))]
    kinds.append([kind(line[i], line[i - 1], line[i + 1]) for i in range(1, 19)])

with model.watch_words() as maps:
    walk = list(model.walk(captions, seed=0, steps=10, cfg_scale=1.0))
(calls,) = maps.values()
heat = torch.stack(calls).mean(dim=2)  # (steps, prompts, places, words)
coverage = look(to_uint8(walk[-1].x0))[1]  # (prompts, 32, 32), from 0 to 1
inked = torch.nn.functional.avg_pool2d(coverage[:, None], 4).flatten(1) > 0.15

# %%
figure = Figure(figsize=(9.6, 3.4), layout="constrained")
panels = figure.subplots(1, 2)
levels = [step.t for step in walk[:-1]]
styles = {"place": "-", "digit": "--", "ink": "-.", "stroke": ":"}
styles["paper's colour"] = "-"
for name, style in {**styles, "no word": "--"}.items():
    of_kind = torch.tensor([[each == name for each in row] for row in kinds])
    share = (heat * of_kind[:, None]).sum(dim=3)  # (steps, prompts, places)
    panels[0].plot(levels, share.mean(dim=(1, 2)), style, label=name)
    if name in styles:
        ratio = share[:, inked].mean(dim=1) / share[:, ~inked].mean(dim=1)
        panels[1].plot(levels, ratio, style, label=name)
panels[0].set(xlabel="noise level", ylabel="share of all attention")
panels[1].set(xlabel="noise level", ylabel="with ink / without", yscale="log")
panels[1].minorticks_off()
panels[1].set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
for axes in panels:
    axes.grid(alpha=0.3)
    axes.invert_xaxis()  # in the order of the walk
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
viz.show(
    figure,
    "Left: place and digit fall, 'no word' rises. Right: digit and ink lie above one, "
    "the stroke after the first steps, the place below one.",
)

# %% [markdown]
# Read it from left to right, as the walk goes.
#
# - At first the words of the *place* are looked at most. (A corner takes three words, a digit one.) *Place*, *digit*, *ink* and *stroke*
#   all fall: more and more of what they say is shown by the picture itself.
# - The *digit* is looked at more where the ink will be than elsewhere, all the way. So is the *ink*, but less and less towards the end.
#   The *stroke* joins them after the first steps.
# - With the *place* it is the other way round. It is looked at more where no ink will be.
# - The *colour of the paper* gets hardly any attention. We know why: it came in by the first way.
#   (The words "on" and "paper" beside it are not counted here. Like "no word", they are looked at more and more.)
# - "No word" rises until the end. There a place looks that has nothing to ask.
#
# A map of attention shows what was looked at. It does not prove that it mattered
# ([Jain and Wallace, 2019](https://arxiv.org/abs/1902.10186)). For that one has to change something and look at the picture.
#
# ## Predict, then run: who decides when?
#
# The words are shown to the network at every step. Do they count at every step?
#
# Change the prompt in the middle of a walk. The first steps hear one prompt, the others hear another one, of another picture.
# Which of the two does the end obey? That depends on when the change comes.
#
# Before you run the next cells, put these into an order: paper, ink, digit, place, size. Some may share a rank.
# Which of them is settled first, and cannot be changed any more? Is there one that can be changed much longer than the others?

# %%
STEPS, PAIRS = 10, 40
first = real.labels[real.labels[:, 5] == 0][100 : 100 + PAIRS]  # all small
second = real.labels[600 : 600 + PAIRS]
goal = torch.tensor([asked(full_caption(row)) for row in second.tolist()])
goal = torch.where(goal == first, -1, goal)  # -1: the change makes no difference

one, two = (
    cfg(
        model.denoiser,
        model.encode([full_caption(row) for row in rows.tolist()]),
        model.encode([""] * PAIRS),
        scale=2.0,
    )
    for rows in (first, second)
)
noise = process.prior((PAIRS, 3, 32, 32), seeds=range(PAIRS))
ts = process.timesteps(STEPS)
with torch.no_grad():
    begun = list(ddim(one, process, noise, ts))
    ends = [
        list(ddim(two, process, begun[k].xt, ts[k:]))[-1].x0 for k in range(STEPS)
    ] + [begun[-1].x0]
obeyed = [adherence_by_attribute(goal, judge(end)) for end in ends]

# %%
names = ("paper", "place", "size", "digit", "ink")
curves = {name: (ts, [share[name] for share in obeyed]) for name in names}
for name, (_, shares) in curves.items():
    half = shares[0] / 2
    k = next(k for k in range(STEPS + 1) if shares[k] < half)  # between k - 1 and k
    part = (half - shares[k]) / (shares[k - 1] - shares[k])
    at = float(ts[k] + part * (ts[k - 1] - ts[k]))
    print(f"{name:6} half of them obey if the prompt is changed at level {at:.2f}")
figure = viz.plot(
    curves,
    "noise level at which the prompt is changed",
    "share that obeys the second prompt",
)
figure.axes[0].invert_xaxis()
viz.show(
    figure,
    "Five curves that fall from nearly 1 to 0: the paper first, the rest together.",
)

# %% [markdown]
# Here is one of these walks, changed at each of its steps. On the left it hears only the second prompt, on the right only the first.

# %%
which = 9
print("first: ", full_caption(first[which].tolist()))
print("second:", full_caption(second[which].tolist()))
viz.show(
    viz.table(
        {"": torch.stack([end[which] for end in ends])},
        [f"{t:.1f}" for t in ts.tolist()],
    ),
    "One walk with the prompt changed at eleven moments: from all new to all old.",
)

# %% [markdown]
# Every step hears the words, but they do not decide the same things. The paper is settled first, in the first moves of all.
# The other four are settled close together, in the middle of the walk. So few pairs show no sure order among them.
# At the end the words change, and the picture hardly does.
#
# In between come pictures that obey both prompts, each in a part of it.
# Large models show the same: early steps follow the prompt, and late ones hardly hear it
# ([Balaji and others, 2022](https://arxiv.org/abs/2211.01324)).
#
# ## Some captions are left out
#
# One of the painted digits above has no caption. Here is how many have none in a batch of the training.

# %%
for drop in (0.0, 0.1, 0.5):
    stream = batches(paint, 500, captions=painted_captions, drop=drop, seed=19)
    empty = sum(caption == "" for caption in next(iter(stream)).captions)
    print(f"drop = {drop}: {empty} of 500 captions are empty")

# %% [markdown]
# This is *caption dropout* ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598), section 3.2).
# By chance, some pictures are shown with the empty caption in place of their own.
# `drop` is the share, and one in ten is usual. It happens in the batch. No layer of the network knows of it.
#
# So one network learns to answer two questions. With a caption it guesses the picture that the caption tells of.
# With the empty one it guesses any picture. Both answers are means ([lesson 03](03_learning_to_denoise.ipynb)):
#
#     x0_ctx  = E[x0 | xt, words]          x0_null = E[x0 | xt]
#
# What is the second one good for? The difference of the two is what the words say about this `xt`.
# Whoever knows both can ask for more of it.
#
# ## Guidance, from Bayes' rule
#
# Let `p(x)` be all pictures and `p(x | c)` those with the caption `c`. By Bayes' rule
#
#     p(x | c) = p(x) p(c | x) / p(c)
#
# Here `p(c | x)` says how well the caption fits the picture. Let a good fit count for more, and take it to the power of a number, the *scale*:
#
#     p(x) p(c | x)^scale
#
# A network that tells `p(c | x)` would be a classifier of noisy pictures. There was such a guidance
# ([Dhariwal and Nichol, 2021](https://arxiv.org/abs/2105.05233), section 4). But it is not needed. By Bayes' rule,
# and up to a factor that is the same for all `x`, `p(c | x)` is the ratio `p(x | c) / p(x)`. So
#
#     p(x) (p(x | c) / p(x))^scale  =  p(x | c)^scale p(x)^(1 - scale)
#
# A walk does not need a density. It needs the gradient of its logarithm, which is called its *score*, too.
# (It has nothing to do with the scores of attention.) Take the logarithm, and the powers become factors:
#
#     score = scale score_ctx + (1 - scale) score_null
#
# And the score is the guess in other letters. One picture under noise is a Gaussian around `alpha x0`. The gradient of its logarithm points
# to the middle: it is `(alpha x0 - xt) / sigma^2`. With many pictures it is the mean of these over all that may be behind `xt`,
# each weighted by how likely it is. And the mean of the `x0`, weighted so, is the guess:
#
#     score = (alpha x0 - xt) / sigma^2      with x0 = E[x0 | xt]
#
# Put that in for the three scores. The factors add up to 1, so `xt` drops out, and what holds for the scores holds for the guesses:
#
#     x0 = scale x0_ctx + (1 - scale) x0_null
#
# This is *classifier-free guidance* (Ho and Salimans, eq. 6, where the scale is called 1 + w).
# Scale 0 leaves out the words. Scale 1 is no guidance. Beyond 1 the words count for more than they say.
#
# ## A world with loose captions
#
# Try it where everything is known: the eight islands of lesson 03. Each point has a caption that names an island.
# But the writers were careless. Of the points that are called "east", only a part lies on the eastern island. The others lie on its neighbours.
#
# The cell also checks the line about the score, with the gradient of the density itself.

# %%
FITS = torch.tensor([0.6, 0.2, 0, 0, 0, 0, 0, 0.2])  # p("east" | island)
ANY = torch.ones(8)


def guess(xt, t, weights):
    """E[x0 | xt] if the islands have these weights, for points xt (n, 2, 1, 1)."""
    return mixture_denoiser(process, weights)(xt, t)


def log_density(xt, t, weights):
    """log p(xt), up to a constant."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    var = alpha**2 * MIXTURE_STD**2 + sigma**2
    stray = xt.flatten(1)[:, None] - alpha * MIXTURE_MEANS
    return (weights.log() - stray.square().sum(dim=2) / (2 * var)).logsumexp(dim=1)


for t in torch.tensor([0.2, 0.5, 0.9]):
    x0 = mixture(500)
    xt = process.add_noise(x0, torch.randn_like(x0), t)
    for weights in (ANY, FITS):
        xt.requires_grad_()
        (score,) = torch.autograd.grad(log_density(xt, t, weights).sum(), xt)
        xt.detach_()
        x0 = guess(xt, t, weights)
        by_guess = (process.alpha(t) * x0 - xt) / process.sigma(t) ** 2
        assert_close(score, by_guess, rtol=1e-4, atol=1e-4)
print("The gradient of log p(xt) is (alpha x0 - xt) / sigma^2, with words and without.")

# %% [markdown]
# Now walk, with several scales. We know what should come out. On an island the caption fits equally well everywhere,
# so the share of an island should go with `FITS^scale`.
#
# A point *obeys* if it is nearest to the eastern island. The cell prints how many do, beside the share that is asked for.
# *Variety* is the variance of all points, and *radius* their mean distance from the centre.

# %%
noise = process.prior((1000, 2, 1, 1), seeds=range(1000))
ts = process.timesteps(25).float()


def nearest(x):
    """The island that each point is nearest to."""
    return torch.cdist(x.flatten(1), MIXTURE_MEANS).argmin(dim=1)


def measured(x):
    """Shares and sizes to compare: obedience, variety, distance from the centre."""
    obeys = (nearest(x) == 0).float().mean()
    variety = x.flatten(1).var(dim=0).sum()
    return f"{obeys:9.1%} {variety:9.3f} {x.flatten(1).norm(dim=1).mean():9.2f}"


def east(scale):
    """Guidance in the world of islands."""
    return lambda xt, t: scale * guess(xt, t, FITS) + (1 - scale) * guess(xt, t, ANY)


print(f"{'':10}{'asked for':>10}{'obey':>10}{'variety':>10}{'radius':>10}")
cloud = {}
for scale in (0, 1, 2, 3, 5):
    law = FITS**scale / (FITS**scale).sum()
    *_, last = ddim(east(scale), process, noise, ts)
    cloud[f"scale {scale}"] = last.x0
    print(f"scale {scale:2}  {law[0]:10.1%} {measured(last.x0)}")
print(f"{'data':20} {measured(mixture(10_000))}")


# %%
def islands(clouds):
    """A panel for each cloud of points, over the data in grey."""
    figure = Figure(figsize=(9.6, 3.3 - 0.2 * len(clouds)), layout="constrained")
    panels = figure.subplots(1, len(clouds), sharex=True, sharey=True)
    for axes, (title, x) in zip(panels, clouds.items(), strict=True):
        axes.plot(*mixture(1000).flatten(1).T, ".", markersize=2, color="0.8")
        axes.plot(*x.flatten(1).T, ".", markersize=2, color="C0")
        axes.set(aspect="equal", title=title)
    return figure


viz.show(
    islands(cloud),
    "Points on all islands, on three of them, then on one, and at last beyond it.",
)

# %% [markdown]
# This is the bargain of guidance: more points obey, and they vary less. And they leave the island, outwards.
# The radius grows beyond that of the data, to where hardly any point lies.
#
# More of them obey than was asked for, too. Did the derivation go wrong? It was about clean points.
# On the walk each density is one of noisy points. To take its power is not the same as to take the power of the clean one and then to add
# noise ([Bradley and Nakkiran, 2024](https://arxiv.org/abs/2408.09000)).
#
# Here the second can be done. A world whose islands have the weights `FITS^scale` is known exactly, and can be walked in.

# %%
print(f"{'':10}{'asked for':>10}{'obey':>10}{'variety':>10}{'radius':>10}")
for scale in (2, 3, 5):
    law = FITS**scale / (FITS**scale).sum()
    *_, last = ddim(lambda xt, t, law=law: guess(xt, t, law), process, noise, ts)
    print(f"scale {scale:2}  {law[0]:10.1%} {measured(last.x0)}")

# %% [markdown]
# That walk ends where Bayes' rule says, and on the islands. Guidance is a stand-in for it, made of the two guesses that one has.
# Its direction is right, and it goes too far.
#
# It goes too far right at the start. At level 1 the guess without words is the middle of all islands,
# and the guess with words is a point in the east. Go several times as far, and you are outside of the world.

# %%
start = noise[:1], torch.tensor(1.0)
for scale in (0, 1, 3, 5):
    x, y = east(scale)(*start).flatten().tolist()
    print(f"scale {scale}: the first guess is at ({x:.2f}, {y:.2f})")

# %% [markdown]
# ## Trained with dropout, and without
#
# Now the same world with networks, which are never told where the islands are. Two are trained, alike in everything but one.
# For the first, one caption in ten is left out. For the second, none.
#
# Each word is a vector that is learned along with the network, and so is "no word".

# %%
torch.manual_seed(0)
points = mixture(20_000)
turn = torch.multinomial(torch.tensor([0.6, 0.2, 0.2]), len(points), True)
named = (nearest(points) + torch.tensor([0, 1, -1])[turn]) % 8 + 1  # 0 is "no word"
EAST, LONG = 1, 1000


def learn(drop):
    """A denoiser and its word vectors; the share `drop` of captions is left out."""
    torch.manual_seed(0)
    vectors, mlp = torch.nn.Embedding(9, 8), MLP(channels=2, d_ctx=8)
    with torch.no_grad():
        mlp.layers[0].weight[:, :2].normal_()  # lesson 03
    denoiser = Denoiser(mlp, Cosine())
    parameters = [*mlp.parameters(), *vectors.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=LONG)
    for _ in range(LONG):
        rows = torch.randint(len(points), (256,))
        left_out = torch.rand(256) < drop
        ctx = vectors(named[rows].masked_fill(left_out, 0))[:, None]
        loss = denoiser.loss(points[rows], ctx, t=torch.rand(256)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fall.step()
    return denoiser, vectors


start = time.perf_counter()
trained = {f"dropout {drop}": learn(drop) for drop in (0.1, 0.0)}
print(f"Both were trained in {time.perf_counter() - start:.0f} s.")


# %%
def asked_with(vectors, word):
    """ctx of a word for all of the walks."""
    return vectors(torch.full((len(noise),), word)).detach()[:, None]


print("how far from the exact guess:      with words   without")
cloud = {"exact": cloud["scale 3"]}
x0 = mixture(20_000, seed=1)
x0 = x0[torch.multinomial(FITS[nearest(x0)], len(noise))]  # points called "east"
xt = process.add_noise(x0, torch.randn_like(x0), torch.tensor(0.6))
size = x0.norm()  # so 1 is as far as the points are from the centre
for name, (denoiser, vectors) in trained.items():
    ctx, null = asked_with(vectors, EAST), asked_with(vectors, 0)
    with torch.no_grad():
        off = [
            (denoiser(xt, 0.6, c) - guess(xt, torch.tensor(0.6), weights)).norm()
            for c, weights in ((ctx, FITS), (null, ANY))
        ]
        *_, last = ddim(cfg(denoiser, ctx, null, 3.0), process, noise, ts)
    print(f"{name:35} {off[0] / size:10.3f} {off[1] / size:9.3f}")
    cloud[name] = last.x0
print(f"{'guidance 3':20}{'obey':>10}{'variety':>10}{'radius':>10}")
for name, x in cloud.items():
    print(f"{name:20} {measured(x)}")

# %%
viz.show(
    islands(cloud),
    "Exact guidance and the network with dropout: one small cloud; without: far away.",
)

# %% [markdown]
# With words, both networks are equally good. Only the one with dropout has also learned what to say without.
#
# The other was never asked. Its vector for "no word" is still the random one that it began with, and its answer to it means nothing.
# Guidance takes the difference to this answer, and makes it several times as large.
#
# ## The same for pictures
#
# The line of code is the same, and so is its price: a second question at every step.
#
# Here is what guidance does to the guess, at five moments of a walk. The cell also prints by how much the words change the guess.


# %%
def guided(ctx, null, scale):
    """The guess with words, `scale` times as far from the guess without."""

    @torch.no_grad()
    def denoise(xt, t):
        x0, x0_null = model.denoiser(xt, t, ctx), model.denoiser(xt, t, null)
        return scale * x0 + (1 - scale) * x0_null

    return denoise


ctx, null = model.encode([prompt]), model.encode([""])
noise, ts = process.prior((1, 3, 32, 32), seeds=[8]), process.timesteps(10).float()
walk = list(ddim(guided(ctx, null, 3.0), process, noise, ts))
with torch.no_grad():
    *_, library = ddim(cfg(model.denoiser, ctx, null, 3.0), process, noise, ts)
assert_close(walk[-1].x0, library.x0, rtol=0, atol=1e-4)

some = [walk[i] for i in (0, 1, 2, 4, 7)]
places = [(step.xt, torch.tensor(step.t)) for step in some]
print("the words change the guess by:")
for step in walk[:-1]:
    at = step.xt, torch.tensor(step.t)
    change = guided(ctx, null, 1)(*at) - guided(ctx, null, 0)(*at)
    print(f"level {step.t:.1f}: {change.square().mean().sqrt():.3f}")
rows = {
    "without words": torch.cat([guided(ctx, null, 0)(*each) for each in places]),
    "with words": torch.cat([guided(ctx, null, 1)(*each) for each in places]),
    "three times as far": torch.cat([step.x0 for step in some]),
}
viz.show(
    viz.table(rows, [f"{step.t:.1f}" for step in some]),
    "Guesses at five levels: at first a dull brown without words, a seven with them.",
)

# %% [markdown]
# At level 1 the guess without words is the mean of all pictures, and here the words change it most.
# Three times as far is more than can be shown. The colours are cut off at their fullest.
#
# At low levels all three rows are alike. The picture says by itself what it is, the words add nothing, and guidance has nothing to enlarge.
#
# ## What guidance costs
#
# Now it can be measured. For each scale the cell draws two pictures of each of fifty prompts. A prompt says all that can clearly be said
# of two real pictures. A stroke or a lean that is in doubt is left out, so these prompts are easier than those of the milestone below.
#
# The cell prints
#
# - how many show the digit that was asked for, and how many obey their prompt in everything,
# - how far apart the ink of the two pictures of a prompt is: the variety that is left,
# - how many values had to be cut off, because they lie beyond full colour.
#
# The last line has the same for real painted digits, two for each prompt.

# %%
shown = paint.attributes(torch.arange(len(paint)))
groups, group = shown.unique(dim=0, return_inverse=True)  # alike in everything
chance = torch.Generator().manual_seed(0)
chosen = [group[i] for i in torch.randperm(len(paint), generator=chance)[:200]]
twins = [(group == k).nonzero()[:2, 0] for k in chosen]
twins = torch.stack([pair for pair in twins if len(pair) == 2][:50], dim=1)
captions = [full_caption(row) for row in shown[twins.flatten()].tolist()]
wanted = torch.tensor([asked(caption) for caption in captions])


def report(x):
    """Shares that obey, distance of the ink, and share of values cut off."""
    shares = adherence_by_attribute(wanted, judge(x))
    one, two = look(to_uint8(x))[1].chunk(2)
    apart = (one - two).square().mean(dim=(1, 2)).sqrt().mean().item()
    return shares["digit"], shares["all"], apart, (x.abs() > 1).float().mean().item()


def draw_all(scale, interval=(0.0, 1.0)):
    """What the walks of all captions end with, not cut off."""
    steps = model.walk(captions, seed=500, cfg_scale=scale, interval=interval)
    return list(steps)[-1].x0


line = "{:18}{:8.0%}{:8.0%}{:8.3f}{:9.1%}".format
print(f"{'':18}{'digit':>8}{'all':>8}{'apart':>8}{'cut off':>9}")
scales, drawn, found = (1.0, 2.0, 3.0, 5.0, 8.0), {}, []
for scale in scales:
    drawn[f"guidance {scale:g}"] = draw_all(scale)
    found.append(report(drawn[f"guidance {scale:g}"]))
    print(line(f"guidance {scale:g}", *found[-1]))
pictures = to_float(paint[twins.flatten()].pixels)
print(line("real", *report(pictures)))

# %%
figure = Figure(figsize=(6.4, 3.6), layout="constrained")
axes = figure.subplots()
digit, _, apart, _ = zip(*found, strict=True)
axes.plot(apart, digit, "o-")
for scale, x, y in zip(scales, apart, digit, strict=True):
    axes.annotate(f"{scale:g}", (x, y), (5, 5), textcoords="offset points")
share, _, x, _ = report(pictures)
axes.plot(x, share, "*", markersize=12, color="C1", label="real")
axes.set(xlabel="variety: ink of two pictures apart", ylabel="show the digit")
axes.grid(alpha=0.3)
axes.legend()
viz.show(
    figure,
    "A curve over the scales: variety falls all the way; obedience rises from 1 to 2, "
    "then no more.",
)

# %%
print("\n".join(captions[:5]))
viz.show(
    viz.table({name: x[:5] for name, x in drawn.items()}),
    "Five prompts at five guidance scales; colours get fuller, and details are lost.",
)

# %% [markdown]
# It is the bargain of the islands. Guidance buys obedience, and pays with variety: the two pictures of a prompt
# become more and more alike, more than two real ones are. And beyond some scale it buys nothing any more.
# At the two highest scales fewer pictures obey in everything. What fails most is the stroke: it becomes too thin.
# At the highest, the green three is lost in its black paper.
#
# Again the world is left, this time by the colours. They become fuller than any of the data.
#
# One thing is different. No caption of the painted digits is wrong. It is the network that is loose: without guidance, some of its pictures
# do not fit their prompt. Guidance makes up for this weakness.
#
# ## Guidance at some levels only
#
# Must guidance act at all levels? [Kynkaanniemi and others, 2024](https://arxiv.org/abs/2404.07724) found that it does harm at the highest,
# and is hardly needed at the lowest. They keep it to an *interval* in between.
#
# Try it with a strong scale. Outside the interval the guess with words is used as it is, which also saves half of the work there.
# One row is the opposite: guidance at the two highest levels of the walk alone.

# %%
print(f"{'guidance 5 at':18}{'digit':>8}{'all':>8}{'apart':>8}{'cut off':>9}")
print(line("all levels", *found[3]))
for name, interval in {
    "0 to 0.85": (0.0, 0.85),
    "0.25 to 0.85": (0.25, 0.85),
    "0.85 to 1": (0.85, 1.0),
}.items():
    drawn[f"5 at {name}"] = draw_all(5.0, interval)
    print(line(name, *report(drawn[f"5 at {name}"])))
print(line("no level", *found[0]))

# %%
names = ("guidance 1", "guidance 5", "5 at 0.25 to 0.85", "5 at 0.85 to 1")
viz.show(
    viz.table({name: drawn[name][:5] for name in names}),
    "Five prompts without guidance, with it, in the middle only, and at the top only.",
)

# %% [markdown]
# Most of the loss, in variety and in true colours, comes from these two steps. Keep a strong guidance away from them,
# and more pictures obey in everything, for a part of the price. The lowest levels make little difference.
#
# The two steps alone pay the full price, and buy hardly anything.
#
# ## Play
#
# Where does the network look, at which step? Choose a word, then drag the slider or press the arrow keys.
# Begin with *top*. Compare it with *red*, and both with *seven*.

# %%
from minidiff.widgets import GuidanceExplorer, WordHeat

WordHeat(model, prompt, seed=8, steps=8)

# %% [markdown]
# And the same four seeds under more and more guidance. Below them stands how many obey the prompt in everything.

# %%
asks = torch.tensor([asked(prompt)] * 4)


def obeys(x):
    return adherence_by_attribute(asks, judge(x))["all"]


GuidanceExplorer(model, prompt, (1, 2, 5, 12), n=4, measure=obeys, seed=20)

# %% [markdown]
# ## What went wrong
#
# Guidance is one line, and it has been written wrong in many ways. Here are four, all meant to have the scale 2.
#
# - *swapped*: the prompt and "nothing" have changed places.
# - *from the prompt*: the line starts at the guess with words, and adds twice the difference.
# - *zeros*: "nothing" is a ctx of zeros, and not the encoding of the empty prompt.
# - *one off*: the prompts are one place off, so that each picture is guided by its neighbour's.
#
# Which of them will you see at once? Which might pass?

# %%
ctx, null = model.encode(captions[:32]), model.encode([""] * 32)
noise, ts = process.prior((32, 3, 32, 32), seeds=range(32)), process.timesteps(10)
faults = {
    "healthy": lambda scale: guided(ctx, null, scale),
    "swapped": lambda scale: guided(null, ctx, scale),
    "from the prompt": lambda scale: guided(ctx, null, 1 + scale),
    "zeros": lambda scale: guided(ctx, torch.zeros_like(ctx), scale),
    "one off": lambda scale: guided(ctx.roll(1, 0), null, scale),
}
rows = {}
print(f"{'obeyed':15}" + "".join(f"{name:>8}" for name in ATTRIBUTES))
for name, fault in faults.items():
    *_, last = dpmpp_2m(fault(2.0), process, noise, ts.float())
    rows[name] = last.x0[:5]
    shares = adherence_by_attribute(wanted[:32], judge(last.x0))
    print(f"{name:15}" + "".join(f"{shares[key]:8.0%}" for key in ATTRIBUTES))
viz.show(
    viz.table(rows),
    "Five rows of five painted digits, one of them healthy and four with a fault.",
)

# %% [markdown]
# *Swapped* draws clean pictures, of anything but the prompt. The colours that were asked for are avoided.
# *One off* draws each prompt one place too far to the right.
#
# The other two are harder to see. *From the prompt* is guidance with a scale of one more than you think.
# *Zeros* is the fault of the islands again: a question that the network was never asked. Here its answer makes many strokes too bold,
# and does little harm to the rest. With another network it may do something else.
#
# So do not look, but test. At scale 1 guidance must give the guess with words, and at scale 0 the guess without.

# %%
start = noise, torch.tensor(1.0)
with torch.no_grad():
    wants = {1: model.denoiser(*start, ctx), 0: model.denoiser(*start, null)}
print("distance from what it must be at scale 1 and at scale 0:")
for name, fault in faults.items():
    off = [(fault(k)(*start) - want).abs().mean() for k, want in wants.items()]
    print(f"{name:16} {off[0]:.3f} {off[1]:.3f}")

# %% [markdown]
# The two numbers say where to look:
#
# - **Both are 0.** The line is right. If colours are too full or strokes too thin, the scale is too high, or acts at too high levels.
# - **Wrong at both.** The two guesses are swapped, or the line starts at the wrong one of them.
# - **Wrong at 1 only.** The words do not belong to their pictures.
# - **Wrong at 0 only.** "Nothing" is not what it was in training. And if there was none in training, no code can mend it:
#   draw with the empty prompt, and see whether pictures come.
#
# ## Milestone
#
# Your line of guidance, measured by the judge, beside what was measured when the weights were made.
# A share that was counted on a hundred pictures is uncertain. The cell prints by how much.
# Where nearly all are right, this is a little too strict. One or two misses more are no sign of a fault there.

# %%
labels = real.labels[300:400].tolist()
prompts = [full_caption(row) for row in labels]
wanted = torch.tensor([asked(p) for p in prompts])
ctx, null = model.encode(prompts), model.encode([""] * 100)
noise = process.prior((100, 3, 32, 32), seeds=range(1000, 1100))
*_, last = dpmpp_2m(guided(ctx, null, 2.0), process, noise, ts.float())
shares = adherence_by_attribute(wanted, judge(last.x0))

quality = model.card["quality"]
print(f"expected: {quality['sampler']}, {quality['n']:,} prompts")
for name, expected in quality["seen inks"].items():
    n = int((wanted[:, columns.index(name)] >= 0).sum()) if name != "all" else 100
    off = 2 * (expected * (1 - expected) / n) ** 0.5
    print(f"{name:7} mine {shares[name]:6.1%}, expected {expected:6.1%}", end="")
    print(f", give or take {off:.1%}")

# %% [markdown]
# ## To think about
#
# 1. Which scale gives exactly the pictures of *swapped*, without swapping anything?
# 2. Stroke and lean were left out when the prompt was changed in the middle of a walk. Measure them. Do the maps of attention tell you what to expect?
# 3. The paper came in by the way that is the same everywhere. Suppose a caption could say "the left half red, the right half blue".
#    Which way would the colours take then, and what would have to be trained anew?
# 4. Train the toy with a dropout of one half, and of nine tenths. Which of its two guesses gets better, and which gets worse?
#    What does that do to guidance?
#
# ---
#
# Exercises: [07 · Text to image](../exercises/07_text_to_image.ipynb).
# Next: [08 · Prompting](08_prompting.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
