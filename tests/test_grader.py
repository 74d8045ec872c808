"""The grader: no wrong grade, whatever is handed in and whoever is killed."""

from __future__ import annotations

import ast
import contextlib
import csv
import html.parser
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import corpus
import psutil
import pytest
import torch

from minidiff import cli
from minidiff.grading import grade as grading
from minidiff.grading import reports, sandbox, wire
from minidiff.grading.exercise import SOURCES, load_lessons
from minidiff.grading.gradebook import Grade, Gradebook, Row

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minidiff" / "grading"
ZERO = set(grading.ZERO)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="grading needs fork")


@cache
def exercises() -> dict:
    return {e.id: e for lesson in load_lessons() for e in lesson.exercises}


@cache
def task(id: str = "2.1", seed: int = 1) -> grading.Task:
    return grading.Task(exercises()[id], seed)


@pytest.fixture(scope="module")
def workers():
    made = grading.Workers(wall=2.0)
    yield made
    made.close()


def submission(data: bytes, tmp_path: Path, name: str = "ann.ipynb") -> grading.Submission:
    (tmp_path / name).write_bytes(data)
    return grading.read_submission(tmp_path / name)


def write_class(folder: Path, ids: list[str], good: int, bad: int, chance: random.Random) -> None:
    """Learners with every exercise right, and learners with hostile ones."""
    folder.mkdir(parents=True, exist_ok=True)
    quick = [
        k
        for k in corpus.HOSTILE
        if not any(w in k for w in ("endless", "ignores", "without end", "bomb", "all memory", "too many", "huge"))
    ]
    names = [f"good{i}" for i in range(good)] + [f"bad{i}" for i in range(bad)]
    chance.shuffle(names)
    for name in names:
        if name.startswith("good"):
            data = json.dumps(corpus.notebook(*(corpus.solution(exercises()[id]) for id in ids))).encode()
        else:
            data = corpus.hostile(exercises()[ids[0]].function)[chance.choice(quick)]
        (folder / f"{name}.ipynb").write_bytes(data)


# --- What the trusted side may not do -----------------------------------------------------------------


def test_nothing_that_learners_wrote_is_ever_executed_or_unpickled_here():
    banned = {"pickle", "dill", "marshal", "shelve", "joblib", "cloudpickle", "runpy"}
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                named = {a.name.split(".")[0] for a in node.names} | {(getattr(node, "module", "") or "").split(".")[0]}
                assert not named & banned, file.name
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "torch.load", "__import__") or file.name == "sandbox.py", (
                    file.name,
                    called,
                )
                assert called != "exec" or file.name in ("running.py", "exercise.py"), file.name
                assert not any(k.arg == "weights_only" for k in node.keywords), file.name
    for name in ("grade.py", "gradebook.py", "reports.py"):
        text = (PACKAGE / name).read_text()
        assert "running.load" not in text and "extract" not in text and "ast" not in text.split(), name


