"""ScheduleDesigner: draw the curve along which a picture turns into noise, and use it as a Process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import traitlets
from torch import Tensor

from .. import viz
from ..process import DDPM, EDM, Cosine, Flow, Process, unit_noise
from .live import Live, raw

KNOTS, FINE, SHOWN = 6, 41, 9  # places to drag, and points of a curve, and pictures along it


class Designed(Process):
    """A curve of noise levels through `knots`, even in t: alpha = cos(level pi/2), sigma = sin(level pi/2)."""

    def __init__(self, knots: Sequence[float | int]):
        if len(knots) < 2 or knots[0] != 0 or knots[-1] != 1 or any(a > b for a, b in pairwise(knots)):
            raise ValueError(f"the levels must rise from 0 to 1, got {list(knots)}")
        self.knots = [float(knot) for knot in knots]

    def _level(self, t: Tensor) -> Tensor:
        knots = torch.tensor(self.knots, dtype=t.dtype, device=t.device)
        place = t * (len(knots) - 1)
        left = place.detach().floor().long().clamp(0, len(knots) - 2)
        return knots[left] + (place - left) * (knots[left + 1] - knots[left])

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin((1 - self._level(t)) * (math.pi / 2))  # not cos: exactly 0 at level 1

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(self._level(t) * (math.pi / 2))

    def __repr__(self) -> str:
        return f"Designed({self.knots})"


class ScheduleDesigner(Live):
    """Drag the noise level over time; alpha, sigma, logsnr and pictures (b c h w) along the curve follow.

    `process` is the designed curve as a Process, to add noise, to train or to draw with.
    """

    module = "schedule"
    label = traitlets.Unicode("A noise schedule").tag(sync=True)
    start = traitlets.Dict().tag(sync=True)

    def __init__(
        self, pictures: Tensor, processes: Sequence[Process] = (Cosine(), DDPM(), EDM(), Flow()), seed: int = 0
    ):
        self.pictures = pictures.detach().cpu()
        self.eps = unit_noise(pictures.shape, [seed + k for k in range(len(pictures))])
        self.known = {type(process).__name__: process for process in processes}
        t = torch.linspace(0, 1, FINE, dtype=torch.float64)
        levels = {name: process.level(t * process.t_max).tolist() for name, process in self.known.items()}
        knots = [round(k / (KNOTS - 1), 3) for k in range(KNOTS)]
        self.process = Designed(knots)
        super().__init__(start={"knots": knots, "levels": levels})

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        self.process = Designed(request["knots"])
        rows = [self._along(self.process)]
        if request.get("beside"):
            rows.append(self._along(self.known[request["beside"]]))
        about, data = raw(torch.cat(rows))
        yield {"kind": "pictures", "picture": about, "columns": SHOWN, "rows": len(self.pictures)}, [data]

    def still(self) -> str:
        text = "Pictures along a schedule: from left to right more noise, until only noise is left."
        return viz.show(viz.grid(self._along(self.process), columns=SHOWN, scale=2), text).html

    def _along(self, process: Process) -> Tensor:
        """xt of every picture at even times, a row for each picture, at unit variance."""
        ts = torch.linspace(0, process.t_max, SHOWN)
        xts = torch.stack([viz.visible(process.add_noise(self.pictures, self.eps, t)) for t in ts], 1)
        return xts.flatten(0, 1)
