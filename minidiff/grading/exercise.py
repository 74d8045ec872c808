"""An exercise is one object: what is asked, on which cases, what is right, and how it commonly goes wrong.

The sources are exercises/src/NN_name.py. A learner's notebook, the notebook's `check`, the teacher's grading and
the tests of all three are made from them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .running import ALLOWED, call, short
from .wire import Other, unusual

TOLERANCE = {torch.float64: 1e-7, torch.float32: 2e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
VALUES, TYPES, INPUTS, GRADIENTS = "values", "types", "inputs", "gradients"
TENSOR = {VALUES: 3, TYPES: 1, INPUTS: 1}  # the properties of an answer that is a tensor
ABOUT = {
    VALUES: "the right values",
    TYPES: "shape and number format",
    INPUTS: "arguments are left as they are",
    GRADIENTS: "gradients flow",
}


@dataclass(frozen=True)
class Case:
    """One call: its arguments, the property that it decides, and whether gradients are compared too."""

    property: str
    args: tuple
    gradients: bool = False


@dataclass(frozen=True)
class Mistake:
    """Wrong code: `old` in the reference replaced by `new`; and the hint for whoever wrote it so."""

    old: str
    new: str
    hint: str


class Chance:
    """Random arguments of a case, all from one seed."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(dtype)

    def uniform(
        self, *shape: int, low: float | int = 0.0, high: float | int = 1.0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        r = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * r).to(dtype)

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return torch.randint(low, high, shape, generator=self.generator)

    def number(self, low: float | int, high: float | int) -> float:
        return float(self.uniform(low=low, high=high, dtype=torch.float64)) if low < high else low

    def pick(self, options: list | tuple | str):
        return options[int(self.whole(0, len(options)))]

    def angle(self, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) on the unit circle, neither of them near 0."""
        t = self.uniform(*shape, low=0.15, high=1.4, dtype=torch.float64)
        return t.cos().to(dtype), t.sin().to(dtype)

    def digits(self, n: int) -> Tensor:
        """Pictures (n, 1, 20, 20) in [-1, 1], for what is looked at."""
        from ..data import mnist, to_float

        pixels = mnist().pixels
        return to_float(pixels[self.whole(0, len(pixels), n)])[..., 4:24, 4:24].contiguous()

    def shape(self, channels: int | None = None) -> tuple[int, int, int, int]:
        """(b, c, h, w), all different."""
        b, c, h, w = (torch.randperm(4, generator=self.generator) + 2).tolist()
        return b, channels or c, h, w


@dataclass
class Exercise:
    """See the module. `reference` is right by definition; `judge` takes its place where there is no one answer."""

    id: str
    title: str
    points: int
    text: str
    function: str
    stub: str
    source: str
    properties: dict[str, int]
    reference: Callable | None
    mistakes: list[Mistake]
    hints: list[str]
    allowed: tuple[str, ...] = ALLOWED
    judge: str = ""
    space: dict = field(default_factory=dict, repr=False)
    make_cases: Callable[[Chance], Iterable[Case]] | None = None
    make_picture: Callable[[Chance], tuple | list[tuple]] | None = None  # one call or several

    def cases(self, seed: int) -> list[Case]:
        """The calls of this seed; the same seed gives the same ones."""
        number = int.from_bytes(hashlib.sha256(f"{self.id}/{seed}".encode()).digest()[:6], "big")
        return list(self.make_cases(Chance(number)))

    def expected(self, cases: list[Case]) -> list[dict]:
        return [call(self.reference, list(case.args), case.gradients) for case in cases]

    def wrong(self, mistake: Mistake) -> Callable:
        """The reference with this mistake in it. ValueError if its text is not there exactly once."""
        if self.source.count(mistake.old) != 1:
            raise ValueError(f"{self.id}: {mistake.old!r} stands {self.source.count(mistake.old)} times in the source")
        space = dict(self.space)
        exec(compile(self.source.replace(mistake.old, mistake.new), f"<mistake of {self.id}>", "exec"), space)
        return space[self.function]

    @property
    def version(self) -> str:
        """Changes whenever an answer could be graded differently."""
        parts = (self.source, repr(self.properties), self.points, self.space["__source__"], self.judge)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@dataclass
class Lesson:
    """The exercises of one lesson, in order of difficulty."""

    number: str
    name: str
    title: str
    intro: str
    exercises: list[Exercise] = field(default_factory=list)

    def exercise(
        self,
        id: str,
        title: str,
        points: int,
        text: str,
        properties: dict[str, int],
        mistakes: Iterable[tuple[str, str, str]] = (),
        hints: Iterable[str] = (),
        allowed: tuple[str, ...] = ALLOWED,
        judge: str = "",
    ) -> Callable[[Callable], _Parts]:
        """Decorates the reference. mistakes: (old, new, hint). With `judge` the function is only an example."""

        def add(reference: Callable) -> _Parts:
            made = Exercise(
                id,
                title,
                points,
                textwrap.dedent(text).strip(),
                reference.__name__,
                "",
                "",
                dict(properties),
                reference,
                [Mistake(*m) for m in mistakes],
                list(hints),
                allowed,
                judge,
            )
            self.exercises.append(made)
            return _Parts(made)

        return add


class _Parts:
    """What the decorated name stands for: takes the cases and the picture of its exercise."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise

    def cases(self, make: Callable) -> Callable:
        self.exercise.make_cases = make
        return make

    def picture(self, make: Callable) -> Callable:
        self.exercise.make_picture = make
        return make


