"""The grader's bars, measured: python benchmarks/grading.py [BARS] [--share 0.1]

Each bar is one function, which prints what it found. --share makes the long ones shorter: 0.1 does a tenth of the
runs. The whole takes hours on two cores; .ci/run does a fiftieth. What fails is printed last, with exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import os
import platform
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import corpus  # noqa: E402

from minidiff.grading import checking, sandbox  # noqa: E402
from minidiff.grading import grade as grading  # noqa: E402
from minidiff.grading.exercise import SOURCES, judge, load_lessons, recognise  # noqa: E402
from minidiff.grading.running import call  # noqa: E402

EXERCISES = {e.id: e for lesson in load_lessons() for e in lesson.exercises}
CODED = [id for id, e in EXERCISES.items() if not e.judge]
ENDLESS = ("endless loop", "endless sleep", "endless in every thread", "ignores signals", "prints without end")
SLOW = (*ENDLESS, "all memory, in tensors", "all memory, in text", "too much output", "a huge text", "too many values")
SLOW += ("an error without end", "warns without end")
MARK = "MARK-OF-A-SECRET"


def several(whole: int, share: float, least: int = 1) -> int:
    return max(least, round(whole * share))


def handed_in(folder: Path, data: bytes) -> grading.Submission:
    file = folder / "learner.ipynb"
    file.write_bytes(data)
    return grading.read_submission(file)


def right(ids: list[str]) -> bytes:
    return json.dumps(corpus.notebook(*(corpus.solution(EXERCISES[id]) for id in ids))).encode()


def write_class(folder: Path, ids: list[str], good: int, bad: int, chance: random.Random, slow: int = 0) -> None:
    """Good ones are right in everything, bad ones hostile in everything: every kind in turn, `slow` of them slow."""
    folder.mkdir(parents=True)
    quick = [k for k in corpus.HOSTILE if k not in SLOW]
    chance.shuffle(quick)
    kinds = [SLOW[i % len(SLOW)] for i in range(slow)] + [quick[i % len(quick)] for i in range(bad * len(ids) - slow)]
    chance.shuffle(kinds)
    for i in range(good):
        (folder / f"good{i:04}.ipynb").write_bytes(right(ids))
    for i in range(bad):
        cells = [corpus.answer(EXERCISES[id].function, corpus.HOSTILE[kinds.pop()]) for id in ids]
        (folder / f"bad{i:04}.ipynb").write_bytes(json.dumps(corpus.notebook(*cells)).encode())


def command(folder: Path, out: Path, ids: list[str], jobs: int) -> list[str]:
    made = [sys.executable, "-m", "minidiff.cli", "grade", str(folder), "--out", str(out), "--jobs", str(jobs)]
    return [*made, "--seed", "11", "--quiet", "--only", *ids]


def started(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out: Path) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(out / "gradebook.sqlite")) as db:
        sql = "SELECT learner, exercise, state, score, message FROM attempts WHERE state <> 'infra'"
        return sorted(db.execute(sql))


def bar1(share: float, folder: Path) -> tuple[bool, str]:
    """Every hostile kind, times every exercise, times 3 seeds: score 0, a message that names the cause.

    Among them, one in twenty, are right answers, all of which must pass.
    """
    workers, chance = grading.Workers(wall=2.0), random.Random(1)
    todo = [(id, seed, kind) for id in CODED for seed in (1, 2, 3) for kind in corpus.hostile("f")]
    chance.shuffle(todo)
    todo = todo[: several(len(todo), share)]
    todo += [(id, seed, "right") for id, seed, _ in todo[::20]]
    chance.shuffle(todo)
    tasks = {key: grading.Task(EXERCISES[key[0]], key[1]) for key in {(id, seed) for id, seed, _ in todo}}

    def wrong(id: str, seed: int, kind: str) -> tuple | None:
        data = right([id]) if kind == "right" else corpus.hostile(EXERCISES[id].function)[kind]
        place = folder / str(threading.get_ident())
        place.mkdir(exist_ok=True)
        (row,) = grading.grade_submission(workers, [tasks[id, seed]], handed_in(place, data))
        if kind == "right":
            held = row.state == "pass" and row.score == EXERCISES[id].points
        else:
            named = re.search(corpus.cause(kind), row.message) and len(row.message) <= 200
            held = row.score == 0 and row.state in grading.ZERO and named
        return None if held else (id, seed, kind, row.state, row.score, row.message)

    with ThreadPoolExecutor(2) as pool:
        found = list(tqdm(pool.map(lambda job: wrong(*job), todo), total=len(todo), desc="bar 1", disable=None))
    workers.close()
    bad = [f for f in found if f]
    kinds = len({kind for _, _, kind in todo} - {"right"})
    said = f"{len(todo)} of {len(corpus.hostile('f'))} kinds x {len(CODED)} exercises x 3 seeds, {kinds} kinds"
    return not bad and (kinds >= 40 or share < 0.01), f"{said}: {len(bad)} wrong {bad[:5]}"


def bar2(share: float, folder: Path) -> tuple[bool, str]:
    """50 good and 40 bad submissions in 5 orders with 1, 2 and 4 jobs: the good rows identical every time."""
    ids, chance, seen, bad = ["2.1", "7.1"], random.Random(2), set(), []
    good = several(50, share, 5)
    write_class(folder / "class", ids, good, several(40, share, 4), chance, slow=1)
    files = sorted((folder / "class").iterdir())
    runs = [(order, jobs) for order in range(several(5, share)) for jobs in (1, 2, 4)]
    for order, jobs in tqdm(runs, desc="bar 2", disable=None):
        names = [f"{i:03}-{file.name}" for i, file in enumerate(random.Random(order).sample(files, len(files)))]
        shuffled = folder / f"order{order}-{jobs}"
        shuffled.mkdir()
        for name in names:
            shutil.copy(folder / "class" / name[4:], shuffled / name)
        subprocess.run(command(shuffled, folder / f"out{order}-{jobs}", ids, jobs), check=True, capture_output=True)
        found = [(r[0][4:], *r[1:]) for r in rows(folder / f"out{order}-{jobs}")]
        seen.add(json.dumps(sorted(r for r in found if "good" in r[0])))
        bad += [r for r in found if "bad" in r[0] and (r[3] or r[2] not in grading.ZERO)]
    passed = all(len(known) == good * len(ids) and {r[2] for r in known} == {"pass"} for known in map(json.loads, seen))
    said = f"{len(files)} submissions, {len(runs)} runs: {len(seen)} different outcomes of the good ones"
    return len(seen) == 1 and passed and not bad, f"{said}, all right: {passed}; {len(bad)} bad ones with points"


def bar3(share: float, folder: Path) -> tuple[bool, str]:
    """Eight or more right variants an exercise: full marks. The reference, and a variant, on 1,000 seeds: the same."""
    wrong, count, seeds = [], 0, several(1000, share)
    for id in tqdm(CODED, desc="bar 3", disable=None):
        e = EXERCISES[id]
        variants = {name: define(source, e.function) for name, source in corpus.variants(e).items()}
        count += len(variants)
        wrong += [(id, "few variants")] if len(variants) < 8 else []
        cases = e.cases(1)
        want = e.expected(cases)
        wrong += [(id, name) for name, function in variants.items() if not full(e, function, cases, want)]
        for seed in range(10, 10 + seeds):
            cases = e.cases(seed)
            want = e.expected(cases)
            name = list(variants)[seed % len(variants)]
            tried = {"reference": e.reference, name: variants[name]}
            wrong += [(id, name, seed) for name, function in tried.items() if not full(e, function, cases, want)]
    return not wrong, f"{count} variants, {seeds} seeds x {len(CODED)} references: {len(wrong)} failures {wrong[:5]}"


def define(source: str, function: str):
    space: dict = {}
    exec(compile(source, "<answer>", "exec"), space)
    return space[function]


def full(e, function, cases, want) -> bool:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = [call(function, list(c.args), c.gradients) for c in cases]
    verdict = judge(e.properties, e.points, cases, want, got)
    return verdict.state == "pass" and verdict.points == e.points


def bar4(share: float, folder: Path) -> tuple[bool, str]:
    """Mutation score of every exercise at least 95 %; in all at most 60 s on two cores."""
    began, low, lived, total = time.perf_counter(), [], [], 0
    for id in tqdm(CODED, desc="bar 4", disable=None):
        e = EXERCISES[id]
        sets = [(cases, e.expected(cases)) for cases in (e.cases(1), e.cases(2))]
        alive, n = [], 0
        for name, source in corpus.mutants(e):
            n += 1
            with contextlib.suppress(Exception):
                function = define(source, e.function)
                if all(full(e, function, cases, want) for cases, want in sets):
                    alive.append(f"{id} {name}")
        total += n
        lived += alive
        alive = [name for name in alive if name not in corpus.EQUIVALENT]
        if len(alive) > 0.05 * n:
            low.append(f"{id} {1 - len(alive) / n:.0%}")
    seconds = time.perf_counter() - began
    print(*lived, sep="\n")
    same = f"{sum(name in corpus.EQUIVALENT for name in lived)} of which compute the same, as corpus.py explains"
    return not low, f"{total} mutants, {len(lived)} live, {same}; below 95 %: {low}; {seconds:.0f} s"


def bar5(share: float, folder: Path) -> tuple[bool, str]:
    """Each catalogued mistake gets its own hint (at least 95 %), no right variant gets one."""
    hit, total, false = 0, 0, []
    for id in tqdm(CODED, desc="bar 5", disable=None):
        e, shown = EXERCISES[id], checking.tasks()[id]
        cases = e.cases(checking.CHECK_SEED)
        functions = [(m.hint, e.wrong(m)) for m in e.mistakes]
        outs = {hint: [call(f, list(c.args), c.gradients) for c in cases] for hint, f in functions}
        for hint, got in outs.items():
            total += 1
            hit += recognise(shown["want"], got, iter(shown["mistakes"])) == hint
        for name, source in corpus.variants(e).items():
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = [call(define(source, e.function), list(c.args), c.gradients) for c in cases]
            if recognise(shown["want"], got, iter(shown["mistakes"])):
                false.append((id, name))
    return hit >= 0.95 * total and not false, f"{hit} of {total} on the diagonal, {len(false)} right ones with a hint"


def bar6(share: float, folder: Path) -> tuple[bool, str]:
    """Killed within 1 s of the limit, in 50 of 50 loops, those that ignore signals included; limits hold."""
    task, late, wrong = grading.Task(EXERCISES["2.1"], 1), [], []

    def outcome(worker: grading.Worker, body: str) -> grading.Outcome:
        return worker.run(task.job([corpus.answer("add_noise", body)]))

    worker = grading.Worker(wall=2.0)
    for i in tqdm(range(several(50, share, len(ENDLESS))), desc="bar 6", disable=None):
        began = time.perf_counter()
        state = outcome(worker, corpus.HOSTILE[ENDLESS[i % len(ENDLESS)]]).state
        late.append(time.perf_counter() - began - 2.0)
        wrong += [] if state == "timeout" else [(ENDLESS[i % len(ENDLESS)], state)]
    left = len(psutil.Process(worker.process.pid).children(recursive=True)) - worker.rights["namespaces"]
    worker.close()
    worker = grading.Worker()
    for body, wanted in LIMITS.items():
        state = outcome(worker, body).state
        wrong += [] if state == wanted else [(body, state)]
    forked = outcome(worker, "import os\nreturn os.fork()").results or []
    refused = [r for r in forked if "PermissionError" in (r["error"] or "")]
    worker.close()
    limits = f"{sandbox.WALL:g} s, {sandbox.MEMORY / 2**30:g} GiB, {sandbox.OUTPUT / 2**20:g} MiB of output, no fork"
    said = f"{len(late)} loops, the latest ended {max(late):.2f} s after the limit, {left} processes left"
    held = max(late) <= 1 and not wrong and not left and len(refused) == len(task.cases)
    return held, f"{said}; {limits}; {len(wrong)} wrong {wrong[:5]}"


LIMITS = {  # on both sides of each limit; there are five cases
    "return torch.empty(3 * 2**27).numel()": "ok",
    "return torch.empty(5 * 2**27).numel()": "memory",
    "return len([0] * 2**29)": "memory",
    "return torch.zeros(2**18)": "ok",
    "return torch.zeros(2**19)": "protocol",
    "import time\ntime.sleep(0.5)\nreturn 0": "ok",
    "while True: pass": "timeout",
}


def bar7(share: float, folder: Path) -> tuple[bool, str]:
    """Of at least 15 probes none succeeds; a planted secret comes out of no answer."""
    places = {"submission": folder / "bob.ipynb", "gradebook": folder / "book.sqlite", "reference": folder / "src"}
    places["reference"].mkdir()
    for place in (places["submission"], places["gradebook"], places["reference"] / "01.py", folder / MARK):
        place.write_text(MARK)
    os.environ["MINIDIFF_SECRET"] = MARK
    spies = [spy.replace("FOLDER", str(folder)) for spy in SPIES]
    blind = [spy for spy in spies if MARK not in str(define(corpus.answer("f", spy), "f")())]  # they see it here
    workers, task = grading.Workers(), grading.Task(EXERCISES["2.1"], 1)
    found = workers.get().probe(places | {"reference of this checkout": SOURCES})
    rights = workers.get().rights
    workers.run(task.job([corpus.solution(EXERCISES["2.1"]), f"secret = {MARK!r}"]))  # another learner's
    bodies = spies + [body for kind, body in corpus.HOSTILE.items() if kind not in ENDLESS]
    replies = [workers.run(task.job([corpus.answer("add_noise", body)])) for body in bodies]
    workers.close()
    telling = [body for body, reply in zip(bodies, replies, strict=True) if MARK in str(reply)]
    blind += [body for body, reply in zip(spies, replies, strict=False) if reply.state == "infra"]
    through = [name for name, succeeded in found.items() if succeeded]
    told = f"{len(telling)} of {len(bodies)} answers tell a planted secret {telling[:3]}, {len(blind)} spies are blind"
    held = not through and len(found) >= 15 and not telling and not blind
    return held, f"{len(through)} of {len(found)} probes succeed {through}; {told}; {rights}"


SPIES = (  # each looks in another place, and says what it finds
    "import os\nreturn str(os.environ)",
    "return open('FOLDER/bob.ipynb').read()",
    "return open('FOLDER/src/01.py').read()",
    "import os\nreturn os.listdir('FOLDER')",
    "import numpy\nreturn numpy.fromfile('FOLDER/book.sqlite', dtype='uint8').tobytes().decode()",
    f"return bytes(torch.from_file('FOLDER/book.sqlite', size={len(MARK)}, dtype=torch.uint8).tolist()).decode()",
    f"""
    import gc
    mark = {MARK[:8]!r} + {MARK[8:]!r}
    gc.unfreeze()
    seen = [o for x in gc.get_objects() for o in [x, *gc.get_referents(x)] if isinstance(o, (str, bytes))]
    return str([o[:99] for o in seen if mark in str(o) and o is not mark])[:999]""",
    """
    import sys
    frame, said = sys._getframe(), []
    while frame:
        said.append(str(frame.f_locals)[:10000])
        frame = frame.f_back
    return str(said)""",
)


def bar8(share: float, folder: Path) -> tuple[bool, str]:
    """1,000 submissions, a tenth hostile: no wrong grade, no surviving process, memory growth under 50 MB."""
    n, ids, sizes = several(1000, share, 100), ["2.1"], {}
    write_class(folder / "class", ids, n - n // 10, n // 10, random.Random(8), slow=several(len(SLOW), share))
    process = started(command(folder / "class", folder / "out", ids, 2))
    while process.poll() is None:
        with contextlib.suppress(psutil.Error, OSError):
            if graded(folder / "out") >= n // 10:  # all is loaded
                for p in long_lived(process.pid):
                    sizes.setdefault(p.pid, []).append(own_memory(p.pid))
        time.sleep(0.2)
    left = survivors()
    found = rows(folder / "out")
    wrong = [r for r in found if (r[2] == "pass") != r[0].startswith("good") or (r[3] > 0) != (r[2] == "pass")]
    growth = {pid: max(of) - of[0] for pid, of in sizes.items()}
    held = not wrong and len(found) == n and not left and process.pid in growth and max(growth.values()) < 50
    said = f"{len(found)} of {n} graded, {len(wrong)} wrong {wrong[:3]}, {len(left)} processes left {left[:3]}"
    more = f"{growth.get(process.pid, -1):.0f} MB more in the grader, {max(growth.values(), default=-1):.0f} at most"
    return held, f"{said}, {more} in it and its workers ({len(sizes.get(process.pid, []))} looks)"


def graded(out: Path) -> int:
    """How many attempts there are; 0 before there is a book."""
    with contextlib.suppress(sqlite3.OperationalError):
        return len(rows(out)) if (out / "gradebook.sqlite").exists() else 0
    return 0


def long_lived(pid: int) -> list[psutil.Process]:
    """The grader and its workers, once they serve; not their children, which end with each answer."""
    grader = psutil.Process(pid)
    workers = [w for w in grader.children() if w.children() and time.time() - w.create_time() > 30]
    return [grader, *workers, *(inner for w in workers for inner in w.children())]


def own_memory(pid: int) -> float:
    """MB that are the process's own. Not the libraries: the system drops and reads them as it likes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(lines.get(name, "0").split()[0]) for name in ("RssAnon", "VmSwap")) / 1000