def test_the_worker_has_nothing_of_the_library_in_it():
    for name in ("worker.py", "running.py", "wire.py", "sandbox.py"):
        for node in ast.walk(ast.parse((PACKAGE / name).read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and not (node.module or "").startswith("minidiff"), name


# --- The sandbox --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
def test_no_door_is_open_in_a_worker_and_the_doors_are_real(tmp_path):
    worker = grading.Worker()
    try:
        found = worker.probe({"reference": SOURCES})
        assert len(found) >= 15 and "read a reference" in found
        if not worker.rights["landlock"]:
            pytest.skip("this kernel has no Landlock")
        assert not [name for name, succeeded in found.items() if succeeded]
        assert (
            worker.rights == {"namespaces": True, "landlock": True, "seccomp": True} or not worker.rights["namespaces"]
        )
    finally:
        worker.close()
    secret = tmp_path / "secret"
    secret.write_text("planted")
    doors = sandbox.doors(str(secret), os.getpid())
    for name in ("read a file of the grader", "list the folder of the grader", "read /etc/passwd", "read /proc"):
        assert doors[name](), name
    assert doors["write beside the secret"]() and doors["signal the grader"]() and doors["run a program"]()


def test_where_there_is_no_sandbox_submissions_must_be_trusted(monkeypatch):
    monkeypatch.setattr(
        grading.Worker, "probe", lambda self, places: {"read /etc/passwd": True, "open a socket": False}
    )
    with pytest.raises(ValueError, match=r"does not hold.*read /etc/passwd.*--trust-submissions"):
        grading.seal(trust=False)
    assert "1 of 2 probes refused" in grading.seal(trust=True)


# --- Grades -------------------------------------------------------------------------------------------


def test_right_answers_score_and_wrong_ones_are_told_why(workers, tmp_path):
    e = exercises()["2.1"]
    for source in (corpus.solution(e), *corpus.variants(e).values()):
        (row,) = grading.grade_submission(
            workers, [task()], submission(json.dumps(corpus.notebook(source)).encode(), tmp_path)
        )
        assert (row.state, row.score) == ("pass", e.points), row
    for mistake in e.mistakes:
        code = corpus.IMPORTS + e.source.replace(mistake.old, mistake.new)
        (row,) = grading.grade_submission(
            workers, [task()], submission(json.dumps(corpus.notebook(code)).encode(), tmp_path)
        )
        assert (row.state, row.message) == ("fail", mistake.hint)


def grade_one(workers, tmp_path, *cells: str, id: str = "2.2") -> Row:
    data = json.dumps(corpus.notebook(*cells)).encode()
    (row,) = grading.grade_submission(workers, [task(id)], submission(data, tmp_path))
    return row


def test_what_an_answer_reads_is_graded_with_it(workers, tmp_path):
    """As `check` would have it: constants that are computed, and functions made by lambda."""
    e = exercises()["2.2"]
    source = e.source.replace("math.pi / 2", "QUARTER")
    assert source != e.source
    right = [corpus.IMPORTS, "HALF = math.pi\nQUARTER: float = HALF / 2", source]
    assert grade_one(workers, tmp_path, *right).state == "pass"
    tuples = [corpus.IMPORTS, "QUARTER, other = math.pi / 2, undefined", "QUARTER, _ = math.pi / 2, 0", source]
    assert grade_one(workers, tmp_path, *tuples).state == "pass", "an assignment that fails is passed over"
    unread = [corpus.IMPORTS, source, "QUARTER = math.pi / 2", "while True: pass", "loss = sum(range(10**12))"]
    assert grade_one(workers, tmp_path, *unread).state == "pass", "what nothing reads is not run"
    inner = [corpus.IMPORTS, "t = 1 / 0", e.source]
    assert grade_one(workers, tmp_path, *inner).state == "pass", "a parameter is no name of the notebook"
    loop = [corpus.IMPORTS, "for QUARTER in [math.pi / 2]: pass", source]
    assert "QUARTER is set in a loop" in grade_one(workers, tmp_path, *loop).message
    short = [corpus.IMPORTS, "log_snr = lambda alpha, sigma: 2 * (alpha.log() - sigma.log())"]
    assert grade_one(workers, tmp_path, *short, id="2.3").state == "pass"
    broken = [corpus.IMPORTS, "log_snr = undefined(2)"]
    row = grade_one(workers, tmp_path, *broken, id="2.3")
    assert row.state == "student_error" and "undefined" in row.message


def test_a_blank_copy_does_not_count_for_more_than_the_solved_one(workers, tmp_path):
    solved = json.dumps(corpus.notebook(corpus.solution(exercises()["2.1"])))
    blank = json.dumps(corpus.notebook(corpus.IMPORTS, exercises()["2.1"].stub))
    wrong = json.dumps(corpus.notebook("def add_noise(x0, eps, alpha, sigma):\n    return x0"))
    folder = tmp_path / "tom"
    folder.mkdir()
    for first, second, state in ((solved, blank, "pass"), (blank, solved, "pass"), (solved, wrong, "fail")):
        (folder / "a.ipynb").write_text(first)
        (folder / "b.ipynb").write_text(second)
        (row,) = grading.grade_submission(workers, [task()], grading.read_submission(folder))
        assert row.state == state


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_submissions_score_nothing_and_stop_nothing(workers, tmp_path, every):
    """All kinds in the slow test, every fifth in the quick one."""
    kinds = corpus.hostile("add_noise")
    assert len(kinds) >= 40
    slow = ("endless", "bomb", "all memory", "prints without end", "too many", "huge")
    for kind, data in list(kinds.items())[::every]:
        if every > 1 and any(word in kind for word in slow):
            continue
        (row,) = grading.grade_submission(workers, [task()], submission(data, tmp_path))
        assert (row.score, row.state in ZERO) == (0, True), (kind, row)
        assert 0 < len(row.message) <= 200 and row.message.isprintable(), (kind, row)
    solved = json.dumps(corpus.notebook(corpus.solution(exercises()["2.1"]))).encode()
    (row,) = grading.grade_submission(workers, [task()], submission(solved, tmp_path))
    assert row.state == "pass"


def test_damaged_notebooks_give_the_same_grade_or_a_message(workers, tmp_path):
    ids = ["2.1", "2.2", "2.3"]
    tasks = [task(id) for id in ids]
    cells = [corpus.IMPORTS, *(exercises()[id].source for id in ids)]
    for seed in range(12):
        kind, same, data = corpus.damaged(cells, seed)
        rows = grading.grade_submission(workers, tasks, submission(data, tmp_path))
        for row in rows:
            assert row.state == "pass" if same else row.message or row.state == "pass", (kind, row)


def test_only_ordinary_files_are_read(tmp_path):
    folder = tmp_path / "ann"
    folder.mkdir()
    (tmp_path / "secret.ipynb").write_text(json.dumps(corpus.notebook("secret = 1")))
    (folder / "link.ipynb").symlink_to(tmp_path / "secret.ipynb")
    os.mkfifo(folder / "pipe.ipynb")
    found = grading.read_submission(folder)
    assert found.notebooks == {}
    assert len(found.problems) == 2


def test_a_zero_needs_the_same_state_twice_and_points_do_not():
    def rows(*states):
        given = iter(states)
        return lambda: Row("2.1", "v", state := next(given), 3.0 if state == "pass" else 0.0, 3, "", {}, 0.0)

    for states, wanted in {
        ("pass",): "pass",
        ("crash", "pass"): "pass",
        ("crash", "crash"): "crash",
        ("crash", "timeout", "crash"): "crash",
        ("infra", "infra", "infra"): "infra",
        ("infra", "fail", "fail"): "fail",
        ("crash", "timeout", "memory", "protocol", "fail", "student_error"): "infra",
    }.items():
        assert grading.settle(rows(*states)).state == wanted, states


def test_who_was_killed_from_outside_gets_no_zero_and_who_ran_too_long_does(monkeypatch):
    worker = object.__new__(grading.Worker)
    worker.wall = 2.0
    ends = {(-9, False): "infra", (-9, True): "timeout", (-24, False): "timeout", (-11, False): "crash"}
    for (code, timed_out), wanted in ends.items():
        said = {"code": code, "timed_out": timed_out, "seconds": 0.1}
        monkeypatch.setattr(worker, "ask", lambda job, said=said: (said, b""))
        assert worker.run(b"").state == wanted


def test_a_lost_worker_is_no_fault_of_the_learner(workers, tmp_path):
    """Kill the worker again and again while right answers are graded: not one loses a point."""
    right = submission(json.dumps(corpus.notebook(corpus.solution(exercises()["2.1"]))).encode(), tmp_path)
    stop = threading.Event()
    chance = random.Random(0)

    def killer():
        for _ in range(3):
            stop.wait(chance.uniform(0.2, 1.0))
            with workers.lock:
                for worker in workers.all:
                    for process in psutil.Process(worker.process.pid).children(recursive=True):
                        process.kill()

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        for _ in range(6):
            (row,) = grading.grade_submission(workers, [task()], right)
            assert row.state in ("pass", "infra"), row
    finally:
        stop.set()
        thread.join()
    (row,) = grading.grade_submission(workers, [task()], right)
    assert row.state == "pass"


def test_nothing_survives_a_closed_worker(tmp_path):
    worker = grading.Worker(wall=2.0)
    pids = [worker.process.pid, *(p.pid for p in psutil.Process(worker.process.pid).children(recursive=True))]
    data = corpus.hostile("add_noise")["fork bomb"]
    outcome = worker.run(task().job(grading.code_cells(data)))
    assert outcome.state in ("timeout", "ok", "memory")
    worker.close()
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


# --- The batch ----------------------------------------------------------------------------------------


def content(book: Path) -> list[tuple]:
    with sqlite3.connect(book) as db:
        return sorted(db.execute("SELECT learner, submission, exercise, state, score, properties FROM attempts"))


def test_a_class_is_graded_once(tmp_path, monkeypatch):
    write_class(tmp_path / "class", ["2.1", "3.1"], good=3, bad=3, chance=random.Random(1))
    call = ["grade", str(tmp_path / "class"), "--only", "2.1", "3.1", "--seed", "5", "--quiet", "--out"]
    assert cli.main([*call, str(tmp_path / "one")]) == 0
    first = content(tmp_path / "one" / "gradebook.sqlite")
    assert len(first) == 12
    assert all((state, score) == ("pass", 3.0) for name, _, _, state, score, _ in first if name.startswith("good"))
    assert all(score == 0 for name, _, _, _, score, _ in first if name.startswith("bad"))
    monkeypatch.setattr(grading, "seal", lambda trust, places: "none")
    monkeypatch.setattr(grading.Worker, "__init__", lambda self, wall: 1 / 0)  # nothing is left to do
    assert cli.main([*call, str(tmp_path / "one")]) == 0
    assert content(tmp_path / "one" / "gradebook.sqlite") == first


@pytest.mark.slow
def test_a_killed_grader_goes_on_to_the_same_grades(tmp_path):
    write_class(tmp_path / "class", ["2.1", "3.1"], good=4, bad=4, chance=random.Random(1))
    call = ["grade", str(tmp_path / "class"), "--only", "2.1", "3.1", "--seed", "5", "--quiet", "--out"]
    assert cli.main([*call, str(tmp_path / "one")]) == 0
    first = content(tmp_path / "one" / "gradebook.sqlite")
    out = tmp_path / "two"
    command = [sys.executable, "-m", "minidiff.cli", *call, str(out), "--jobs", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.OperationalError):
            if (out / "gradebook.sqlite").exists() and len(content(out / "gradebook.sqlite")) >= 2:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert cli.main([*call, str(out)]) == 0
    assert [row[:5] for row in content(out / "gradebook.sqlite")] == [row[:5] for row in first]


def test_a_fault_of_the_grader_is_ungraded_and_exit_status_2(tmp_path, monkeypatch, capsys):
    write_class(tmp_path / "class", ["2.1"], good=1, bad=0, chance=random.Random(1))

    def lost(self, job):
        raise grading.WorkerLost("gone")

    monkeypatch.setattr(grading, "seal", lambda trust, places: "none")
    monkeypatch.setattr(grading.Worker, "run", lost)
    monkeypatch.setattr(grading.Worker, "__init__", lambda self, wall: None)
    monkeypatch.setattr(grading.Worker, "close", lambda self: None)
    call = ["grade", str(tmp_path / "class"), "--only", "2.1", "--out", str(tmp_path / "out"), "--quiet"]
    assert cli.main(call) == 2
    assert "ungraded" in capsys.readouterr().err
    rows = list(csv.reader((tmp_path / "out" / "gradebook.csv").open()))
    assert rows[1] == ["good0", "", "0", "3", "2.1"]


def test_an_earlier_version_that_is_handed_in_again_counts_again(tmp_path):
    solved = json.dumps(corpus.notebook(corpus.solution(exercises()["2.1"])))
    wrong = json.dumps(corpus.notebook("def add_noise(x0, eps, alpha, sigma):\n    return x0"))
    (tmp_path / "class").mkdir()
    call = ["grade", str(tmp_path / "class"), "--only", "2.1", "--out", str(tmp_path / "out"), "--quiet"]
    totals = []
    for data in (solved, wrong, solved, wrong):
        (tmp_path / "class" / "zoe.ipynb").write_text(data)
        assert cli.main(call) == 0
        totals.append(next(csv.DictReader((tmp_path / "out" / "gradebook.csv").open()))["total"])
    assert totals == ["3", "0", "3", "0"]
    book = Gradebook(tmp_path / "out" / "gradebook.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="rows stay"):
        book.db.execute("DELETE FROM handed_in")


def test_no_learner_is_lost_without_a_word(tmp_path, capsys):
    for name in ("ann.ipynb", "HANS.IPYNB", "gina.ipynb.txt", "fred.zip"):
        (tmp_path / name).write_text("{")
    (tmp_path / "eve").mkdir()
    (tmp_path / "ivy.ipynb").symlink_to(tmp_path / "ann.ipynb")
    found = grading.find_submissions(tmp_path)
    assert [path.name for path in found] == ["HANS.IPYNB", "ann.ipynb", "eve"]
    assert "Not graded: fred.zip, gina.ipynb.txt, ivy.ipynb (a link)." in capsys.readouterr().out
    (tmp_path / "ann").mkdir()
    with pytest.raises(ValueError, match=r"ann and ann.ipynb are both of ann: put them into one folder"):
        grading.find_submissions(tmp_path)


def test_who_cannot_be_read_is_named(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "dan.ipynb").write_text('{"cells": [')
    assert cli.main(["grade", str(tmp_path / "class"), "--only", "2.1", "--out", str(tmp_path / "o"), "--quiet"]) == 0
    assert "Not readable: dan: dan.ipynb: it is not a notebook" in capsys.readouterr().out


def test_errors_say_what_to_do(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "class" / "ann.ipynb").write_text("{}")
    for arguments, said in (
        (["grade"], "submissions"),
        (["grade", str(tmp_path / "nowhere")], "not a folder"),
        (["grade", str(tmp_path / "empty")], "no submissions"),
        (["grade", str(tmp_path / "class"), "--only", "2.1", "2.99", "x"], "no lesson or exercise 2.99, x"),
        (["grade", "--override", "ann", "2.1", "3", "--out", str(tmp_path / "o")], "no grade"),
    ):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error


# --- Gradebook and reports ----------------------------------------------------------------------------


def book_with(path: Path, *learners: str, message: str = "wrong") -> Gradebook:
    book = Gradebook(path)
    for learner in learners:
        rows = [
            Row("2.1", "v", "fail", 0.0, 3, message, {"values": message, "types": None}, 0.1),
            Row("10.1", "v", "pass", 4.0, 4, "", {"values": None}, 0.1),
        ]
        book.add(grading.Submission(learner, "d", {}, []), rows, "1", 5, "none")
    return book


def test_rows_are_added_and_never_changed(tmp_path):
    book = book_with(tmp_path / "b.sqlite", "ann")
    for sql in ("UPDATE attempts SET score = 3", "DELETE FROM attempts"):
        with pytest.raises(sqlite3.IntegrityError, match="rows stay"):
            book.db.execute(sql)
    book.override("ann", "2.1", 2.5, "A. Teacher", "shown at the board")
    (grade,) = [g for g in book.grades() if g.exercise == "2.1"]
    assert (grade.score, grade.override) == (2.5, "A. Teacher: shown at the board")
    for learner, id, score, author, reason in (
        ("bob", "2.1", 1, "A", "b"),
        ("ann", "2.1", 9, "A", "b"),
        ("ann", "2.1", 1, "", "b"),
        ("ann", "2.1", 1, "A", " "),
    ):
        with pytest.raises(ValueError):
            book.override(learner, id, score, author, reason)
    assert book.seed(7) == 7
    with pytest.raises(ValueError, match="begun with seed 7"):
        book.seed(8)
    (tmp_path / "not.sqlite").write_text("no database, but long enough to be taken for one" * 30)
    with pytest.raises(ValueError, match="no gradebook"):
        Gradebook(tmp_path / "not.sqlite")


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_reports_escape_everything(tmp_path):
    assert len(corpus.SCRIPTS) >= 20
    for script in corpus.SCRIPTS:
        grade = Grade(script, "2.1", "fail", 0.0, 3, script, {script: script}, script)
        page = reports.as_html(script, [grade], {"2.1": script})
        tags = Tags()
        tags.feed(page)
        assert tags.seen <= {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "div",
            "section",
            "span",
            "h2",
            "ul",
            "li",
        }
        assert not [a for a in tags.attributes if a.startswith("on") or a in ("src", "href")]
        assert "default-src 'none'" in page
        json.loads(reports.as_gradescope([grade], {}))


def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    book = book_with(tmp_path / "b.sqlite", *corpus.FORMULAS)
    states = reports.write_all(book, tmp_path / "out", {}, progress=False)
    assert states == {"fail": len(corpus.FORMULAS), "pass": len(corpus.FORMULAS)}
    rows = list(csv.reader((tmp_path / "out" / "gradebook.csv").open()))
    assert rows[0] == ["learner", "2.1 (3)", "10.1 (4)", "total", "of", "ungraded"]
    assert len(rows) == 1 + len(corpus.FORMULAS)
    for row in rows[1:]:
        assert row[0].startswith("'") and row[1:] == ["0", "4", "4", "7", ""]
    assert len(list((tmp_path / "out" / "learners").iterdir())) == len(corpus.FORMULAS)
    assert reports.slug("../../etc") != reports.slug("..//..//etc") and "/" not in reports.slug("../../etc")


@pytest.mark.browser
@pytest.mark.slow
def test_no_script_runs_in_a_real_browser(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = "/usr/bin/chromium"
    if not Path(chromium).exists():
        pytest.skip("chromium is not installed")
    from minidiff.grading.checking import Report
    from minidiff.grading.exercise import Verdict

    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:", "about:")) else said.append(request.url),
        )
        for i, script in enumerate(corpus.SCRIPTS):
            grade = Grade(script, "2.1", "fail", 0.0, 3, script, {script: script}, script)
            card = Report(
                "2.1", {"title": script, "points": 3}, Verdict("fail", 0.0, {script: script}, script), [script]
            )
            for name, text in (("report", reports.as_html(script, [grade], {"2.1": script})), ("card", card.html)):
                file = tmp_path / f"{name}{i}.html"
                file.write_text(text)
                page.goto(file.as_uri())
                page.wait_for_timeout(20)
                assert page.title() != "run", script
        browser.close()
    assert said == []


# --- The wire -----------------------------------------------------------------------------------------


def test_what_is_packed_comes_back():
    value = {
        "a": [1, -2.5, None, True, "ä", float("inf")],
        "b": (torch.zeros(0, 3), torch.tensor(3), torch.tensor([True, False]), torch.arange(6).view(2, 3).T),
        3: wire.Belief(torch.tensor(0.5), torch.ones(2)),
    }
    back = wire.unpack(wire.pack(value))
    assert back["a"] == value["a"]
    assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(back["b"], value["b"], strict=True))
    assert torch.equal(back[3].shift, torch.ones(2))
    for dtype in wire.DTYPES.values():
        x = torch.tensor([0, 1, 1]).to(dtype)
        assert torch.equal(wire.unpack(wire.pack(x)), x)
    assert (
        wire.unpack(wire.pack([torch, lambda: 0, torch.zeros(1, dtype=torch.complex64)]))[0].name == "builtins.module"
    )


def test_damaged_frames_are_refused_and_nothing_else_happens():
    good = wire.pack({"state": "ok", "results": [{"out": torch.ones(3, 4), "error": None}, (1, "x", 2.5)]})
    chance = random.Random(0)
    refused = 0
    for i in range(3000):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if i % 3 == 0:
            del data[chance.randrange(len(data)) :]
        if i % 7 == 0:
            data = bytearray(chance.randbytes(chance.randrange(200)))
        try:
            wire.unpack(bytes(data))
        except wire.WireError:
            refused += 1
    assert refused > 1000
