"""The players of the course: each computes all of its frames once, and then needs no kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from .. import samplers, viz
from ..process import DDPM, EDM, Cosine, Flow, Process, unit_noise
from ..samplers import Step
from ..text import split_weights, split_words
from .player import Player, axis, looked_at, panel, pixels, together

BINS, REACH = 48, 4.0  # of a histogram, which runs from -REACH to REACH


class StepScrubber(Player):
    """The steps of a walk: xt, what the sampler holds, and x0, the network's guess there.

    steps: `model.walk(...)` or any sampler's. model: needed where it draws latents, to decode them.
    titles, label: what xt, x0 and the whole are called where they are something else; menus cut titles at a comma.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        model=None,
        titles: tuple[str, str] = ("xt, what the sampler holds", "x0, the guess there"),
        label: str = "Steps of a walk from noise to picture",
    ):
        steps = list(steps)
        if not steps:
            raise ValueError("a scrubber needs at least one step")
        n, last = len(steps[0].xt), len(steps) - 1
        xt, x0 = (title.partition(",")[0] for title in titles)
        decoded = [looked_at(step, model) for step in steps]
        if decoded[0].xt.shape[1] not in (1, 3):
            raise ValueError(f"these steps hold latents {tuple(steps[0].xt.shape)}: give the model that decodes them")
        few = [Step(s.i, s.t, s.xt[:2], s.x0[:2]) for s in decoded]
        strip = viz.film_strip(few, frames=6, scale=1)
        super().__init__(
            label,
            [axis("Step", [f"{s.i} of {last}" for s in steps], at=last)],
            [
                panel(titles[0], 0, n),
                panel(titles[1], 1, n),
                {"title": f"difference, {xt} - {x0}", "minus": [0, 1]},
            ],
            [together([s.xt for s in decoded]), together([s.x0 for s in decoded])],
            strip,
            f"A few of the steps: above {titles[0]}; below {titles[1]}.",
            [f"Step {s.i} of {last}, t = {s.t:.3g}" for s in steps],
            {f"{xt} and {x0}": [0, 1], xt: [0], x0: [1], "difference": [2]},
            min(640, 3 * strip.width),
        )