def survivors(patience: float = 5.0) -> list[str]:
    """What is left of all that was started here, after some seconds: orphans come to this process (see main)."""
    end = time.monotonic() + patience
    while True:
        for p in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if p.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(p.pid, os.WNOHANG)
        left = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        if not left or time.monotonic() > end:
            return [" ".join(p.cmdline()) for p in left]
        time.sleep(0.1)


def bar9(share: float, folder: Path) -> tuple[bool, str]:
    """kill -9 of workers at 100 moments: no wrong zero. Of the grader at 100, then again: the same gradebook."""
    ids, chance = ["2.1", "3.1"], random.Random(9)
    write_class(folder / "class", ids, 12, 6, chance)
    began = time.perf_counter()
    subprocess.run(command(folder / "class", folder / "whole", ids, 2), check=True, capture_output=True)
    took = time.perf_counter() - began
    wanted = rows(folder / "whole")
    kills = several(100, share, 2)
    zeros, ungraded = kill_workers(folder, ids, kills, took, chance, wanted)
    hit, midway, different = kill_graders(folder, ids, kills, took, chance, wanted)
    left = survivors()
    said = f"{kills} workers killed: {len(zeros)} wrong grades {zeros[:3]}, {ungraded} ungraded till the next run; "
    said += f"{hit} graders killed, {midway} of them amid grading: {different} gradebooks differ; "
    return not zeros and not different and not left and midway > 0, said + f"{len(left)} processes left {left[:3]}"


