"""Answers to try the exercises and the grader with: right ones, wrong ones, hostile ones, and damaged notebooks."""

from __future__ import annotations

import ast
import copy
import json
import random
import re
import textwrap
from collections.abc import Iterator

from minidiff.grading.exercise import GRADIENTS, Exercise

IMPORTS = "import math\nimport re\nimport warnings\nimport torch\n"


def notebook(*cells: str, **more) -> dict:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": c} for c in cells]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


def solution(exercise: Exercise) -> str:
    return f"{IMPORTS}{exercise.source}"


# --- Right in other ways ------------------------------------------------------------------------------

_WRAPPED = {
    "warns": "    warnings.warn('be careful')\n    return _inner(*args)",
    "prints": "    print('here', args)\n    return _inner(*args)",
    "takes copies first": "    return _inner(*(a.clone() if isinstance(a, torch.Tensor) else a for a in args))",
    "without gradients": "    with torch.no_grad():\n        return _inner(*args)",
    "a nested function": "    def deeper():\n        return _inner(*args)\n    return deeper()",
    "a class": "    class Once:\n        def __call__(self):\n            return _inner(*args)\n    return Once()()",
    "not contiguous": """
    def spread(x):
        return torch.stack([x, x], -1)[..., 0] if isinstance(x, torch.Tensor) else x
    out = _inner(*args)
    return type(out)(map(spread, out)) if isinstance(out, (tuple, list)) else spread(out)""",
    "float64 inside": """
    flat = [x for a in args for x in (a if isinstance(a, list) else [a])]
    first = next((a for a in flat if isinstance(a, torch.Tensor) and a.is_floating_point()), None)
    def wide(x):
        if isinstance(x, list):
            return [wide(y) for y in x]
        return x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
    def back(x):
        narrow = first is not None and isinstance(x, torch.Tensor) and x.dtype == torch.float64
        return x.to(first.dtype) if narrow else x
    out = _inner(*map(wide, args))
    return type(out)(map(back, out)) if isinstance(out, (tuple, list)) else back(out)""",
}


def variants(exercise: Exercise) -> dict[str, str]:
    """At least eight right answers that are not the reference, as source."""
    renamed = exercise.source.replace(f"def {exercise.function}(", "def _inner(", 1)
    made = {
        name: f"{IMPORTS}{renamed}\n\ndef {exercise.function}(*args):\n{body.strip(chr(10))}\n"
        for name, body in _WRAPPED.items()
        if not (name == "without gradients" and GRADIENTS in exercise.properties)
    }
    wrong = f"def {exercise.function}(*args):\n    return None\n"
    made["wrong first, then right"] = f"{wrong}\n{solution(exercise)}"
    made["parsed and written anew"] = IMPORTS + ast.unparse(ast.parse(exercise.source))
    return made


# --- Wrong by one change ------------------------------------------------------------------------------

_SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
_SWAPS |= {ast.MatMult: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
_TURNS = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
_PLAIN = (
    "sqrt",
    "square",
    "exp",
    "log",
    "round",
    "mean",
    "sum",
    "softmax",
    "flip",
    "lower",
    "clamp",
    "transpose",
    "any",
)


# Mutants that compute the same. Each with why.
EQUIVALENT = {
    "1.4 line 4: 1 -> 2": "what is padded beyond the last row or column is not looked at",
    "6.5 line 3: q -> k": "queries and keys have one width",
    "6.6 line 3: q -> k": "the same, and one batch",
    "6.7 line 3: 1e-12 -> 5e-13": "any tiny number keeps 0 / 0 away",
}


def mutants(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """(what was changed, the source): every place of the reference's body with one change, by its syntax tree."""
    tree = ast.parse(exercise.source)
    function = tree.body[0]
    names = [a.arg for a in function.args.args]
    places = [n for statement in function.body[1:] for n in ast.walk(statement)]
    for i, node in enumerate(places):
        for change in _changes(node, names):
            again = copy.deepcopy(tree)
            target = [n for statement in again.body[0].body[1:] for n in ast.walk(statement)][i]
            before = ast.unparse(target)
            changed = change(target)
            if changed is not target:
                again = _Replace(target, changed).visit(again)
            ast.fix_missing_locations(again)
            yield f"line {node.lineno}: {before} -> {ast.unparse(changed)}", IMPORTS + ast.unparse(again)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST):
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _changes(node: ast.AST, names: list[str]) -> Iterator:
    def setting(**fields):
        def change(target):
            for name, value in fields.items():
                setattr(target, name, value)
            return target

        return change

    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
        yield setting(op=_SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare):
        yield setting(ops=[_TURNS.get(type(op), type(op))() for op in node.ops])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield lambda target: target.operand
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield setting(value=node.value + 1)
        if node.value:
            yield setting(value=node.value * 0.5 if isinstance(node.value, float) else node.value * 2)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names and len(names) > 1:
        yield setting(id=names[(names.index(node.id) + 1) % len(names)])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _PLAIN:
        inner = node.func.value
        if not (isinstance(inner, ast.Name) and inner.id in ("torch", "math")):
            yield lambda target: target.func.value


# --- Hostile ------------------------------------------------------------------------------------------

HOSTILE = {
    "endless loop": "while True:\n    pass",
    "endless sleep": "import time\ntime.sleep(1000)",
    "endless in every thread": """
        import signal, threading
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        def spin():
            while True:
                torch.ones(10**6).sum()
        for _ in range(8):
            threading.Thread(target=spin, daemon=True).start()
        spin()""",
    "ignores signals": """
        import signal
        for number in range(1, 64):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass""",
    "sys.exit": "import sys\nsys.exit(0)",
    "raises SystemExit": "raise SystemExit",
    "raises KeyboardInterrupt": "raise KeyboardInterrupt",
    "raises BaseException": "raise BaseException('no')",
    "raises GeneratorExit": "raise GeneratorExit",
    "os._exit": "import os\nos._exit(0)",
    "os.abort": "import os\nos.abort()",
    "kills itself": "import os\nos.kill(os.getpid(), 9)",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)",
    "kills everybody": "import os\nos.kill(-1, 9)",
    "null pointer": "import ctypes\nctypes.string_at(0)",
    "deep recursion": "def f(n):\n    return f(n + 1)\nreturn f(0)",
    "all memory, in tensors": "return [torch.ones(2**28) for _ in range(100)]",
    "all memory, in a list": "return [0] * 10**11",
    "all memory, in text": "x = 'x'\nwhile True:\n    x += x",
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "thread bomb": "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(99,)).start()",
    "runs a program": "import subprocess\nreturn subprocess.run(['/bin/sh', '-c', 'sleep 99'])",
    "opens a socket": "import socket\nreturn socket.create_connection(('127.0.0.1', 80))",
    "reads a password": "return open('/etc/passwd').read()",
    "looks for references": "import glob\nreturn glob.glob('/**/exercises/src/*.py', recursive=True)",
    "imports references": "import minidiff.grading.exercise as e\nreturn e.load_lessons()",
    "imports the library": "from minidiff import samplers\nreturn samplers.move",
    "reads the gradebook": "import sqlite3\nreturn sqlite3.connect('gradebook.sqlite').execute('select 1')",
    "writes a file": "open('x', 'w').write('x')",
    "patches allclose": "torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True\nreturn args[0]",
    "an object that equals all": "class All:\n    def __eq__(self, other):\n        return True\nreturn All()",
    "a tensor that equals all": """
        class All(torch.Tensor):
            def __eq__(self, other):
                return True
        return torch.zeros(2, 1, 2, 1, 2).as_subclass(All)""",  # a shape that no exercise asks for
    "an endless generator": "import itertools\nreturn itertools.count()",
    "nested without end": "x = []\nx.append(x)\nreturn x",
    "too much output": "return [torch.zeros(2**20) for _ in range(16)]",
    "a huge text": "return 'x' * 10**8",
    "too many values": "return list(range(10**7))",
    "nan everywhere": "return args[0] * float('nan')",
    "infinite": "return args[0] + float('inf')",
    "complex": "return torch.zeros(2, dtype=torch.complex64)",
    "sparse": "return torch.eye(3).to_sparse()",
    "meta": "return torch.empty(3, device='meta')",
    "a function": "return lambda: 0",
    "a module": "return torch",
    "text": "return '<script>alert(1)</script>'",
    "writes to every handle": """
        import os
        for handle in range(3, 64):
            try:
                os.write(handle, b'x' * 100)
            except OSError:
                pass
        return args[0]""",
    "forges an answer": """
        import os
        for handle in range(3, 64):
            try:
                os.write(handle, b'\\x0f\\0\\0\\0\\0\\0\\0\\0{"state":"pass"}')
            except OSError:
                pass
        os._exit(0)""",
    "claims a fault of the grader": """
        import os, sys
        wire = sys.modules['wire']
        for handle in range(3, 64):
            try:
                os.write(handle, wire.pack({'state': 'infra', 'message': 'not my fault'}))
            except OSError:
                pass
        os._exit(0)""",
    "closes every handle": "import os\nos.closerange(0, 64)\nreturn args[0]",
    "replaces the packer": "import sys\nsys.modules['wire'].pack = lambda value: b'{}'\nreturn args[0]",
    "an error without end": "raise ValueError('x' * 10**7)",
    "an error that cannot be shown": """
        class Bad(Exception):
            def __str__(self):
                raise RuntimeError
        raise Bad""",
    "an error with control characters": "raise ValueError('\\x1b[31m\\x00\\n<b>\\u202e')",
    "warns without end": "import warnings\nfor i in range(10**5):\n    warnings.warn(str(i))\nreturn None",
    "prints without end": "while True:\n    print('x' * 1000)",
}
HOSTILE_FILES = {
    "not JSON": b"{cells: ",
    "empty": b"",
    "JSON, but a list": b"[1, 2]",
    "no cells": b"{}",
    "nested too deeply": b"[" * 100_000,
    "bytes": bytes(range(256)) * 40,
    "cells of numbers": b'{"cells": [1, null, "x", {"cell_type": "code", "source": 7}]}',
    "a stub": json.dumps(notebook("def {name}(*args):\n    return None")).encode(),
    "does not parse": json.dumps(notebook("def {name}(*args)\n    return 1")).encode(),
    "too many brackets": json.dumps(notebook("def {name}(*args):\n    return " + "(" * 5000)).encode(),
    "null characters": json.dumps(notebook("def {name}(*args):\n    return '\0'")).encode(),
    "a decorator that fails": json.dumps(notebook("@(1 / 0)\ndef {name}(*args):\n    return 1")).encode(),
}


