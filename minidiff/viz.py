"""Still pictures: grids, film strips and curves. Pixels go to PIL, plots to matplotlib, which loads only when used."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from . import files
from .data import to_uint8
from .samplers import Step

SETTINGS = "minidiff"  # the PNG text chunk that says how a picture was drawn
SCREEN = 96  # dots an inch at which one dot is one pixel of a web page
COLOURS = 128  # of a figure in a notebook
STEP = 8  # between two brightnesses, of 256, of a picture in a notebook


def picture(x: Float[Tensor, "c h w"], scale: int = 1) -> Image.Image:
    """One picture in [-1, 1], grey or RGB, each pixel `scale` pixels wide."""
    return grid(x[None], columns=1, scale=scale, gap=0)


def grid(
    x: Float[Tensor, "b c h w"], columns: int | None = None, scale: int = 2, gap: int = 1, paper: int = 128
) -> Image.Image:
    """Pictures in [-1, 1] in rows of `columns` (as square as can be by default), `gap` pixels of grey apart."""
    b, c, h, w = x.shape
    if c not in (1, 3) or b == 0:
        raise ValueError(f"pictures are (b, 1 or 3, h, w) with b > 0, got {tuple(x.shape)}")
    columns = columns or math.ceil(math.sqrt(b))
    rows = math.ceil(b / columns)
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), paper, np.uint8)
    for i, pixels in enumerate(to_uint8(x.detach().cpu()).permute(0, 2, 3, 1).numpy()):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = pixels
    image = Image.fromarray(sheet[..., 0] if c == 1 else sheet)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def film_strip(steps: Iterable[Step], frames: int | None = None, scale: int = 2, beliefs: bool = True) -> Image.Image:
    """Every walk as a row from noise to picture; with `beliefs`, below it the x0 that was guessed at each step.

    frames: how many steps to show, the first and the last among them. xt is shown at unit variance.
    """
    steps = list(steps)
    if not steps:
        raise ValueError("a film strip needs at least one step")
    if frames is not None and frames < 2:
        raise ValueError(f"a film strip shows the first and the last step: frames must be at least 2, got {frames}")
    if frames is not None and frames < len(steps):
        steps = [steps[round(i)] for i in np.linspace(0, len(steps) - 1, frames)]
    rows = []
    for row in range(len(steps[0].xt)):
        rows.append(torch.stack([visible(step.xt[row]) for step in steps]))
        if beliefs:
            rows.append(torch.stack([step.x0[row] for step in steps]))
    return grid(torch.cat(rows), columns=len(steps), scale=scale)


def visible(x: Tensor) -> Tensor:
    """x, shrunk to unit variance if it is larger, so that noise of any size can be looked at."""
    return x / max(1.0, float(x.std()))


def table(rows: dict[str, Float[Tensor, "n c h w"]], titles: Sequence[str] = (), scale: int = 2) -> Image.Image:
    """Rows of pictures {label: pictures}, each label to the left of its row, `titles` above the columns.

    Drawn at twice the density of a web page, on which a picture's pixel is `scale` pixels wide.
    """
    density, gap, size = 2, 2, 13
    font = ImageFont.load_default(size * density)
    wide = {label: max(font.getlength(line) for line in label.split("\n")) for label in rows}
    strips = {
        label: grid(x, columns=len(x), scale=scale * density, gap=1, paper=255).convert("RGB")
        for label, x in rows.items()
    }
    left = round(max(wide.values())) + 5 * density
    head = 2 * size * density if any(titles) else 0
    height = head + sum(strip.height + gap for strip in strips.values())
    sheet = Image.new("RGB", (left + max(strip.width for strip in strips.values()), height), "white")
    draw, top = ImageDraw.Draw(sheet), head
    for label, strip in strips.items():
        sheet.paste(strip, (left, top))
        draw.text((left - 4 * density, top + strip.height / 2), label, "black", font, anchor="rm", align="right")
        top += strip.height + gap
    cell = (sheet.width - left) / max(1, len(titles))
    for i, title in enumerate(titles):
        draw.text((left + (i + 0.5) * cell, head / 2), title, "black", font, anchor="mm")
    sheet.info["dpi"] = (density * SCREEN, density * SCREEN)
    return sheet


def captioned(x: Float[Tensor, "n c h w"], captions: Sequence[str], columns: int = 6, scale: int = 3) -> Image.Image:
    """Pictures in [-1, 1] in rows of `columns`, each below its caption of some lines. As dense as a `table`."""
    density, gap, size = 2, 4, 13
    font = ImageFont.load_default(size * density)
    pictures = [picture(each, scale * density).convert("RGB") for each in x]
    lines = [caption.split("\n") for caption in captions]
    wide = round(max(pictures[0].width, *(font.getlength(line) for each in lines for line in each))) + 2 * gap
    starts = range(0, len(pictures), columns)
    texts = [round((max(map(len, lines[i : i + columns])) * 1.3 + 0.7) * size) * density for i in starts]
    sheet = Image.new(
        "RGB", (min(columns, len(pictures)) * wide, sum(texts) + len(texts) * pictures[0].height), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for i, (each, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(i, columns)
        middle, top = column * wide + wide / 2, sum(texts[: row + 1]) + row * each.height
        draw.text((middle, top - 6 * density), caption, "black", font, anchor="md", align="center")
        sheet.paste(each, (round(middle - each.width / 2), top))
    sheet.info["dpi"] = (density * SCREEN, density * SCREEN)
    return sheet


class Shown:
    """What a notebook displays for `show`: the picture inside the page, with its alternative text.

    As WebP without loss, two thirds of a PNG.
    """

    def __init__(self, image: Image.Image, alt: str, width: float):
        file = io.BytesIO()
        image.save(file, "WEBP", lossless=True)
        self.webp, self.alt, self.width = file.getvalue(), alt, width

    @property
    def html(self) -> str:
        source = f"data:image/webp;base64,{base64.b64encode(self.webp).decode()}"
        about = f'alt="{html.escape(self.alt)}" width="{self.width:.0f}" style="max-width: 100%"'
        return f'<img {about} src="{source}">'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": f"[{self.alt}]"}


def show(image, alt: str) -> Shown:
    """Display a PIL picture or a matplotlib figure in a notebook; `alt` says in words what it shows.

    Not left to the notebook, because JupyterLab drops the alternative text of a bare PNG.
    """
    if not isinstance(image, Image.Image):
        file = io.BytesIO()
        image.savefig(file, format="png", dpi=2 * SCREEN)
        few = Image.open(file).convert("RGB").quantize(COLOURS)  # a quarter of the bytes, and no eye sees it
        return Shown(few, alt, image.get_figwidth() * SCREEN)
    coarse = image
    if image.mode in ("L", "RGB"):  # elsewhere a value is no brightness
        coarse = image.point(lambda value: min(255, STEP * round(value / STEP)))  # half the bytes, likewise
    return Shown(coarse, alt, page_width(image))


def page_width(image: Image.Image) -> float:
    """How wide it stands on a web page, in that page's pixels: a picture of twice the density at half its width."""
    return image.width * SCREEN / image.info.get("dpi", (SCREEN, SCREEN))[0]


