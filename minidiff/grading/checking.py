"""`check("2.1")` in the notebook: at once, what differs, a hint where the mistake is a known one. Never the answer.

The cases, what is expected of them and what each catalogued mistake makes of them lie as numbers in answers/, one
file a lesson. Their seed is not the one that grades.
"""

from __future__ import annotations

import contextlib
import html
import inspect
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .. import files
from . import judges, wire
from .exercise import ABOUT, Case, Verdict, judge, recognise
from .running import call, describe, short

ANSWERS = Path(__file__).parent / "answers"
CHECK_SEED = 0  # what `minidiff grade` never takes


class Report:
    """What a check found. JupyterLab shows the card, everything else the lines of text."""

    def __init__(self, id: str, task: Mapping, verdict: Verdict, hints: list[str], picture=None, done: str = ""):
        self.id, self.task, self.verdict = id, task, verdict
        self.hints, self.picture, self.done = hints, picture, done

    @property
    def headline(self) -> str:
        v, points = self.verdict, self.task["points"]
        said = {"pass": "solved", "fail": "not yet", "not_attempted": "not attempted", "student_error": "stopped"}
        return f"{self.id} {self.task['title']}: {said[v.state]}, {v.points:g} of {points} points"

    def __repr__(self) -> str:
        lines = [self.headline]
        if self.verdict.state in ("fail", "student_error"):
            lines += [f"  {'+' if text is None else '-'} {_about(name)}{f': {text}' if text else ''}"
                      for name, text in self.verdict.properties.items()]  # fmt: skip
        elif self.verdict.state == "not_attempted":
            lines.append("  Write the function in the cell above, run it, then run this cell again.")
        lines += [f"  Hint: {hint}" for hint in self.hints]
        return "\n".join([*lines, f"  {self.done}"] if self.done else lines)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.html}

    @property
    def html(self) -> str:
        v = self.verdict
        colour, sign = {
            "pass": ("#1a7f37", "✓"),
            "fail": ("#b35900", "✗"),
            "student_error": ("#b42318", "!"),
            "not_attempted": ("#6e7781", "○"),
        }[v.state]
        parts = [f'<div style="font-weight:600">{sign} {html.escape(self.headline)}</div>']
        if v.state == "not_attempted":
            parts.append("<div>Write the function in the cell above, run it, then run this cell again.</div>")
        if v.state in ("fail", "student_error"):
            rows = "".join(
                f'<tr style="background:none"><td style="text-align:left;padding:1px 8px 1px 0">'
                f"{'✓' if text is None else '✗'} {html.escape(_about(name))}</td>"
                f'<td style="text-align:left;padding:1px 0">{html.escape(text or "")}</td></tr>'
                for name, text in v.properties.items()
            )
            parts.append(f'<table style="margin:6px 0;border:none">{rows}</table>')
        parts += [
            f'<div style="margin:6px 0;padding:4px 8px;background:rgba(210,153,34,.15)"><b>Hint.</b> '
            f"{html.escape(hint)}</div>"
            for hint in self.hints
        ]
        if self.picture:
            shown = "".join(
                f'<figure style="display:inline-block;margin:4px 16px 4px 0">'
                f"<figcaption>{name}</figcaption>{image}</figure>"
                for name, image in self.picture
            )
            parts.append(f"<div>{shown}</div>")
        if self.done:
            parts.append(f'<div style="opacity:.75;font-size:90%">{html.escape(self.done)}</div>')
        frame = f"border-left:4px solid {colour};padding:4px 12px;max-width:60em;line-height:1.45"
        return f'<div style="{frame}">{"".join(parts)}</div>'


def _about(name: str) -> str:
    return ABOUT.get(name, name)


def check(exercise: str, hint: bool = False) -> Report:
    """Try the function that exercise `exercise` ("2.1") asks for, as it stands in this notebook.

    hint: also show a further hint, the next one each time. Raises ValueError if there is no such exercise.
    """
    task = tasks().get(exercise)
    if task is None:
        raise ValueError(f"there is no exercise {exercise!r}; there are: {', '.join(tasks())}")
    report = examine(exercise, task, _learners_own(task["function"]))
    if hint:
        given = progress().get(exercise, {}).get("hints", 0) + 1
        report.hints += task["hints"][:given]
        if given > len(task["hints"]):
            report.hints.append("There is no further hint for this one; read the text again.")
        _remember(exercise, hints=min(given, len(task["hints"])))
    _remember(exercise, state=report.verdict.state, points=report.verdict.points)
    report.done = summary(exercise.split(".")[0])
    return report


def _learners_own(name: str):
    """The function of this name in the nearest calling frame that knows one: the notebook's."""
    frame = inspect.currentframe()
    while frame is not None:
        if name in frame.f_globals:
            return frame.f_globals[name]
        frame = frame.f_back
    return None