def kill_workers(
    folder: Path, ids: list[str], kills: int, took: float, chance: random.Random, wanted: list
) -> tuple[list, int]:
    """(wrong grades, how many answers were left ungraded) of runs whose workers are killed at random moments.

    What was left ungraded is graded by the same command again.
    """
    zeros, ungraded, done = [], 0, 0
    bar = tqdm(total=kills, desc="bar 9, workers", disable=None)
    while done < kills:
        out = folder / f"workers{done}"
        process = started(command(folder / "class", out, ids, 2))
        while process.poll() is None and done < kills:
            time.sleep(chance.uniform(0.0, took / 20))
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(process.pid).children(recursive=True)
                if below and graded(out):
                    chance.choice(below).kill()
                    done += 1
                    bar.update()
        process.wait()
        if graded(out) < len(wanted):
            ungraded += len(wanted) - graded(out)
            subprocess.run(command(folder / "class", out, ids, 2), check=True, capture_output=True)
        zeros += [r for r in rows(out) if r not in wanted]
    return zeros, ungraded


def kill_graders(
    folder: Path, ids: list[str], kills: int, took: float, chance: random.Random, wanted: list
) -> tuple[int, int, int]:
    """(graders killed, how many of them with some but not all graded, gradebooks that differ at the end)."""
    out, hit, midway, different = folder / "killed", 0, 0, 0
    bar = tqdm(total=kills, desc="bar 9, graders", disable=None)
    while hit < kills:
        known = graded(out)
        process = started(command(folder / "class", out, ids, 2))
        amid = hit % 2 == 1  # every other one soon after a grade was written, the rest at any moment
        while amid and process.poll() is None and graded(out) == known:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, took / 20 if amid else took))
        if process.poll() is None:
            process.kill()
            process.wait()
            hit += 1
            bar.update()
            midway += 0 < graded(out) < len(wanted)
        if graded(out) == len(wanted) or hit == kills:
            subprocess.run(command(folder / "class", out, ids, 2), check=True, capture_output=True)
            different += rows(out) != wanted
            shutil.rmtree(out)
    return hit, midway, different