def png_bytes(image: Image.Image, settings: dict | None = None) -> bytes:
    """The picture as a PNG file in memory, with `settings` as JSON in its metadata."""
    info = PngImagePlugin.PngInfo()
    if settings is not None:
        info.add_itxt(SETTINGS, json.dumps(settings, ensure_ascii=False))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, pnginfo=info)
    return file.getvalue()


def plot(curves: dict[str, tuple], x: str, y: str, log: str = "", size=(6.4, 3.6)):
    """A matplotlib figure of named curves {name: (xs, ys)}. log: "x", "y" or "xy" for logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for (name, (xs, ys)), dash in zip(curves.items(), ["-", "--", "-.", ":"] * len(curves), strict=False):
        axes.plot(xs, ys, dash, label=name)
    axes.set(xlabel=x, ylabel=y, xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    return figure


def save_png(image: Image.Image, path: str | os.PathLike, settings: dict | None = None) -> Path:
    """Write a PNG atomically, with `settings` as JSON in its metadata."""
    return files.write(path, png_bytes(image, settings))


def read_settings(path: str | os.PathLike) -> dict:
    """The settings that `save_png` stored. Raises ValueError where there are none."""
    try:
        with Image.open(path) as image:
            settings = json.loads(getattr(image, "text", {}).get(SETTINGS, "null"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path} does not say how it was drawn: minidiff did not write it, or its metadata was removed"
        )
    return settings
