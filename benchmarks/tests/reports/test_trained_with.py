"""An encoder that a model was trained with flatters it: the recipe says which, the card, each cell, and no rank."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from html_page import Page
from made_cards import card, distance, entry, likelihood, numbered
from zoo_bench import evaluate, train
from zoo_bench.cards.types import TRAINED_WITH, Card
from zoo_bench.commands.evaluate import evaluate as command
from zoo_bench.datasets import load as data
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import of_images
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports import modelpage, tables
from zoo_bench.reports.page import sections
from zoo_bench.reports.report import report
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training.recipe import Recipe, is_of, plan

from zoo_core import ZooError

MARKED = "0.5000 ± 0.0100 †"


def test_a_recipe_without_it_is_what_it_was() -> None:
    before = plan("made.digits")
    assert "trained_with" not in before.recipe.to_dict() and "trained_with" not in before.identity()["recipe"]
    assert is_of(before, before.identity()), "a training from before the field came"
    said = Recipe.from_dict({**before.recipe.to_dict(), "trained_with": ["pixels"]})
    assert said.to_dict()["trained_with"] == ["pixels"] and Recipe.from_dict(said.to_dict()) == said
    assert not is_of(plan("made.digits", trained_with=["pixels"]), before.identity())


def test_an_encoder_that_no_metric_knows_is_refused() -> None:
    assert plan("made.digits", trained_with=["lpips", "dinov2"]).recipe.trained_with == ("lpips", "dinov2")
    with pytest.raises(ZooError, match=r"unknown encoder 'dinov3'.*dinov2.*trained_with"):
        plan("made.digits", trained_with=["dinov3"])


def test_the_card_carries_it_and_its_numbers_are_marked(recipe: Callable[..., Path], tmp_path: Path) -> None:
    file = recipe("vae", images=200)
    file.write_text(file.read_text().replace("[config]", 'trained_with = ["pixels"]\n[config]'))
    train(file, out=tmp_path / "run", quiet=True)
    metrics = ("bits_per_dim", "fd_pixels", "fd_digitscnn")
    task = Task(id="digits", data="digits", metrics=metrics, samples=60, references=("test",), draws=1, iwae=2)
    suite = Suite(name="mine", version=1, tasks=(task,))
    found = evaluate(tmp_path / "run" / "weights", suite, out=tmp_path / "cards")
    assert found.model.trained_with == ("pixels",)
    marked = {one.id: one.params.trained_with for one in found.metrics}
    assert marked == {"bits_per_dim": None, "fd_pixels": True, "fd_digitscnn": None}
    other = measure(of_images(suite, task, data.load("digits", "test").pinned.x[:60]))
    keys = [{one.comparable_key for one in entries if one.id != "bits_per_dim"} for entries in (found.metrics, other)]
    assert keys[0] == keys[1], "the same number, of one column"
    assert not any(one.params.trained_with for one in other)


def flattered(value: float = 0.5) -> list[Card]:
    """Three rows, the least distance being one that means nothing."""
    best = card("flattered", likelihood(2.0, "="), distance(value, trained_with=True), entry("precision", 0.4))
    best = best.but(model=best.model.but(trained_with=("pixels",)))
    return [best, card("b", likelihood(3.0, "="), distance(0.7)), card("a", likelihood(4.0, "="), distance(0.9))]


def test_tables_mark_the_number_and_say_why(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    folder = numbered(flattered(), tmp_path)
    for form in ("markdown", "terminal"):
        text = report([folder], form=form).replace("\xa0", " ")  # type: ignore[arg-type]
        assert MARKED in text and text.count("†") == 2
        assert f"† is measured {TRAINED_WITH}" in " ".join(text.split())
    assert "†" not in report([numbered(flattered()[1:], tmp_path / "more")], form="markdown")


def test_in_csv_it_has_no_direction(tmp_path: Path) -> None:
    text = report([numbered(flattered(), tmp_path)], form="csv")
    rows = {(row["model"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    assert rows["flattered", "fd_pixels"]["higher_is_better"] == ""
    assert rows["flattered", "fd_pixels"]["note"] == TRAINED_WITH
    assert rows["flattered", "precision"]["higher_is_better"] == "true"
    assert rows["a", "fd_pixels"]["higher_is_better"] == "false" and rows["a", "fd_pixels"]["note"] == ""


def test_in_the_page_it_is_not_ranked() -> None:
    text = htmlreport.page(flattered())
    assert text.count(" †</abbr>") == 1 and TRAINED_WITH in text
    columns = [{"title": "fd_pixels", "relational": False, "flag": False, "higher": False}]
    values = {"flattered": 0.5, "b": 0.9, "a": 0.7}
    rows = [
        {"label": name, "cells": {"0": {"value": value, "params": {"trained_with": True} if len(name) > 1 else {}}}}
        for name, value in values.items()
    ]
    (_, ranked), (title, aside) = sections.ordered(rows, columns, 0)
    assert (ranked, aside) == ([2, 1], [0]) and title == f"{TRAINED_WITH}, by name"


def undeclared() -> list[Card]:
    """No likelihood; the least distance means nothing, and the card says so of its model alone."""
    best = card("flattered", distance(0.5, extractor="pixels"))
    return [
        best.but(model=best.model.but(trained_with=("pixels",))),
        card("b", distance(0.9, extractor="pixels")),
        card("a", distance(0.7, extractor="pixels")),
    ]


def test_in_a_table_without_a_likelihood_it_stands_apart() -> None:
    (table,) = tables.tables(undeclared())
    groups = [(title, [row.name for row in rows]) for title, rows in table.groups]
    assert groups == [("by fd pixels, best first", ["a", "b"]), (f"{TRAINED_WITH}, by name", ["flattered"])]


def test_all_tables_know_it_of_the_model_alone(tmp_path: Path) -> None:
    text = report([numbered(undeclared(), tmp_path)], form="csv")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(text))}
    assert (rows["flattered"]["higher_is_better"], rows["flattered"]["note"]) == ("", TRAINED_WITH)
    assert rows["a"]["higher_is_better"] == "false"
    page = Page(htmlreport.page(undeclared()))
    assert sum(" †" in cell for _, cells in page.lines for cell in cells) == 1
    (task,) = page.data["tasks"]
    (_, ranked), (title, aside) = sections.ordered(task["rows"], task["columns"], task["lead"])
    names = [[task["rows"][i]["name"] for i in members] for members in (ranked, aside)]
    assert names == [["a", "b"], ["flattered"]] and title == f"{TRAINED_WITH}, by name"
    lines = modelpage.listing(undeclared()[:1])
    assert sum("†" in line for line in lines) == 2 and f"† is measured {TRAINED_WITH}" in lines[-1]


def test_evaluate_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_bench.evaluation.evaluate.evaluate", lambda *_, **__: undeclared()[0])
    result = CliRunner().invoke(command, ["flattered", "--quiet"], catch_exceptions=False)
    assert f"[{TRAINED_WITH}]" in result.output


def test_several_seeds_are_still_marked(tmp_path: Path) -> None:
    found = [card("a", distance(value, trained_with=True), seed=seed) for seed, value in enumerate((0.1, 0.3))]
    assert "sd (2 seeds) †" in report([numbered(found, tmp_path)], form="markdown").replace("\xa0", " ")