def bar10(share: float, folder: Path) -> tuple[bool, str]:
    """1,000 damaged notebooks, and one of 50 MB: the same grade or a clear message."""
    ids = ["2.1", "2.2", "2.3"]
    workers, tasks = grading.Workers(), [grading.Task(EXERCISES[id], 1) for id in ids]
    cells = [corpus.IMPORTS, *(EXERCISES[id].source for id in ids)]
    wrong, seen, n = [], {}, several(1000, share, 12)
    for seed in tqdm(range(n), desc="bar 10", disable=None):
        kind, same, data = corpus.damaged(cells, seed)
        for row in grading.grade_submission(workers, tasks, handed_in(folder, data)):
            seen.setdefault(kind, set()).add(row.state)
            clear = row.state in grading.ZERO and 0 < len(row.message) <= 200 and row.message.isprintable()
            if row.state != "pass" and (same or not clear):
                wrong.append((seed, kind, row.exercise, row.state))
    large = corpus.notebook(*cells)
    large["cells"][0]["outputs"] = [{"output_type": "stream", "text": "x" * 50_000_000}]
    states = {r.state for r in grading.grade_submission(workers, tasks, handed_in(folder, json.dumps(large).encode()))}
    workers.close()
    return not wrong and states == {
        "pass"
    }, f"{n} notebooks, {len(seen)} kinds: {len(wrong)} wrong {wrong[:5]}; 50 MB: {states}"


