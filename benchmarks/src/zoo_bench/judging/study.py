"""The study that judges answer, in one SQLite file: its definition, questions and pictures, judges and answers.

    study = Study(path)
    study.begin(definition, groups, pixels)                # questions and pictures, in one transaction
    judge = study.judge("Ada")                             # the same name goes on where it stopped
    question = study.state(judge)["now"]                   # no model's name is in it
    study.answer(judge, question["id"], [2, 1])            # on disk when this returns

Who sees which order is drawn from the study's seed, the judge and the question: of the questions, and of the pictures
in each. Answers are kept as the judge gave them, with the order that was shown.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.cards.card import canonical
from zoo_bench.judging.choices import Choice
from zoo_bench.judging.questions import VERSION, Alternative, Array, Definition, png
from zoo_core.errors import ZooError
from zoo_core.step import seed_from

APPLICATION = 0x7A6F6F4A  # in the file's header: this is a study of zoo
LONGEST_NAME = 80
TABLES = """
CREATE TABLE study (definition TEXT NOT NULL);
CREATE TABLE questions (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, alternatives TEXT NOT NULL);
CREATE TABLE images (id TEXT PRIMARY KEY, question TEXT NOT NULL REFERENCES questions (id), slot INTEGER NOT NULL,
    png BLOB NOT NULL, UNIQUE (question, slot));
CREATE TABLE judges (id TEXT PRIMARY KEY, name TEXT, key TEXT UNIQUE, source TEXT NOT NULL, began REAL NOT NULL);
CREATE TABLE answers (number INTEGER PRIMARY KEY AUTOINCREMENT, judge TEXT NOT NULL REFERENCES judges (id),
    question TEXT NOT NULL REFERENCES questions (id), shown TEXT NOT NULL, ranks TEXT NOT NULL, seconds REAL,
    given REAL NOT NULL, assignment TEXT UNIQUE, UNIQUE (judge, question));
