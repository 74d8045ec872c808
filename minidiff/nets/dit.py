"""A small diffusion transformer: patches of the picture as tokens, in place of the U-Net."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .layers import Attention, LevelEmbedding, check_ctx, zero


class DiT(nn.Module):
    """(x (b c h w), level (b,), ctx (b l d) or None) -> (b c h w). Peebles and Xie 2023.

    The picture is cut into patches of `patch` pixels a side, each a token of `width` numbers; `depth` blocks follow.
    Level and words scale and shift every block (their adaLN-Zero, section 3.2); the words are also attended to.
    Height and width must be multiples of patch. Places are sines and cosines, so any size will do.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        d_ctx: int | None = None,
        patch: int = 4,
    ):
        super().__init__()
        if width % 4:
            raise ValueError(f"width must be a multiple of 4, got {width}")
        self.config = dict(channels=channels, width=width, depth=depth, heads=heads, d_ctx=d_ctx, patch=patch)
        self.patch = patch
        self.level = LevelEmbedding(width)
        self.words = nn.Linear(d_ctx, width) if d_ctx else None
        self.stem = nn.Linear(channels * patch**2, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, d_ctx) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.scale_shift = zero(nn.Linear(width, 2 * width))
        self.head = zero(nn.Linear(width, channels * patch**2))

    def forward(
        self, x: Float[Tensor, "b c h w"], level: Float[Tensor, "b"], ctx: Float[Tensor, "b l d"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        if x.shape[1] != self.config["channels"]:
            raise ValueError(f"this network has channels={self.config['channels']}, got {x.shape[1]}")
        if x.shape[2] % self.patch or x.shape[3] % self.patch:
            raise ValueError(f"height and width must be multiples of {self.patch}, got {tuple(x.shape[2:])}")
        emb = self.level(level)
        check_ctx(ctx, self.config["d_ctx"])
        if self.words is not None:
            emb = emb + self.words(ctx.mean(1))
        emb = F.silu(emb)
        rows, columns = x.shape[2] // self.patch, x.shape[3] // self.patch
        tokens = rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=self.patch, q=self.patch)
        tokens = self.stem(tokens) + places(rows, columns, self.config["width"]).to(tokens)
        for block in self.blocks:
            tokens = block(tokens, emb, ctx)
        scale, shift = self.scale_shift(emb)[:, None].chunk(2, dim=-1)
        tokens = self.head(self.norm(tokens) * (1 + scale) + shift)
        return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=rows, p=self.patch, q=self.patch)


class DiTBlock(nn.Module):
    """x + gate attention(norm(x)), + attention to the words, + gate mlp(norm(x)); the gates start at zero."""

    def __init__(self, width: int, heads: int, d_ctx: int | None):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads, d_ctx) if d_ctx else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = zero(nn.Linear(width, 6 * width))
        # The gates already start at zero; two zeros in a row would never learn.
        nn.init.xavier_uniform_(self.attention.out.weight)

    def forward(self, x: Float[Tensor, "b n c"], emb: Float[Tensor, "b c"], ctx: Float[Tensor, "b l d"] | None = None):
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(emb)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norms[0](x) * (1 + scale1) + shift1)
        if self.cross_attention is not None:
            x = x + self.cross_attention(self.norms[1](x), ctx)
        return x + gate2 * self.mlp(self.norms[2](x) * (1 + scale2) + shift2)


def places(rows: int, columns: int, width: int) -> Float[Tensor, "n c"]:
    """Sines and cosines of row and column (Vaswani et al. 2017, 3.5, for two axes; 1,000 in place of 10,000)."""
    freqs = torch.exp(-math.log(1000) * torch.arange(width // 4) / (width // 4))
    row, column = (torch.arange(n)[:, None] * freqs for n in (rows, columns))
    row, column = (torch.cat([angle.sin(), angle.cos()], dim=1) for angle in (row, column))
    grid = torch.cat([row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)], dim=-1)
    return grid.flatten(0, 1)