def bar11(share: float, folder: Path) -> tuple[bool, str]:
    """Script payloads: none runs in a browser; no cell of the CSV is a formula. (The tests do the work.)"""
    tests = ["-m", "", "-k", "browser or formula or escape", "tests/test_grader.py", "-q", "-rs"]
    done = subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT, capture_output=True, text=True)
    held = done.returncode == 0 and "skipped" not in done.stdout and len(corpus.SCRIPTS) >= 20
    last = done.stdout.splitlines()[-1]
    return held, f"{len(corpus.SCRIPTS)} payloads, {len(corpus.FORMULAS)} formulas: {last}"


def bar12(share: float, folder: Path) -> tuple[bool, str]:
    """200 submissions of 10 exercises in at most 5 minutes on two cores, reports and exports included."""
    n, ids = several(200, share), ["1.1", "2.1", "3.1", "4.3", "5.3", "6.5", "7.4", "8.2", "9.4", "10.6"]
    write_class(folder / "class", ids, n, 0, random.Random(12))
    began = time.perf_counter()
    subprocess.run(command(folder / "class", folder / "out", ids, 2), check=True, capture_output=True)
    seconds = time.perf_counter() - began
    limit = 300 if share >= 1 else 60 + 240 * share  # to start takes its time, however few there are
    found = rows(folder / "out")
    made = [len(list((folder / "out" / "learners").glob(f"*/{name}"))) for name in ("report.html", "results.json")]
    lines = (folder / "out" / "gradebook.csv").read_text().count("\n") - 1
    held = all(r[2] == "pass" for r in found) and len(found) == 10 * n and {lines, *made} == {n} and seconds <= limit
    return (
        held,
        f"{n} submissions x 10 exercises: {seconds:.0f} s, {len(found)} grades, {made[0]} reports, {lines} lines",
    )


