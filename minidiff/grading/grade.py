"""`minidiff grade`: submissions in, gradebook out. The process here never imports or parses learner code.

Each exercise of each submission is one job for a worker (worker.py), which sends back tensors. They are compared
here, with references that no worker can read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from . import judges, sandbox, wire
from .exercise import SOURCES, Exercise, judge, load_lessons, recognise, usable
from .gradebook import Gradebook, Row
from .running import call, short

VERSION = "2"  # of the grader; a change that could change a grade counts it up
NOTEBOOK_LIMIT = 64 * 2**20  # bytes
ZERO = ("not_attempted", "fail", "student_error", "timeout", "memory", "crash", "protocol")


# --- What learners hand in ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Submission:
    """learner: the name of the file or of the folder. notebooks: {name: code cells}. problems: unreadable ones."""

    learner: str
    digest: str
    notebooks: dict[str, list[str]]
    problems: list[str]


def find_submissions(folder: Path) -> list[Path]:
    """One entry a learner: a notebook, a .py file or a folder of these; says what it passes over.

    ValueError if there are none, or if two are of one learner.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; name the one that holds the submissions")
    here = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    found = [p for p in here if not p.is_symlink() and (p.is_dir() or _is_code(p))]
    if not found:
        raise ValueError(f"{folder} holds no submissions: one notebook or one folder a learner is wanted")
    learners: dict[str, Path] = {}
    for path in found:
        if (other := learners.setdefault(_learner(path), path)) is not path:
            raise ValueError(f"{other.name} and {path.name} are both of {_learner(path)}: put them into one folder")
    if over := [f"{p.name} (a link)" if p.is_symlink() else p.name for p in here if p not in found]:
        print(f"Not graded: {short(', '.join(over), 500)}. A notebook, a .py file or a folder is wanted.")
    return found


def _is_code(path: Path) -> bool:
    return path.suffix.lower() in (".ipynb", ".py")


def _learner(path: Path) -> str:
    return _text(path.name if path.is_dir() else path.stem)


def read_submission(path: Path) -> Submission:
    """Never fails: what cannot be read is a problem with a message. Links are not followed."""
    files = sorted(p for p in path.rglob("*") if _is_code(p) and not _hidden(p, path)) if path.is_dir() else [path]
    digest, notebooks, problems = hashlib.sha256(), {}, []
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            data = _read(file)
            digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
            notebooks[name] = [data.decode("utf-8-sig")] if file.suffix.lower() == ".py" else code_cells(data)
        except (ValueError, OSError, RecursionError, MemoryError) as error:
            said = str(error) if type(error) is ValueError else f"it cannot be read ({type(error).__name__})"
            digest.update(f"{name}\0{said}".encode("utf-8", "surrogateescape"))
            problems.append(short(f"{name}: {said}", 200))
    if not files:
        problems.append("the folder holds no notebook")
    return Submission(_learner(path), digest.hexdigest(), notebooks, problems)


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _read(file: Path) -> bytes:
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as opened:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is not an ordinary file")
        if facts.st_size > NOTEBOOK_LIMIT:
            raise ValueError("it is larger than 64 MiB; clear its outputs and hand it in again")
        return opened.read()


def code_cells(data: bytes) -> list[str]:
    """The code cells of a notebook, in order. ValueError says why it is none."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("it is empty; save it in JupyterLab again" if not data.strip() else
                         "it is not a notebook (not JSON); save it in JupyterLab again") from None  # fmt: skip
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict) and isinstance(notebook.get("worksheets"), list):
        sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets for cell in sheet.get("cells") or []]
    if not isinstance(cells, list):
        raise ValueError("it is not a notebook (it has no cells); save it in JupyterLab again")
    found = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type", "code") == "code":
            source = cell.get("source", cell.get("input", ""))
            source = "".join(map(str, source)) if isinstance(source, list) else source
            found.append(_text(source) if isinstance(source, str) else "")
    return found


# --- The worker, seen from here -----------------------------------------------------------------------


@dataclass
class Outcome:
    """What one job came to: a state, the worker's results if there are any, and a message."""

    state: str
    results: list | None = None
    message: str = ""
    seconds: float = 0.0


