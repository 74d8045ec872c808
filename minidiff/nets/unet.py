"""The U-Net: the network that looks at a noisy picture at several sizes and answers at full size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .layers import LevelEmbedding, PictureAttention, ResBlock, check_ctx, zero


class UNet(nn.Module):
    """(x (b c h w), level (b,), ctx (b l d) or None) -> (b c h w). Ronneberger et al. 2015; Ho et al. 2020.

    channels: colour channels of the picture. widths: features at each size, the first at full size divided by
    `patch`, each further one at half the size before. blocks: residual blocks a size. Attention stands at the
    smallest size. d_ctx: width of the condition tokens, None for a network without words. peak: every block hears
    the largest value of each feature over the words, and not their mean: a word counts as much in a long caption.
    patch: pixels a side that the stem folds into channels; 2 quarters the work. side: pictures are side x side, and
    each place has a vector of its own that is learned, after the stem and before the middle: a convolution alone does
    not know where it is. Without it height and width may be any multiples of patch * 2^(len(widths) - 1).
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (64, 128),
        blocks: int = 2,
        heads: int = 4,
        d_ctx: int | None = None,
        patch: int = 2,
        peak: bool = False,
        side: int | None = None,
    ):
        super().__init__()
        widths = tuple(widths)
        self.config = dict(channels=channels, widths=list(widths), blocks=blocks, heads=heads, d_ctx=d_ctx, patch=patch)
        self.config |= (dict(peak=True) if peak else {}) | (dict(side=side) if side else {})
        self.multiple = patch * 2 ** (len(widths) - 1)
        d_emb = 2 * widths[0]
        self.level = LevelEmbedding(d_emb)
        self.words = nn.Linear(d_ctx, d_emb) if d_ctx else None
        self.stem = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(channels * patch**2, widths[0], 3, padding=1))

        self.places = nn.ParameterList()
        if side:
            if side % self.multiple:
                raise ValueError(f"side must be a multiple of {self.multiple}, got {side}")
            sizes = (widths[0], side // patch), (widths[-1], side // self.multiple)
            self.places.extend(torch.zeros(c, n, n) for c, n in sizes)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        c, saved = widths[0], []
        for i, width in enumerate(widths):
            if i:
                self.down.append(nn.Conv2d(c, width, 3, stride=2, padding=1))
                c = width
            for _ in range(blocks):
                self.down.append(ResBlock(c, width, d_emb))
                c = width
                saved.append(c)
        self.middle = nn.ModuleList([ResBlock(c, c, d_emb), PictureAttention(c, heads, d_ctx), ResBlock(c, c, d_emb)])
        for i, width in reversed(list(enumerate(widths))):
            for _ in range(blocks):
                self.up.append(ResBlock(c + saved.pop(), width, d_emb))
                c = width
            if i:
                self.up.append(Upsample(c, widths[i - 1]))
                c = widths[i - 1]
        self.head = nn.Sequential(
            nn.GroupNorm(8, c),
            nn.SiLU(),
            zero(nn.Conv2d(c, channels * patch**2, 3, padding=1)),
            nn.PixelShuffle(patch),
        )

    def embed(self, level: Float[Tensor, "b"], ctx: Float[Tensor, "b l d"] | None) -> Float[Tensor, "b e"]:
        """What every block hears: the noise level and, where there are words, their mean or their peak."""
        emb = self.level(level)
        check_ctx(ctx, self.config["d_ctx"])
        if self.words is not None:
            emb = emb + self.words(ctx.amax(1) if self.config.get("peak") else ctx.mean(1))
        return F.silu(emb)

    def encode(self, x, emb, ctx=None) -> tuple[Tensor, list[Tensor]]:
        """x (b c h w) -> the smallest features and those saved on the way down: the first half."""
        if x.shape[1] != self.config["channels"]:
            raise ValueError(f"this network has channels={self.config['channels']}, got {x.shape[1]}")
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise ValueError(f"height and width must be multiples of {self.multiple}, got {tuple(x.shape[2:])}")
        side = self.config.get("side")
        if side and x.shape[2:] != (side, side):
            raise ValueError(f"this network has side={side}, got {tuple(x.shape[2:])}")
        h, saved = self.stem(x), []
        if self.places:
            h = h + self.places[0]
        for layer in self.down:
            if isinstance(layer, ResBlock):
                h = layer(h, emb)
                saved.append(h)
            else:
                h = layer(h)
        if self.places:
            h = h + self.places[1]
        first, attention, second = self.middle
        return second(attention(first(h, emb), ctx), emb), saved

    def decode(self, h: Tensor, saved: list[Tensor], emb: Tensor) -> Tensor:
        """The second half: back up to (b c h w), with what was saved on the way down."""
        saved = list(saved)
        for layer in self.up:
            h = layer(torch.cat([h, saved.pop()], dim=1), emb) if isinstance(layer, ResBlock) else layer(h)
        return self.head(h)

    def forward(
        self, x: Float[Tensor, "b c h w"], level: Float[Tensor, "b"], ctx: Float[Tensor, "b l d"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        emb = self.embed(level, ctx)
        return self.decode(*self.encode(x, emb, ctx), emb)


class Upsample(nn.Module):
    """Twice the height and width: each pixel becomes four, then a convolution smooths."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