# --- Reading the sources ------------------------------------------------------------------------------

SOURCES = Path(__file__).resolve().parent.parent.parent / "exercises" / "src"


def load_lessons(folder: Path = SOURCES) -> list[Lesson]:
    """All lessons of a folder of sources. ValueError names what is wrong with one."""
    files = sorted(folder.glob("[0-9][0-9]_*.py"))
    if not files:
        raise ValueError(f"there are no exercises in {folder}; --bank names the folder of their sources")
    lessons = [load_lesson(file) for file in files]
    seen: dict[str, str] = {}
    for exercise in (e for lesson in lessons for e in lesson.exercises):
        for name in (exercise.id, exercise.function):
            if name in seen:
                raise ValueError(f"{name} is in exercise {seen[name]} and in {exercise.id}: every name once")
            seen[name] = exercise.id
    return lessons


def load_lesson(file: Path) -> Lesson:
    text = file.read_text()
    spec = importlib.util.spec_from_file_location(f"_exercises_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lesson = module.LESSON
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    for exercise in lesson.exercises:
        node = functions[exercise.function]
        exercise.source = "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"
        exercise.stub = make_stub(node, exercise.source)
        exercise.space = {**vars(module), "__source__": _sources_of(text, exercise.function)}
        problem = _problem(exercise)
        if problem:
            raise ValueError(f"{file.name}, exercise {exercise.id}: {problem}")
    return lesson


def _sources_of(text: str, function: str) -> str:
    """All that is decorated with the exercise's name: its cases and its picture."""
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            names = [ast.unparse(d) for d in node.decorator_list]
            if any(name.startswith(f"{function}.") for name in names):
                found.append(ast.unparse(node))
    return "\n".join(found)


def _problem(exercise: Exercise) -> str | None:
    if exercise.make_cases is None:
        return f"no function is decorated with @{exercise.function}.cases"
    if exercise.judge:
        return None
    if VALUES not in exercise.properties:
        return 'no property is called "values"'
    known = {case.property for case in exercise.cases(0)} | {TYPES, INPUTS}
    if any(case.gradients for case in exercise.cases(0)):
        known.add(GRADIENTS)
    if set(exercise.properties) - known:
        return f"no case decides {sorted(set(exercise.properties) - known)}"
    if known - {TYPES, INPUTS} - set(exercise.properties):
        return f"cases for {sorted(known - set(exercise.properties))}, which is no property"
    for mistake in exercise.mistakes:
        exercise.wrong(mistake)
    return None


def make_stub(node: ast.FunctionDef, source: str) -> str:
    """The signature and the docstring, and a body that returns None."""
    lines = source.splitlines()
    doc = node.body[0]
    if not (isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str)):
        raise ValueError(f"{node.name} needs a docstring that says what to do")
    kept = lines[: doc.end_lineno - node.lineno + 1]
    return "\n".join([*kept, "    # Your code here.", "    return None"])


# --- Comparing ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """kind: "type", "shape", "dtype" or "values"; text: what differs, and where."""

    kind: str
    text: str


