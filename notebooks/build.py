"""Build the notebooks from their sources: python notebooks/build.py [NAMES] [--text | --check]

notebooks/src/NAME.py (py:percent) -> notebooks/NAME.ipynb, executed from a clean kernel, with its pictures.
NAMES may be beginnings, such as 03. --text executes nothing: it takes over changed text and keeps all outputs,
for which the code must be the same. --check executes nothing either: it names each notebook whose cells differ
from its source, and then exits with 1. Lesson 12 tells more where MINIDIFF_DATA has CIFAR-10.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import zlib
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).resolve().parent
CELL_LIMIT = 300  # seconds; a lesson is to take three minutes as a whole
VIEW = "application/vnd.jupyter.widget-view+json"
CONTROL = "[A control: it appears when this cell is run.]"
LEFT_OUT = "# left out when stored"  # the comment of a cell whose pictures nobody gave us leave to hand out
NO_PICTURE = "[Photographs without a licence: they appear when this cell is run, and are not stored here.]"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(names: list[str]) -> list[Path]:
    """The sources whose names begin with one of `names`, or all. LookupError if a name fits none."""
    found = sorted((HERE / "src").glob("*.py"))
    wanted = [Path(name).stem for name in names] or [""]
    for name in wanted:
        if not any(source.stem.startswith(name) for source in found):
            raise LookupError(f"there is no notebook {name!r}; there are: {', '.join(s.stem for s in found)}")
    return [source for source in found if source.stem.startswith(tuple(wanted))]


def target(source: Path) -> Path:
    return HERE / f"{source.stem}.ipynb"


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook of this source, not executed; ids follow from the text of a cell: small diffs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(METADATA)
    seen: set[str] = set()
    for cell in notebook.cells:
        salt = 0
        while (name := f"{zlib.crc32(cell.source.encode(), salt):08x}") in seen:
            salt += 1
        seen.add(name)
        cell.id, cell.metadata = name, nbformat.from_dict({})
    return notebook


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a clean kernel; raises nbclient's errors for a cell that fails or takes too long."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(still, cell.outputs) if output is not None]
            if LEFT_OUT in cell.source:
                leave_out(cell)


def keep_outputs(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Give the notebook the outputs of the one at `path`. ValueError where their code differs."""
    mine, theirs = ([c for c in n.cells if c.cell_type == "code"] for n in (notebook, nbformat.read(path, 4)))
    same = len(mine) == len(theirs) and all(a.source == b.source for a, b in zip(mine, theirs, strict=True))
    if not same:
        raise ValueError("its code has changed: execute it, without --text")
    for a, b in zip(mine, theirs, strict=True):
        a.outputs, a.execution_count = b.outputs, b.execution_count


def still(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output as it shows without a kernel: a control becomes a line of text, a progress bar goes."""
    data = output.get("data", {})
    if VIEW in data:
        if re.match(r"\s*\d+%\||\d+it ", data.get("text/plain", "")):
            return None
        output.data = nbformat.from_dict({"text/plain": CONTROL})
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    return output


def leave_out(cell: nbformat.NotebookNode) -> None:
    """A line of text in place of each picture of the cell; what it printed stays."""
    for output in cell.outputs:
        if "data" in output:
            output.data = nbformat.from_dict({"text/plain": NO_PICTURE})


def difference(source: Path) -> str | None:
    """What is wrong with this source's notebook, in a few words; None if its cells are the source's."""
    path = target(source)
    if not path.is_file():
        return "is missing"
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # not JSON, or no notebook
        return f"cannot be read ({' '.join(str(error).split())[:200]})"
    built, made = ([(c.cell_type, c.source) for c in n.cells] for n in (notebook, read(source)))
    if built == made:
        return None
    same = next((i for i, (b, m) in enumerate(zip(built, made, strict=False)) if b != m), min(len(built), len(made)))
    return f"differs from {source.relative_to(HERE.parent)}, first in cell {same + 1}"


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Whole or not at all: a reader sees the old file or the new one."""
    nbformat.validate(notebook)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            nbformat.write(notebook, file)
        os.chmod(part, 0o644)
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)


def check(chosen: list[Path]) -> int:
    problems = {target(source).name: difference(source) for source in chosen}
    problems |= {p.name: "has no source" for p in HERE.glob("*.ipynb") if not (HERE / f"src/{p.stem}.py").is_file()}
    for name, problem in problems.items():
        if problem:
            print(f"notebooks/{name} {problem}. Mend: python notebooks/build.py {name[:2]}", file=sys.stderr)
    return int(any(problems.values()))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all if none is given")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--text", action="store_true", help="take over changed text, execute nothing")
    how.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args(argv)
    try:
        chosen = sources(args.names)
    except LookupError as problem:
        print(f"build.py: {problem}", file=sys.stderr)
        return 1
    if args.check:
        return check(chosen)
    for source in chosen:
        start = time.monotonic()
        notebook = read(source)
        doing = "keeping the outputs of" if args.text else "executing"
        print(f"{source.stem}: {doing} {len(notebook.cells)} cells ...", end=" ", flush=True)
        try:
            keep_outputs(notebook, target(source)) if args.text else execute(notebook)
        except Exception as error:  # of the lesson's own code, or a time limit: the old notebook stays
            print(f"failed\n{error}", file=sys.stderr)
            return 1
        write(notebook, target(source))
        print(f"{time.monotonic() - start:.0f} s, {target(source).stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
