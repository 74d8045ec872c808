"""Learner code: taken out of a notebook's cells through the syntax tree, and called on cases.

This file stands alone: the worker, which holds learner code, imports it without the rest of minidiff.
"""

from __future__ import annotations

import ast
import re
import symtable
import traceback
import warnings

import torch
from torch import Tensor

ALLOWED = ("__future__", "collections", "copy", "dataclasses", "einops", "functools", "itertools", "math", "numpy")
ALLOWED += ("operator", "random", "re", "string", "torch", "typing", "warnings")  # top-level names
MAGIC = re.compile(r"^\s*[%!?].*$", re.M)
FILE = "<your code>"
TEXT_LIMIT = 160


class NotFound(Exception):
    """The function is not there; the message says why."""


def short(text: object, limit: int = TEXT_LIMIT) -> str:
    """On one line, without control characters, at most so many characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def extract(cells: list[str], function: str, allowed: tuple[str, ...] = ALLOWED) -> tuple[ast.Module, list[str]]:
    """The imports, functions, classes and literals of these cells, in order, and what was left out.

    Of all other assignments only those whose names are read by what is taken: so no training cell runs here. One that
    fails is passed over, as in a notebook where it stopped. A cell that does not parse is passed over, too. Raises
    NotFound where no cell defines `function`.
    """
    body: list[ast.stmt] = []
    others: set[str] = set()  # names that are set in loops and blocks
    left_out: list[str] = []
    for number, cell in enumerate(cells, start=1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(MAGIC.sub("", cell))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if re.search(rf"\bdef\s+{function}\b", cell):
                where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                left_out.append(f"code cell {number} does not parse{where}: {short(getattr(error, 'msg', error), 80)}")
            continue
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                foreign = [name for name in names if name.split(".")[0] not in allowed]
                if not foreign:
                    body.append(node)
                elif foreign != ["minidiff.grading"]:  # check is for the notebook
                    left_out.append(f"import {foreign[0]} is not among the allowed imports")
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)):
                body.append(node)
            else:
                others |= _sets(node)
    kept = [n for n in body if not isinstance(n, (ast.Assign, ast.AnnAssign)) or _is_literal(n) or function in _sets(n)]
    read: set[str] = set()
    new = kept
    while new:
        read |= set().union(*map(_reads, new))
        new = [node for node in body if node not in kept and _sets(node) & read]
        kept = kept + new
    if not any(function == getattr(node, "name", None) or function in _sets(node) for node in kept):
        raise NotFound(left_out[0] if left_out else f"there is no function {function} in the notebook")
    for name in sorted(others & read):
        left_out.insert(0, f"{name} is set in a loop or a block, and only plain assignments are taken")
    futures = [node for node in kept if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    rest = [
        node if not isinstance(node, (ast.Assign, ast.AnnAssign)) or function in _sets(node) else _tried(node)
        for node in body
        if node in kept and node not in futures
    ]
    return ast.fix_missing_locations(ast.Module(futures + rest, [])), left_out


def _sets(node: ast.stmt) -> set[str]:
    """The names that an assignment, loop or block sets; of a function, a class or an import none."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return set()
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _reads(node: ast.stmt) -> set[str]:
    """The names of the notebook that this statement reads, now or when it is called."""
    found: set[str] = set()
    try:
        tables = [symtable.symtable(ast.unparse(node), FILE, "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if (s.is_referenced() if top else s.is_global())}
    return found


def _tried(node: ast.stmt) -> ast.stmt:
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    return ast.Try([node], [handler], [], [])


def _is_literal(node: ast.stmt) -> bool:
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return False
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def load(tree: ast.Module, function: str):
    """The function that this syntax tree defines last."""
    space = {"__name__": "answer", "__builtins__": __builtins__}
    exec(compile(tree, FILE, "exec"), space)
    return space[function]


def call(function, args: list, gradients: bool = False) -> dict:
    """What the function does with one case: {out, changed, grads, error}.

    changed: the numbers of the arguments that it modified. grads: of a fixed sum over the output.
    """
    given = [_copy(a) for a in args]
    if gradients:
        for a in given:
            if isinstance(a, Tensor) and a.is_floating_point():
                a.requires_grad_()
    found = {"out": None, "changed": [], "grads": [], "error": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = function(*given)
        found["out"] = out
        if gradients:
            found["grads"] = _grads(out, given)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and re.search("allocate memory|not enough memory", str(error)):
            raise MemoryError(str(error)) from None
        found["error"] = describe(error, function)
    found["changed"] = [i for i, (a, b) in enumerate(zip(args, given, strict=True)) if _changed(a, b)]
    return found


def _grads(out: object, given: list) -> list:
    tensors = [x for x in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(x, Tensor)]
    tensors = [x for x in tensors if x.requires_grad]
    inputs = [a for a in given if isinstance(a, Tensor) and a.requires_grad]
    if not tensors:
        return [None] * len(inputs)
    total = sum((x * torch.linspace(0.5, 1.5, x.numel()).to(x).view_as(x)).sum() for x in tensors)
    return list(torch.autograd.grad(total, inputs, allow_unused=True))


def _copy(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(v) for v in value)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _changed(before: object, after: object) -> bool:
    if isinstance(before, (list, tuple)):
        return len(before) != len(after) or any(_changed(a, b) for a, b in zip(before, after, strict=True))
    if not isinstance(before, Tensor):
        return isinstance(before, (str, int, float)) and before != after
    after = after.detach()
    same = before.shape == after.shape and before.dtype == after.dtype
    return not (same and torch.equal(before.nan_to_num(), after.nan_to_num()))


def describe(error: BaseException, function=None) -> str:
    """One line: what went wrong, and in which line of the learner's cell: that of `function`, where it has one."""
    theirs = {FILE, getattr(getattr(function, "__code__", None), "co_filename", FILE)}
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in theirs]
    try:
        said = str(error)
    except Exception:
        said = ""
    return short(f"{type(error).__name__}: {said}" + (f" (line {lines[-1]})" if lines else ""))