def compare(want: object, got: object, place: str = "the answer", tight: float | int = 1.0) -> Difference | None:
    """The first difference, or None. A number and a tensor () of it are the same."""
    if isinstance(got, Tensor) and (odd := unusual(got)):
        got = Other(odd)
    if isinstance(want, (int, float)) and not isinstance(want, bool):
        if isinstance(got, Tensor) and got.dim() == 0:
            got = got.item()
        if not isinstance(got, (int, float)) or isinstance(got, bool):
            return Difference("type", f"{place} must be a number, got {_kind(got)}")
        return _compare_tensors(torch.tensor(float(want)), torch.tensor(float(got)), place, tight)
    if isinstance(want, Tensor):
        if want.dim() == 0 and isinstance(got, (int, float)) and not isinstance(got, bool):
            got = torch.tensor(float(got)).to(want.dtype)
        if not isinstance(got, Tensor):
            return Difference("type", f"{place} must be a tensor, got {_kind(got)}")
        return _compare_tensors(want, got, place, tight)
    if isinstance(want, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return Difference("type", f"{place} must be a {type(want).__name__}, got {_kind(got)}")
        if len(want) != len(got):
            return Difference("shape", f"{place} must hold {len(want)} values, got {len(got)}")
        found = None
        for i, (w, g) in enumerate(zip(want, got, strict=True)):
            one = compare(w, g, f"value {i + 1} of {place}", tight)
            if one and one.kind != "dtype":
                return one
            found = found or one
        return found
    if type(want) is not type(got):
        return Difference("type", f"{place} must be {_kind(want)}, got {_kind(got)}")
    if want != got:
        return Difference("values", f"{place}: expected {short(repr(want), 50)}, got {short(repr(got), 50)}")
    return None


def _compare_tensors(want: Tensor, got: Tensor, place: str, tight: float) -> Difference | None:
    if want.shape != got.shape:
        return Difference("shape", f"{place} must have shape {tuple(want.shape)}, got {tuple(got.shape)}")
    w, g = want.detach().double(), got.detach().double()
    tolerance = TOLERANCE.get(want.dtype, 0.0) * tight
    equal = torch.isclose(g, w, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not bool(equal.all()):
        first = (~equal).nonzero()[0].tolist()
        share = f" ({int((~equal).sum())} of {w.numel()} differ)" if w.numel() > 1 else ""
        at = f" at {first}" if first else ""
        w, g = float(w[tuple(first)]), float(g[tuple(first)])
        return Difference("values", f"{place}{at}: expected {w:.5g}, got {g:.5g}{share}")
    if want.dtype != got.dtype:
        return Difference("dtype", f"{place} must be {str(want.dtype)[6:]}, got {str(got.dtype)[6:]}")
    return None


def _kind(value: object) -> str:
    if isinstance(value, Other):
        return value.name
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


@dataclass
class Verdict:
    """What an answer is worth. properties: name -> None where it holds, else what is wrong."""

    state: str
    points: float
    properties: dict[str, str | None]
    message: str = ""


def judge(properties: dict[str, int], points: int, cases: list[Case], want: list[dict], got: list[dict]) -> Verdict:
    """Weigh what came out against what should have. Nothing counts unless the ordinary values are right."""
    if all(g["out"] is None and not g["error"] for g in got):
        return Verdict("not_attempted", 0.0, {}, "the function returns None")
    wrong: dict[str, str | None] = dict.fromkeys(properties)

    def note(name: str, i: int, text: str) -> None:
        if name in wrong and wrong[name] is None:
            wrong[name] = short(f"case {i + 1}: {text}", 200)

    for i, (case, w, g) in enumerate(zip(cases, want, got, strict=True)):
        if g["error"]:
            for name in {case.property, TYPES} | ({GRADIENTS} if case.gradients else set()):
                note(name, i, g["error"])
            continue
        difference = compare(w["out"], g["out"])
        if difference:
            if difference.kind != "dtype":
                note(case.property, i, difference.text)
            if difference.kind != "values":
                note(TYPES, i, difference.text)
        if g["changed"]:
            note(INPUTS, i, f"argument {g['changed'][0] + 1} was modified; work on a copy")
        if case.gradients and (difference := compare(w["grads"], g["grads"], "the gradients", 10.0)):
            note(GRADIENTS, i, difference.text)
    good = sum(weight for name, weight in properties.items() if wrong[name] is None)
    share = good / sum(properties.values()) if wrong[VALUES] is None else 0.0
    first = wrong[VALUES] or next((text for text in wrong.values() if text), "")
    errors = [g["error"] for g in got if g["error"]]
    state = "pass" if not any(wrong.values()) else "student_error" if len(errors) == len(got) else "fail"
    return Verdict(state, round(points * share, 2), wrong, first)


def recognise(want: list[dict], got: list[dict], mistakes: Iterator[tuple[str, list[dict]]]) -> str | None:
    """The hint of the first catalogued mistake that does the same on every case, if the answer is wrong."""
    if all(_same(w, g) for w, g in zip(want, got, strict=True)):
        return None
    for hint, outs in mistakes:
        if all(_same(m, g) for m, g in zip(outs, got, strict=True)):
            return hint
    return None


def _same(one: dict, other: dict) -> bool:
    if one["error"] or other["error"]:
        return bool(one["error"]) and bool(other["error"])
    if one["changed"] != other["changed"] or compare(one["out"], other["out"]) is not None:
        return False
    return compare(one["grads"], other["grads"], tight=10.0) is None


def usable(results: list[dict]) -> bool:
    """Whether what came over the wire has the form of results; a worker may send anything."""
    return all(
        isinstance(r, dict)
        and set(r) == {"out", "changed", "grads", "error"}
        and isinstance(r["changed"], list)
        and all(isinstance(i, int) for i in r["changed"])
        and isinstance(r["grads"], list)
        and (r["error"] is None or isinstance(r["error"], str))
        for r in results
    )
