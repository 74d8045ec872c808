"""How good are drawn pictures? Frechet distance on given features, and whether each is what was asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor


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


def adherence(logits: Float[Tensor, "n classes"], asked: Int[Tensor, n]) -> float:
    """Share of pictures that the judge reads as the class that was asked for, in [0, 1]."""
    if len(logits) != len(asked):
        raise ValueError(f"{len(logits)} pictures, but {len(asked)} prompts")
    return float((logits.argmax(1) == asked).float().mean())


def _square_root(c: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(c)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
