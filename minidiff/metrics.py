"""How good are drawn pictures? How like real ones, on given features, and whether each is what was asked for.

`Judge` measures a painted digit back from its pixels, one attribute after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from . import painted
from .data import to_float, to_uint8
from .nets.convnet import ConvNet


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 500) -> Tensor:
    """function applied to `size` rows of x at a time, joined: bounded memory for any number of pictures."""
    return torch.cat([function(part) for part in x.split(size)])


def frechet_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> float:
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)), between Gaussians fitted to features.

    Dowson and Landau 1982; for pictures, Heusel et al. 2017, eq. 6. It falls with n and m even if nothing
    else changes, so compare at equal m, on one feature network, beside the floor that real pictures reach.
    Raises ValueError for fewer than two rows or different d.
    """
    real, fake = _two_sets(real, fake, 2)
    root = _square_root(torch.cov(real.T).view(real.shape[1], -1))
    middle = root @ torch.cov(fake.T).view(fake.shape[1], -1) @ root
    cross = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0).sqrt().sum()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    return float(means + real.var(0).sum() + fake.var(0).sum() - 2 * cross)


def kernel_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], size: int = 1000) -> float:
    """KID: the unbiased squared distance of means under the kernel (x y / d + 1)^3, from all pairs of rows.

    Binkowski et al. 2018; Gretton et al. 2012, eq. 3. Unlike the Frechet distance it does not fall with
    n, and so it may come out a little below 0. `size` rows at a time bound the memory.
    Raises ValueError for fewer than two rows or different d.
    """
    real, fake = _two_sets(real, fake, 2)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def mean(x: Tensor, y: Tensor) -> float:  # over all pairs, of a set with itself without the pairs of a row alone
        total = sum(float(kernel(a, b).sum()) for a in x.split(size) for b in y.split(size))
        if x is not y:
            return total / (len(x) * len(y))
        alone = float(((x.square().sum(1) / x.shape[1] + 1) ** 3).sum())
        return (total - alone) / (len(x) * (len(x) - 1))

    return mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)


def precision_recall(
    real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int = 3, size: int = 1000
) -> tuple[float, float]:
    """(share of drawn pictures that look real, share of real pictures that could be drawn), each in [0, 1].

    Kynkaanniemi et al. 2019, eq. 1 and 2: a set fills balls around its rows, each as wide as to the k-th nearest
    other row; precision is the share of `fake` inside the balls of `real`, recall the reverse. Compare at equal n.
    `size` rows at a time bound the memory. Raises ValueError for at most k rows or different d.
    """
    real, fake = _two_sets(real, fake, k + 1)

    def distances(x: Tensor, y: Tensor) -> Tensor:  # squared
        return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)

    def radii(x: Tensor) -> Tensor:  # the nearest row is the row itself
        return torch.cat([distances(part, x).kthvalue(k + 1, dim=1).values for part in x.split(size)])

    def inside(x: Tensor, y: Tensor, radius: Tensor) -> float:
        return float(torch.cat([(distances(part, y) <= radius).any(1) for part in x.split(size)]).double().mean())

    return inside(fake, real, radii(real)), inside(real, fake, radii(fake))