"""


class Refused(ZooError):
    """An answer that cannot be taken; nothing was stored."""


class Study:
    """An open study. All methods may be called from any thread; every one that writes has written when it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA foreign_keys = ON")
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise ZooError(f"{path}: not a file of judgements ({error}); give another --db") from error
        if tables and application != APPLICATION:
            raise ZooError(f"{path}: not a file of judgements (it holds something else); give another --db")
        if version > VERSION:
            raise ZooError(f"{path}: version {version}; this zoo reads up to {VERSION}; pip install -U zoo-bench")
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # an answer survives the machine, not only the process
        except sqlite3.Error as error:
            raise ZooError(f"{path}: cannot be written ({error}); give a --db where there is room") from error
        self.definition = self._read() if tables else None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _read(self) -> Definition:
        ((text,),) = self._rows("SELECT definition FROM study")
        known = json.loads(text)
        known["alternatives"] = tuple(Alternative(**each) for each in known["alternatives"])
        return Definition(**{**known, "shape": tuple(known["shape"])})

    @property
    def known(self) -> Definition:
        if self.definition is None:
            raise ZooError(f"{self.path} holds no study yet; begin one with: zoo judge A B")
        return self.definition

    # -- making one ------------------------------------------------------------------------------------------------

    def begin(self, definition: Definition, groups: Sequence[tuple[int, ...]], pixels: Sequence[Array]) -> None:
        """Write the study. groups: of alternatives, one a question; pixels: uint8 8-bit `(N, C, H, W)` of each."""
        used = [0] * len(pixels)
        with self.transaction() as db:
            if db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise ZooError(f"{self.path}: another process began a study there just now; run this again")
            for statement in TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("INSERT INTO study VALUES (?)", (canonical(asdict(definition)),))
            identity = definition.sha256()
            for number, group in enumerate(groups):
                question = f"{seed_from(identity, 'question', number):016x}"
                db.execute("INSERT INTO questions VALUES (?, ?, ?)", (number, question, json.dumps(group)))
                for slot, i in enumerate(group):
                    rows = pixels[i][used[i] : used[i] + definition.grid]
                    used[i] += definition.grid
                    name = f"{seed_from(identity, 'image', number, slot):016x}"
                    db.execute("INSERT INTO images VALUES (?, ?, ?, ?)", (name, question, slot, png(rows)))
        self.definition = definition

    # -- what a judge meets ----------------------------------------------------------------------------------------

    def judge(self, name: str | None, source: str = "page") -> str:
        """The id of the judge of this name, new or not; None is a new anonymous one."""
        name = " ".join(name.split()) if name else None
        if name and (len(name) > LONGEST_NAME or not name.isprintable()):
            raise Refused(f"expected a name of at most {LONGEST_NAME} printable characters")
        with self.transaction() as db:
            return self.judge_within(db, name or None, source)

    def judge_within(self, db: sqlite3.Connection, name: str | None, source: str) -> str:
        """`judge`, as a part of a larger transaction."""
        key = f"{source}:{name.casefold()}" if name else None
        found = db.execute("SELECT id FROM judges WHERE key = ?", (key,)).fetchone() if key else None
        if found:
            return str(found[0])
        judge = secrets.token_hex(16)
        db.execute("INSERT INTO judges VALUES (?, ?, ?, ?, ?)", (judge, name, key, source, time.time()))
        return judge

    def has_judge(self, judge: str | None) -> bool:
        return bool(judge) and bool(self._rows("SELECT 1 FROM judges WHERE id = ?", judge))

    def shown(self, judge: str, question: str, k: int) -> list[int]:
        """The slots from left to right."""
        generator = np.random.default_rng(seed_from(self.known.seed, "shown", judge, question))
        return [int(slot) for slot in generator.permutation(k)]

    def state(self, judge: str) -> dict[str, Any]:
        """How far this judge is, the question that comes now, and the one behind it; blind."""
        ids = [row[0] for row in self._rows("SELECT id FROM questions")]
        done = {row[0] for row in self._rows("SELECT question FROM answers WHERE judge = ?", judge)}
        left = sorted(set(ids) - done, key=lambda each: (seed_from(self.known.seed, "order", judge, each), each))
        ((name,),) = self._rows("SELECT name FROM judges WHERE id = ?", judge)
        now, behind = (self._blind(judge, left[i]) if i < len(left) else None for i in (0, 1))
        return {"judge": name, "answered": len(done), "total": len(ids), "now": now, "behind": behind}

    def _blind(self, judge: str, question: str) -> dict[str, Any]:
        images = self.pictures(question)
        return {"id": question, "images": [images[slot] for slot in self.shown(judge, question, len(images))]}

    def pictures(self, question: str) -> list[str]:
        """The ids of a question's pictures, by slot."""
        return [row[0] for row in self._rows("SELECT id FROM images WHERE question = ? ORDER BY slot", question)]

    def image(self, name: str) -> bytes | None:
        rows = self._rows("SELECT png FROM images WHERE id = ?", name)
        return rows[0][0] if rows else None

    def questions(self) -> dict[str, tuple[int, ...]]:
        """Id to the alternatives in its slots."""
        rows = self._rows("SELECT id, alternatives FROM questions ORDER BY number")
        return {question: tuple(json.loads(text)) for question, text in rows}

    # -- answers ---------------------------------------------------------------------------------------------------

    def check_ranks(self, ranks: Any) -> list[int]:
        """Ranks by place on the page, 1 is best: [1, 2], [2, 1], [1, 1] for a pair; a permutation for a ranking."""
        k = self.known.per_question
        whole = isinstance(ranks, list) and all(type(rank) is int for rank in ranks)
        tie = self.known.mode == "contrast" and ranks == [1, 1]
        if not whole or (sorted(ranks) != list(range(1, k + 1)) and not tie):
            allowed = "[1, 2], [2, 1] or [1, 1]" if self.known.mode == "contrast" else f"an order of 1 to {k}"
            raise Refused(f"expected ranks {allowed}")
        return list(ranks)

    def answer(self, judge: str, question: Any, ranks: Any, seconds: Any = None) -> None:
        """Store an answer; the same one again changes nothing, another one for the same question is refused."""
        ranks = self.check_ranks(ranks)
        if seconds is not None and (
            type(seconds) not in (int, float) or not 0 <= seconds < 1e6  # which no NaN is
        ):
            raise Refused("expected seconds as a number of at least 0")
        if not isinstance(question, str) or question not in self.questions():
            raise Refused("there is no such question")
        with self.transaction() as db:
            query = "SELECT ranks FROM answers WHERE judge = ? AND question = ?"
            there = db.execute(query, (judge, question)).fetchone()
            if there and json.loads(there[0]) != ranks:
                raise Refused("this question has its answer already; take it back first")
            if not there:
                self.insert(db, judge, question, self.shown(judge, question, len(ranks)), ranks, seconds)

    def insert(
        self,
        db: sqlite3.Connection,
        judge: str,
        question: str,
        shown: Sequence[int],
        ranks: Sequence[int],
        seconds: float | None = None,
        assignment: str | None = None,
    ) -> None:
        row = (judge, question, json.dumps(list(shown)), json.dumps(list(ranks)), seconds, time.time(), assignment)
        columns = "judge, question, shown, ranks, seconds, given, assignment"
        db.execute(f"INSERT INTO answers ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def undo(self, judge: str) -> None:
        """Take this judge's last answer back; nothing where there is none."""
        with self.transaction() as db:
            last = "SELECT max(number) FROM answers WHERE judge = ?"
            db.execute(f"DELETE FROM answers WHERE number = ({last})", (judge,))

    def choices(self) -> list[Choice]:
        """All answers, about alternatives."""
        questions = self.questions()
        found = []
        for judge, question, shown, ranks in self._rows(
            "SELECT judge, question, shown, ranks FROM answers ORDER BY number"
        ):
            ranked = sorted(zip(json.loads(ranks), json.loads(shown)))
            order = tuple(questions[question][slot] for _, slot in ranked)
            found.append(Choice(judge, order, tie=ranked[0][0] == ranked[-1][0]))
        return found

    def assignments(self) -> list[tuple[str | None, str | None, str]]:
        """Assignment, name of the judge and question of every answer that was imported."""
        query = "SELECT assignment, name, question FROM answers JOIN judges ON judges.id = judge WHERE source != 'page'"
        return [(assignment, name, question) for assignment, name, question in self._rows(query)]

    def counts(self) -> tuple[int, int]:
        """Answers, and judges who gave any."""
        ((answers, judges),) = self._rows("SELECT count(*), count(DISTINCT judge) FROM answers")
        return answers, judges