def examine(exercise: str, task: Mapping, function) -> Report:
    """The report on this function, without touching the learner's progress."""
    if function is None:
        verdict = Verdict("not_attempted", 0.0, {}, f"there is no function {task['function']}")
        return Report(exercise, task, verdict, [])
    cases = [Case(name, tuple(args), gradients) for name, args, gradients in task["cases"]]
    try:
        got = [call(function, list(case.args), case.gradients) for case in cases]
    except MemoryError:
        verdict = Verdict("student_error", 0.0, dict.fromkeys(task["properties"], "ran out of memory"))
        return Report(exercise, task, verdict, [])
    except (SystemExit, KeyboardInterrupt) as error:
        said = describe(error, function)
        if isinstance(error, KeyboardInterrupt):
            said = said.replace("KeyboardInterrupt:", "you stopped it; is there a loop that never ends?")
        return Report(exercise, task, Verdict("student_error", 0.0, dict.fromkeys(task["properties"], said)), [])
    if task["judge"]:
        return Report(exercise, task, judges.weigh(task["judge"], task["properties"], task["points"], got), [])
    verdict = judge(task["properties"], task["points"], cases, task["want"], got)
    known = recognise(task["want"], got, iter(task["mistakes"])) if verdict.state in ("fail", "student_error") else None
    return Report(exercise, task, verdict, [known] if known else [], _picture(task, function, verdict.state))


def _picture(task: Mapping, function, state: str) -> list[tuple[str, str]] | None:
    """[("wanted", HTML), ("yours", HTML)], or None where there is nothing to see."""
    if not task["picture"] or state not in ("fail", "pass"):
        return None
    from . import pictures

    calls, want = task["picture"]
    with contextlib.suppress(MemoryError, SystemExit):
        return pictures.beside(want, [call(function, list(args))["out"] for args in calls])
    return None


# --- What is known of each exercise -------------------------------------------------------------------


@cache
def tasks() -> dict[str, dict]:
    """Every exercise of answers/, by its number."""
    found: dict[str, dict] = {}
    for file in sorted(ANSWERS.glob("*.bin")):
        found |= wire.unpack(file.read_bytes())
    return found


def progress_file() -> Path:
    """$MINIDIFF_PROGRESS, else exercises/progress.json in a checkout, else ~/.cache/minidiff/progress.json."""
    if chosen := os.environ.get("MINIDIFF_PROGRESS"):
        return Path(chosen)
    exercises = Path(__file__).resolve().parent.parent.parent / "exercises"
    return (exercises if exercises.is_dir() else Path.home() / ".cache" / "minidiff") / "progress.json"


def progress() -> dict[str, dict]:
    """{exercise: {state, points, hints}} of what was checked here; nothing if the file is not there or damaged."""
    try:
        known = json.loads(progress_file().read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if isinstance(v, dict)} if isinstance(known, dict) else {}


def _remember(exercise: str, **facts) -> None:
    """Best result so far, written whole or not at all; a folder that cannot be written is no reason to stop."""
    known = progress()
    old = known.get(exercise, {})
    if facts.get("points", 0.0) < old.get("points", 0.0):
        facts = {k: v for k, v in facts.items() if k == "hints"}
    known[exercise] = {**old, **facts}
    try:
        files.write(progress_file(), json.dumps(known, indent=1).encode())
    except OSError as error:
        print(f"Your progress was not noted: {short(error)}", file=sys.stderr)


def summary(lesson: str) -> str:
    """One line: how many exercises of this lesson are solved, and how many points that is."""
    here = {id: task for id, task in tasks().items() if id.split(".")[0] == lesson}
    known = progress()
    solved = sum(known.get(id, {}).get("state") == "pass" for id in here)
    points = sum(known.get(id, {}).get("points", 0.0) for id in here)
    return (
        f"Lesson {int(lesson):02}: {solved} of {len(here)} solved, "
        f"{points:g} of {sum(t['points'] for t in here.values())} points."
    )


def table() -> str:
    """What is done, lesson by lesson, as text: `minidiff progress`."""
    known = progress()
    signs = {"pass": "+", "fail": "-", "student_error": "!"}
    lines: list[str] = []
    lesson = ""
    for id, task in tasks().items():
        if id.split(".")[0] != lesson:
            lesson = id.split(".")[0]
            lines += ["", summary(lesson)] if lines else [summary(lesson)]
        fact = known.get(id, {})
        sign = signs.get(fact.get("state", ""), " ")
        lines.append(f"  {sign} {id:5} {task['title']:44} {fact.get('points', 0.0):4g} of {task['points']}")
    total = sum(known.get(id, {}).get("points", 0.0) for id in tasks())
    lines += ["", f"{total:g} of {sum(t['points'] for t in tasks().values())} points."]
    return "\n".join([*lines, "+ solved, - not yet, ! stopped with an error. Go on in exercises/, with make lab."])
