"""What others read: a CSV of all grades, and for each learner a Gradescope results.json and one HTML page."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

from .. import files
from .exercise import ABOUT
from .gradebook import Grade, Gradebook

STATES = {
    "pass": "solved",
    "fail": "not right yet",
    "not_attempted": "not attempted",
    "student_error": "stopped with an error",
    "timeout": "took too long",
    "memory": "needed too much memory",
    "crash": "ended its process",
    "protocol": "gave no readable answer",
    "infra": "ungraded: a fault of the grader",
}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:52em;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.05em;margin:0}
.sum{color:#57606a;margin-bottom:1.5em}
section{border-left:4px solid #6e7781;padding:.3em 1em;margin:0 0 1em;overflow-wrap:anywhere}
section.pass{border-color:#1a7f37}section.fail{border-color:#b35900}section.error{border-color:#b42318}
.points{float:right;font-variant-numeric:tabular-nums;color:#57606a}
ul{margin:.3em 0;padding-left:0;list-style:none}li{margin:.1em 0}
.bar{height:8px;background:#d8dee4;border-radius:4px}.bar div{height:8px;background:#1a7f37;border-radius:4px}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.sum,.points{color:#9198a1}.bar{background:#30363d}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def slug(learner: str) -> str:
    """A file name of its own for every learner, whatever the name is made of."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", learner).strip("_")[:40]
    return f"{plain or 'learner'}-{hashlib.sha256(learner.encode()).hexdigest()[:8]}"


def write_all(book: Gradebook, out: Path, titles: dict[str, str], progress: bool = True) -> Counter:
    """gradebook.csv, and learners/NAME/results.json and report.html; returns how often each state came up."""
    from tqdm import tqdm

    grades = book.grades()
    learners = [(name, list(of)) for name, of in groupby(grades, key=lambda g: g.learner)]
    files.write(out / "gradebook.csv", as_csv(learners).encode())
    for name, of in tqdm(learners, unit="report", disable=not progress):
        folder = out / "learners" / slug(name)
        files.write(folder / "results.json", as_gradescope(of, titles).encode())
        files.write(folder / "report.html", as_html(name, of, titles).encode())
    return Counter(g.state for g in grades)


def as_csv(learners: list[tuple[str, list[Grade]]]) -> str:
    ids = sorted({g.exercise for _, of in learners for g in of}, key=lambda i: [int(n) for n in i.split(".")])
    points = {g.exercise: g.points for _, of in learners for g in of}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["learner", *(f"{i} ({points[i]})" for i in ids), "total", "of", "ungraded"])
    for name, of in learners:
        by = {g.exercise: g for g in of}
        scores = [f"{by[i].score:g}" if i in by and by[i].state != "infra" else "" for i in ids]
        total, most = sum(g.score for g in of), sum(g.points for g in of)
        ungraded = " ".join(g.exercise for g in of if g.state == "infra" and not g.override)
        writer.writerow([cell(name), *scores, f"{total:g}", most, ungraded])
    return file.getvalue()


def as_gradescope(of: list[Grade], titles: dict[str, str]) -> str:
    """results.json as Gradescope's autograder reads it."""
    tests = [
        {
            "name": f"{g.exercise} {titles.get(g.exercise, '')}".strip(),
            "number": g.exercise,
            "score": g.score,
            "max_score": g.points,
            "status": "passed" if g.score == g.points else "failed",
            "output": "\n".join(_lines(g)),
            "output_format": "text",
        }
        for g in of
    ]
    whole = {"score": round(sum(g.score for g in of), 2), "visibility": "visible", "tests": tests}
    return json.dumps(whole, indent=1) + "\n"


def _lines(g: Grade) -> list[str]:
    lines = [STATES[g.state]]
    if g.override:
        lines.append(f"Graded by hand. {g.override}")
    if g.message and g.state != "pass":
        lines.append(g.message)
    if g.state == "fail":
        lines += [f"{'+' if text is None else '-'} {ABOUT.get(name, name)}" for name, text in g.properties.items()]
    return lines


def as_html(name: str, of: list[Grade], titles: dict[str, str]) -> str:
    """One page that needs nothing else and runs nothing: every word escaped, and a policy that forbids scripts."""
    total, most = sum(g.score for g in of), sum(g.points for g in of)
    parts = []
    for g in of:
        kind = "pass" if g.state == "pass" else "fail" if g.state in ("fail", "not_attempted") else "error"
        kind = "" if g.state == "not_attempted" else kind
        title = html.escape(f"{g.exercise} {titles.get(g.exercise, '')}")
        points = f'<span class="points">{g.score:g} of {g.points}</span>'
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in _lines(g))
        parts.append(f'<section class="{kind}">{points}<h2>{title}</h2><ul>{lines}</ul></section>')
    share = 100 * total / most if most else 0
    solved = sum(g.state == "pass" for g in of)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(name)}: grades</title><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(name)}</h1>"
        f'<div class="sum">{total:g} of {most} points; {solved} of {len(of)} exercises solved'
        f'<div class="bar"><div style="width:{share:.1f}%"></div></div></div>'
        f"{''.join(parts)}</body></html>\n"
    )