def check_speed(share: float, folder: Path) -> tuple[bool, str]:
    """`check`: p95 at most 200 ms, over every exercise, right and wrong, card and picture included."""
    os.environ["MINIDIFF_PROGRESS"] = str(folder / "progress.json")
    todo = [(e, f) for e in EXERCISES.values() for f in [e.reference, *map(e.wrong, e.mistakes)]]
    random.Random(0).shuffle(todo)
    times, first = [], 0.0
    for e, function in todo[: several(len(todo), share, 50)]:
        space = {"check": checking.check, e.function: function}
        exec("def ask(id):\n    return check(id)._repr_mimebundle_()", space)
        began = time.perf_counter()
        space["ask"](e.id)
        times.append(1000 * (time.perf_counter() - began))
    first = times.pop(0)  # which loads what is known of the exercises
    p95 = statistics.quantiles(times, n=20)[-1]
    said = f"median {statistics.median(times):.0f} ms, p95 {p95:.0f} ms, most {max(times):.0f} ms"
    return p95 <= 200, f"{len(times)} checks: {said}; the first {first:.0f} ms"


BARS = {str(i): globals()[f"bar{i}"] for i in range(1, 13)} | {"check": check_speed}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="*", help=f"which: {', '.join(BARS)} (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="of the runs (default: 1)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come here, and `survivors` sees them
    failed = []
    print(
        f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores"
    )
    for name in args.bars or BARS:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                held, said = BARS[name](args.share, Path(folder))
            except Exception as error:
                traceback.print_exc()
                for child in psutil.Process().children(recursive=True):
                    child.kill()
                held, said = False, f"stopped by {type(error).__name__}: {error}"
        cost = f"{time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.1f}"
        print(f"{'held  ' if held else 'MISSED'} bar {name}: {said} [{cost}]", flush=True)
        failed += [] if held else [name]
    print(f"missed: {', '.join(failed)}" if failed else "all held")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
