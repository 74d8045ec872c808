"""PaintMask: paint over what shall be drawn anew, or move the view beyond the edge of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import traitlets
from torch import Tensor

from .. import viz
from ..pipeline import TextToImage
from .live import Live, raw


class PaintMask(Live):
    """Paint a mask over a picture (c h w) in [-1, 1]; the model draws what lies under it, by the prompt.

    `mask` (h w, True = known) is the last one that was painted, `result` (1 c h w) what came of it.
    `settings` go to `model.walk`.
    """

    module = "paint"
    label = traitlets.Unicode("Paint a mask").tag(sync=True)
    start = traitlets.Dict().tag(sync=True)

    def __init__(self, model: TextToImage, picture: Tensor, prompt: str = "", seed: int = 0, **settings):
        picture = picture[None] if picture.dim() == 3 else picture
        if picture.shape != (1, *model.picture_shape):
            raise ValueError(f"the picture must be {model.picture_shape}, got {tuple(picture.shape)}")
        self.model, self.settings = model, settings
        self.picture, self.result, self.mask = picture, picture, torch.ones(picture.shape[2:], dtype=torch.bool)
        super().__init__(start={"prompt": prompt, "seed": seed})

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        kind = request["kind"]
        if kind == "paint":
            painted = torch.frombuffer(bytearray(buffers[0]), dtype=torch.uint8).reshape(self.mask.shape)
            self.mask = painted == 0
            yield from self._draw(request, self.picture, self.mask)
        elif kind == "move":
            right, down = request["right"], request["down"]
            height, width = self.picture.shape[2:]
            rows, columns = torch.arange(height) + down, torch.arange(width) + right
            known = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
            yield from self._draw(request, self.picture.roll((-down, -right), (2, 3)), known)
        elif kind == "keep":
            self.picture = self.result
            yield self._shown("picture", self.picture)
        elif kind == "look":
            yield self._shown("picture", self.picture)
        else:
            raise ValueError(f"there is no request of the kind {kind!r}")

    def still(self) -> str:
        text = "A picture, over which a mask can be painted when this cell is run."
        return viz.show(viz.grid(self.picture, scale=4, gap=0), text).html

    def _draw(self, request: dict, picture: Tensor, known: Tensor) -> Iterator[tuple[dict, list[bytes]]]:
        """The guess at every step, which anyone may interrupt, and then the result."""
        about = dict(seed=request["seed"], image=picture, mask=known, **self.settings)
        for step in self.model.walk(request["prompt"], **about):
            yield self._shown("guess", self.model.pictures(step.x0))
        drawn = self.model.pictures(step.x0).cpu()
        self.result = torch.where(known, picture, drawn)  # decoding is not exact, but what is known is
        yield self._shown("result", self.result)

    def _shown(self, kind: str, picture: Tensor) -> tuple[dict, list[bytes]]:
        about, data = raw(picture)
        return {"kind": kind, "picture": about}, [data]
