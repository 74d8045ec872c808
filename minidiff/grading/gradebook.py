"""The gradebook: one SQLite file, to which rows are only ever added, a whole submission at a time."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, learner TEXT NOT NULL, submission TEXT NOT NULL, exercise TEXT NOT NULL,
    version TEXT NOT NULL, grader TEXT NOT NULL, seed INTEGER NOT NULL, state TEXT NOT NULL, score REAL NOT NULL,
    points INTEGER NOT NULL, message TEXT NOT NULL, properties TEXT NOT NULL, sandbox TEXT NOT NULL,
    seconds REAL NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS once ON attempts (learner, submission, exercise, version, grader, seed)
    WHERE state <> 'infra';
CREATE TABLE IF NOT EXISTS handed_in (
    id INTEGER PRIMARY KEY, learner TEXT NOT NULL, submission TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS overrides (
    id INTEGER PRIMARY KEY, learner TEXT NOT NULL, exercise TEXT NOT NULL, score REAL NOT NULL,
    author TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS attempts_stay BEFORE UPDATE ON attempts BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
CREATE TRIGGER IF NOT EXISTS attempts_kept BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
CREATE TRIGGER IF NOT EXISTS handed_in_stay BEFORE UPDATE ON handed_in BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
CREATE TRIGGER IF NOT EXISTS handed_in_kept BEFORE DELETE ON handed_in BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
CREATE TRIGGER IF NOT EXISTS overrides_stay BEFORE UPDATE ON overrides BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
CREATE TRIGGER IF NOT EXISTS overrides_kept BEFORE DELETE ON overrides BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
"""


@dataclass
class Row:
    """One exercise of one submission. properties: {name: None where it holds, else what is wrong}."""

    exercise: str
    version: str
    state: str
    score: float
    points: int
    message: str
    properties: dict[str, str | None]
    seconds: float


@dataclass(frozen=True)
class Grade:
    """What counts for a learner and an exercise: the newest attempt at what was handed in last, or an override."""

    learner: str
    exercise: str
    state: str
    score: float
    points: int
    message: str
    properties: dict[str, str | None]
    override: str | None


class Gradebook:
    """path: the file; it is made if it is not there. ValueError if it is something else."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lock = path, threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is no gradebook ({error}); name another folder with --out") from error

    def close(self) -> None:
        self.db.close()

    def seed(self, wanted: int | None = None) -> int:
        """The seed of the cases: chosen once at random, kept in the book. ValueError if another one is wanted."""
        with self.lock:
            new = wanted if wanted is not None else 1 + secrets.randbelow(2**40)
            if new < 1:
                raise ValueError(f"a grading seed is at least 1, got {new}; 0 is what learners check with")
            self.db.execute("INSERT OR IGNORE INTO settings VALUES ('seed', ?)", (str(new),))
            kept = int(self.db.execute("SELECT value FROM settings WHERE name = 'seed'").fetchone()[0])
        if wanted is not None and wanted != kept:
            raise ValueError(f"{self.path} was begun with seed {kept}; leave --seed out, or name another --out")
        return kept

    def is_graded(self, submission: Any, exercise: Any, grader: str, seed: int) -> bool:
        key = (submission.learner, submission.digest, exercise.id, exercise.version, grader, seed)
        with self.lock:
            found = self.db.execute(
                "SELECT 1 FROM attempts WHERE learner = ? AND submission = ? AND exercise = ? AND version = ? "
                "AND grader = ? AND seed = ? AND state <> 'infra'",
                key,
            ).fetchone()
        return found is not None

    def hand_in(self, submission: Any) -> None:
        """Note that this is what the learner handed in last; handed in again, an older one counts again."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self.lock:
            last = self.db.execute(
                "SELECT submission FROM handed_in WHERE learner = ? ORDER BY id DESC LIMIT 1", (submission.learner,)
            ).fetchone()
            if last != (submission.digest,):
                self.db.execute(
                    "INSERT INTO handed_in (learner, submission, at) VALUES (?, ?, ?)",
                    (submission.learner, submission.digest, now),
                )

    def add(self, submission: Any, rows: list[Row], grader: str, seed: int, sandbox: str) -> None:
        """All rows of a submission, or none."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        whose = (submission.learner, submission.digest)
        what = [(r.exercise, r.version, grader, seed, r.state, r.score, r.points, r.message) for r in rows]
        rest = [(json.dumps(r.properties), sandbox, r.seconds, now) for r in rows]
        values = [(*whose, *a, *b) for a, b in zip(what, rest, strict=True)]
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                self.db.executemany(
                    "INSERT OR IGNORE INTO attempts (learner, submission, exercise, version, grader, seed, state, "
                    "score, points, message, properties, sandbox, seconds, at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise

    def override(self, learner: str, exercise: str, score: float | int, author: str, reason: str) -> None:
        """A grade by hand, with who gave it and why. ValueError if there is nothing to override or no reason."""
        known = {g.exercise: g for g in self.grades() if g.learner == learner}
        if exercise not in known:
            raise ValueError(f"{learner} has no grade for {exercise} in {self.path}; grade first")
        if not 0 <= score <= known[exercise].points:
            raise ValueError(f"{exercise} is worth 0 to {known[exercise].points} points, got {score:g}")
        if not author.strip() or not reason.strip():
            raise ValueError("an override needs who (--by) and why (--because)")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self.lock:
            self.db.execute(
                "INSERT INTO overrides (learner, exercise, score, author, reason, at) VALUES (?, ?, ?, ?, ?, ?)",
                (learner, exercise, score, author, reason, now),
            )

    def grades(self) -> list[Grade]:
        """Of every learner and exercise the newest attempt, first at what was handed in last; sorted by both."""
        with self.lock:
            rows = self.db.execute(
                "SELECT learner, exercise, state, score, points, message, properties FROM ("
                "SELECT *, ROW_NUMBER() OVER (PARTITION BY learner, exercise ORDER BY turn DESC, id DESC) AS place "
                "FROM attempts LEFT JOIN ("
                "SELECT learner, submission, MAX(id) AS turn FROM handed_in GROUP BY learner, submission"
                ") USING (learner, submission)) WHERE place = 1"
            ).fetchall()
            by_hand = self.db.execute(
                "SELECT learner, exercise, score, author, reason FROM overrides ORDER BY id"
            ).fetchall()
        given = {
            (learner, exercise): (score, f"{author}: {reason}") for learner, exercise, score, author, reason in by_hand
        }
        found = []
        for learner, exercise, state, score, points, message, properties in rows:
            score, why = given.get((learner, exercise), (score, None))
            found.append(Grade(learner, exercise, state, score, points, message, json.loads(properties), why))
        return sorted(found, key=lambda g: (g.learner, [int(n) for n in g.exercise.split(".")]))
