"""Build what learners get from exercises/src: python exercises/build.py [--check]

exercises/src/NN_name.py -> exercises/NN_name.ipynb, with a stub for each exercise and no solution, and
minidiff/grading/answers/NN.bin, the numbers that `check` compares with. --check writes nothing: it names what
differs from its source, and then exits with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import zlib
from pathlib import Path

import torch

from minidiff.files import write
from minidiff.grading import wire
from minidiff.grading.checking import ANSWERS, CHECK_SEED
from minidiff.grading.exercise import Chance, Exercise, Lesson, load_lessons
from minidiff.grading.running import call

HERE = Path(__file__).resolve().parent
IMPORTS = "import math\n\nimport torch\n\nfrom minidiff.grading import check"
HOW = """Each exercise is one function. Fill it in, run its cell, then run the `check` below it: it says at once
what differs, and it knows many of the usual mistakes. `check("{first}", hint=True)` gives a further hint,
while there is one. If a cell never ends, stop it with the ■ above.

An answer may use `torch`, `math`, `re`, `itertools`, `einops`, `numpy`, your own functions in the same
notebook, and plain assignments. What loops and other cells leave behind is not handed in with it."""


def cell(kind: str, source: str) -> dict:
    made = {"cell_type": kind, "id": f"{zlib.crc32(source.encode()):08x}", "metadata": {}, "source": source}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def notebook(lesson: Lesson) -> dict:
    """The learner's notebook: text, stub and check for each exercise."""
    first = lesson.exercises[0]
    intro = textwrap.dedent(lesson.intro).strip()
    total = sum(e.points for e in lesson.exercises)
    head = f"# Exercises {lesson.number} · {lesson.title}\n\n{intro}\n\n{HOW.format(first=first.id)}"
    cells = [
        cell("markdown", f"{head}\n\nThere are {len(lesson.exercises)} exercises and {total} points."),
        cell("code", IMPORTS),
    ]
    for e in lesson.exercises:
        cells.append(cell("markdown", f"## {e.id} · {e.title}\n\n*{_points(e.points)}*\n\n{e.text}"))
        cells.append(cell("code", e.stub))
        cells.append(cell("code", f'check("{e.id}")'))
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _points(n: int) -> str:
    return f"{n} point{'s' * (n != 1)}"


def answers(lesson: Lesson) -> dict:
    """What `check` knows of each exercise: numbers and words, no code."""
    return {e.id: task(e) for e in lesson.exercises}


def task(e: Exercise) -> dict:
    cases = e.cases(CHECK_SEED)
    made = {
        "title": e.title,
        "points": e.points,
        "function": e.function,
        "properties": e.properties,
        "hints": e.hints,
        "judge": e.judge,
        "cases": [[c.property, list(c.args), c.gradients] for c in cases],
        "want": [],
        "mistakes": [],
        "picture": None,
    }
    if not e.judge:
        made["want"] = e.expected(cases)
        wrong = [(m.hint, e.wrong(m)) for m in e.mistakes]
        made["mistakes"] = [[hint, [call(f, list(c.args), c.gradients) for c in cases]] for hint, f in wrong]
    if e.make_picture:
        calls = e.make_picture(Chance(int(e.id.replace(".", ""))))
        calls = [list(args) for args in (calls if isinstance(calls, list) else [calls])]
        made["picture"] = [calls, [e.reference(*args) for args in calls]]
    return made


def built(lesson: Lesson) -> dict[Path, bytes]:
    """Every file of this lesson, with its bytes."""
    text = json.dumps(notebook(lesson), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return {
        HERE / f"{lesson.number}_{lesson.name}.ipynb": text.encode(),
        ANSWERS / f"{lesson.number}.bin": wire.pack(answers(lesson)),
    }


def same(path: Path, data: bytes) -> bool:
    """Notebooks by their bytes; answers up to the last digits, in which processors differ."""
    if not path.is_file():
        return False
    if path.suffix != ".bin":
        return path.read_bytes() == data
    return _close(wire.unpack(path.read_bytes()), wire.unpack(data))


def _close(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        near = a.shape == b.shape and a.dtype == b.dtype
        return near and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4, equal_nan=True)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float):
        return a == b or abs(a - b) <= 1e-4 * max(1.0, abs(b)) or (a != a and b != b)
    return a == b if not hasattr(a, "__dataclass_fields__") else _close(vars(a), vars(b))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    files = {path: data for lesson in load_lessons() for path, data in built(lesson).items()}
    stale = [p for p in [*HERE.glob("*.ipynb"), *ANSWERS.glob("*.bin")] if p not in files]
    different = [path for path, data in files.items() if not same(path, data)]
    if args.check:
        for path in [*different, *stale]:
            print(
                f"{path.relative_to(HERE.parent)} is not what its source makes. Mend: python exercises/build.py",
                file=sys.stderr,
            )
        return int(bool(different or stale))
    for path in different:
        write(path, files[path])
        print(f"{path.relative_to(HERE.parent)}: {len(files[path]) / 1000:.0f} kB")
    for path in stale:
        path.unlink()
        print(f"{path.relative_to(HERE.parent)}: removed, it has no source")
    return 0


if __name__ == "__main__":
    sys.exit(main())
