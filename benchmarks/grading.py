"""The grader's bars, measured: python benchmarks/grading.py [BARS] [--share 0.1]

Each bar is one function, which prints what it asks for and what it found. --share makes the long ones shorter: 0.1
does a tenth of the runs. The whole takes hours on two cores; what fails is printed last, and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import psutil
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import corpus  # noqa: E402

from minidiff.grading import checking, sandbox  # noqa: E402
from minidiff.grading import grade as grading  # noqa: E402
from minidiff.grading.exercise import judge, load_lessons, recognise  # noqa: E402
from minidiff.grading.running import call  # noqa: E402

EXERCISES = {e.id: e for lesson in load_lessons() for e in lesson.exercises}
CODED = [id for id, e in EXERCISES.items() if not e.judge]
SLOW = ("endless", "ignores", "without end", "bomb", "all memory, in text", "nested without end")


def several(whole: int, share: float) -> int:
    return max(1, round(whole * share))


def handed_in(folder: Path, data: bytes) -> grading.Submission:
    file = folder / "learner.ipynb"
    file.write_bytes(data)
    return grading.read_submission(file)


def right(ids: list[str]) -> bytes:
    return json.dumps(corpus.notebook(*(corpus.solution(EXERCISES[id]) for id in ids))).encode()


def write_class(folder: Path, ids: list[str], good: int, bad: int, chance: random.Random, slow: bool = False) -> None:
    folder.mkdir(parents=True)
    kinds = [k for k in corpus.HOSTILE if slow or not k.startswith(SLOW)]
    for i in range(good):
        (folder / f"good{i:04}.ipynb").write_bytes(right(ids))
    for i in range(bad):
        cells = [corpus.hostile(EXERCISES[id].function)[chance.choice(kinds)] for id in ids]
        sources = [json.loads(c)["cells"][0]["source"] for c in cells]
        (folder / f"bad{i:04}.ipynb").write_bytes(json.dumps(corpus.notebook(*sources)).encode())


def command(folder: Path, out: Path, ids: list[str], jobs: int) -> list[str]:
    made = [sys.executable, "-m", "minidiff.cli", "grade", str(folder), "--out", str(out), "--jobs", str(jobs)]
    return [*made, "--seed", "11", "--quiet", "--only", *ids]


def started(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out: Path, like: str = "%") -> list[tuple]:
    with contextlib.closing(sqlite3.connect(out / "gradebook.sqlite")) as db:
        sql = "SELECT learner, exercise, state, score, message FROM attempts WHERE learner LIKE ? AND state <> 'infra'"
        return sorted(db.execute(sql, (like,)))


def bar1(share: float, folder: Path) -> tuple[bool, str]:
    """Every hostile kind, times every exercise, times 3 seeds: score 0, a message of at most 200 characters."""
    workers, chance = grading.Workers(wall=2.0), random.Random(1)
    todo = [(id, seed, kind) for id in CODED for seed in (1, 2, 3) for kind in corpus.hostile("f")]
    chance.shuffle(todo)
    todo = todo[: several(len(todo), share)]
    tasks = {key: grading.Task(EXERCISES[key[0]], key[1]) for key in {(id, seed) for id, seed, _ in todo}}
    wrong = []
    for id, seed, kind in tqdm(todo, desc="bar 1", disable=None):
        data = corpus.hostile(EXERCISES[id].function)[kind]
        (row,) = grading.grade_submission(workers, [tasks[id, seed]], handed_in(folder, data))
        if row.score or row.state not in grading.ZERO or not 0 < len(row.message) <= 200:
            wrong.append((id, seed, kind, row.state, row.score, row.message))
    workers.close()
    kinds = len(corpus.hostile("f"))
    return not wrong, f"{len(todo)} of {kinds} kinds x {len(CODED)} exercises x 3 seeds: {len(wrong)} wrong {wrong[:5]}"


def bar2(share: float, folder: Path) -> tuple[bool, str]:
    """50 good and 40 bad submissions in 5 orders with 1, 2 and 4 jobs: the good rows identical every time."""
    ids, chance, seen = ["2.1", "7.1"], random.Random(2), set()
    write_class(folder / "class", ids, several(50, share), several(40, share), chance)
    files = sorted((folder / "class").iterdir())
    runs = [(order, jobs) for order in range(several(5, share)) for jobs in (1, 2, 4)]
    for order, jobs in tqdm(runs, desc="bar 2", disable=None):
        names = [f"{i:03}-{file.name}" for i, file in enumerate(random.Random(order).sample(files, len(files)))]
        shuffled = folder / f"order{order}-{jobs}"
        shuffled.mkdir()
        for name in names:
            shutil.copy(folder / "class" / name[4:], shuffled / name)
        subprocess.run(command(shuffled, folder / f"out{order}-{jobs}", ids, jobs), check=True, capture_output=True)
        good = [(r[0][4:], *r[1:]) for r in rows(folder / f"out{order}-{jobs}") if "good" in r[0]]
        seen.add(json.dumps(sorted(good)))
    passed = all(r[2] == "pass" for text in seen for r in json.loads(text))
    return len(seen) == 1 and passed, f"{len(files)} submissions, {len(runs)} runs: {len(seen)} different outcomes"


def bar3(share: float, folder: Path) -> tuple[bool, str]:
    """Eight or more right variants an exercise: full marks. The reference on 1,000 seeds: no failure."""
    wrong, count, seeds = [], 0, several(1000, share)
    for id in tqdm(CODED, desc="bar 3", disable=None):
        e = EXERCISES[id]
        cases = e.cases(1)
        want = e.expected(cases)
        for name, source in corpus.variants(e).items():
            count += 1
            if not full(e, define(source, e.function), cases, want):
                wrong.append((id, name))
        for seed in range(10, 10 + seeds):
            cases = e.cases(seed)
            if not full(e, e.reference, cases, e.expected(cases)):
                wrong.append((id, seed))
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
    same = f"{len(corpus.EQUIVALENT)} of them compute the same"
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
    worker, late, wrong = grading.Worker(wall=2.0), [], []
    task = grading.Task(EXERCISES["2.1"], 1)
    kinds = ("endless loop", "ignores signals", "endless sleep", "prints without end", "thread bomb")
    for i in tqdm(range(several(50, share)), desc="bar 6", disable=None):
        cells = grading.code_cells(corpus.hostile("add_noise")[kinds[i % len(kinds)]])
        outcome = worker.run(task.job(cells))
        late.append(outcome.seconds - 2.0)
    for kind, state in {
        "all memory, in tensors": "memory",
        "all memory, in a list": "memory",
        "too much output": "protocol",
    }.items():
        outcome = worker.run(task.job(grading.code_cells(corpus.hostile("add_noise")[kind])))
        if outcome.state != state:
            wrong.append((kind, outcome.state))
    worker.close()
    limits = f"limits: {sandbox.WALL:g} s, {sandbox.MEMORY / 2**30:g} GiB, {sandbox.OUTPUT / 2**20:g} MiB of output"
    return max(
        late
    ) <= 1 and not wrong, f"{len(late)} loops, latest {max(late):.2f} s after the limit; {limits}; {wrong}"


def bar7(share: float, folder: Path) -> tuple[bool, str]:
    """Of at least 15 probes none succeeds."""
    worker = grading.Worker()
    found = worker.probe()
    worker.close()
    through = [name for name, succeeded in found.items() if succeeded]
    return not through and len(found) >= 15, f"{len(through)} of {len(found)} probes succeed {through}; {worker.rights}"


def bar8(share: float, folder: Path) -> tuple[bool, str]:
    """1,000 submissions, a tenth hostile: no wrong grade, no surviving process, memory growth under 50 MB."""
    n, ids = several(1000, share), ["2.1"]
    write_class(folder / "class", ids, n - n // 10, n // 10, random.Random(8))
    before = {p.pid for p in psutil.process_iter()}
    process = subprocess.Popen(command(folder / "class", folder / "out", ids, 2), stdout=subprocess.DEVNULL)
    sizes = []
    while process.poll() is None:
        with contextlib.suppress(psutil.Error, sqlite3.Error, OSError):
            done = len(rows(folder / "out"))
            if done > n // 10:
                sizes.append(psutil.Process(process.pid).memory_info().rss / 1e6)
        time.sleep(0.5)
    later = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before]
    left = [p.pid for p in later if "worker.py" in " ".join(p.info["cmdline"] or [])]
    found = rows(folder / "out")
    wrong = [r for r in found if (r[2] == "pass") != r[0].startswith("good")]
    growth = max(sizes) - sizes[0] if sizes else 0.0
    held = not wrong and len(found) == n and not left and growth < 50
    return held, f"{len(found)} of {n} graded, {len(wrong)} wrong, {len(left)} processes left, {growth:.0f} MB more"


def bar9(share: float, folder: Path) -> tuple[bool, str]:
    """kill -9 of workers at 100 moments: no wrong zero. Of the grader at 100, then again: the same gradebook."""
    ids, chance = ["2.1", "3.1"], random.Random(9)
    write_class(folder / "class", ids, 12, 6, chance)
    subprocess.run(command(folder / "class", folder / "whole", ids, 2), check=True, capture_output=True)
    wanted = [r[:4] for r in rows(folder / "whole")]
    kills, zeros = several(100, share), []
    run, done = 0, 0
    while done < kills:
        run += 1
        process = started(command(folder / "class", folder / f"w{run}", ids, 2))
        while process.poll() is None and done < kills:
            time.sleep(chance.uniform(0.05, 1.0))
            with contextlib.suppress(psutil.Error):
                below = [p for p in psutil.Process(process.pid).children(recursive=True)]
                if below:
                    chance.choice(below).kill()
                    done += 1
        process.wait()
        zeros += [r for r in rows(folder / f"w{run}", "good%") if r[2] != "pass"]
    different, out = 0, folder / "killed"
    for _ in tqdm(range(kills), desc="bar 9", disable=None):
        process = started(command(folder / "class", out, ids, 2))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(2, 14))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (out / "gradebook.sqlite").exists() and chance.random() < 0.3:
            subprocess.run(command(folder / "class", out, ids, 2), check=True, capture_output=True)
            different += [r[:4] for r in rows(out)] != wanted
            shutil.rmtree(out)
    subprocess.run(command(folder / "class", out, ids, 2), check=True, capture_output=True)
    different += [r[:4] for r in rows(out)] != wanted
    said = f"{done} workers killed: {len(zeros)} wrong zeros; {kills} graders killed: {different} gradebooks differ"
    return not zeros and not different, said


def bar10(share: float, folder: Path) -> tuple[bool, str]:
    """1,000 damaged notebooks, and one of 50 MB: the same grade or a clear message."""
    ids = ["2.1", "2.2", "2.3"]
    workers, tasks = grading.Workers(), [grading.Task(EXERCISES[id], 1) for id in ids]
    cells = [corpus.IMPORTS, *(EXERCISES[id].source for id in ids)]
    wrong, n = [], several(1000, share)
    for seed in tqdm(range(n), desc="bar 10", disable=None):
        kind, same, data = corpus.damaged(cells, seed)
        for row in grading.grade_submission(workers, tasks, handed_in(folder, data)):
            if row.state != "pass" and (same or not row.message):
                wrong.append((seed, kind, row.exercise, row.state))
    large = corpus.notebook(*cells)
    large["cells"][0]["outputs"] = [{"output_type": "stream", "text": "x" * 50_000_000}]
    states = {r.state for r in grading.grade_submission(workers, tasks, handed_in(folder, json.dumps(large).encode()))}
    workers.close()
    return not wrong and states == {"pass"}, f"{n} notebooks: {len(wrong)} wrong {wrong[:5]}; 50 MB: {states}"


def bar11(share: float, folder: Path) -> tuple[bool, str]:
    """Script payloads: none runs in a browser; no cell of the CSV is a formula. (The tests do the work.)"""
    tests = ["-m", "", "-k", "browser or formula or escape", "tests/test_grader.py", "-q"]
    done = subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT, capture_output=True, text=True)
    return (
        done.returncode == 0,
        f"{len(corpus.SCRIPTS)} payloads, {len(corpus.FORMULAS)} formulas: {done.stdout.splitlines()[-1]}",
    )


def bar12(share: float, folder: Path) -> tuple[bool, str]:
    """200 submissions of 10 exercises in at most 5 minutes on two cores, reports and exports included."""
    n, ids = several(200, share), ["1.1", "2.1", "3.1", "4.3", "5.3", "6.5", "7.4", "8.2", "9.4", "10.6"]
    write_class(folder / "class", ids, n, 0, random.Random(12))
    began = time.perf_counter()
    subprocess.run(command(folder / "class", folder / "out", ids, 2), check=True, capture_output=True)
    seconds = time.perf_counter() - began
    found = rows(folder / "out")
    pages = len(list((folder / "out" / "learners").glob("*/report.html")))
    held = all(r[2] == "pass" for r in found) and len(found) == 10 * n and pages == n and seconds <= 300 * n / 200
    return held, f"{n} submissions x 10 exercises: {seconds:.0f} s, {len(found)} grades, {pages} reports"


def check_speed(share: float, folder: Path) -> tuple[bool, str]:
    """`check`: p95 at most 200 ms, over every exercise, right and wrong."""
    os.environ["MINIDIFF_PROGRESS"] = str(folder / "progress.json")
    times = []
    for id, e in EXERCISES.items():
        wrong = [e.wrong(m) for m in e.mistakes]
        for function in [e.reference, *wrong]:
            space = {"check": checking.check, e.function: function}
            exec("def ask(id):\n    return check(id)._repr_mimebundle_()", space)
            space["ask"](id)
            began = time.perf_counter()
            space["ask"](id)
            times.append(1000 * (time.perf_counter() - began))
    p95 = statistics.quantiles(times, n=20)[-1]
    return (
        p95 <= 200,
        f"{len(times)} checks: median {statistics.median(times):.0f} ms, p95 {p95:.0f} ms, most {max(times):.0f} ms",
    )


BARS = {str(i): globals()[f"bar{i}"] for i in range(1, 13)} | {"check": check_speed}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="*", help=f"which: {', '.join(BARS)} (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="of the runs (default: 1)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    failed = []
    print(
        f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores"
    )
    for name in args.bars or BARS:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            held, said = BARS[name](args.share, Path(folder))
        cost = f"{time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.1f}"
        print(f"{'held  ' if held else 'MISSED'} bar {name}: {said} [{cost}]", flush=True)
        failed += [] if held else [name]
    print(f"missed: {', '.join(failed)}" if failed else "all held")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
