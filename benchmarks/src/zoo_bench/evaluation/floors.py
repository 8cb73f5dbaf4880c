"""The floor and the copycat for tables that lack them: their cards on the suites' tasks ship in this wheel.

A benchmark has both rows of its own. Cards of single evaluations, of samples from elsewhere for one, have not, and a
distance without a floor beside it says little. `python -m zoo_bench.evaluation.floors RESULTS` copies the cards from a
folder of results, and scores the rows of conditional models for the same tasks; tests hold them to what comes out.
"""

from __future__ import annotations

import functools
import importlib.resources
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo_bench.cards import files
from zoo_bench.cards.types import Card
from zoo_bench.datasets.load import find
from zoo_bench.evaluation.rows import FLOOR, copycat_given_labels, floor_given_labels
from zoo_bench.tasks import suites
from zoo_bench.training.checkpoint import write_json

COPYCAT = "copycat"


def folder() -> Path:
    return Path(str(importlib.resources.files("zoo_bench.evaluation"))) / "floors"


@functools.cache
def shipped() -> tuple[Card, ...]:
    """The cards in the wheel."""
    return tuple(files.read(path) for path in sorted(folder().glob("*.json")))


def completed(found: Sequence[Card]) -> list[Card]:
    """The cards, and for each task that measures samples the rows it lacks, as far as they ship.

    A row that is added has values of the columns that are there, under equal keys, and no others.
    """
    by_task: dict[str, list[Card]] = {}
    for card in (card for card in found if card.is_complete):
        by_task.setdefault(card.task.id, []).append(card)
    more = []
    for task_id, members in by_task.items():
        names = {card.model.name for card in members}
        tasks = [card.task for card in members]
        keys = {entry.comparable_key for card in members for entry in card.metrics if entry.value is not None}
        for row in shipped():
            if row.task.id != task_id or row.task not in tasks or row.model.name in names:
                continue
            metrics = tuple(entry for entry in row.metrics if entry.comparable_key in keys)
            if any(entry.relation is None for entry in metrics):
                more.append(row.but(metrics=metrics))
    return [*found, *more]


def main(results: str) -> None:
    """Copy the cards of these rows from a folder of results into the package; of those under labels, score them.

    All of them are made before any of the old ones goes.
    """
    made: list[tuple[str, Card]] = []
    tasks = set()
    for path in sorted(Path(results).rglob("cards/*.json")):
        card = files.read(path)
        if card.model.name in (FLOOR, COPYCAT) and card.is_complete:
            made.append((path.name, card))
            tasks.add(card.task.id)
    for suite in map(suites.load, sorted(tasks)):
        (task,) = suite.tasks
        if find(task.data).images.classes:
            made += [
                (f"{card.stem}.json", card)
                for card in (floor_given_labels(suite, task), copycat_given_labels(suite, task))
            ]
    folder().mkdir(exist_ok=True)
    for old in folder().glob("*.json"):
        old.unlink()
    for name, card in made:
        write_json(folder() / name, card.to_dict())


if __name__ == "__main__":
    main(sys.argv[1])
