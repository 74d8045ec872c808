from __future__ import annotations

import torch
from minidiff.grading.exercise import TENSOR, Case, Lesson

LESSON = Lesson(
    "11",
    "judging_images",
    "Judging images",
    """
    Is this set of pictures as good as that one? Every measure compares two clouds of feature vectors, and each can be
    fooled. Write four of them, then fool one.
    """,
)


@LESSON.exercise(
    "11.1",
    "A cloud in two numbers",
    points=3,
    text="""
    The Frechet distance sees of a cloud of points only its mean and its covariance. Compute both; the covariance divides by
    n - 1. `torch.cov` is not to be used.
    """,
    properties={**TENSOR, "one column": 1},
    mistakes=[
        (
            "/ (len(x) - 1)",
            "/ len(x)",
            "The covariance divides by n - 1, because the mean was measured on the same points.",
        ),
        ("centred = x - mean", "centred = x", "Take the mean away before you multiply."),
        (
            "centred.T @ centred",
            "(centred.T @ centred).diag().diag()",
            "The covariances between columns are missing, beside the variances.",
        ),
        ("x.mean(0)", "x.mean()", "Each column has its own mean."),
    ],
    hints=["The centred points, transposed, times themselves."],
)
def cloud(x):
    """(mean (d,), covariance (d, d)) of points x (n, d)."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


@cloud.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case(
            "values", (r.normal(9, 3, dtype=dtype) @ r.normal(3, 3, dtype=dtype) + 2 * r.normal(3, dtype=dtype),)
        )
    yield Case("one column", (r.normal(5, 1),))


@cloud.picture
def _(r):
    x = r.normal(200, 3)
    return (torch.stack([x[:, 0], x[:, 0] + 0.3 * x[:, 1], 2 - x[:, 2]], 1),)


@LESSON.exercise(
    "11.2",
    "Frechet distance, one column",
    points=4,
    text="""
    For two Gaussians on a line the Frechet distance is simple
    ([Dowson and Landau, 1982](https://doi.org/10.1016/0047-259X(82)90077-X)):
    `(mean_r - mean_f)^2 + (std_r - std_f)^2`. Compute it for each column on its own, from samples, with torch's own
    standard deviation, and add up the columns. That is the distance of papers if columns do not hang together.
    """,
    properties={**TENSOR, "the same set twice": 1},
    mistakes=[
        ("real.std(0) - fake.std(0)", "real.var(0) - fake.var(0)", "Standard deviations, not variances."),
        (".square().sum() + (real.std", ".abs().sum() + (real.std", "The difference of the means is squared, too."),
        (
            "+ (real.std(0) - fake.std(0)).square().sum()",
            "",
            "The spread is missing: two clouds with one mean can differ.",
        ),
        (
            "(real.std(0) - fake.std(0)).square().sum()",
            "(real.std(0) - fake.std(0)).square().mean()",
            "Add up the columns; do not average them.",
        ),
    ],
    hints=["mean(0) and std(0) work on all columns at once."],
)
def frechet_by_column(real, fake):
    """A tensor () for features real (n, d) and fake (m, d)."""
    return (real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum()


@frechet_by_column.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case("values", (r.normal(9, 3, dtype=dtype), 2 * r.normal(7, 3, dtype=dtype) + 1))
    x = r.normal(6, 2)
    yield Case("the same set twice", (x, x.clone()))


@frechet_by_column.picture
def _(r):
    x = r.normal(40, 2)
    return [(x, x + shift) for shift in torch.linspace(-2, 2, 15).tolist()]


@LESSON.exercise(
    "11.3",
    "Frechet distance",
    points=6,
    text="""
    The whole of it ([Heusel et al., 2017](https://arxiv.org/abs/1706.08500), eq. 6):
    `|mean_r - mean_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2))`. The trace of the matrix root is the sum of the roots of the
    eigenvalues of `C_r C_f`, which are real and not negative; rounding may make them a little less than 0, or complex.
    """,
    properties={**TENSOR, "the same set twice": 1, "fewer points than columns": 1},
    mistakes=[
        ("- 2 * roots.sum()", "- roots.sum()", "The root counts twice."),
        (
            "- 2 * roots.sum()",
            "- 2 * (cov_real @ cov_fake).diagonal().clamp(min=0).sqrt().sum()",
            "The root of a matrix is not the root of its numbers: take the eigenvalues.",
        ),
        (
            "roots = torch.linalg.eigvals(cov_real @ cov_fake).real.clamp(min=0).sqrt()",
            "roots = torch.linalg.eigvals(cov_real @ cov_fake).real.clamp(min=0)",
            "The roots of the eigenvalues.",
        ),
        ("(real.mean(0) - fake.mean(0)).square().sum() + ", "", "The distance of the means is missing."),
        (
            "(real.mean(0) - fake.mean(0)).square().sum()",
            "(real.mean(0) - fake.mean(0)).norm()",
            "The distance of the means is squared.",
        ),
    ],
    hints=[
        "torch.linalg.eigvals, then .real, clamp(min=0) and sqrt.",
        "The trace of a covariance is the sum of the variances.",
    ],
)
def frechet(real, fake):
    """A tensor () for features real (n, d) and fake (m, d), in float64."""
    cov_real, cov_fake = torch.cov(real.T), torch.cov(fake.T)
    roots = torch.linalg.eigvals(cov_real @ cov_fake).real.clamp(min=0).sqrt()
    spread = cov_real.trace() + cov_fake.trace() - 2 * roots.sum()
    return (real.mean(0) - fake.mean(0)).square().sum() + spread


@frechet.cases
def _(r):
    for d in (3, 4):
        real = r.normal(20, d, dtype=torch.float64) @ r.normal(d, d, dtype=torch.float64)
        yield Case("values", (real, 0.7 * r.normal(15, d, dtype=torch.float64) + 1))
    x = r.normal(12, 2, dtype=torch.float64)
    yield Case("the same set twice", (x, x.clone()))
    for n in (3, 4, 5):
        yield Case(
            "fewer points than columns", (r.normal(n, 9, dtype=torch.float64), r.normal(n, 9, dtype=torch.float64))
        )


@frechet.picture
def _(r):
    x = r.normal(40, 2, dtype=torch.float64)
    return [(x, scale * x) for scale in torch.linspace(0.2, 3, 15).tolist()]


@LESSON.exercise(
    "11.4",
    "Kernel distance",
    points=6,
    text="""
    KID compares all pairs by the kernel `k(x, y) = (x . y / d + 1)^3`
    ([Binkowski et al., 2018](https://arxiv.org/abs/1801.01401)): the mean over pairs within `real`, plus that
    within `fake`, minus twice that between both. Within a set a point is not paired with itself: such pairs would
    make a small set look farther away than it is.
    """,
    properties={**TENSOR, "two points each": 1},
    mistakes=[
        (
            "(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))",
            "k.mean()",
            "Leave out the pairs of a point with itself.",
        ),
        ("- 2 * kernel(real, fake).mean()", "- kernel(real, fake).mean()", "The pairs between the sets count twice."),
        ("x @ y.T / x.shape[1] + 1", "x @ y.T + 1", "The product is divided by the number of columns, d."),
        ("x @ y.T / x.shape[1] + 1", "x @ y.T / x.shape[1]", "The 1 inside the kernel is missing."),
        ("+ 1) ** 3", "+ 1) ** 2", "The third power."),
        (
            "within(kernel(real, real)) + within(kernel(fake, fake))",
            "within(kernel(real, real))",
            "The pairs within fake are missing.",
        ),
    ],
    hints=["k = (x @ y.T / d + 1) ** 3 holds all pairs.", "Within a set: the sum without the diagonal, by n (n - 1)."],
)
def kernel_distance(real, fake):
    """A tensor () for features real (n, d) and fake (m, d)."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(k):
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    return within(kernel(real, real)) + within(kernel(fake, fake)) - 2 * kernel(real, fake).mean()


@kernel_distance.cases
def _(r):
    for dtype in (torch.float32, torch.float64):
        yield Case("values", (r.normal(7, 3, dtype=dtype), 0.8 * r.normal(5, 3, dtype=dtype) + 0.5))
    yield Case("two points each", (r.normal(2, 4), r.normal(2, 4)))


@kernel_distance.picture
def _(r):
    x, y = r.normal(40, 2), r.normal(30, 2)
    return [(x, y + shift) for shift in torch.linspace(-1.5, 1.5, 15).tolist()]


@LESSON.exercise(
    "11.5",
    "Precision and recall",
    points=6,
    text="""
    Put a ball around each real picture, as wide as to its k-th nearest other real picture. Precision is the share of the
    drawn pictures that lie in at least one ball, recall the same with the roles exchanged
    ([Kynkaanniemi et al., 2019](https://arxiv.org/abs/1904.06991), eq. 1 and 2). A point on the edge is inside.
    Return both as numbers.
    """,
    properties={"values": 3, "inputs": 1, "far apart": 1, "the same set twice": 1},
    mistakes=[
        (
            "kthvalue(k + 1, dim=1)",
            "kthvalue(k, dim=1)",
            "The nearest point is the point itself: the k-th other one is number k + 1.",
        ),
        (
            "return inside(fake, real), inside(real, fake)",
            "return inside(real, fake), inside(fake, real)",
            "Precision is about the drawn pictures, recall about the real ones: they have changed places.",
        ),
        (".any(1)", ".all(1)", "One ball is enough."),
        ("radius = torch.cdist(y, y)", "radius = torch.cdist(y, x)", "A ball is as wide as to a point of its own set."),
    ],
    hints=["torch.cdist gives all distances; kthvalue along a row finds the k-th smallest."],
)
def precision_and_recall(real, fake, k):
    """(precision, recall), two float, of features real (n, d) and fake (m, d); k is an int."""

    def inside(x, y):
        radius = torch.cdist(y, y).kthvalue(k + 1, dim=1).values
        return float((torch.cdist(x, y) <= radius).any(1).double().mean())

    return inside(fake, real), inside(real, fake)


@precision_and_recall.cases
def _(r):
    for k in (1, 2, 3):
        yield Case(
            "values", (r.normal(16, 2, dtype=torch.float64), 0.9 * r.normal(13, 2, dtype=torch.float64) + 1.0, k)
        )
    yield Case("far apart", (r.normal(8, 3, dtype=torch.float64), r.normal(7, 3, dtype=torch.float64) + 50, 2))
    x = r.normal(9, 3, dtype=torch.float64)
    yield Case("the same set twice", (x, x.clone(), 2))


@precision_and_recall.picture
def _(r):
    x, y = r.normal(50, 2, dtype=torch.float64), r.normal(50, 2, dtype=torch.float64)
    return [(x, scale * y, 3) for scale in torch.linspace(0.1, 3, 15).tolist()]


@LESSON.exercise(
    "11.6",
    "Fool the Frechet distance",
    points=5,
    text="""
    Open: make two sets that the Frechet distance takes for the same (less than 0.05), though hardly a drawn picture looks
    real and hardly a real one could be drawn: precision and recall, with k = 3, both below 0.5.
    Each set has one shape (n, d), with n from 50 to 2000 and d from 1 to 16. Every column of `real` has a standard
    deviation above 0.1.
    """,
    properties={"values": 4, "recall sees it": 1},
    hints=[
        "Only mean and covariance count. Which clouds on a line have mean 0 and variance 1, and yet no point in common?"
    ],
    judge="fooled",
)
def two_sets():
    """(real, fake), two float tensors (n, d)."""
    small = torch.linspace(-0.01, 0.01, 100)[:, None]
    real = torch.cat([small + 1, small - 1])
    fake = torch.cat(
        [
            torch.linspace(-0.01, 0.01, 150)[:, None],
            torch.linspace(1.99, 2.01, 25)[:, None],
            torch.linspace(-2.01, -1.99, 25)[:, None],
        ]
    )
    return real, fake


@two_sets.cases
def _(r):
    yield Case("values", ())
