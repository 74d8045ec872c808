"""How good are drawn pictures? Frechet distance on given features, and whether each is what was asked for.

`Judge` measures a painted digit back from its pixels, one attribute after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from . import painted
from .data import to_uint8
from .nets.convnet import ConvNet


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, size: int = 500) -> Tensor:
    """function applied to `size` rows of x at a time, joined: bounded memory for any number of pictures."""
    return torch.cat([function(part) for part in x.split(size)])


def frechet_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> float:
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)), between Gaussians fitted to features.

    Dowson and Landau 1982, eq. 16; for pictures, Heusel et al. 2017, eq. 6. It falls with n and m even if nothing
    else changes, so compare at equal m, on one feature network, beside the floor that real pictures reach.
    Raises ValueError for fewer than two rows or different d.
    """
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) < 2:
        raise ValueError(f"two sets of at least 2 rows of one width, got {tuple(real.shape)} and {tuple(fake.shape)}")
    real, fake = real.double(), fake.double()
    root = _square_root(torch.cov(real.T).view(real.shape[1], -1))
    middle = root @ torch.cov(fake.T).view(fake.shape[1], -1) @ root
    cross = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0).sqrt().sum()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    return float(means + real.var(0).sum() + fake.var(0).sum() - 2 * cross)


def adherence(logits: Float[Tensor, "n classes"], asked: Int[Tensor, "n"]) -> float:
    """Share of pictures that the judge reads as the class that was asked for, in [0, 1]."""
    if len(logits) != len(asked):
        raise ValueError(f"{len(logits)} pictures, but {len(asked)} prompts")
    return float((logits.argmax(1) == asked).float().mean())


# --- The judge of painted digits --------------------------------------------------------------------

LARGE_FROM = 16.5  # pixels of height or width from which a digit counts as large


class Judge:
    """Says what a painted digit shows, from its pixels alone: a network reads the digit, the rest is measured."""

    def __init__(self, reader: ConvNet):
        self.reader = reader.eval()

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> Judge:
        """The judge with the shipped digit reader, or the one in this file. Raises CheckpointError."""
        return cls(ConvNet.load(path or Path(__file__).parent / "weights/judge.safetensors"))

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
    ink, along = painted.clear(coverage), torch.arange(painted.SIDE).float()
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    centre = torch.stack([(ink.sum(2) * along).sum(1) / mass, (ink.sum(1) * along).sum(1) / mass], dim=1)
    return torch.cdist(centre, painted.CORNER + 0.5 + (painted.SMALL - 1) / 2).argmin(1)


def _square_root(c: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(c)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