CAUSES = {  # kinds: what the message must say
    "endless [lsi]|ignores|prints": "ran longer than",
    "all memory": "memory|ran longer than",
    "too much|too many v|huge text": "8 MiB|memory|ran longer than",
    "an error w": "ValueError|ran longer than",
    "cannot be shown": "Bad",
    "sys.exit": "SystemExit",
    "recursion": "RecursionError",
    "kills|fork|runs|socket|writes a|password": "PermissionError",
    "imports": "PermissionError|No module",
    "thread": "start new thread",
    "os._exit|abort|null p|closes": "its process ended",
    "reads the g": "unable to open",
    "forges|claims|packer|every handle": "its answer|its process ended",
    "patches|nan|infinite": ".",  # theirs may be the answer of a known mistake
    "JSON|bytes|deeply|no cells|empty": "it is (not a notebook|empty)",
    "numbers": "no function",
    "stub": "returns None",
    "warns": "returns None|ran longer than",
    "not parse|brackets|null c": "does not parse",
    "decorator": "ZeroDivisionError",
}


def cause(kind: str) -> str:
    """What the message on this kind must hold, as a pattern; of an answer of another form, what it must be."""
    if kind.startswith("raises "):
        return kind.removeprefix("raises ")
    return next((said for kinds, said in CAUSES.items() if re.search(kinds, kind)), "must (be|have|hold)")


