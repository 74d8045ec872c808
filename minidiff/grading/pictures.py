"""What is wanted beside what is yours: the same kind of drawing twice, on one scale."""

from __future__ import annotations

import base64
import html

import torch
from torch import Tensor

from ..viz import grid, png_bytes
from .wire import unusual

HEIGHT, EDGE = 120, 5  # of a plot, in pixels
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3")
CELLS = 10  # rows and columns of a table at most; a larger matrix is drawn in grey
LARGEST = 200_000  # numbers


def beside(want: list, got: list) -> list[tuple[str, str]]:
    """[("wanted", HTML), ("yours", HTML)] of what one or several calls gave; without what cannot be drawn.

    Drawn are pictures (b, c, h, w), maps (b, h, w), matrices, points (n, 2), curves, and tuples of such.
    Numbers of several calls make a curve, and vectors a matrix.
    """
    wanted, yours = parts(joined(want)), parts(joined(got))
    yours += [None] * (len(wanted) - len(yours))
    pairs = list(zip(wanted, yours, strict=False))
    sides = {"wanted": [drawn(w, w, "wanted") for w, _ in pairs], "yours": [drawn(g, w, "yours") for w, g in pairs]}
    return [(side, "".join(filter(None, shown))) for side, shown in sides.items() if any(shown)]


def joined(outs: list) -> object:
    """One value of those of several calls."""
    first = outs[0]
    if len(outs) == 1:
        return first
    if isinstance(first, (tuple, list)):
        same = all(isinstance(out, (tuple, list)) and len(out) == len(first) for out in outs)
        return tuple(joined(list(column)) for column in zip(*outs, strict=True)) if same else None
    outs = [torch.tensor(float(out)) if isinstance(out, (int, float)) else out for out in outs]
    if not all(isinstance(out, Tensor) and out.shape == outs[0].shape for out in outs):
        return None
    return torch.stack(outs) if outs[0].dim() < 2 else torch.cat(outs)


def parts(value: object) -> list:
    """What is drawn one by one: a curve is a list of vectors, all else a tensor."""
    values = [torch.as_tensor(v) if isinstance(v, (int, float)) else v for v in _flat(value)]
    if len(values) > 1 and all(_is_curve(v) for v in values):
        return [values]
    return [[v] if _is_curve(v) else v for v in values]


def _flat(value: object) -> list:
    return [x for v in value for x in _flat(v)] if isinstance(value, (tuple, list)) else [value]


