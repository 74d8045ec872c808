"""The committed notebooks are those of their sources, executed, small, and as the course promises."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = sorted((NOTEBOOKS / "src").glob("*.py"))
LESSONS = [source for source in SOURCES if source.name[0].isdigit()]  # not the map and the glossary

# The "never" column of the table of words in ARCHITECTURE.md, where the word has no other use in a lesson.
NEVER = {
    "x_start",
    "sample",
    "img",
    "denoised",
    "noise_pred",
    "timestep",
    "t_prev",
    "alphas_cumprod",
    "c_noise",
}
NEVER |= {"temb", "prediction_type", "cond", "uncond", "w", "mu", "num_inference_steps", "control", "z"}


def load_build():
    spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()
page = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
lesson = pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.stem)


def cells(source: Path, kind: str) -> list:
    notebook = nbformat.read(build.target(source), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def outputs(source: Path) -> list:
    return [output for cell in cells(source, "code") for output in cell.outputs]


def test_there_are_lessons():
    assert [int(source.name[:2]) for source in LESSONS] == [*range(13)]


@page
def test_notebook_has_the_cells_of_its_source(source):
    assert build.difference(source) is None


def test_every_notebook_has_a_source():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {source.stem for source in SOURCES}


@page
def test_notebook_is_small(source):
    assert build.target(source).stat().st_size < 1.5e6


@page
def test_notebook_was_executed_from_top_to_bottom_without_errors(source):
    code = cells(source, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs(source) if output.output_type == "error"]
    assert not [output.text for output in outputs(source) if output.get("name") == "stderr"]


@page
def test_pictures_have_an_alternative_text(source):
    pictures = []

    class Pictures(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "img":
                pictures.append(dict(attributes).get("alt") or "")

    for output in outputs(source):
        data = output.get("data", {})
        assert not [kind for kind in data if kind.startswith("image/")], "show it with viz.show(picture, alt)"
        Pictures().feed(data.get("text/html", ""))
    assert len(pictures) >= (3 if source in LESSONS else 0)
    assert all(len(alt.split()) >= 4 for alt in pictures)


@page
def test_nothing_needs_a_kernel_to_be_seen(source):
    """A control without its kernel shows as an error in JupyterLab, so the committed notebook has none."""
    assert not [output for output in outputs(source) if build.VIEW in output.get("data", {})]
    assert "widgets" not in nbformat.read(build.target(source), as_version=4).metadata


@page
def test_code_cells_are_short(source):
    for cell in cells(source, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= 40, f"{len(lines)} lines: {lines[0]}"
        assert not [line for line in lines if len(line) > 88], "wider than a cell on a projector"


@page
def test_code_cells_use_the_words_of_the_course(source):
    for cell in cells(source, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            names = {getattr(node, key, None) for key in ("id", "arg", "attr", "name")}
            assert not names & NEVER, f"{names & NEVER} in: {ast.unparse(node)}"
            assert not names & {"interact", "interactive", "Output"}, "hangs when it is executed headless"


@page
def test_links_lead_somewhere(source):
    for cell in cells(source, "markdown"):
        for link in re.findall(r"\]\(([^)]+)\)", cell.source):
            if not link.startswith("https://"):
                assert (NOTEBOOKS / link.split("#")[0]).is_file(), link


@lesson
def test_lesson_leads_on(source):
    """To the map, the glossary, the exercises and the next lesson."""
    text = "\n".join(cell.source for cell in cells(source, "markdown"))
    after = [other for other in LESSONS if int(other.name[:2]) == int(source.name[:2]) + 1]
    wanted = ["map.ipynb", "glossary.ipynb", *(f"{other.stem}.ipynb" for other in after)]
    wanted += [f"../exercises/{source.stem}.ipynb"] if source.name[:2] != "00" else []
    assert not [link for link in wanted if f"]({link})" not in text]


@page
def test_measured_numbers_are_printed_not_typed(source):
    """A number with a unit in the text is a measurement that nobody will measure again."""
    for cell in cells(source, "markdown"):
        typed = re.findall(r"(?<![\^\w])\d[\d.,]*\s*(?:%|ms\b|s\b|seconds|minutes|images/s|MB)", cell.source)
        assert not typed, typed


@lesson
def test_lesson_follows_the_anatomy(source):
    headings = re.findall(r"^## (.+)$", "\n".join(c.source for c in cells(source, "markdown")), re.MULTILINE)
    order = ["Predict, then run", "Play", "What went wrong", "Milestone", "To think about"]
    places = [next((i for i, h in enumerate(headings) if h.startswith(part)), None) for part in order]
    assert None not in places and places == sorted(places), headings
    assert "assert_close(" in "\n".join(c.source for c in cells(source, "code"))


def test_milestones_fit_the_lesson():
    from minidiff import viz

    text = (NOTEBOOKS / "src/03_learning_to_denoise.py").read_text()
    measured = viz.read_settings(NOTEBOOKS / "expected/03_learning_to_denoise.png")
    taught = re.search(r"^MILESTONES = (.+)$", text, re.MULTILINE)[1]
    assert ast.literal_eval(taught) == measured["milestones"]


@pytest.mark.parametrize("path", sorted((NOTEBOOKS / "expected").glob("*.json")), ids=lambda path: path.stem)
def test_milestones_are_those_of_the_lesson(path):
    text = (NOTEBOOKS / f"src/{path.stem}.py").read_text()
    taught = ast.literal_eval(re.search(r"^MILESTONES = (.+)$", text, re.MULTILINE)[1])
    measured = json.loads(path.read_text())["at_milestone"]
    assert [float(key) for key in measured] == taught and len(set(map(len, measured.values()))) == 1


def check(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, NOTEBOOKS / "build.py", *arguments], capture_output=True, text=True, timeout=120
    )


def test_check_names_what_differs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "src").mkdir()
    source = tmp_path / "src/00_hello.py"
    source.write_text("# %% [markdown]\n# Hello\n\n# %%\n1 + 1\n")
    assert build.main(["--check"]) == 1
    assert "00_hello.ipynb is missing" in capsys.readouterr().err

    build.write(build.read(source), tmp_path / "00_hello.ipynb")
    assert build.main(["--check"]) == 0
    first = (tmp_path / "00_hello.ipynb").read_bytes()
    build.write(build.read(source), tmp_path / "00_hello.ipynb")
    assert (tmp_path / "00_hello.ipynb").read_bytes() == first, "the same source gives the same bytes"

    source.write_text(source.read_text().replace("1 + 1", "1 + 2"))
    assert build.main(["--check", "00"]) == 1
    assert "00_hello.ipynb differs" in capsys.readouterr().err
    (tmp_path / "07_lost.ipynb").write_text("{}")
    assert build.main(["--check"]) == 1
    assert "07_lost.ipynb has no source" in capsys.readouterr().err


def test_text_is_taken_over_with_the_outputs_of_the_same_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "src").mkdir()
    source, path = tmp_path / "src/00_hello.py", tmp_path / "00_hello.ipynb"
    source.write_text("# %% [markdown]\n# Hello\n\n# %%\n1 + 1\n")
    notebook = build.read(source)
    notebook.cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)]
    build.write(notebook, path)

    source.write_text("# %% [markdown]\n# Hello\n# again\n\n# %%\n1 + 1\n\n# %% [markdown]\n# Bye\n")
    assert build.main(["--text"]) == 0 and build.main(["--check"]) == 0
    cells = nbformat.read(path, 4).cells
    assert [c.source for c in cells] == ["Hello\nagain", "1 + 1", "Bye"]
    assert cells[1].outputs[0].data["text/plain"] == "2"

    before = path.read_bytes()
    source.write_text(source.read_text().replace("1 + 1", "1 + 2"))
    assert build.main(["--text"]) == 1
    assert "code has changed" in capsys.readouterr().err and path.read_bytes() == before


def test_check_as_a_command():
    assert check("--check").returncode == 0
    wrong = check("99", "--check")
    assert wrong.returncode == 1 and "there is no notebook '99'" in wrong.stderr


def test_controls_become_text_and_progress_bars_go():
    view = {build.VIEW: {"model_id": "1"}}
    control = nbformat.v4.new_output("display_data", view | {"text/plain": "VBox(children=...)"})
    bar = nbformat.v4.new_output("display_data", view | {"text/plain": "  0%|          | 0/9 [00:00<?, ?step/s]"})
    assert build.still(control).data == {"text/plain": build.CONTROL}
    assert build.still(bar) is None


def test_pictures_that_may_not_be_handed_out_are_left_out():
    printed = nbformat.v4.new_output("stream", text="66%")
    picture = nbformat.v4.new_output("display_data", {"text/html": "<img alt='a frog' src='data:...'>"})
    cell = nbformat.v4.new_code_cell(f"display(frog)  {build.LEFT_OUT}", outputs=[printed, picture])
    build.leave_out(cell)
    assert [cell.outputs[0].text, cell.outputs[1].data] == ["66%", {"text/plain": build.NO_PICTURE}]

    lesson = next(source for source in LESSONS if source.name.startswith("12"))
    marked = [cell for cell in cells(lesson, "code") if build.LEFT_OUT in cell.source]
    assert len(marked) == 2 and not any("img" in str(cell.outputs) for cell in marked)


def test_a_lesson_that_fails_leaves_the_old_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/00_bad.py").write_text("# %%\nraise ValueError('no digits today')\n")
    (tmp_path / "00_bad.ipynb").write_text("old")
    assert build.main([]) == 1
    assert "no digits today" in capsys.readouterr().err
    assert (tmp_path / "00_bad.ipynb").read_text() == "old"


def test_library_does_not_import_the_controls():
    code = "import sys, minidiff; sys.exit(bool({'anywidget', 'ipywidgets', 'minidiff.widgets'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
