"""Playground: the whole system in one widget, from a prompt to a picture and every step between."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import traitlets
from torch import Tensor

from .. import samplers, viz
from ..checkpoint import shipped
from ..pipeline import TextToImage
from .live import Live, raw
from .player import looked_at
from .scrubbers import StepScrubber

SAMPLERS = ("dpmpp_2m", "ddim", "euler", "heun")
FIRST = 4  # steps of the quick picture that comes before the full one
MOST = 36  # pictures in a grid
SCALE = 8  # pixels a pixel, in a saved PNG
KEYS = ("prompt", "negative", "seed", "steps", "cfg_scale", "sampler")


class Playground(Live):
    """Type a prompt, and watch it being drawn: a quick picture first, then the full walk, step by step.

    model: a TextToImage; the shipped one without it. weights: its file, by whose digest a saved PNG can be drawn
    again (`minidiff sample --like`).
    """

    module = "playground"
    label = traitlets.Unicode("Playground").tag(sync=True)
    start = traitlets.Dict().tag(sync=True)
    samplers = traitlets.List(list(SAMPLERS)).tag(sync=True)
    vocabulary = traitlets.List().tag(sync=True)

    def __init__(
        self,
        model: TextToImage | None = None,
        prompt: str = "a seven",
        negative: str = "",
        seed: int = 0,
        steps: int = 10,
        cfg_scale: float = 2.0,
        sampler: str = "dpmpp_2m",
        weights: str | os.PathLike | None = None,
    ):
        if model is None:
            weights = shipped(weights or "mnist")
            model = TextToImage.load(weights)
        self.model = model
        self.digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16] if weights else ""
        start = dict(zip(KEYS, (prompt, negative, seed, steps, cfg_scale, sampler), strict=True))
        self.first = self._walk(start)
        super().__init__(start=start, vocabulary=model.tokenizer.words)

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        wanted = {key: request[key] for key in KEYS}
        if request["kind"] == "draw":
            if wanted["steps"] > FIRST:
                quick = self._walk(wanted | {"steps": FIRST})[-1]
                about, data = raw(self.model.pictures(quick.x0))
                yield {"kind": "quick", "picture": about, "status": "A first look. The full walk follows."}, [data]
            steps = []
            for step in self._steps(wanted):
                steps.append(step)
                yield {"kind": "step", "status": f"Step {step.i} of {wanted['steps']}"}, []
            seen = [looked_at(step, self.model) for step in steps]
            xt, held = raw(torch.cat([step.xt for step in seen]))
            _, guessed = raw(torch.cat([step.x0 for step in seen]))
            times = [step.t for step in steps]
            yield {"kind": "walk", "settings": wanted, "picture": xt, "times": times}, [held, guessed]
        elif request["kind"] == "grid":
            yield from self._grid(wanted, request["across"], request["down"])
        elif request["kind"] == "save":
            image, settings = self._picture(wanted)
            yield {"kind": "png", "name": _name(wanted)}, [viz.png_bytes(image, settings)]
        else:
            raise ValueError(f"there is no request of the kind {request['kind']!r}")

    def still(self) -> str:
        return StepScrubber(self.first, self.model).html

    def _steps(self, wanted: dict):
        if wanted["sampler"] not in SAMPLERS:
            raise ValueError(f"there is no sampler {wanted['sampler']!r}; there are: {', '.join(SAMPLERS)}")
        if not 1 <= wanted["steps"] <= 200:
            raise ValueError(f"steps must be from 1 to 200, got {wanted['steps']}")
        settings = wanted | {"sampler": getattr(samplers, wanted["sampler"]), "cfg_scale": float(wanted["cfg_scale"])}
        return self.model.walk(**settings)

    def _walk(self, wanted: dict) -> list:
        return list(self._steps(wanted))

    def _picture(self, wanted: dict):
        """The picture, and the settings under which `minidiff sample --like` draws it again."""
        drawn = self.model.pictures(self._walk(wanted)[-1].x0)
        settings = wanted | {"prompt": [wanted["prompt"]], "eta": 0.0, "scale": SCALE}
        settings |= {"weights": self.digest, "torch": torch.__version__}
        return viz.grid(drawn, scale=SCALE, gap=0), settings

    def _grid(self, wanted: dict, across: dict, down: dict) -> Iterator[tuple[dict, list[bytes]]]:
        """Pictures over two settings, {key, values} each, drawn one by one."""
        count = len(across["values"]) * len(down["values"])
        if not 1 <= count <= MOST:
            raise ValueError(f"a grid has from 1 to {MOST} pictures, but this one has {count}")
        drawn: list[Tensor] = []
        for low in down["values"]:
            for right in across["values"]:
                cell = wanted | {down["key"]: low, across["key"]: right}
                drawn.append(self.model.pictures(self._walk(cell)[-1].x0))
                yield {"kind": "cell", "status": f"Picture {len(drawn)} of {count}"}, []
        about, data = raw(torch.cat(drawn))
        yield {"kind": "grid", "picture": about, "across": across, "down": down}, [data]


def _name(wanted: dict) -> str:
    words = "-".join("".join(c if c.isalnum() else " " for c in wanted["prompt"]).split()) or "nothing"
    return f"{words[:60]}-{wanted['seed']}.png"
