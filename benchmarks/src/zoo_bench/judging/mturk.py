"""A study's questions as a batch for Mechanical Turk, and the answers of its workers back into the study.

    FILE.csv    one question a row: `question`, `image_1`, ..., `image_k` (data URIs, or URL + opaque file name)
    FILE.html   the layout that shows one row and asks for the choice
    FILE.images the pictures, where a URL is given: put them there

Results are read as Mechanical Turk writes them: `AssignmentId`, `WorkerId`, `Input.question`, and the answer as
`Answer.choice` (a pair: 1, 2 or tie) or `Answer.place_1`, ..., `Answer.place_k` (a ranking), or as JSON in
`Answer.taskAnswers`. A file is imported whole or not at all.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench import templates
from zoo_bench.judging.study import LONGEST_NAME, Refused, Study
from zoo_core.errors import ZooError
from zoo_core.files import atomic
from zoo_core.step import seed_from

SOURCE = "mturk"
NEEDED = ("AssignmentId", "WorkerId", "Input.question")
MOST_COMPLAINTS = 5


def shown(study: Study, question: str, k: int) -> list[int]:
    """The slots from left to right: one order for all workers, because a row is one page."""
    generator = np.random.default_rng(seed_from(study.known.seed, "shown", SOURCE, question))
    return [int(slot) for slot in generator.permutation(k)]


def export(study: Study, path: Path, url: str | None = None) -> list[Path]:
    """Write the batch and its layout; with `url`, pictures as files, which the rows name below that address."""
    if path.suffix != ".csv":
        raise ZooError(f"{path}: expected a name that ends in .csv")
    k = study.known.per_question
    folder = path.with_suffix(".images")
    rows = []
    for question in study.questions():
        names = study.pictures(question)
        names = [names[slot] for slot in shown(study, question, k)]
        contents = [study.image(name) or b"" for name in names]
        if url is None:
            images = ["data:image/png;base64," + base64.b64encode(content).decode() for content in contents]
        else:
            images = [f"{url.rstrip('/')}/{name}.png" for name in names]
            for name, content in zip(names, contents):
                with atomic(folder / f"{name}.png") as temporary:
                    temporary.write_bytes(content)
        rows.append([question, *images])
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", *(f"image_{i + 1}" for i in range(k))])
        writer.writerows(rows)
    layout_path = path.with_suffix(".html")
    with atomic(layout_path) as temporary:
        temporary.write_text(layout(study), encoding="utf-8")
    return [path, layout_path] + ([folder] if url is not None else [])


def layout(study: Study) -> str:
    """The page of one row; `${image_1}` and `${question}` are filled in by Mechanical Turk."""
    definition, (_, h, w) = study.known, study.known.shape
    scale = max(1, min(20, 256 // max(h, w)))
    return (
        templates.html("zoo_bench.judging", "page")
        .get_template("mturk.html")
        .render(
            question=definition.question,
            contrast=definition.mode == "contrast",
            k=definition.per_question,
            side=(w * scale, h * scale) if definition.grid == 1 else None,  # grids are as wide as the page lets them
        )
    )


def read(study: Study, path: Path) -> tuple[int, int]:
    """Import results; returns how many answers came in and how many rejected assignments were left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = list(reader.fieldnames or []), list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ZooError(f"{path}: not a CSV file ({error})") from error
    if missing := [name for name in NEEDED if name not in header]:
        raise ZooError(
            f"{path}: column {', '.join(missing)} is missing; expected the results of a Mechanical Turk batch"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ZooError(f"{path}: column {', '.join(twice)} stands there twice; which one counts?")
    if not rows:
        raise ZooError(f"{path}: there is no answer in it")
    questions = study.questions()
    complaints: list[str] = []
    answers: list[tuple[str, str, str, list[int]]] = []
    assignments = {row[0]: "in the study already" for row in study.assignments() if row[0]}
    given = {(worker, question): "in the study already" for _, worker, question in study.assignments()}
    rejected = 0
    for number, row in enumerate(rows, start=2):
        where = f"row {number}"
        if (row.get("AssignmentStatus") or "").casefold() == "rejected":
            rejected += 1
            continue
        try:
            assignment, worker, question = ((row[name] or "").strip() for name in NEEDED)
            if None in row or None in row.values():
                raise Refused(f"expected {len(header)} columns")
            for name, value in zip(NEEDED, (assignment, worker, question)):
                if not value:
                    raise Refused(f"{name} is empty")
            for name, value in (("WorkerId", worker), ("AssignmentId", assignment)):
                if len(value) > LONGEST_NAME or not value.isprintable():
                    raise Refused(f"{name} is no name")
            if question not in questions:
                raise Refused(f"this study has no question {question!r}")
            if assignment in assignments:
                raise Refused(f"assignment {assignment} is {assignments[assignment]}")
            if (worker, question) in given:
                raise Refused(f"the answer of {worker} to {question} is {given[worker, question]}")
            answers.append((assignment, worker, question, study.check_ranks(_ranks(study, row))))
            assignments[assignment] = given[worker, question] = f"in {where} already"
        except Refused as error:
            complaints.append(f"{where}: {error}")
    if complaints:
        more = len(complaints) - MOST_COMPLAINTS
        rest = f"; and {more} more" if more > 0 else ""
        raise ZooError(f"{path}: nothing was imported; {'; '.join(complaints[:MOST_COMPLAINTS])}{rest}")
    with study.transaction() as db:
        judges = {worker: study.judge_within(db, worker, SOURCE) for _, worker, _, _ in answers}
        for assignment, worker, question, ranks in answers:
            order = shown(study, question, len(ranks))
            study.insert(db, judges[worker], question, order, ranks, assignment=assignment)
    return len(answers), rejected


def _ranks(study: Study, row: Mapping[str, str]) -> list[int]:
    """The answer of a row as ranks by place on the page."""
    k = study.known.per_question
    values = {key.removeprefix("Answer."): value for key, value in row.items() if key.startswith("Answer.")}
    values |= _task_answers(values.pop("taskAnswers", ""))
    if study.known.mode == "contrast":
        choice = str(values.get("choice", "")).strip()
        if not choice:
            raise Refused("the answer is missing (Answer.choice)")
        ranks = {"1": [1, 2], "2": [2, 1], "tie": [1, 1]}.get(choice)
        if ranks is None:
            raise Refused(f"expected a choice of 1, 2 or tie, got {choice!r}")
        return ranks
    places = [str(values.get(f"place_{i + 1}", "")).strip() for i in range(k)]
    if not all(places):
        raise Refused(f"the answer is missing (Answer.place_{places.index('') + 1})")
    if sorted(places) != [str(i + 1) for i in range(k)]:
        raise Refused(f"expected each of the places 1 to {k} once, got {' '.join(places)}")
    return [int(place) for place in places]


def _task_answers(text: str) -> dict[str, Any]:
    """The fields of `Answer.taskAnswers`: a list of one object; a radio button may be `{"1": false, "2": true}`."""
    if not text.strip():
        return {}
    try:
        (fields,) = json.loads(text)
        if not isinstance(fields, dict):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise Refused("Answer.taskAnswers is not a list of one JSON object") from error
    return {
        key: next((name for name, on in value.items() if on is True), "") if isinstance(value, dict) else value
        for key, value in fields.items()
    }
