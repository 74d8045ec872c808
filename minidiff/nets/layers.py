"""The parts that every network here is built from, each a few lines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class LevelEmbedding(nn.Module):
    """Noise level (b,) in [0, 1] -> (b, dim): sines and cosines at 1/2 to 64 turns, then a small MLP.

    The sinusoids of Vaswani et al. 2017, section 3.5, on a level in place of a position.
    """

    def __init__(self, dim: int, turns: float = 64.0):
        super().__init__()
        self.register_buffer("freqs", torch.logspace(math.log10(0.5), math.log10(turns), 32), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(64, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, level: Float[Tensor, "b"]) -> Float[Tensor, "b dim"]:
        angles = 2 * math.pi * level[:, None] * self.freqs
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1))


def check_ctx(ctx: Float[Tensor, "b l d"] | None, d_ctx: int | None) -> None:
    """ValueError unless words are given just where a network was built for them."""
    if (ctx is None) != (d_ctx is None):
        wrong = "missing: it needs ctx (b l d)" if ctx is None else "given"
        raise ValueError(f"this network was built with d_ctx={d_ctx}, but ctx is {wrong}")


def zero(layer: nn.Module) -> nn.Module:
    """The layer with its weights at zero, so that a new block starts as the identity."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


class ResBlock(nn.Module):
    """h + conv(silu(norm(conv(silu(norm(h)))))), where the embedding scales and shifts the second norm.

    He et al. 2016; the scale and shift are those of Dhariwal and Nichol 2021, section 3.1.
    """

    def __init__(self, c_in: int, c_out: int, d_emb: int, groups: int = 8):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.scale_shift = nn.Linear(d_emb, 2 * c_out)
        self.norm2 = nn.GroupNorm(groups, c_out)
        self.conv2 = zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Float[Tensor, "b c h w"], emb: Float[Tensor, "b d"]) -> Float[Tensor, "b c2 h w"]:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.scale_shift(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over several heads (Vaswani et al. 2017, eq. 1).

    Queries come from x (b n c); keys and values from `ctx` (b l d), or from x itself when there is none.
    Written out because it is taught, and on small pictures it is faster than the fused kernel on a CPU.
    """

    def __init__(self, dim: int, heads: int, d_ctx: int | None = None):
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got {dim} and {heads}")
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(d_ctx or dim, 2 * dim, bias=False)
        self.out = zero(nn.Linear(dim, dim))
        self.maps: list[Tensor] | None = None  # where the weights go while somebody watches

    def forward(self, x: Float[Tensor, "b n c"], ctx: Float[Tensor, "b l d"] | None = None) -> Float[Tensor, "b n c"]:
        q = rearrange(self.q(x), "b n (heads d) -> b heads n d", heads=self.heads)
        kv = self.kv(x if ctx is None else ctx)
        k, v = rearrange(kv, "b l (two heads d) -> two b heads l d", two=2, heads=self.heads)
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        if self.maps is not None:
            self.maps.append(weights.detach().float())
        out = weights @ v
        return self.out(rearrange(out, "b heads n d -> b n (heads d)"))


class PictureAttention(nn.Module):
    """Pixels look at one another, then at the words: self-attention, cross-attention, each added to x.

    After Rombach et al. 2022, section 3.3: the spatial transformer of their code, without its feed-forward layer.
    """

    def __init__(self, dim: int, heads: int, d_ctx: int | None):
        super().__init__()
        self.norm_self, self.self_attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.d_ctx = d_ctx
        if d_ctx is not None:
            self.norm_cross, self.cross_attention = nn.LayerNorm(dim), Attention(dim, heads, d_ctx)

    def forward(
        self, x: Float[Tensor, "b c h w"], ctx: Float[Tensor, "b l d"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        tokens = rearrange(x, "b c h w -> b (h w) c")
        tokens = tokens + self.self_attention(self.norm_self(tokens))
        check_ctx(ctx, self.d_ctx)
        if self.d_ctx is not None:
            tokens = tokens + self.cross_attention(self.norm_cross(tokens), ctx)
        return rearrange(tokens, "b (h w) c -> b c h w", h=x.shape[2]).contiguous(
            memory_format=torch.channels_last
            if x.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
