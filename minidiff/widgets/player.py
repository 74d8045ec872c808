"""Player: pictures that are scrubbed and played in the page itself, with no kernel and no network.

It is one piece of HTML. A still picture stands in it, with its alternative text. Where scripts run, a canvas takes
its place: in a live notebook, in one opened again, in an exported page. Where they do not, the picture stays.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from .. import viz
from ..data import to_uint8
from ..samplers import Step

FRONT = Path(__file__).parent / "js"
BUDGET = 600_000  # bytes of pictures in one player; as text in a page they are a third more
QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10)  # of JPEG, where lossless does not fit


@cache
def javascript(*names: str) -> str:
    """The modules js/NAME.js as one script: the imports are what stands above, so they go."""
    text = "\n".join((FRONT / f"{name}.js").read_text("utf-8") for name in names)
    return re.sub(r"^import .*\n|^export (?!default)", "", text, flags=re.MULTILINE)


@cache
def style() -> str:
    return (FRONT / "style.css").read_text("utf-8")


def pixels(x: Tensor) -> np.ndarray:
    """Pictures (n c h w) in [-1, 1] as bytes (n h w c)."""
    if x.dim() != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f"pictures are (n, 1 or 3, h, w) with n > 0, got {tuple(x.shape)}")
    return to_uint8(x.detach().cpu()).permute(0, 2, 3, 1).contiguous().numpy()


def pack(pictures: Sequence[np.ndarray], budget: int = BUDGET) -> list[dict]:
    """Each array of pictures (n h w c) as one image {src, columns, width, height}, all together below `budget` bytes.

    PNG, which keeps every pixel, if the bare bytes fit. Else JPEG, as good as fits: noise cannot be packed tightly.
    """
    sheets = [_sheet(each) for each in pictures]
    if sum(each.nbytes for each in pictures) <= budget:
        files = [("png", _encoded(sheet, "PNG", compress_level=1)) for sheet, _ in sheets]
    else:
        files = [("jpeg", file) for file in _fitted([sheet for sheet, _ in sheets], budget)]
    return [
        {
            "src": f"data:image/{kind};base64,{base64.b64encode(file).decode()}",
            "columns": columns,
            "width": each.shape[2],
            "height": each.shape[1],
        }
        for (kind, file), (_, columns), each in zip(files, sheets, pictures, strict=True)
    ]


def _sheet(pictures: np.ndarray) -> tuple[Image.Image, int]:
    n, h, w, c = pictures.shape
    columns = max(1, min(n, round(math.sqrt(n * h / w))))
    rows = math.ceil(n / columns)
    if rows * columns > n:
        pictures = np.concatenate([pictures, np.zeros((rows * columns - n, h, w, c), np.uint8)])
    sheet = pictures.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)
    return Image.fromarray(sheet[..., 0] if c == 1 else sheet), columns


def _encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _fitted(sheets: list[Image.Image], budget: int) -> list[bytes]:
    """JPEG files below `budget` bytes together. The plain sheets first: what they leave goes to the noisy ones."""
    bands = [_band(sheet) for sheet in sheets]
    files: dict[int, bytes] = {}
    left = budget
    for k in sorted(range(len(sheets)), key=lambda k: len(_encoded(bands[k][0], "JPEG", quality=50)) * bands[k][1]):
        share = 0.95 * left / (len(sheets) - len(files))
        sizes = ((q, len(_encoded(bands[k][0], "JPEG", quality=q)) * bands[k][1]) for q in QUALITIES)
        quality = next((q for q, size in sizes if size < share), QUALITIES[-1])
        files[k] = _encoded(sheets[k], "JPEG", quality=quality)
        left -= len(files[k])
    return [files[k] for k in range(len(sheets))]


def _band(sheet: Image.Image) -> tuple[Image.Image, float]:
    """Every eighth band of 16 rows, by which qualities are judged fast, and how much larger the whole is."""
    whole = np.asarray(sheet)
    some = [whole[top : top + 16] for top in range(0, len(whole), 128)]
    return Image.fromarray(np.concatenate(some)), len(whole) / sum(map(len, some))


RUN = "Run this cell to get the sliders of this picture."  # seen where no script runs


def axis(name: str, values: Sequence[str], at: int = 0, kind: str = "slider") -> dict:
    """What the reader moves. kind: slider (which also plays), choice, or words."""
    return {"name": name, "values": list(values), "at": at, "as": kind}


def panel(title: str, atlas: int, count: int = 1, columns: int | None = None, frames: Sequence[int] | None = None):
    """`count` pictures of a packed image in rows of `columns`. frames: which ones, for each place on the axes.

    The places run through the last axis first. Without `frames`, the k-th place shows the k-th `count` pictures.
    """
    made = {"title": title, "atlas": atlas, "count": count, "columns": columns or in_a_row(count)}
    return made | ({"frames": list(frames)} if frames is not None else {})


def in_a_row(count: int) -> int:
    """Pictures in a row: one row of up to 8, else twice as wide as high."""
    return count if count <= 8 else min(count, math.ceil(math.sqrt(2 * count)))


class Player:
    """The HTML of axes and panels over packed pictures (see `axis`, `panel` and `pack`).

    texts: a line for each place on the axes. views: which panels to show together, {name: panel numbers}.
    still: the picture where no script runs. alt: what it shows, in words.
    """

    def __init__(
        self,
        label: str,
        axes: list[dict],
        panels: list[dict],
        pictures: Sequence[np.ndarray],
        still: Image.Image,
        alt: str,
        texts: Sequence[str] | None = None,
        views: dict[str, Sequence[int]] | None = None,
        still_width: int | None = None,
    ):
        axes = [each for each in axes if each["as"] == "slider" or len(each["values"]) > 1]  # one choice is none
        self.spec = {"label": label, "axes": axes, "panels": panels, "atlases": pack(pictures)}
        if texts is not None:
            self.spec["texts"] = list(texts)
        if views is not None:
            self.spec["views"] = [{"name": name, "panels": list(which)} for name, which in views.items()]
        self.still = viz.Shown(still, alt, float(still_width or min(640, 2 * still.width)))

    @property
    def html(self) -> str:
        data = json.dumps(self.spec, ensure_ascii=False, separators=(",", ":"))
        data = data.replace("<", "\\u003c")  # no tag in it can end it
        script = javascript("core", "page") + f"\nstart(place, {json.dumps(style())});"
        return (
            f'<div class="minidiff-player">{self.still.html}<p><small>{RUN}</small></p>'
            f'<script type="application/json">{data}</script>'
            f"<script>(() => {{\nconst place = document.currentScript.parentElement;\n{script}\n}})();</script></div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": f"[{self.still.alt}]"}


def looked_at(step: Step, model=None) -> Step:
    """The Step with pictures in it: decoded where the model draws latents; else xt at unit variance."""
    if model is None or model.vae is None:
        return Step(step.i, step.t, viz.visible(step.xt), step.x0)
    return model.in_pixels(step)


def together(parts: Sequence[Tensor]) -> np.ndarray:
    """Pictures (b c h w) of several moments, one after the other, as bytes."""
    return np.concatenate([pixels(part) for part in parts])  # each by itself fits into the cache
