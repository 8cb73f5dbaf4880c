"""Studies that go out to Mechanical Turk and come back: all of a batch or nothing of it."""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judges import NAMES
from made_cards import HOSTILE
from zoo_bench.judging import mturk as judge_mturk
from zoo_bench.judging.server import page
from zoo_bench.judging.study import Study

from zoo_core import ZooError


def worked(batch: Path, study: Study, results: Path, form: str = "plain", workers: int = 2) -> list[dict[str, str]]:
    """What Mechanical Turk would give back: the workers always take the second image, or turn the order round."""
    rows = []
    k = study.known.per_question
    for worker, row in itertools.product(range(workers), csv.DictReader(batch.open())):
        answer = {"choice": "2"} if k == 2 else {f"place_{i + 1}": str(k - i) for i in range(k)}
        if form == "json":
            fields = {"choice": {"1": False, "2": True, "tie": False}} if k == 2 else answer
            answer = {"taskAnswers": json.dumps([fields])}
        rows.append(
            {
                "HITId": row["question"],
                "AssignmentId": f"a{worker}{row['question']}",
                "WorkerId": f"W{worker}",
                "AssignmentStatus": "Submitted",
                **{f"Input.{key}": value for key, value in row.items()},
                **{f"Answer.{key}": value for key, value in answer.items()},
            }
        )
    save(rows, results)
    return rows


def save(rows: list[dict[str, str]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("mode", ["contrast", "ranking"])
@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_batch_goes_out_and_comes_back(
    make_study: Callable[..., Study], tmp_path: Path, mode: str, form: str
) -> None:
    study = make_study(mode=mode, n=8)
    batch, results = tmp_path / "batch.csv", tmp_path / "results.csv"
    judge_mturk.export(study, batch)
    sent = batch.read_text() + batch.with_suffix(".html").read_text()
    assert not [name for name in NAMES if name in sent]
    assert sent.count("data:image/png;base64,") == 8 * study.known.per_question
    assert "${image_1}" in sent and "${question}" in sent and "%" not in re.sub(r"\d%", "", sent)
    worked(batch, study, results, form)
    assert judge_mturk.read(study, results) == (16, 0)
    assert study.counts() == (16, 2)
    expected = {}
    for question, alternatives in study.questions().items():
        shown = judge_mturk.shown(study, question, study.known.per_question)
        expected[question] = tuple(alternatives[slot] for slot in reversed(shown))
    assert [choice.order for choice in study.choices()] == [expected[row] for row in list(expected) * 2]
    with pytest.raises(ZooError, match="in the study already"):
        judge_mturk.read(study, results)
    assert study.counts() == (16, 2)


def test_a_question_stays_text_on_both_pages(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study = make_study(n=5, question=HOSTILE)
    (_, layout) = judge_mturk.export(study, tmp_path / "batch.csv")
    html, policy = (part if isinstance(part, str) else part.decode() for part in page(study.known))
    for text, scripts in ((layout.read_text(), 2), (html, 2)):
        assert text.count("<script") == text.count("</script>") == scripts and "<img src=x" not in text
    assert "&#39;run&#39;" in layout.read_text() and "{{data}}" in layout.read_text()
    (facts,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', html)
    assert json.loads(facts)["question"] == HOSTILE
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_pictures_as_files_have_opaque_names(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study, batch = make_study(n=5), tmp_path / "batch.csv"
    judge_mturk.export(study, batch, "https://pictures.example/b/")
    rows = list(csv.DictReader(batch.open()))
    there = {path.name for path in (tmp_path / "batch.images").iterdir()}
    assert len(there) == 10 and all(re.fullmatch(r"[0-9a-f]{16}\.png", name) for name in there)
    assert {row[f"image_{i}"].removeprefix("https://pictures.example/b/") for row in rows for i in (1, 2)} == there


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows: rows[3].update({"Input.question": "beef"}), "row 5: this study has no question 'beef'"),
        (
            lambda rows: rows[3].update({"AssignmentId": rows[0]["AssignmentId"]}),
            "row 5: assignment .* in row 2 already",
        ),
        (
            lambda rows: rows[3].update({"Input.question": rows[0]["Input.question"]}),
            "row 5: the answer of W0 .* row 2",
        ),
        (lambda rows: rows[3].update({"Answer.choice": ""}), r"row 5: the answer is missing \(Answer.choice\)"),
        (lambda rows: rows[3].update({"Answer.choice": "3"}), "row 5: expected a choice of 1, 2 or tie, got '3'"),
        (lambda rows: rows[3].update({"WorkerId": " "}), "row 5: WorkerId is empty"),
        (lambda rows: [row.pop("WorkerId") for row in rows], "column WorkerId is missing"),
        (lambda rows: [row.update({"Answer.choice": "x"}) for row in rows], "and 11 more"),
    ],
)
def test_a_bad_import_changes_nothing(
    make_study: Callable[..., Study], tmp_path: Path, change: Callable[[list[dict[str, str]]], Any], message: str
) -> None:
    study, batch, results = make_study(n=8), tmp_path / "batch.csv", tmp_path / "results.csv"
    judge_mturk.export(study, batch)
    rows = worked(batch, study, results)
    change(rows)
    save(rows, results)
    with pytest.raises(ZooError, match=message):
        judge_mturk.read(study, results)
    assert study.counts() == (0, 0) and not study._rows("SELECT 1 FROM judges")


def test_rejected_assignments_are_left_out(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study, batch, results = make_study(n=8), tmp_path / "batch.csv", tmp_path / "results.csv"
    judge_mturk.export(study, batch)
    rows = worked(batch, study, results)
    rows[0]["AssignmentStatus"] = "Rejected"
    save(rows, results)
    assert judge_mturk.read(study, results) == (15, 1)


def test_names_that_are_none_and_columns_that_stand_there_twice_are_refused(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(n=8)
    batch, results = tmp_path / "batch.csv", tmp_path / "results.csv"
    judge_mturk.export(study, batch)
    rows = worked(batch, study, results)
    save([{**rows[0], "AssignmentId": "a\x01b"}, *rows[1:]], results)
    with pytest.raises(ZooError, match="AssignmentId is no name"):
        judge_mturk.read(study, results)
    save(rows, results)
    header, *rest = results.read_text().splitlines()
    results.write_text("\n".join([f"{header},Answer.choice", *(f"{line},1" for line in rest)]) + "\n")
    with pytest.raises(ZooError, match=r"column Answer\.choice stands there twice"):
        judge_mturk.read(study, results)
    assert study.assignments() == []