def _two_sets(real: Tensor, fake: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Both in float64; ValueError unless they are rows of one width, at least so many of each."""
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) < least:
        wanted = f"two sets of at least {least} rows of one width"
        raise ValueError(f"{wanted}, got {tuple(real.shape)} and {tuple(fake.shape)}")
    return real.double(), fake.double()


@dataclass(frozen=True)
class Likeness:
    """How like real pictures drawn ones are, with all that is needed to compare the numbers.

    floor: the Frechet distance of as many real pictures to the reference; nothing drawn can be expected below it.
    """

    frechet_distance: float
    kernel_distance: float
    precision: float
    recall: float
    floor: float
    n: int
    features: str
    reference: str

    @property
    def times_the_floor(self) -> float:
        return self.frechet_distance / self.floor


class Likener:
    """Compares drawn pictures with real ones by the features of a network: Likener(...)(drawn) is a Likeness.

    reference: many real pictures, that the network may have seen in training; held_out: as many real pictures as
    there will be drawn ones. Both are pixels (n c h w) uint8. name, of: what they are called in reports.
    """

    def __init__(self, network: ConvNet, reference: Tensor, held_out: Tensor, name: str, of: str):
        self.network, self.name, self.of = network.eval(), name, of
        self.reference, self.held_out = (self.features(pixels) for pixels in (reference, held_out))

    def features(self, pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return in_chunks(lambda part: self.network.features(to_float(part)), pixels)

    def __call__(self, x0: Float[Tensor, "n c h w"]) -> Likeness:
        """Of pictures in [-1, 1]. Precision and recall are taken between n drawn and n held-out ones."""
        drawn = self.features(to_uint8(x0.detach().cpu()))
        n = len(drawn)
        if n > len(self.held_out):
            raise ValueError(f"{n:,} pictures cannot be compared with {len(self.held_out):,} held-out ones")
        real = self.held_out[:n]
        precision, recall = precision_recall(real, drawn)
        return Likeness(
            frechet_distance(self.reference, drawn),
            kernel_distance(real, drawn),
            precision,
            recall,
            frechet_distance(self.reference, real),
            n,
            self.name,
            self.of,
        )


def inception_distance(
    real: UInt8[Tensor, "n 3 h w"], fake: UInt8[Tensor, "m 3 h w"], weights: str | os.PathLike | None = None
) -> float:
    """FID as papers report it, on features of Inception, by torchmetrics; needs `pip install minidiff[fid]`.

    weights: the file of Inception's weights, which torch-fidelity else downloads. State n with it: papers use 50,000.
    """
    path = {} if weights is None else {"feature_extractor_weights_path": os.fspath(weights)}
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance

        fid = FrechetInceptionDistance(feature=2048, **path)
    except ModuleNotFoundError as error:
        raise ValueError("the Inception distance needs two more packages: pip install 'minidiff[fid]'") from error
    for pixels, is_real in ((real, True), (fake, False)):
        for part in pixels.split(100):
            fid.update(part, real=is_real)
    return float(fid.compute())


def psnr(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> float:
    """Peak signal-to-noise ratio of pictures in [-1, 1], in dB: 10 log10(2^2 / mean (x - y)^2), over all pixels."""
    return float(10 * torch.log10(4 / (x - y).double().square().mean()))


def adherence(logits: Float[Tensor, "n classes"], asked: Int[Tensor, "n"]) -> float:
    """Share of pictures that the judge reads as the class that was asked for, in [0, 1]."""
    if len(logits) != len(asked):
        raise ValueError(f"{len(logits)} pictures, but {len(asked)} prompts")
    return float((logits.argmax(1) == asked).float().mean())


# --- The judge of painted digits --------------------------------------------------------------------

LARGE_FROM = 17.0  # pixels of height or width from which a digit counts as large


class Judge:
    """Says what a painted digit shows, from its pixels alone: a network reads the digit, the rest is measured."""

    def __init__(self, reader: ConvNet):
        self.reader = reader.eval()

    @classmethod
    def load(cls, path: str | os.PathLike = "judge") -> Judge:
        """The judge with the shipped digit reader, or the one in this file. Raises CheckpointError."""
        return cls(ConvNet.load(path))

    @torch.no_grad()
    def __call__(self, x0: Float[Tensor, "n 3 32 32"]) -> Int[Tensor, "n 7"]:
        """Rows of attributes, the columns as in painted.ATTRIBUTES, of pictures in [-1, 1]."""

        def part(pixels: Tensor) -> Tensor:
            found, ink = look(pixels)
            found[:, painted.DIGIT] = self.reader.logits(2 * ink[:, None] - 1).argmax(1)
            return found

        return in_chunks(part, to_uint8(x0.detach().cpu()))


def look(pixels: UInt8[Tensor, "n 3 32 32"]) -> tuple[Int[Tensor, "n 7"], Float[Tensor, "n 32 32"]]:
    """(attributes without the digit, coverage of the ink in [0, 1]) of painted digits.

    Paper is the median of the outermost pixels and ink the mean of the four pixels farthest from it, each named
    after the nearest of painted.COLOURS. A pixel between the two is covered in part; on that the rest is measured.
    """
    x = pixels.float()
    ring = torch.ones(painted.SIDE, painted.SIDE, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    paper = x[:, :, ring].median(2).values
    farthest = (x - paper[..., None, None]).square().sum(1).flatten(1).topk(4).indices
    ink = x.flatten(2).gather(2, farthest[:, None].expand(-1, 3, -1)).mean(2)
    way = (ink - paper)[..., None, None]
    coverage = ((x - paper[..., None, None]) * way).sum(1) / way.square().sum(1).clamp(min=1)
    coverage = coverage.clamp(0, 1)

    size = (_extent(coverage > 0.5) > LARGE_FROM).long()
    found = torch.full((len(x), len(painted.ATTRIBUTES)), painted.UNSAID)
    found[:, painted.INK], found[:, painted.PAPER] = (
        torch.cdist(colour, painted.RGB).argmin(1) for colour in (ink, paper)
    )
    found[:, painted.SIZE], found[:, painted.PLACE] = size, torch.where(size == 0, _place(coverage), 0)
    found[:, painted.STROKE] = painted.stroke_class(painted.stroke_width(coverage), size)
    found[:, painted.LEAN] = painted.lean_class(painted.lean(coverage))
    return found, coverage


def adherence_by_attribute(asked: Int[Tensor, "n 7"], seen: Int[Tensor, "n 7"]) -> dict[str, float]:
    """Share of pictures that show what was asked for, for each attribute where it was asked for, and for "all".

    "all" counts a picture if nothing in it contradicts its prompt. An attribute that nobody asked for is nan.
    """
    said, right = asked != painted.UNSAID, asked == seen
    shares = {name: float(right[said[:, i], i].float().mean()) for i, name in enumerate(painted.ATTRIBUTES)}
    return shares | {"all": float((right | ~said).all(1).float().mean())}


def _extent(body: Tensor) -> Tensor:
    """The larger of height and width of the True region of each (h, w); 0 where there is none."""

    def span(filled: Tensor) -> Tensor:
        first, last = filled.int().argmax(1), filled.shape[1] - 1 - filled.int().flip(1).argmax(1)
        return torch.where(filled.any(1), last - first + 1, 0)

    return torch.maximum(span(body.any(2)), span(body.any(1)))


def _place(coverage: Tensor) -> Tensor:
    """The place whose middle is nearest to the centre of mass."""
    ink, along = painted.without_haze(coverage), torch.arange(painted.SIDE).float()
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    centre = torch.stack([(ink.sum(2) * along).sum(1) / mass, (ink.sum(1) * along).sum(1) / mass], dim=1)
    return torch.cdist(centre, painted.CORNER + 0.5 + (painted.SMALL - 1) / 2).argmin(1)


def _square_root(c: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(c)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
