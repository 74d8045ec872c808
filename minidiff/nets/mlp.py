"""A network for 2-D points, seen as pictures of one pixel with two channels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import LevelEmbedding, check_ctx


class MLP(nn.Module):
    """(x (b c 1 1), level (b,), ctx (b l d) or None) -> (b c 1 1). Three hidden layers over x, level and mean ctx."""

    def __init__(self, channels: int = 2, width: int = 128, d_ctx: int | None = None):
        super().__init__()
        self.config = dict(channels=channels, width=width, d_ctx=d_ctx)
        self.d_ctx = d_ctx
        self.level = LevelEmbedding(width, turns=4.0)
        self.layers = nn.Sequential(
            nn.Linear(channels + width + (d_ctx or 0), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, channels),
        )

    def forward(
        self, x: Float[Tensor, "b c 1 1"], level: Float[Tensor, "b"], ctx: Float[Tensor, "b l d"] | None = None
    ) -> Float[Tensor, "b c 1 1"]:
        check_ctx(ctx, self.d_ctx)
        parts = [x.flatten(1), self.level(level)] + ([] if ctx is None else [ctx.mean(1)])
        return self.layers(torch.cat(parts, dim=1))[:, :, None, None]
