# %% [markdown]
# # 11 · Judging images
#
# One picture is judged by looking at it. A thousand pictures are judged by a number.
#
# Every such number looks at something and overlooks the rest. Whoever knows what it overlooks can fool it,
# and most people who do so do not mean to.
#
# In this lesson you build four measures, and fool each of them.
#
# Afterwards you can
#
# - derive the Frechet distance, on a line and in many dimensions,
# - say what must be told with it: how many pictures, whose features, and how far real pictures are,
# - measure likeness, variety and obedience apart, and say which of them guidance buys with which,
# - find copies of training pictures,
# - read a table of results and ask the question that it does not answer.
#
# Nothing is trained here, and no graphics card is needed.
# The next cells measure what the lesson will cost on this machine.

# %%
import itertools
import math
import os
import time

import torch
import torch.nn.functional as F
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from minidiff import ConvNet, TextToImage, mnist, viz
from minidiff.data import mixture, to_float
from minidiff.metrics import (
    Judge,
    Likener,
    adherence,
    adherence_by_attribute,
    frechet_distance,
    in_chunks,
    kernel_distance,
    precision_recall,
)
from minidiff.painted import PaintedDigits, asked, full_caption
from minidiff.recipes import draw_many
from torch.testing import assert_close
from tqdm.auto import tqdm

N = 500  # pictures in each set
QUESTIONS = 45_000  # that the network is asked in this lesson
READ = 45_000  # pictures that are turned into features

# %%
model = TextToImage.load()
reader = ConvNet.load("digits").eval()  # reads digits; lesson 01 trains one
reference, held_out = mnist(), mnist(split="held_out")
training = to_float(reference.pixels)

model.draw([""] * 100, steps=1, cfg_scale=1.0)  # the first call is slow
start = time.perf_counter()
model.draw([""] * 100, steps=2, cfg_scale=1.0)
rate = 200 / (time.perf_counter() - start)
start = time.perf_counter()
in_chunks(reader.features, training[:500])
reading = 500 / (time.perf_counter() - start)
cost = QUESTIONS / rate + READ / reading

print(f"The network answers {rate:,.0f} times a second here ({os.cpu_count()} cores),")
print(f"and the reader looks at {reading:,.0f} pictures a second.")
print(f"The lesson takes about {cost:.0f} s in all.")

# %% [markdown]
# ## Seven sets of pictures
#
# There are 9,000 real digits to compare with, the *reference*, and 1,000 more that are held out from it.
# The first half of these is the *yardstick*: as many real digits as there are pictures in a set.
# The second half gives the prompts. For each of its digits one picture is asked for.
# (The shipped networks have seen all 10,000 in training. The first question at the end asks what that spoils.)
#
# Each row below shows a part of a set of 500. The digit above a column is the one that was asked for.
# Three rows are honest: the real digits themselves, drawn ones, and ones that were drawn with very strong guidance.
# Four are not, and you can see in the code how they were made.

# %%
torch.manual_seed(0)
yardstick, rest = held_out[:N], held_out[N:]
wanted = rest.labels
prompts = [f"the digit {d}" for d in wanted.tolist()]
drawn = {}
for scale in tqdm((1.5, 8.0)):
    drawn[scale] = draw_many(model, prompts, steps=10, cfg_scale=scale)