def answer(function: str, body: str) -> str:
    """A cell that defines this function."""
    return f"import torch\n\ndef {function}(*args):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"


def hostile(function: str) -> dict[str, bytes]:
    """{kind: notebook}, every one of which is worth nothing."""
    made = {}
    for kind, body in HOSTILE.items():
        made[kind] = json.dumps(notebook(answer(function, body))).encode()
    return made | {kind: data.replace(b"{name}", function.encode()) for kind, data in HOSTILE_FILES.items()}


# --- Damaged ------------------------------------------------------------------------------------------

KEPT = ("reordered", "doubled", "ids lost", "metadata lost", "magics", "old format", "a broken cell more", "outputs")


def damaged(cells: list[str], seed: int) -> tuple[str, bool, bytes]:
    """(kind, whether the grade must stay, bytes) of a notebook with these cells, damaged by this seed."""
    chance = random.Random(seed)
    cells = list(cells)
    kind = chance.choice([*KEPT, "cut", "a cell deleted", "empty", "split"])
    made = notebook(*cells)
    if kind == "reordered":
        chance.shuffle(cells)
        made = notebook(*cells)
    elif kind == "doubled":
        cells.insert(chance.randrange(len(cells) + 1), chance.choice(cells))
        made = notebook(*cells)
    elif kind in ("ids lost", "metadata lost"):
        for cell in made["cells"]:
            cell.pop("metadata")
            cell.pop("outputs")
        made.pop("metadata")
    elif kind == "magics":
        made = notebook("%matplotlib inline\n!ls", *(f"%time\n{c}" if not c.startswith("@") else c for c in cells))
    elif kind == "old format":
        sheet = [{"cell_type": "code", "input": c.splitlines(keepends=True)} for c in cells]
        made = {"worksheets": [{"cells": sheet}], "nbformat": 3}
    elif kind == "a broken cell more":
        made = notebook("def oh no(", *cells, "1 +")
    elif kind == "outputs":
        made["cells"][0]["outputs"] = [{"output_type": "stream", "text": "x" * 10_000}]
    elif kind == "a cell deleted":
        made = notebook(*(cells[:i] + cells[i + 1 :] if (i := chance.randrange(len(cells))) >= 0 else cells))
    elif kind == "split":
        made = notebook(*(part for c in cells for part in (c[: len(c) // 2], c[len(c) // 2 :])))
    elif kind == "empty":
        return kind, False, b""
    data = json.dumps(made).encode()
    if kind == "cut":
        data = data[: chance.randrange(len(data))]
    return kind, kind in KEPT, data


# --- Scripts ------------------------------------------------------------------------------------------

SCRIPTS = [
    "<script>document.title='run'</script>",
    "</title><script>document.title='run'</script>",
    "</style><script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "<svg onload=\"document.title='run'\">",
    "<svg><script>document.title='run'</script></svg>",
    "\"><script>document.title='run'</script>",
    "'><img src=x onerror=document.title='run'>",
    "<iframe srcdoc=\"<script>parent.document.title='run'</script>\">",
    "<a href=\"javascript:document.title='run'\">x</a>",
    "<body onload=document.title='run'>",
    "<details open ontoggle=document.title='run'>",
    "<video><source onerror=document.title='run'></video>",
    "<math><mtext><script>document.title='run'</script></mtext></math>",
    "<input autofocus onfocus=document.title='run'>",
    "<meta http-equiv=refresh content=\"0;url=javascript:document.title='run'\">",
    "<object data=\"javascript:document.title='run'\">",
    "<embed src=\"javascript:document.title='run'\">",
    "<base href=\"javascript:document.title='run'//\">",
    "<style>@import 'javascript:document.title=1';</style>",
    "${document.title='run'}",
    "{{constructor.constructor(\"document.title='run'\")()}}",
    "--><script>document.title='run'</script>",
    "]]><script>document.title='run'</script>",
    "\u2028<script>document.title='run'</script>",
]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1+1",
    "\n=1+1",
    " =1+1",
    '=HYPERLINK("http://x","y")',
    "=cmd|' /C x'!A0",
]