def _is_curve(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1 and len(value) > CELLS


def drawn(value: object, like: object, alt: str) -> str | None:
    """HTML of one part, on the scale of `like`, what is wanted; None where there is nothing to see."""
    try:
        if isinstance(value, list):
            return _plot([_y(v) for v in value], [_y(v) for v in like], alt) if isinstance(like, list) else None
        if not isinstance(value, Tensor) or not isinstance(like, Tensor) or not 0 < value.numel() <= LARGEST:
            return None
        if unusual(value):
            return None
        bytes_ = like.dtype == torch.uint8
        value, like = (_plain(x) / 127.5 - 1 if bytes_ else _plain(x) for x in (value, like))
        if value.dim() == 2 and value.shape[1] == 2 and len(value) > CELLS:
            return _points(value, like, alt) if like.shape == value.shape else None
        if value.dim() == 2 and max(value.shape) <= CELLS:
            return _table(value, like)
        return _image(value, like, alt)
    except (ValueError, RuntimeError):
        return None  # what is wrong with it is said in words


def _plain(x: Tensor) -> Tensor:
    """float32 without nan; pictures (b, c, h, w), or a matrix where there is only one."""
    x = x.detach().float().nan_to_num(0.0, 1e6, -1e6)
    if x.dim() < 2 or x.numel() == max(x.shape):
        return x.reshape(1, -1)
    if x.dim() == 3:
        return x[0] if len(x) == 1 else x[:, None]
    return x if x.dim() == 2 or x.shape[1] in (1, 3) else x.flatten(0, 1)[:, None]


def _image(value: Tensor, like: Tensor, alt: str) -> str:
    low, high = float(like.min()), float(like.max())
    if like.dim() == 4 and low < 0:  # pictures, with 0 as middle grey
        high = 1.0 if max(high, -low) <= 1.05 else max(1.0, 2 * float(like.std()))
        low = -high
    shown = 2 * (value - low) / max(high - low, 1e-9) - 1
    shown = shown if shown.dim() == 4 else shown[None, None]
    columns = min(6, len(shown))
    scale = max(1, min(16, 300 // (columns * shown.shape[3]), 120 // shown.shape[2]))
    png = base64.b64encode(png_bytes(grid(shown, columns, scale, gap=int(len(shown) > 1)))).decode()
    return f'<img alt="{html.escape(alt)}" style="margin:2px" src="data:image/png;base64,{png}">'


def _table(value: Tensor, like: Tensor) -> str:
    most = max(float(like.abs().max()), 1e-9)

    def cell(x: float) -> str:
        colour = "31,119,180" if x > 0 else "217,95,2"
        style = f"background:rgba({colour},{min(abs(x) / most, 1) * 0.6:.2f});padding:2px 6px;text-align:right"
        return f'<td style="{style}">{_number(x, most)}</td>'

    rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in value.tolist())
    return f'<table style="margin:2px;font-size:90%">{rows}</table>'


def _number(x: float, most: float) -> str:
    return f"{x:.3g}" if abs(x) > 1e-6 * most else "0"


def _y(y: Tensor) -> Tensor:
    y = y.detach().float()
    return torch.stack([torch.linspace(0, 1, len(y)), y], 1)


def _plot(curves: list[Tensor], like: list[Tensor], alt: str) -> str:
    frame = _frame(torch.cat(like), 2 * HEIGHT)
    lines = [(c, "#888", ' stroke-dasharray="2 3"') for c in like if alt != "wanted"]
    lines += [(c, colour, "") for c, colour in zip(curves, COLOURS * len(curves), strict=False)]
    shapes = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5"{dash} points="{_places(c, frame)}"/>'
        for c, colour, dash in lines
    )
    return _svg(shapes, frame, alt)


def _points(value: Tensor, like: Tensor, alt: str) -> str:
    frame = _frame(like, HEIGHT)
    dots = (place.split(",") for place in _places(value, frame).split())
    return _svg("".join(f'<circle cx="{x}" cy="{y}" r="2" fill="{COLOURS[0]}"/>' for x, y in dots), frame, alt)


def _frame(like: Tensor, width: int) -> tuple[Tensor, Tensor, int]:
    """Lower left and upper right corner, from the finite points of what is wanted, and the width in pixels."""
    like = like[like.isfinite().all(1)]
    low, high = like.amin(0), like.amax(0)
    return low, torch.where(high - low > 1e-6, high, low + 1), width


def _places(points: Tensor, frame: tuple[Tensor, Tensor, int]) -> str:
    """ "x,y x,y" in pixels; what lies far outside of the frame stops a little beyond its edge."""
    low, high, width = frame
    share = ((points[points.isfinite().all(1)] - low) / (high - low)).clamp(-0.2, 1.2)
    x = EDGE + share[:, 0] * (width - 2 * EDGE)
    y = HEIGHT - (0.2 + share[:, 1]) / 1.4 * HEIGHT
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _svg(shapes: str, frame: tuple[Tensor, Tensor, int], alt: str) -> str:
    low, high, width = float(frame[0][1]), float(frame[1][1]), frame[2]
    marks = "".join(
        f'<line x1="0" x2="{width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#888" stroke-width=".5"/>'
        f'<text x="2" y="{y - 3:.0f}" font-size="10" fill="#888">{_number(value, high - low)}</text>'
        for y, value in ((HEIGHT / 7, high), (HEIGHT * 6 / 7, low))
    )
    size = f'width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}"'
    return f'<svg role="img" aria-label="{html.escape(alt)}" {size}>{marks}{shapes}</svg>'