class WorkerLost(RuntimeError):
    """The worker is not there any more; the fault is not the learner's."""


class Worker:
    """A process without rights that runs one job after the other, each in a fresh child."""

    START_LIMIT, GRACE = 180.0, 3.0  # seconds

    def __init__(self, wall: float = sandbox.WALL):
        self.wall = wall
        here, there = socket.socketpair()
        names = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
        env = {name: os.environ[name] for name in names if name in os.environ}
        env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        script = Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script), str(there.fileno()), str(wall)],
            pass_fds=[there.fileno()],
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        there.close()
        self.sock = here
        try:
            self.rights = self._message(time.monotonic() + self.START_LIMIT)
        except WorkerLost:
            self.close()
            raise

    def close(self) -> None:
        self.sock.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        self.process.kill()
        self.process.wait()

    def _message(self, deadline: float) -> dict:
        (length,) = struct.unpack("<I", self._exactly(4, deadline))
        if length > 2**16:
            raise WorkerLost("the worker says something else than was agreed")
        return json.loads(self._exactly(length, deadline))

    def _exactly(self, length: int, deadline: float) -> bytes:
        data = b""
        while len(data) < length:
            if not select.select([self.sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise WorkerLost("the worker does not answer")
            try:
                part = self.sock.recv(length - len(data))
            except OSError:
                part = b""
            if not part:
                raise WorkerLost("the worker has ended")
            data += part
        return data

    def ask(self, job: bytes) -> tuple[dict, bytes]:
        """(how the child ended, what it wrote). WorkerLost if the worker itself is gone or stuck."""
        deadline = time.monotonic() + self.wall + self.GRACE
        read, write = os.pipe()
        data = bytearray()
        try:
            try:  # as a file, which only the child reads: the worker never holds what a learner wrote
                with tempfile.TemporaryFile() as file:
                    file.write(job)
                    file.seek(0)
                    socket.send_fds(self.sock, [b"job."], [file.fileno(), write])
            except OSError as error:
                raise WorkerLost("the worker has ended") from error
            finally:
                os.close(write)
            while True:
                ready = select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]
                if not ready:
                    raise WorkerLost("the worker does not answer")
                part = os.read(read, 2**20)
                data += part
                if not part or len(data) > sandbox.OUTPUT:
                    break
        finally:
            os.close(read)  # a child that goes on writing gets a signal
        return self._message(deadline), bytes(data)

    def probe(self, places: dict[str, Path] | None = None) -> dict[str, bool]:
        """What of sandbox.attempts succeeds in a child. places: {name: file or folder} that it must not see."""
        with tempfile.TemporaryDirectory() as folder:
            secret = Path(folder) / "secret"
            secret.write_text("planted")
            hidden = [[name, str(place.resolve())] for name, place in (places or {}).items()]
            status, data = self.ask(wire.pack({"probe": [str(secret), os.getpid(), hidden]}))
        if status["code"] != 0:
            raise WorkerLost(f"the probe ended with {status['code']}")
        reply = wire.unpack(data)
        self.rights["seccomp"] = reply["sealed"]
        return reply["found"]

    def run(self, job: bytes) -> Outcome:
        """The outcome of a job, whatever the learner's code does."""
        status, data = self.ask(job)
        code, seconds = status["code"], status["seconds"]
        if status["timed_out"] or code == -signal.SIGXCPU:
            return Outcome("timeout", None, f"it ran longer than {self.wall:g} s", seconds)
        if len(data) > sandbox.OUTPUT:
            return Outcome("protocol", None, "it answered with more than 8 MiB", seconds)
        if code == -signal.SIGKILL:  # no answer can do that to itself
            return Outcome("infra", None, "its process was killed from outside, perhaps for want of memory", seconds)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return Outcome("crash", None, f"its process ended by {name}", seconds)
        if not data:
            return Outcome("crash", None, "its process ended before it answered", seconds)
        try:
            reply = wire.unpack(data)
        except wire.WireError as error:
            return Outcome("protocol", None, short(f"its answer is damaged: {error}"), seconds)
        if not isinstance(reply, dict):
            return Outcome("protocol", None, "its answer has not the form that was agreed", seconds)
        state, message = reply.get("state"), reply.get("message", "")
        if state in ("not_attempted", "student_error", "memory") and isinstance(message, str):
            return Outcome(state, None, short(message, 200), seconds)
        if state == "ok" and isinstance(reply.get("results"), list) and usable(reply["results"]):
            return Outcome("ok", reply["results"], "", seconds)
        return Outcome("protocol", None, "its answer has not the form that was agreed", seconds)


# --- One exercise of one learner ----------------------------------------------------------------------


@dataclass
class Task:
    """An exercise with the cases of one seed, made once for all submissions."""

    exercise: Exercise
    seed: int
    cases: list = field(init=False)
    want: list = field(init=False)
    wrong: list = field(init=False)

    def __post_init__(self):
        e = self.exercise
        self.cases = e.cases(self.seed)
        self.want, self.wrong = [], []
        if not e.judge:
            self.want = e.expected(self.cases)
            functions = [(m.hint, e.wrong(m)) for m in e.mistakes]
            self.wrong = [(hint, [call(f, list(c.args), c.gradients) for c in self.cases]) for hint, f in functions]

    def job(self, cells: list[str]) -> bytes:
        e = self.exercise
        calls = [[list(c.args), c.gradients] for c in self.cases]
        return wire.pack({"cells": cells, "function": e.function, "allowed": list(e.allowed), "cases": calls})

    def weigh(self, outcome: Outcome) -> Row:
        """The row of this outcome: outputs are compared here, in the process that holds no learner code."""
        e = self.exercise
        row = Row(e.id, e.version, outcome.state, 0.0, e.points, outcome.message, {}, outcome.seconds)
        if outcome.state != "ok":
            return row
        if len(outcome.results) != len(self.cases):
            row.state, row.message = "protocol", "its answer has not the form that was agreed"
            return row
        if e.judge:
            verdict = judges.weigh(e.judge, e.properties, e.points, outcome.results)
        else:
            verdict = judge(e.properties, e.points, self.cases, self.want, outcome.results)
        row.state, row.score, row.properties = verdict.state, verdict.points, verdict.properties
        row.message = verdict.message
        if row.state in ("fail", "student_error") and not e.judge:
            row.message = recognise(self.want, outcome.results, iter(self.wrong)) or verdict.message
        row.message = short(row.message, 200)
        return row


def grade_submission(workers: Workers, tasks: list[Task], submission: Submission) -> list[Row]:
    """One row for every exercise."""
    return [_grade_one(workers, task, submission) for task in tasks]


def _grade_one(workers: Workers, task: Task, submission: Submission) -> Row:
    """The last notebook that defines the function counts, unless it has only the stub of what another one solves."""
    e = task.exercise
    defined = re.compile(rf"\bdef\s+{e.function}\b|^{e.function}\s*(:[^=\n]*)?=[^=]", re.M)
    row = None
    for cells in reversed(submission.notebooks.values()):
        if any(map(defined.search, cells)):
            job = task.job(cells)
            found = settle(lambda job=job: task.weigh(workers.run(job)))
            row = row or found
            if found.state != "not_attempted":
                return found
    if row is None:
        state = "student_error" if submission.problems else "not_attempted"
        message = submission.problems[0] if submission.problems else f"there is no function {e.function}"
        return Row(e.id, e.version, state, 0.0, e.points, message, {}, 0.0)
    return row


def settle(attempt) -> Row:
    """Points count at once; a zero only when a fresh worker comes to the same state. Else it stays ungraded."""
    seen: dict[str, int] = {}
    for _ in range(6):
        row = attempt()
        if row.score > 0 or row.state == "pass":
            return row
        seen[row.state] = seen.get(row.state, 0) + 1
        if row.state in ZERO and seen[row.state] == 2:
            return row
        if seen.get("infra", 0) == 3:
            break
    row.state, row.message = "infra", short(f"ungraded: {row.message}; grade it again", 200)
    return row


class Workers:
    """One worker for each thread, started when needed and started anew when lost. wall: seconds an answer may take."""

    def __init__(self, wall: float = sandbox.WALL):
        self.wall = wall
        self.local, self.all, self.lock = threading.local(), set(), threading.Lock()

    def get(self) -> Worker:
        if getattr(self.local, "worker", None) is None:
            self.local.worker = Worker(self.wall)
            with self.lock:
                self.all.add(self.local.worker)
        return self.local.worker

    def drop(self) -> None:
        worker, self.local.worker = getattr(self.local, "worker", None), None
        if worker is not None:
            with self.lock:
                self.all.discard(worker)
            worker.close()

    def run(self, job: bytes) -> Outcome:
        """A fault of the worker's own is "infra", never the learner's."""
        try:
            return self.get().run(job)
        except (WorkerLost, OSError, ValueError) as error:
            self.drop()
            return Outcome("infra", None, short(error))

    def close(self) -> None:
        with self.lock:
            for worker in self.all:
                worker.close()
            self.all.clear()


# --- All of them --------------------------------------------------------------------------------------


def seal(trust: bool, places: dict[str, Path] | None = None) -> str:
    """Start a worker, try out what it can do, and say it. ValueError if submissions would have to be trusted."""
    if not hasattr(os, "fork"):
        raise ValueError("grading needs Linux or macOS; on Windows use the Windows Subsystem for Linux")
    worker = Worker()
    try:
        found = worker.probe(places)
    finally:
        worker.close()
    holds = [name for name, it_holds in worker.rights.items() if it_holds]
    open_doors = [name for name, succeeded in found.items() if succeeded]
    said = (
        f"{', '.join(holds) or 'resource limits only'}; {len(found) - len(open_doors)} of {len(found)} probes refused"
    )
    if open_doors and not trust:
        raise ValueError(
            f"the sandbox does not hold here ({said}; open: {', '.join(open_doors[:3])}). "
            "Grade on Linux 5.13 or newer, or, if you trust every submission, with --trust-submissions."
        )
    return said


def grade(
    folder: Path,
    out: Path,
    jobs: int = 1,
    only: list[str] | None = None,
    seed: int | None = None,
    bank: Path | None = None,
    trust: bool = False,
    progress: bool = True,
) -> Gradebook:
    """Grade what is not yet graded into out/gradebook.sqlite, and return the open book."""
    from tqdm import tqdm

    paths = find_submissions(folder)
    lessons = load_lessons(bank) if bank else load_lessons()
    exercises = [e for lesson in lessons for e in lesson.exercises]
    if only:
        known = {name for e in exercises for name in (e.id, e.id.split(".")[0])}
        if unknown := [name for name in only if name not in known]:
            raise ValueError(f"there is no lesson or exercise {', '.join(unknown)}")
        exercises = [e for e in exercises if e.id in only or e.id.split(".")[0] in only]
    book = Gradebook(out / "gradebook.sqlite")
    seed = book.seed(seed)
    sealed = seal(trust, {"submission": paths[0], "reference": bank or SOURCES, "gradebook": book.path})
    print(f"Sandbox: {sealed}.")
    print(f"{len(paths)} submissions, {len(exercises)} exercises, {jobs} at a time, seed {seed}.")
    tasks = [Task(e, seed) for e in exercises]
    workers, unreadable = Workers(), []

    def work(path: Path) -> None:
        submission = read_submission(path)
        unreadable.extend(f"{submission.learner}: {problem}" for problem in submission.problems)
        book.hand_in(submission)
        todo = [t for t in tasks if not book.is_graded(submission, t.exercise, VERSION, seed)]
        if todo:
            book.add(submission, grade_submission(workers, todo, submission), VERSION, seed, sealed)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(work, path) for path in paths]
            try:
                for done in tqdm(as_completed(waiting), total=len(waiting), unit="learner", disable=not progress):
                    done.result()
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise
    finally:
        workers.close()
    for problem in sorted(unreadable):
        print(f"Not readable: {problem}")
    return book