class NoiseSlider(Player):
    """Pictures (b c h w) in [-1, 1] under more and more noise, and the histogram of their values.

    The slider runs through the times at which a sampler of so many `steps` would stop. xt is shown at unit variance.
    """

    def __init__(
        self,
        pictures: Tensor,
        processes: Sequence[Process] = (Cosine(), DDPM(), EDM(), Flow()),
        seeds: Sequence[int] = (0, 1, 2),
        steps: int = 20,
    ):
        n = len(pictures)
        pictures = pictures.detach().cpu()
        noises = [unit_noise(pictures.shape, [seed + 1000 * k for k in range(n)]) for seed in seeds]
        frames, bars, texts = [], [], []
        for place in range(steps + 1):
            for process in processes:
                t = process.timesteps(steps)[steps - place]
                alpha, sigma, level = (float(f(t)) for f in (process.alpha, process.sigma, process.level))
                for eps in noises:
                    frames.append(viz.visible(process.add_noise(pictures, eps, t.float())))
                    counts = torch.histc(frames[-1], BINS, -REACH, REACH)
                    bars.append((255 * counts / counts.max()).round().int().tolist())
                    ratio = f"{(alpha / sigma) ** 2:.3g}" if sigma else "infinite"
                    texts.append(
                        f"t = {float(t):.3g}, level {level:.2f}: alpha = {alpha:.3f}, sigma = {sigma:.3g}, "
                        f"signal to noise {ratio}"
                    )
        shown = [frames[round(k) * len(processes) * len(seeds)][:1] for k in np.linspace(0, steps, 6)]
        super().__init__(
            "A picture under noise",
            [
                axis("Time", [f"{k} of {steps}" for k in range(steps + 1)], at=steps // 2),
                axis("Process", [type(process).__name__ for process in processes], kind="choice"),
                axis("Seed", [str(seed) for seed in seeds], kind="choice"),
            ],
            [
                panel("xt, at unit variance", 0, n),
                {"title": "histogram of its values", "bars": bars, "range": [-REACH, REACH]},
            ],
            [together(frames)],
            viz.grid(torch.cat(shown), columns=6, scale=1),
            "A picture under more and more noise, from left to right, until only noise is left.",
            texts,
        )


class SamplerRace(Player):
    """The same seeds under several samplers and numbers of steps, side by side, on one slider."""

    def __init__(
        self,
        model,
        prompt: str | Sequence[str],
        solvers: Sequence[Callable] = (samplers.ddim, samplers.heun, samplers.dpmpp_2m),
        steps: Sequence[int] = (5, 10, 20),
        places: int = 20,
        progress: bool = True,
        **settings,
    ):
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        names = [solver.__name__ for solver in solvers]
        held, guessed, starts = [], [], {}
        for solver, many in tqdm(list(product(solvers, steps)), disable=not progress, unit="walk"):
            starts[solver.__name__, many] = len(held)
            for step in model.walk(prompts, steps=many, sampler=solver, **settings):
                seen = looked_at(step, model)
                held.append(seen.xt)
                guessed.append(seen.x0)
        last = len(steps) - 1

        def panels(title: str, atlas: int) -> list[dict]:
            return [
                panel(f"{name}: {title}", atlas, len(prompts), frames=[starts[name, m] + round(p / places * m)
                      for p in range(places + 1) for m in steps])
                for name in names
            ]  # fmt: skip

        calls = {many: ", ".join(f"{s.__name__} {_calls(s, many)}" for s in solvers) for many in steps}
        ends = [guessed[starts[name, many] + many][:1] for name in names for many in steps]
        numbers = range(len(names))
        super().__init__(
            "Samplers side by side",
            [
                axis("Progress", [f"{p / places:.0%}" for p in range(places + 1)], at=places),
                axis("Steps", [str(many) for many in steps], at=last, kind="choice"),
            ],
            panels("x0", 1) + panels("xt", 0),
            [together(held), together(guessed)],
            viz.table({name: torch.cat(ends[i * len(steps) : (i + 1) * len(steps)]) for i, name in enumerate(names)},
                      [f"{many} steps" for many in steps], scale=2),
            f"What {', '.join(names)} drew from the same seed in {', '.join(map(str, steps))} steps.",
            [f"{p / places:.0%} of the way in {m} steps. Network calls: {calls[m]}"
             for p in range(places + 1) for m in steps],
            {"x0 of all": numbers, "xt of all": [i + len(names) for i in numbers]}
            | {f"{name}: xt and x0": [i + len(names), i] for i, name in enumerate(names)},
        )  # fmt: skip


def _calls(solver: Callable, steps: int) -> int:
    """How often a solver asks the network, counted on the smallest picture there is."""
    count = 0

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return 0 * xt

    for _ in solver(denoise, Cosine(), torch.ones(1, 1, 1, 1, dtype=torch.float64), Cosine().timesteps(steps)):
        pass
    return count


class GuidanceExplorer(Player):
    """A row of seeds over guidance scales, negative prompts and the noise levels at which guidance acts.

    measure: pictures (n c h w) -> the share that follows the prompt, shown below the row.
    """

    def __init__(
        self,
        model,
        prompt: str,
        scales: Sequence[float | int] = (1, 1.5, 2, 3, 5, 8, 12),
        negatives: Sequence[str] = ("",),
        intervals: Sequence[tuple[float, float]] = ((0.0, 1.0),),
        n: int = 8,
        measure: Callable[[Tensor], float] | None = None,
        progress: bool = True,
        **settings,
    ):
        lattice = list(product(scales, negatives, intervals))
        drawn, texts = [], []
        for scale, negative, interval in tqdm(lattice, disable=not progress, unit="row"):
            about = dict(cfg_scale=float(scale), interval=interval, **settings)
            drawn.append(model.draw([prompt] * n, negative, **about))
            told = f"guidance {scale:g}" + (f", negative prompt {negative!r}" if negative else "")
            if interval != (0.0, 1.0):
                told += f", at levels {interval[0]:g} to {interval[1]:g}"
            texts.append(told + (f": {measure(drawn[-1]):.0%} of {n} follow the prompt" if measure else ""))
        stride = len(negatives) * len(intervals)
        axes = [axis("Guidance", [f"{scale:g}" for scale in scales], at=min(1, len(scales) - 1))]
        axes += [axis("Negative prompt", [negative or "none" for negative in negatives], kind="choice")]
        axes += [axis("Levels", [f"{low:g} to {high:g}" for low, high in intervals], kind="choice")]
        super().__init__(
            f"Guidance for the prompt {prompt!r}",
            axes,
            [panel(f"{prompt!r}, {n} seeds", 0, n, n)],
            [together(drawn)],
            viz.table({f"guidance {s:g}": drawn[i * stride] for i, s in enumerate(scales)}, scale=1),
            f"The same {n} seeds for {prompt!r}, a row for each guidance scale: {', '.join(f'{s:g}' for s in scales)}.",
            texts,
        )


class WordHeat(Player):
    """Where each word of the prompt is looked at, over the picture, at every step and in every layer."""

    def __init__(self, model, prompt: str, negative: str = "", seed: int = 0, **settings):
        names = split_words(split_weights(prompt)[0])
        steps, calls = [], []
        with model.watch_words() as maps:
            if not maps or not names:
                raise ValueError("there is nothing to look at: the network attends to no words, or the prompt has none")
            for step in model.walk(prompt, negative, seed=seed, **settings):
                steps.append(step)
                calls.append(len(next(iter(maps.values()))) - 1)  # the last step asks no more: the call before it
        pictures = torch.cat([looked_at(step, model).x0 for step in steps])
        side = model.picture_shape[1:]
        layers = {name: _heat([m[0] for m in found], len(names), calls, side) for name, found in maps.items()}
        if len(layers) > 1:
            layers = {"mean of all layers": torch.stack(list(layers.values())).mean(0)} | layers
        heat = torch.stack([_stretched(each) for each in layers.values()], 1).flatten(0, 2)  # words, layers, steps
        frames = list(range(len(steps))) * (len(names) * len(layers))
        last = len(steps) - 1
        axes = [
            axis("Word", names, kind="words"),
            axis("Layer", list(layers), kind="choice"),
            axis("Step", [f"{step.i} of {last}" for step in steps], at=last),
        ]
        middle = heat.view(len(names), len(layers), len(steps), *heat.shape[-2:])[:, 0, last // 2]
        still = viz.captioned(middle[:, None] * 2 - 1, names)
        super().__init__(
            f"Attention to the words of {prompt!r}",
            axes,
            [
                panel("x0 at this step", 0, frames=frames),
                panel("the heat of the word", 0, frames=frames)
                | {"heat": {"atlas": 1, "frames": list(range(len(heat)))}},
            ],
            [pixels(pictures), pixels(heat[:, None] * 2 - 1)],
            still,
            f"Half way, where the picture looks for each word of {prompt!r}: bright where it looks most.",
            [
                f"{name!r} in {layer}, step {step.i} of {last}, t = {step.t:.3g}"
                for name in names
                for layer in layers
                for step in steps
            ],
            still_width=min(640, round(viz.page_width(still))),
        )


def _stretched(heat: Tensor) -> Tensor:
    """From 0 where it is coldest to 1 where it is hottest, over all words and steps."""
    low, high = heat.aminmax()
    return (heat - low) / (high - low).clamp(min=1e-9)


def _heat(maps: list[Tensor], words: int, calls: list[int], side: tuple[int, int]) -> Tensor:
    """Attention (heads pixels words) of every call as maps (words, steps, *side) of the picture's size."""
    over = torch.stack([maps[call].mean(0)[:, :words].T for call in calls], 1)
    high = round(math.sqrt(over.shape[-1] * side[0] / side[1]))
    small = over.reshape(*over.shape[:2], high, -1).cpu()
    return torch.nn.functional.interpolate(small, side, mode="bilinear")


def scrub(
    fn: Callable, values: Mapping[str, Sequence] | Sequence, name: str = "value", progress: bool = True, still: int = 0
) -> Player:
    """Compute fn of each value first, with a progress bar, and then play: a picture, figure or (b c h w) for each.

    values: of one slider called `name`, or {name: values} of several, whose names are fn's arguments.
    still: the place among all frames, the last slider moving first, of the one that stands where no script runs.
    """
    several = values if isinstance(values, Mapping) else None
    names = {key: list(each) for key, each in (several or {name: values}).items()}
    if not all(names.values()):
        raise ValueError("there is nothing to scrub: give at least one value")
    images, texts = [], []
    for place in tqdm(list(product(*names.values())), disable=not progress, unit="frame"):
        images.append(_image(fn(**dict(zip(names, place, strict=True))) if several else fn(*place)))
        texts.append(", ".join(f"{key} {_told(value)}" for key, value in zip(names, place, strict=True)))
    if len({image.size for image in images}) > 1:
        raise ValueError(f"every frame must have the same size, got {sorted({image.size for image in images})}")
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    frames = np.stack([np.asarray(image.convert(mode)) for image in images])
    return Player(
        f"{getattr(fn, '__name__', 'frames')} by {', '.join(names)}",
        [axis(key, [_told(value) for value in each]) for key, each in names.items()],
        [panel("", 0)],
        [frames.reshape(*frames.shape[:3], -1)],
        images[still],
        f"One of {len(images)} frames: {texts[still]}.",
        texts,
    )


def _told(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _image(frame) -> Image.Image:
    """A PIL picture of what a function gave: a picture, a figure, or pictures in [-1, 1]."""
    if isinstance(frame, Image.Image):
        return frame
    if isinstance(frame, Tensor):
        return viz.grid(frame if frame.dim() == 4 else frame[None], scale=1, gap=1 if frame.dim() == 4 else 0)
    if hasattr(frame, "savefig"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(frame)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    raise ValueError(f"a frame is a picture, a figure or a tensor (c h w) or (b c h w), got {type(frame).__name__}")
