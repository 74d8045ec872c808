"""The open exercises, which have no one answer: what was made is measured."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from .exercise import VALUES, Verdict
from .running import short


def weigh(name: str, properties: dict[str, int], points: int, got: list[dict]) -> Verdict:
    """The verdict of the judge of this name on what came out of the cases."""
    if all(g["out"] is None and not g["error"] for g in got):
        return Verdict("not_attempted", 0.0, {}, "the function returns None")
    errors = [g["error"] for g in got if g["error"]]
    if errors:
        return Verdict("student_error", 0.0, dict.fromkeys(properties, errors[0]), errors[0])
    try:
        found = JUDGES[name]([g["out"] for g in got])
    except Wrong as problem:
        found = dict.fromkeys(properties, str(problem))
    wrong = {p: found.get(p) for p in properties}
    good = sum(weight for p, weight in properties.items() if wrong[p] is None)
    share = good / sum(properties.values()) if wrong[VALUES] is None else 0.0
    first = wrong[VALUES] or next((text for text in wrong.values() if text), "")
    state = "pass" if not any(wrong.values()) else "fail"
    return Verdict(state, round(points * share, 2), wrong, short(first, 200))


class Wrong(ValueError):
    """The answer is not of the form that was asked for."""


def _need(holds: bool, text: str) -> None:
    if not holds:
        raise Wrong(text)


# --- 5: a grid of few steps ---------------------------------------------------------------------------

SCALES = (0.05, 0.3, 1.0)  # standard deviations of the data: three Gaussians, of which the exact denoiser is known


def grid_error(ts: Tensor) -> float:
    """Mean relative error of the standard deviation that Euler's rule under EDM reaches, over SCALES.

    For data N(0, s^2) the exact denoiser is x0 = s^2 / (s^2 + t^2) xt, and so a step multiplies xt by
    1 + (t' - t) t / (s^2 + t^2). The walk starts at N(0, s^2 + 80^2) and should end at s.
    """
    errors = []
    for s in SCALES:
        scale = math.sqrt(s**2 + 80.0**2)
        for t, after in zip(ts[:-1].tolist(), ts[1:].tolist(), strict=True):
            scale *= 1 + (after - t) * t / (s**2 + t**2)
        errors.append(abs(scale / s - 1))
    return sum(errors) / len(errors)


def few_steps(outs: list) -> dict[str, str | None]:
    for out, steps in zip(outs, (12, 20), strict=True):
        _need(isinstance(out, Tensor) and out.dim() == 1, "the grid must be a tensor (steps + 1,)")
        _need(len(out) == steps + 1, f"the grid must hold {steps + 1} times, got {len(out)}")
        _need(bool(out.isfinite().all()) and bool((out[:-1] > out[1:]).all()), "the grid must fall all the way")
        _need(abs(float(out[0]) - 80) < 1e-3 and abs(float(out[-1])) < 1e-6, "the grid must go from 80 to 0")
    errors = [grid_error(out.double()) for out in outs]
    limits = {VALUES: (errors[1], 0.15), "12 steps": (errors[0], 0.24)}
    return {
        name: None if error <= limit else f"the error is {error:.3f}, at most {limit} is wanted"
        for name, (error, limit) in limits.items()
    }


# --- 8: words that work -------------------------------------------------------------------------------


def three_prompts(outs: list) -> dict[str, str | None]:
    """Are these prompts for a painted 'bold red seven on yellow paper' full enough? By the words alone."""
    from ..painted import DIGIT, INK, PAPER, STROKE, UNSAID, WORDS, asked
    from ..text import split_words

    (out,) = outs
    _need(isinstance(out, (list, tuple)) and len(out) == 3, "three prompts are wanted, in a list")
    _need(all(isinstance(p, str) and len(p) < 300 for p in out), "every prompt must be text")
    unknown = [w for p in out for w in split_words(p) if w not in WORDS]
    wanted = asked("a bold red seven on yellow paper")
    rows = [asked(p) for p in out]
    columns = (DIGIT, INK, PAPER, STROKE)
    missing = [i + 1 for i, row in enumerate(rows) if any(row[c] != wanted[c] for c in columns)]
    more = [
        i + 1
        for i, row in enumerate(rows)
        if any(v != UNSAID and w == UNSAID for v, w in zip(row, wanted, strict=True))
    ]
    orders = {tuple(split_words(p)) for p in out}
    return {
        VALUES: f"prompt {missing[0]} does not say: bold, red, seven, yellow paper" if missing else None,
        "only known words": f"the model never saw {unknown[0]!r}" if unknown else None,
        "nothing more is asked": f"prompt {more[0]} asks for something else besides" if more else None,
        "three different wordings": None if len(orders) == 3 else "two of the prompts are the same",
    }


# --- 11: fool the Frechet distance --------------------------------------------------------------------


def fooled(outs: list) -> dict[str, str | None]:
    from ..metrics import frechet_distance, precision_recall

    (out,) = outs
    _need(isinstance(out, (list, tuple)) and len(out) == 2, "two sets are wanted: (real, fake)")
    for x in out:
        _need(isinstance(x, Tensor) and x.dim() == 2 and x.is_floating_point(), "each set must be a tensor (n, d)")
        _need(50 <= len(x) <= 2000 and 1 <= x.shape[1] <= 16, "50 to 2000 rows of 1 to 16 numbers are wanted")
        _need(bool(x.isfinite().all()), "every number must be finite")
    real, fake = out
    _need(real.shape == fake.shape, "both sets must have one shape")
    _need(float(real.double().std(0).min()) > 0.1, "every column of the real set must vary (std above 0.1)")
    distance = frechet_distance(real.float(), fake.float())
    precision, recall = precision_recall(real.float(), fake.float())
    far = None if distance < 0.05 else f"the Frechet distance is {distance:.3f}, less than 0.05 is wanted"
    return {  # two like sets fool nobody, so the distance alone earns nothing
        VALUES: far or (None if precision < 0.5 else f"precision is {precision:.2f}, less than 0.5 is wanted"),
        "recall sees it": None if recall < 0.5 else f"recall is {recall:.2f}, less than 0.5 is wanted",
    }


JUDGES: dict[str, Callable[[list], dict[str, str | None]]] = {
    "few_steps": few_steps,
    "three_prompts": three_prompts,
    "fooled": fooled,
}
