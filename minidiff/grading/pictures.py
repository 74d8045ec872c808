"""An answer as a small picture: what is wanted beside what is yours."""

from __future__ import annotations

import base64
import html

import torch
from torch import Tensor

from ..viz import grid, plot, png_bytes, show


def draw(value: object, alt: str) -> str | None:
    """<img> of pictures (b, 1 or 3, h, w), a matrix (h, w), points (n, 2) or curves; None for anything else."""
    curves = value if isinstance(value, (tuple, list)) else [value]
    try:
        if isinstance(value, Tensor) and value.dim() == 4 and value.shape[1] in (1, 3):
            return _image(png_bytes(grid(value.float(), columns=min(8, len(value)), scale=2)), alt)
        if isinstance(value, Tensor) and value.dim() == 2 and min(value.shape) > 2:
            low, high = value.min(), value.max()
            shown = 2 * (value.float() - low) / (high - low).clamp(min=1e-9) - 1
            return _image(png_bytes(grid(shown[None, None], scale=max(2, 160 // max(value.shape)))), alt)
        if curves and all(isinstance(c, Tensor) and c.dim() == 1 and 2 < len(c) < 10_000 for c in curves):
            named = {str(i + 1): (torch.arange(len(c)), c.detach().float()) for i, c in enumerate(curves)}
            return show(plot(named, "", "", size=(3.2, 1.8)), alt).html
    except (ValueError, RuntimeError):
        pass  # what is wrong with it is said in words
    return None


def _image(png: bytes, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
