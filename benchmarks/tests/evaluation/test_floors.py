"""A table of samples has a floor and a copycat, even if nobody ran a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_cards import card, distance
from zoo_bench import Card, evaluate, report
from zoo_bench.cards import files
from zoo_bench.evaluation import floors
from zoo_bench.evaluation.evaluate_samples import evaluate_samples
from zoo_bench.evaluation.verify import verify
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports.tables import tables
from zoo_bench.tasks import suites

from zoo_core import sampling
from zoo_core.commands import sample_files
from zoo_core.pretrained import load

RESULTS = Path(__file__).parents[2] / "results"


def rows_of(table) -> dict:
    return {row.name: row for _, rows in table.groups for row in rows}


def test_one_evaluation_alone_stands_beside_the_floor_and_the_copycat(tmp_path: Path) -> None:
    evaluate("gmm.digits", out=tmp_path)
    drawn = sampling.draw(load("made.digits"), 1000)
    given = sample_files.write(tmp_path / "theirs.npz", drawn, load("made.digits").images, n=1000)
    evaluate_samples(given, "quick@1/digits", out=tmp_path)
    (table,) = tables(files.read_all(tmp_path))
    rows = rows_of(table)
    assert set(rows) == {"gmm", "theirs", "training_images", "copycat"}
    distances = [column.key for column in table.columns if column.id == "fd_pixels"]
    assert len(distances) == 2
    assert all(key in row.values for row in rows.values() for key in distances)
    test = next(column.key for column in table.columns if column.reference == "test")
    assert rows["training_images"].values[test].value < min(rows[n].values[test].value for n in ("gmm", "theirs"))
    assert "training_images" in report(tmp_path, form="csv")
    page = htmlreport.page(files.read_all(tmp_path))
    assert all(f'"name":"{name}"' in page for name in rows)


def test_models_that_draw_under_labels_have_theirs() -> None:
    found = [card for card in files.read_all(RESULTS) if card.model.tag == "digits_cond"]
    (table,) = tables(found)
    assert {"training_images_given_labels", "copycat_given_labels"} < set(rows_of(table))


def test_a_row_is_added_to_what_it_is_comparable_with_and_brings_no_column() -> None:
    own = evaluate("gmm.digits")
    names = {entry.comparable_key for entry in own.metrics}
    added = floors.completed([own])[1:]
    assert {entry.comparable_key for card in added for entry in card.metrics} <= names
    edited = own.but(task=own.task.but(sha256="0" * 64))  # the suite
    assert floors.completed([edited]) == [edited]
    assert floors.completed([evaluate("bmm.digits", "restore/digits", limit=8)])[1:] == []


def test_a_benchmark_s_own_rows_stay_alone() -> None:
    """Of the results here only the rows of conditional models are none of a benchmark's."""
    found = files.read_all(RESULTS)
    added = floors.completed(found)[len(found) :]
    assert {(card.model.conditioning, card.task.id) for card in added} == {
        ("class", "quick@1/digits"),
        ("class", "small@2/digits"),
        ("class", "small@2/fashion"),
    }


def test_a_table_without_a_floor_says_so() -> None:
    samples = card("theirs", distance(0.2, n_reference=300), family="samples")
    assert "no floor" in report_of([samples])
    floor = card("training_images", distance(0.1, n_reference=300), family="floor")
    assert "no floor" not in report_of([samples, floor])


def report_of(found: list[Card]) -> str:
    from zoo_bench.reports.cells import below

    (table,) = tables(found)
    return "\n".join(below(table))


@pytest.mark.parametrize("path", sorted(floors.folder().glob("*.json")), ids=lambda path: path.name)
def test_what_ships_is_what_was_measured(path: Path) -> None:
    """Those of conditional models are scored when they ship, and come out again on the smallest task."""
    measured = RESULTS / "cards" / path.name
    if "_given_labels" not in path.name:
        assert measured.read_text() == path.read_text(), "python -m zoo_bench.evaluation.floors benchmarks/results"
    elif "quick" in path.name:
        assert all(check.agrees for check in verify(path))


def test_all_that_was_measured_ships() -> None:
    """The suites that this machine can run have both rows in the wheel."""
    there = {(card.task.id, card.model.name) for card in floors.shipped()}
    for name in ("quick", "small", "emoji", "toy"):
        suite = suites.load(name)
        for task in suite.tasks:
            assert {(suite.task_id(task), row) for row in ("training_images", "copycat")} <= there