good = drawn[1.5]
copies, few = torch.empty_like(good), torch.empty_like(good)
moves = list(itertools.product(range(-2, 3), range(-3, 4)))  # no two are equal
for d in range(10):
    here = (wanted == d).nonzero()[:, 0].tolist()
    copies[here] = training[reference.labels == d][: len(here)]
    for i, row in enumerate(here):  # two, again and again
        few[row] = good[here[i % 2]].roll(moves[i // 2], (1, 2))

sets = {
    "real": to_float(rest.pixels),
    "drawn": good,
    "guidance 8": drawn[8.0],
    "blurred": F.avg_pool2d(good + 1, 3, stride=1, padding=1) - 1,
    "two of each": few,
    "copies": copies,
    "shuffled": good[torch.randperm(N)],
}
first = torch.cat([(wanted == d).nonzero()[:4, 0] for d in (2, 4, 7)])
viz.show(
    viz.table(
        {name: x[first] for name, x in sets.items()},
        [str(d) for d in wanted[first].tolist()],
    ),
    "Seven rows of digits: one is blurred, one repeats itself, one is out of order.",
)

# %% [markdown]
# The blur is seen at once. The shuffled set shows a wrong digit under most prompts, but each digit alone is fine.
# The set with two of each gives itself away only because several stand side by side.
# And the copies look as good as can be. They are real digits from the training set, handed in as drawn ones.
#
# ## A picture becomes a point
#
# How far are two pictures apart? Over pixels that is a poor question. Move a digit a little, and nearly every pixel
# of its strokes changes.
#
# So pictures are first turned into *features*: the 96 numbers in front of the last layer of a network that reads digits.
# It has learned what changes a digit and what does not. The cell moves each of the real digits by two pixels, and compares
# how far it goes with how far it is to the nearest other one.
#
# A `Likener` keeps such a network, the reference and the yardstick together.

# %%
liken = Likener(reader, reference.pixels, yardstick.pixels, "digits", "9,000 digits")


def features(x):
    return in_chunks(reader.features, x)


moved = to_float(yardstick.pixels).roll(2, dims=3)
spaces = {
    "pixels": (to_float(yardstick.pixels).flatten(1), moved.flatten(1)),
    "features": (liken.held_out, features(moved)),
}
for name, (before, after) in spaces.items():
    other = torch.cdist(before, before).fill_diagonal_(math.inf).min(dim=1).values
    share = ((after - before).norm(dim=1) / other).median()
    print(f"{name:8}: moved by two pixels, it goes {share:.0%} of the way", end="")
    print(" to the nearest other digit")

# %% [markdown]
# A set of pictures is now a cloud of points. It has 96 dimensions, and nobody can see that.
# Here is its shadow, in the two directions in which the real digits differ most.

# %%
clouds = {name: features(x) for name, x in sets.items()}
mean = liken.reference.mean(dim=0)
wide = torch.linalg.eigh(torch.cov(liken.reference.T)).eigenvectors[:, -2:]

figure = Figure(figsize=(9.6, 3.3), layout="constrained")
panels = figure.subplots(1, 3, sharex=True, sharey=True)
for axes, name in zip(panels, ("drawn", "guidance 8", "two of each"), strict=True):
    axes.plot(*((liken.held_out - mean) @ wide).T, ".", color="0.75")
    axes.plot(*((clouds[name] - mean) @ wide).T, "+", color="C0", markersize=5)
    axes.set(xticks=[], yticks=[], title=f"{name} (+), over real")
viz.show(
    figure,
    "Crosses over clumps of grey dots: spread alike, drawn together, in knots.",
)

# %% [markdown]
# Most clumps are one kind of digit each. With strong guidance the crosses draw together in the middle of their clump, or beside it.
# With two of each they sit in knots, and most of the ground is empty.
#
# From here on, to judge pictures is to compare two clouds. The first measure is the one that papers report.
#
# ## The Frechet distance, on a line
#
# How far is one heap of sand from another? Carry each grain of the first heap to a place in the second, and pay the square of its way.
# Some plans are cheaper than others. The price of the cheapest, for one grain on average, is the distance.
#
# Take two heaps on a line, with means `m1` and `m2` and standard deviations `s1` and `s2`.
# A grain goes from `x` to `y`. Multiply out, and the mean price is
#
#     mean of (x - y)^2 = (m1 - m2)^2 + s1^2 + s2^2 - 2 cov(x, y)
#
# `cov(x, y)`, the *covariance*, is the mean of `(x - m1)(y - m2)`: how far both go up together.
# Only this last term depends on who goes where. A covariance is never larger than `s1 s2`. It reaches that
# where `y` is a rising straight line over `x`, and between two Gaussians there is such a plan: the leftmost goes to the leftmost, and so on.
# So the price of the cheapest plan is
#
#     (m1 - m2)^2 + s1^2 + s2^2 - 2 s1 s2 = (m1 - m2)^2 + (s1 - s2)^2
#
# Let us carry some grains, once in any order and once sorted.

# %%
torch.manual_seed(0)
m1, s1, m2, s2 = 0.0, 1.0, 2.0, 0.5
x = m1 + s1 * torch.randn(100_000)
y = m2 + s2 * torch.randn(100_000)
print(f"carried in any order: {(x - y).square().mean():.3f}")
print(f"sorted:               {(x.sort()[0] - y.sort()[0]).square().mean():.3f}")
print(f"by the formula:       {(m1 - m2) ** 2 + (s1 - s2) ** 2:.3f}")

mine = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
library = frechet_distance(x[:, None], y[:, None])
assert_close(mine.item(), library, rtol=1e-4, atol=0)
print(f"measured on these points: mine {mine:.4f}, minidiff {library:.4f}")

# %% [markdown]
# ## The Frechet distance, in many dimensions
#
# In many dimensions a Gaussian has a mean and a covariance matrix `C`. Let `R` be the root of `C`, the symmetric matrix with `R R = C`
# and no eigenvalue below 0.
# Then its points are `m + R u`, where `u` is unit noise. Turn unit noise by a rotation `Q`, and it is unit noise still.
# So each `Q` is a plan for carrying,
#
#     from x = m1 + R1 u    to y = m2 + R2 Q u
#
# Multiply out again. The mean of `u u^T` is the identity, so products of `u` become traces (`tr`, the sum of the numbers on the diagonal), and the price is
#
#     |m1 - m2|^2 + tr C1 + tr C2 - 2 tr(R1 R2 Q)
#
# In two dimensions we can try all angles. The cell carries a hundred thousand grains by each plan.


# %%
def root(c):
    """The symmetric R with R R = c."""
    values, vectors = torch.linalg.eigh(c)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


torch.manual_seed(0)
c1 = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
c2 = torch.tensor([[0.5, -0.2], [-0.2, 0.2]])
m2 = torch.tensor([3.0, 0.0])
u = torch.randn(100_000, 2)
x = u @ root(c1)
angles = torch.linspace(-math.pi, math.pi, 73)


def carried(angle):
    c, s = angle.cos(), angle.sin()
    return m2 + u @ torch.stack([torch.stack([c, s]), torch.stack([-s, c])]) @ root(c2)


price = torch.stack([(x - carried(a)).square().sum(dim=1).mean() for a in angles])
least = m2.square().sum() + c1.trace() + c2.trace()
least -= 2 * torch.linalg.svdvals(root(c1) @ root(c2)).sum()
print(f"least price among the angles: {price.min():.2f}")
print(f"by the formula below:         {least:.2f}")

# %%
figure = Figure(figsize=(9.6, 3.3), layout="constrained")
best, worst, curve = figure.subplots(1, 3)
for axes, at in ((best, price.argmin()), (worst, price.argmax())):
    y = carried(angles[at])
    axes.plot(*torch.stack([x, y])[:, :60].permute(2, 0, 1), color="0.8", linewidth=0.8)
    axes.plot(*x[:60].T, ".", color="C0")
    axes.plot(*y[:60].T, ".", color="C1")
    axes.set(title=f"price {price[at]:.2f}", xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
curve.plot(angles * 180 / math.pi, price, label="carried")
curve.axhline(least, color="0.3", linestyle="--", label="formula")
curve.set(xlabel="angle of Q", ylabel="price")
curve.legend()
viz.show(
    figure,
    "Two plans with their ways, side by side and crossing; the price by angle.",
)

# %% [markdown]
# In the cheapest plan, on the left, the ways run side by side. In the dearest, in the middle, all of them cross.
#
# Which rotation is the best, in any number of dimensions? Split the matrix into rotations and stretches, `R1 R2 = U S V^T`.
# Then `tr(R1 R2 Q) = tr(S V^T Q U)`. The matrix `V^T Q U` is orthogonal as well, so no number on its diagonal is above 1.
# It is best if all are 1. What is left is the sum of the stretches, the *singular values*:
#
#     distance = |m1 - m2|^2 + tr C1 + tr C2 - 2 (sum of the singular values of R1 R2)
#
# Plans that are no rotations are not cheaper. That is harder to show, and the first of these papers does it.
# Papers write the last term as `2 tr (C1 C2)^(1/2)`
# ([Dowson and Landau, 1982](https://doi.org/10.1016/0047-259X(82)90077-X); for pictures
# [Heusel and others, 2017](https://arxiv.org/abs/1706.08500), eq. 6). It is the same number. It is called FID
# if the features are those of one network that everybody uses, Inception.
# (Strictly, it is the square of a distance. For pictures nobody takes the root, and neither do we.)


# %%
def my_frechet(real, fake):
    real, fake = real.double(), fake.double()
    c1, c2 = torch.cov(real.T), torch.cov(fake.T)
    stretches = torch.linalg.svdvals(root(c1) @ root(c2))
    means = (real.mean(dim=0) - fake.mean(dim=0)).square().sum()
    return (means + c1.trace() + c2.trace() - 2 * stretches.sum()).item()


for name, cloud in clouds.items():
    mine = my_frechet(liken.reference, cloud)
    library = frechet_distance(liken.reference, cloud)
    assert_close(mine, library, rtol=1e-4, atol=1e-6)
    print(f"{name:12} mine {mine:.3f}, minidiff {library:.3f}")

# %% [markdown]
# Only two things of a cloud went into this: its mean and its covariance. And the order of the pictures went nowhere.
# So the shuffled set is exactly as far away as the drawn one.
#
# ## How many pictures?
#
# The first line above is strange. Those are real digits, no network drew them, and they are not at 0.
# Would a hundred real digits be farther away, or nearer? Decide, and then run the cell.
#
# It cuts the set of real digits into pieces of `n`, measures each piece, and prints the mean over the pieces.
# Then it does the same with the drawn digits. They were asked to be the same digits in the same order.

# %%
sizes, found = (50, 100, 250, 500), {}
for name in ("real", "drawn"):
    found[name] = []
    for n in sizes:
        far = [frechet_distance(liken.reference, p) for p in clouds[name].split(n)]
        found[name].append(sum(far) / len(far))

print("n     " + "".join(f"{n:9}" for n in sizes))
for name, distances in found.items():
    print(f"{name:6}" + "".join(f"{d:9.3f}" for d in distances))
curves = {name: (sizes, distances) for name, distances in found.items()}
figure = viz.plot(curves, "n, pictures in a set", "Frechet distance", log="xy")
figure.axes[0].minorticks_off()
figure.axes[0].set_xticks(sizes, [str(n) for n in sizes])
figure.axes[0].set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
viz.show(
    figure,
    "Both distances fall steeply as n grows, and go on; real lies below drawn.",
)

# %% [markdown]
# The fewer pictures, the farther away, though nothing else has changed. A cloud of 50 points cannot fill 96 dimensions.
# It is flat in nearly half of them, and the distance takes that for a lack of variety.
#
# So a Frechet distance alone says nothing. Three things must be told with it:
#
# - **n**, how many pictures there were,
# - **the features** that they were compared by,
# - **the floor**: how far as many real pictures are. Nothing drawn should be expected below it.
#
# This is also the first way to cheat: count many of your own pictures and few of the others'.
# By the numbers above a large set of drawn digits is nearer than a small set of real ones.
#
# For very large `n` the curve can be prolonged to its end
# ([Chong and Forsyth, 2020](https://arxiv.org/abs/1911.07023)). The plain rule is: compare at equal `n`, beside the floor.
# Even then the surplus is not quite the same for every model, as they show. So a small lead may be none.
#
# A `Likener` tells all of it. Three of its numbers come next in this lesson.

# %%
for key, value in vars(liken(sets["drawn"])).items():
    print(f"{key:17}", f"{value:.4f}" if isinstance(value, float) else value)
one, two = found["real"][-1], frechet_distance(liken.reference, liken.held_out)
print(f"the two halves of the held-out digits: {one:.3f} and {two:.3f}")

# %% [markdown]
# The last line is a warning. The floor is measured on 500 pictures as well, and on 500 others it comes out different.
# So do not trust a difference between two models that is smaller than this one.

# %% [markdown]
# ## The kernel distance
#
# Another thought: compare each picture with each other one. Let `k(x, y)` say how alike two points are.
# If both sets are of one kind, then two pictures from one set are on average as alike as two from different sets.
# If not, the difference says how far they are apart:
#
#     KID = (mean of k within the real) + (mean of k within the drawn) - 2 (mean of k between both)
#
# ([Binkowski and others, 2018](https://arxiv.org/abs/1801.01401)). They take `k(x, y) = (x . y / d + 1)^3`
# for points of `d` numbers.
#
# A picture is most like itself. Pairs of a picture with itself tell nothing about the set, so they are left out.
# Does that matter? The cell measures real digits against other real digits, in pieces of a size. The truth is 0.


# %%
def my_kid(real, fake, with_itself=False):
    k = (torch.cat([real, fake]) @ torch.cat([real, fake]).T / real.shape[1] + 1) ** 3
    n = len(real)
    counted = torch.ones_like(k)
    if not with_itself:
        counted.fill_diagonal_(0)

    def mean(rows, columns):
        return (k * counted)[rows, columns].sum() / counted[rows, columns].sum()

    one, two = slice(None, n), slice(n, None)
    return (mean(one, one) + mean(two, two) - 2 * mean(one, two)).item()


assert_close(
    my_kid(liken.held_out.double(), clouds["drawn"].double()),
    kernel_distance(liken.held_out, clouds["drawn"]),
)

torch.manual_seed(0)
cloud = liken.reference[torch.randperm(len(reference))]
print("real against real: the mean over many pieces, and how far one piece strays")
print("  n          Frechet    KID with itself              KID")
for n in (50, 100, 250, 500):
    pairs = [piece.split(n) for piece in cloud.split(2 * n)][: 4500 // n]
    line = f"{n:3}"
    for measure in (my_frechet, lambda a, b: my_kid(a, b, True), my_kid):
        values = torch.tensor([measure(*pair) for pair in pairs])
        line += f"{values.mean():10.4f} +-{values.std():5.3f}"
    print(line)

# %% [markdown]
# Without the pairs of a picture with itself, the mean is 0 whatever `n` is, up to chance. A small set is not punished. It is only uncertain,
# and may come out below 0. The Frechet distance has no such simple repair.
#
# What does the kernel distance overlook? Multiply out the third power: only products of up to three features occur.
# The means of such products are called *moments*: the first, second and third. So it compares the moments up to the third. What differs in none of them, it cannot see.
#
# ## Precision and recall
#
# Both distances give one number for two faults. A set may hold bad pictures, and it may lack good ones.
#
# So ask two questions. Which share of the drawn pictures looks real? That is *precision*.
# Which share of the real pictures could have been drawn? That is *recall*
# ([Kynkaanniemi and others, 2019](https://arxiv.org/abs/1904.06991), eq. 1 and 2).
#
# "Looks real" needs a border. Put a ball around each real point, as wide as to its third nearest other real point.
# Together the balls cover the ground where real pictures are. A drawn point on this ground looks real.
# For recall the two sets change places.
#
# Here it is in a world of points. The real ones lie on eight islands, and there are four sets of drawn ones:
# from the same islands, from their right half only, too widely spread, and one that we come to in a moment.


# %%
def width(x, k=3):
    """How wide the ball of each point is: column 0 is the point itself."""
    return torch.cdist(x, x).sort(dim=1).values[:, k]


def inside(x, y):
    """Which points of x lie in a ball of y."""
    return (torch.cdist(x, y) <= width(y)).any(dim=1)


torch.manual_seed(0)
n = 300
islands, same, wide = (mixture(n, seed).flatten(1) for seed in (0, 1, 2))
many = mixture(4 * n, seed=3).flatten(1)
bell = torch.randn(n, 2)
bell = (bell - bell.mean(dim=0)) @ torch.linalg.inv(root(torch.cov(bell.T)))
others = {
    "the same": same,
    "right half": many[many[:, 0] > 0][:n],
    "too wide": wide + 0.4 * torch.randn(n, 2),
    "one bell": bell @ root(torch.cov(islands.T)) + islands.mean(dim=0),
}
print(f"{'':14} precision   recall   Frechet      KID")
for name, x in others.items():
    mine = inside(x, islands).double().mean(), inside(islands, x).double().mean()
    assert_close(torch.stack(mine), torch.tensor(precision_recall(islands, x)).double())
    print(f"{name:14} {mine[0]:9.0%} {mine[1]:8.0%}", end="")
    print(f" {frechet_distance(islands, x):9.4f} {kernel_distance(islands, x):8.4f}")

# %%
figure = Figure(figsize=(9.6, 5.2), layout="constrained")
panels = figure.subplots(2, 4, sharex=True, sharey=True)
for column, (name, x) in enumerate(others.items()):
    for row, (points, ground) in enumerate(((x, islands), (islands, x))):
        axes, good_ones = panels[row][column], inside(points, ground)
        ball = 2 * width(ground).numpy()
        axes.add_collection(
            EllipseCollection(
                *(ball, ball, 0 * ball),
                units="xy",
                offsets=ground.numpy(),
                offset_transform=axes.transData,
                facecolor="0.85",
            )
        )
        axes.plot(*points[good_ones].T, ".", markersize=3, color="C0")
        axes.plot(*points[~good_ones].T, "x", markersize=4, color="C3")
        axes.set(aspect="equal", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xticks=[])
    panels[0][column].set(title=name, yticks=[])
panels[0][0].set(ylabel="drawn, on real ground")
panels[1][0].set(ylabel="real, on drawn ground")
viz.show(
    figure,
    "Points on grey ground made of balls, in four columns; crosses lie beside it.",
)

# %% [markdown]
# The upper row shows precision, the lower one recall. Crosses are off the ground.
#
# - *Right half*: nearly all that is drawn looks real, but half of the real points could never be drawn. Precision sees nothing, recall does.
# - *Too wide*: many drawn points lie in the water. Recall is full, because wide balls cover everything.
# - *One bell* has the same mean and the same covariance as the islands. So the Frechet distance is 0. Its third moment is that of the islands too,
#   as far as chance allows, and the kernel distance is fooled as well. Yet many of its points lie where no real one ever is.
#
# Precision sees it, because it looks at places and not at moments.
#
# Precision and recall can be fooled too. A ball is as wide as to the third neighbour. What if one real point lies far out, alone?

# %%
stray = torch.cat([islands, torch.tensor([[5.0, 0.0]])])
junk = torch.tensor([4.0, 0.0]) + 0.8 * torch.randn(n, 2)
for name, ground in (("islands", islands), ("islands and one stray point", stray)):
    precision, recall = precision_recall(ground, junk)
    print(f"junk against {name}: precision {precision:.0%}, recall {recall:.0%}")

# %% [markdown]
# With one stray picture among the real ones, the junk around it counts as real
# ([Naeem and others, 2020](https://arxiv.org/abs/2002.09797)). Recall still tells. So the two are only read together.
#
# ## Obedience: adherence
#
# None of these measures has looked at a prompt. For that one needs a judge who says what is in a picture, and then
#
#     adherence = share of pictures in which the judge sees what the prompt asked for
#
# Painted digits show it best, because there is much to ask for: digit, ink, paper, stroke, lean, size and place.
# The pictures here are all real ones, so no generator can be blamed. There are three sets:
#
# - *as asked*: painted digits, each with the prompt that is true of it,
# - *shuffled*: the same pictures under each other's prompts,
# - *painted anew*: the same handwriting in other colours, in another place.
#
# Which rows of the table will fall, in which set? What will the Frechet distance say?

# %%
torch.manual_seed(0)
judge = Judge.load()
pictures = PaintedDigits(rest, variants=1)[:]
anew = PaintedDigits(rest, variants=1, seed=1)[:]
captions = [full_caption(row) for row in pictures.labels.tolist()]
rows_asked = torch.tensor([asked(caption) for caption in captions])
order = torch.randperm(N)
painted = {
    "as asked": pictures.pixels,
    "shuffled": pictures.pixels[order],
    "painted anew": anew.pixels,
}
like_painted = Likener(
    ConvNet.load("attributes"),
    PaintedDigits(reference[:3000], variants=1)[:].pixels,
    PaintedDigits(yardstick, variants=1)[:].pixels,
    "attributes",
    "3,000 painted digits",
)
print("asked for, from the left:", *captions[:4], "...", sep="\n  ")
viz.show(
    viz.table({name: to_float(pixels[:12]) for name, pixels in painted.items()}),
    "Three rows of painted digits; the last is the first in other colours.",
)

# %%
shares = {
    name: adherence_by_attribute(rows_asked, judge(to_float(pixels)))
    for name, pixels in painted.items()
}
print(f"{'':16}" + "".join(f"{name:>14}" for name in painted))
for attribute in shares["as asked"]:
    line = "".join(f"{share[attribute]:14.0%}" for share in shares.values())
    print(f"{attribute:16}" + line)
far = {name: like_painted(to_float(pixels)) for name, pixels in painted.items()}
line = "".join(f"{like.frechet_distance:14.3f}" for like in far.values())
print(f"Frechet distance{line}")
like = far["as asked"]
print(f"(floor {like.floor:.3f}, n = {like.n}, features {like.features},", end=" ")
print(f"reference {like.reference})")

# %% [markdown]
# Shuffling costs obedience and nothing else. What is left of it is chance: one of two sizes is right half of the time. But the set is the same,
# and so is the distance. Painted anew, the handwriting still obeys: digit, stroke and lean. Colours, size and place do not.
# And the distance stays near the floor, because these are real pictures too.
#
# So a system that draws splendid pictures of something else reaches the best distance there is.
#
# Adherence alone is no better. It asks whether the judge reads the right thing, and not whether the picture is any good.
# [Lesson 01](01_pixels_and_networks.ipynb) made noise that its reader took for the wanted digits without a doubt. Its adherence would have been full.
#
# ## Predict, then run
#
# Now all of it for the seven sets. Go back to the rows of pictures at the top, and write down
#
# - which set has the highest precision, and which the highest adherence,
# - in which column each of the cheats is caught: *blurred*, *two of each*, *copies*, *shuffled*,
# - which of them is caught in none.


# %%
def measured(cloud):
    """The numbers of a cloud that was drawn for the wanted digits."""
    with torch.no_grad():
        obeyed = adherence(reader.head(cloud), wanted)
    return {
        "Frechet": frechet_distance(liken.reference, cloud),
        "KID x 1000": 1000 * kernel_distance(liken.held_out, cloud),
        "precision": precision_recall(liken.held_out, cloud)[0],
        "recall": precision_recall(liken.held_out, cloud)[1],
        "adherence": obeyed,
    }


columns = {name: measured(cloud) for name, cloud in clouds.items()}
floor = frechet_distance(liken.reference, liken.held_out)
print(f"{'':12}" + "".join(f"{column:>12}" for column in columns["real"]))
for name, row in columns.items():
    kinds = ("12.3f", "12.1f", "12.0%", "12.0%", "12.1%")
    told = (f"{v:{kind}}" for v, kind in zip(row.values(), kinds, strict=True))
    print(f"{name:12}" + "".join(told))
print(f"(floor {floor:.3f}, n = {N}, features digits, reference 9,000 digits)")

# %% [markdown]
# The shuffled set is caught by adherence, and by nothing else.
#
# The set with two of each is caught by recall. Its Frechet distance is large as well: twenty pictures, many times over, are twenty pictures.
# But its adherence and its precision are at least those of the drawn set.
#
# The copies are caught by nothing. In every column they are as good as real digits, because they are real digits.
# Their Frechet distance happens to be less than that of the real ones. Most of this is chance: the two halves of the held-out digits differ as much.
# A little of it is that the copies are compared with a set to which they belong.
#
# A full adherence is no praise, by the way. Real handwriting does not reach it. Digits that are always read as asked are those that are easy to read.
#
# Three cheats need a closer look: the blur, the copies, and the guidance.
#
# ## The blur, and whose features
#
# The blurred set keeps its precision and its adherence, and the kernel distance sees nothing. The Frechet distance notices something, but not much for so plain a fault.
#
# The reason is the reader. It was trained to say which digit it is, whatever the pen. A blur does not change the digit.
# What a network has learned to overlook, a distance on its features overlooks.
#
# So take other features. This network has the same shape, and it has learned nothing at all: its weights are random.
# It knows no digits. But its filters answer to edges and to grey, in a way of their own, and their mean over the picture says how it is made
# (Naeem and others, 2020, use networks with random weights too, where trained ones do not suit the pictures).
#
# Here are four faults that anybody sees, made on real digits. The numbers are distances, as multiples of the floor of each network.


# %%
def blur(x):
    return F.avg_pool2d(x + 1, 3, stride=1, padding=1) - 1


torch.manual_seed(0)
untrained = Likener(
    ConvNet(widths=(24, 48, 96)),
    reference.pixels[:3000],
    yardstick.pixels,
    "an untrained network",
    "3,000 digits",
)
x = sets["real"]
faults = {
    "real": x,
    "drawn": sets["drawn"],
    "blurred": blur(x),
    "grey ink": 0.8 * x - 0.2,
    "jagged": torch.where(x > 0, 1.0, -1.0),
    "mirrored": x.flip(3),
}
print("times the floor:    reader   untrained")
for name, pictures in faults.items():
    print(f"{name:16} {liken(pictures).times_the_floor:9.1f}", end="")
    print(f" {untrained(pictures).times_the_floor:11.1f}")
viz.show(
    viz.table({name: pictures[first] for name, pictures in faults.items()}),
    "Six rows of digits: real, drawn, blurred, grey, with jagged edges, mirrored.",
)

# %% [markdown]
# To the reader, grey ink is next to no fault, and the blur a small one. Only mirrored digits are terrible. The untrained network turns that round:
# it sees the blur and the grey ink first of all. Both find the drawn digits good.
#
# There is no right network. Each sees what it sees. FID in papers uses Inception, which was trained to name a thousand kinds of things in photographs.
# It has blind spots of its own: its FID can be lowered without better pictures, only by a choice that suits those thousand names
# ([Kynkaanniemi and others, 2023](https://arxiv.org/abs/2203.06026)), and how the pictures were made smaller moves it as well
# ([Parmar and others, 2022](https://arxiv.org/abs/2104.11222)).
#
# So two numbers on different features cannot be compared. And two kinds of features see more than one.
#
# ## The copies, and their nearest neighbour
#
# A generator that has learned its training pictures by heart gets the numbers of real digits. To find copies one has to look for them:
# for each picture, find the nearest training picture.
#
# The cell does so for the drawn digits and for the copies. And it does so for copies in disguise, each moved by one pixel.

# %%
x = sets["copies"].roll((1, 1), (2, 3))
suspects = {"drawn": sets["drawn"], "copies": sets["copies"], "moved copies": x}
rows = {}
for name, pictures in suspects.items():
    at = torch.cdist(pictures.flatten(1), training.flatten(1)).argmin(dim=1)
    away = (pictures - training[at]).flatten(1).norm(dim=1)
    rows[name] = pictures[first]
    rows[f"nearest to {name}"] = training[at[first]]
    print(f"{name:13} {away.median():5.2f} to the nearest training digit, in pixels")
viz.show(
    viz.table(rows),
    "Drawn digits have a nearest digit that differs; copies have one that is the same.",
)

# %% [markdown]
# The copies are at no distance. The moved ones are farther away than drawn digits, and the nearest digit is often another one.
# The eye is not fooled, but who looks at thousands?
#
# How near is too near? Ask real digits that nobody copied. Take one picture of the set, and one held-out digit by chance.
# Which of them is nearer to the training digits? Fresh pictures win half of the time, copies always
# ([Meehan, Chaudhuri and Dasgupta, 2020](https://arxiv.org/abs/2004.05675)).
#
# The cell asks in three ways: over pixels, over pixels where the picture may first be moved by a pixel, and over features.


# %%
def nearest(x, known):
    return torch.cdist(x.flatten(1), known.flatten(1)).min(dim=1).values


def nearest_moved(x, known):
    moves = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return torch.stack([nearest(x.roll(m, (2, 3)), known) for m in moves]).amin(dim=0)


def nearer(mine, fresh):
    """How often one of mine is nearer to the training digits than a fresh one is."""
    ahead = (mine[:, None] < fresh).double() + 0.5 * (mine[:, None] == fresh).double()
    return ahead.mean().item()


suspects = {name: sets[name] for name in ("real", "drawn", "guidance 8")} | suspects
known, fresh = liken.reference, to_float(yardstick.pixels[:200])
ways = {
    "pixels": lambda x: nearest(x, training),
    "moved pixels": lambda x: nearest_moved(x, training),
    "features": lambda x: nearest(features(x), known),
}
usual = {way: away(fresh) for way, away in ways.items()}
print(f"nearer than fresh: {'':4}" + "".join(f"{way:>14}" for way in ways))
for name, x in suspects.items():
    shares = (nearer(away(x[:200]), usual[way]) for way, away in ways.items())
    print(f"{name:23}" + "".join(f"{share:14.0%}" for share in shares))

# %% [markdown]
# Plain copies are found by all three. A disguise is found by the check that allows for it. The features only become suspicious:
# to the reader a moved digit is near, but not at the same place.
#
# Strong guidance too stands well above half in the last column. Its digits are no copies. They are plain, and a plain digit has near neighbours.
# So a high share is a suspicion, and looking at the pairs decides.
#
# Another limit: here are 9,000 of the 60,000 digits that the generator was trained on. A copy of one of the others would not be found.
#
# ## Guidance: what is bought with what
#
# [Guidance](https://arxiv.org/abs/2207.12598) (Ho and Salimans, 2022) moves the guess away from "no words" and towards the prompt, so that pictures obey.
# What does it cost? The cell draws the same prompts and seeds under more guidance. This is the longest cell of the lesson.

# %%
scales = (1.0, 1.5, 2.0, 4.0, 8.0)
for scale in tqdm([scale for scale in scales if scale not in drawn]):
    drawn[scale] = draw_many(model, prompts, steps=10, cfg_scale=scale)
sweep = {scale: measured(features(drawn[scale])) for scale in scales}

print("guidance " + "".join(f"{scale:8g}" for scale in scales))
for column in ("adherence", "precision", "recall"):
    print(f"{column:9}" + "".join(f"{sweep[s][column]:8.0%}" for s in scales))
print("Frechet  " + "".join(f"{sweep[s]['Frechet']:8.3f}" for s in scales))
print(f"(floor {floor:.3f}, n = {N}, features digits, reference 9,000 digits;")
print(f"the blurred set: {columns['blurred']['Frechet']:.3f})")
curves = {
    column: (scales, [sweep[s][column] for s in scales])
    for column in ("adherence", "precision", "recall")
}
figure = viz.plot(curves, "guidance", "share", log="x")
figure.axes[0].minorticks_off()
figure.axes[0].set_xticks(scales, [f"{s:g}" for s in scales])
viz.show(
    figure,
    "Over guidance, adherence and precision rise a little; recall falls steadily.",
)

# %% [markdown]
# A little guidance raises adherence and precision. It costs recall from the first step on.
# Soon adherence and precision have no room left, but recall goes on falling.
#
# Three numbers, three different things: *obedience* (adherence), *likeness* (precision) and *variety* (recall).
# The Frechet distance mixes the last two, and cannot say which of them changed. It puts the blurred set in the middle of this row, among sharp ones.
#
# Single pictures with strong guidance are convincing. They show two of the three things. The third is only seen in a set.
#
# ## Play
#
# The same seeds, more and more guidance. The line below tells what was measured on the whole set. Drag the slider, or press the arrow keys.
#
# Where would you stop? Decide by eye first, then by the numbers.

# %%
from minidiff.widgets.player import Player, axis, panel, together

kinds = (2, 4, 7)
places = [(s, (wanted == d).nonzero()[:12, 0]) for s in scales for d in kinds]
Player(
    "Drawn digits by guidance",
    [
        axis("Guidance", [f"{s:g}" for s in scales], at=1),
        axis("Digit", [str(d) for d in kinds], kind="choice"),
    ],
    [panel("twelve seeds", 0, 12, 6)],
    [together([drawn[s][here] for s, here in places])],
    viz.table({f"guidance {s:g}": drawn[s][places[0][1]] for s in scales}, scale=1),
    "Twelve twos under five scales of guidance, from varied ones to nearly equal ones.",
    [
        ", ".join(f"{key} {sweep[s][key]:.0%}" for key in curves)
        + f", Frechet {sweep[s]['Frechet']:.2f}"
        for s, _ in places
    ],
)

# %% [markdown]
# ## What went wrong
#
# Your new model is measured, and the distance is far too large. Is the model bad, or the measuring?
#
# Here are three ways to measure wrong, each with the drawn digits, which are fine. And one model has a fault of its own.
#
# - *range*: the pixels go from 0 to 1, and the network expects -1 to 1,
# - *few*: 100 pictures are measured, and the floor was measured with more,
# - *sorted*: only the first half was measured, and the prompts were sorted,
# - *blurred model*: the model draws blurs.
#
# The cell sends the drawn digits down each way. Then it sends real digits down the same way. Before you run it: what will that tell?

# %%
half = wanted.argsort(stable=True)[: N // 2]
ways = {
    "healthy": (lambda x: x, False),
    "range": (lambda x: (x + 1) / 2, False),
    "few": (lambda x: x[:100], False),
    "sorted": (lambda x: x[half], False),
    "blurred model": (lambda x: x, True),
}
print("                 drawn      real: distance   precision   recall")
for name, (way, blurs) in ways.items():
    x = blur(sets["drawn"]) if blurs else sets["drawn"]
    ours = frechet_distance(liken.reference, features(way(x)))
    check = liken(way(sets["real"]))
    print(f"{name:14} {ours:7.2f} {check.frechet_distance:19.2f}", end="")
    print(f" {check.precision:11.0%} {check.recall:8.0%}")
print(f"the floor is {floor:.2f}, with n = {N}")

# %% [markdown]
# How to tell them apart: **send real pictures down the same way.**
#
# - **The real pictures come near the floor.** They need not reach it: two halves of the held-out digits differ as much.
#   The measuring is sound, and what remains is the fault of the model. That is the last line.
# - **They are far above it, and precision is low.** The network sees something else than it was trained on. Look at one picture just before it goes in:
#   shape, range, dark or bright.
# - **They are far above it, precision is high and recall low.** A part is missing. Count the kinds in the set, and in the reference.
# - **They are far above it, and both are high.** Too few pictures. Take more, and measure the floor with as many.
#
# The real pictures cost nothing, and they find most faults. Send them first.
#
# ## Which column catches which cheat
#
# The whole table once more, with the two columns that were found on the way: the distance on untrained features, as a multiple of its floor,
# and the share that is nearer to the training digits than fresh ones. A star marks what is clearly off the line of the real digits.

# %%
for name, row in columns.items():
    row["untrained"] = untrained(sets[name]).times_the_floor
    row["nearer"] = nearer(nearest(clouds[name], known), nearest(liken.held_out, known))

kinds = {"Frechet": ".3f", "KID x 1000": ".1f", "untrained": ".1f"}
best = columns["real"]
worse = {
    "Frechet": lambda v: v > 2 * best["Frechet"],
    "KID x 1000": lambda v: v > best["KID x 1000"] + 5,
    "precision": lambda v: v < best["precision"] - 0.1,
    "recall": lambda v: v < best["recall"] - 0.2,
    "adherence": lambda v: v < best["adherence"] - 0.1,
    "untrained": lambda v: v > 3 * best["untrained"],
    "nearer": lambda v: v > 0.7,
}
print(f"{'':12}" + "".join(f"{name:>12}" for name in worse))
for name, row in columns.items():
    line = f"{name:12}"
    for column, off in worse.items():
        line += f"{row[column]:11{kinds.get(column, '.0%')}}"
        line += "*" if off(row[column]) else " "
    print(line)

# %% [markdown]
# - **Blurred**: the untrained features by far. The reader's features are uneasy.
# - **Two of each**: recall. The distances see that something is wrong, and cannot say what.
# - **Copies**: the nearest neighbours, and nothing else.
# - **Shuffled**: adherence, and nothing else.
# - **Guidance 8**: recall, and the distances with it.
#
# No column catches all, and no row is caught by all. When you read that a model has "the best FID", you have read one column.
# Ask for the others.
#
# ## Milestone
#
# Your numbers, beside those that were measured when the weights were made.
# The features are the same. But the card measured 2,000 pictures against 60,000, and you have 500 against 9,000.
# So by the rule above the distances cannot be compared, and here you see by how much. What can be compared is how obedient the digits are,
# and which guidance is nearer to real digits.

# %%
quality = model.card["quality"]
halves = (liken.held_out, clouds["real"])
floors = [frechet_distance(liken.reference, half) for half in halves]
print(f"{'':24}   here   the card")
print(f"{'n':24} {N:6,} {quality['n']:10,}")
print(f"{'floor, mean of halves':24} {sum(floors) / 2:6.3f} {quality['floor']:10.3f}")
for scale in (1, 2):
    card, mine = quality[f"guidance {scale}"], sweep[scale]
    off = 2 * math.sqrt(card["adherence"] * (1 - card["adherence"]) / N)
    print(f"guidance {scale}: adherence   {mine['adherence']:7.2%}", end="")
    print(f" {card['adherence']:10.2%}, give or take {off:.2%} here")
    distance = card["frechet distance"]
    print(f"{'':12}Frechet      {mine['Frechet']:6.3f} {distance:10.3f}")

# %% [markdown]
# ## To think about
#
# 1. All 10,000 digits here are among the 60,000 that the generator and the reader were trained on. Which numbers of this lesson does that touch?
#    What would you need for a strict measurement?
# 2. A generator is trained to lower the Frechet distance on the reader's features. Which of the other columns would you still believe?
# 3. People are shown two pictures for a prompt and choose the better one. Which of the cheats would they catch, and which of them never?
# 4. Could you draw a set that passes every column of the last table, and is still of no use? What would you measure to catch it?
#
# ---
#
# Exercises: [11 · Judging images](../exercises/11_judging_images.ipynb).
# Next: [12 · Colour photos](12_colour_photos.ipynb).
# See also the [map of the course](map.ipynb) and the [glossary](glossary.ipynb).
