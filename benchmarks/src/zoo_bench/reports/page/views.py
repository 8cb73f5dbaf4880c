"""What the page shows of cards, as plain JSON: the templates and page.js read the same.

A view of a task has its columns, its rows with their cells, pictures and curves, its boards (which rows and columns
stand in one table), and what stands below them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo_bench.cards.card import canonical, row_of
from zoo_bench.cards.types import Card, Environment, Metric, ModelEntry, Part
from zoo_bench.reports import cells, tables
from zoo_bench.reports.boards import Board, boards
from zoo_bench.reports.columns import Column, lead
from zoo_bench.reports.page import columns, real
from zoo_bench.reports.page.beside import REAL, SAMPLES, Beside
from zoo_bench.reports.reference import FAMILIES, is_reference, purpose

View = dict[str, Any]

CELL = 32  # pixels: the least side of an image in a grid of samples
HUMAN = ("bradley_terry", "plackett_luce")
MARKS = {**FAMILIES, "samples": "images from elsewhere; only they were seen, not the model"}
COSTS = {
    "params": ("parameters", "", False),
    "training_seconds": ("training", "s", True),
    "sampling_images_per_second": ("sampling", "images/s", True),
    "likelihood_images_per_second": ("likelihood", "images/s", True),
    "training_images_per_second": ("training rate", "images/s", True),
    "peak_memory_mb": ("peak memory", "MB", True),
    "images_seen": ("images seen", "", False),
}


class Facts:
    """What cards share (environments, data, tasks), once."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, int]] = {"environments": {}, "data": {}, "tasks_of_cards": {}}
        self._values: dict[str, list[Any]] = {name: [] for name in self._places}
        self.cards: list[View] = []

    def once(self, kind: str, value: Any) -> int:
        key = canonical(value)
        if key not in self._places[kind]:
            self._places[kind][key] = len(self._values[kind])
            self._values[kind].append(value)
        return self._places[kind][key]

    def add(self, card: Card, spread: dict[str, float] | None) -> int:
        model = {key: value for key, value in card.model.to_dict().items() if key not in ("name", "tag", "family")}
        entry = {
            "model": model,
            "sampling": _plain(card.sampling),
            "command": card.command,
            "timing": _plain(card.timing),
            "nats_file": _plain(card.nats_file),
            "spread": spread,
            "environment": self.once("environments", _plain(card.environment) or {}),
            "data": self.once("data", _plain(card.data) or {}),
            "task": self.once("tasks_of_cards", card.task.to_dict()),
        }
        self.cards.append({key: value for key, value in entry.items() if value is not None})
        return len(self.cards) - 1

    def view(self) -> View:
        return {"cards": self.cards, **self._values}


def _plain(part: Part | None) -> dict[str, Any] | None:
    return None if part is None else part.to_dict()


def task_of(
    table: tables.Table, found: Sequence[Card], beside: Beside, facts: Facts, data_dir: str | Path | None = None
) -> View:
    """All that the page shows of a task."""
    seeds: dict[str, list[Card]] = {}
    for card in found:
        if card.task.id == table.task and card.is_complete:
            seeds.setdefault(row_of(card), []).append(card)
    rows = [row for _, group in table.groups for row in group]
    members = [sorted(seeds[row_of(row.card)], key=lambda card: card.seed) for row in rows]
    found_columns = [_column(column) for column in table.columns]
    views = [_row(row, several, found_columns, beside, facts) for row, several in zip(rows, members)]
    _tell_apart(views)
    drawn = any(picture["kind"] == SAMPLES for row in views for picture in row["pictures"])
    return {
        "id": table.task,
        "facts": _data_line(rows[0].card) if rows else "",
        "columns": found_columns,
        "boards": [_board(board, table, rows) for board in boards(table, every=True)],
        "rows": views,
        "lead": next((i for i, column in enumerate(table.columns) if column.key == table.lead), None),
        "below": cells.below(table),
        "overview": [asdict(picture) for picture in beside.overview([row.card for row in rows], table.task)],
        "real": _real(rows[0].card, beside, data_dir) if drawn else None,
        "cell": _cell_of(rows[0].card) if rows else None,
    }


def _board(board: Board, table: tables.Table, rows: Sequence[tables.Row]) -> View:
    """Rows and columns by number. Reference rows have an order of their own, so no column leads them."""
    first = lead(board.columns, [row.values for row in board.rows], table.headline)
    shown = [table.columns.index(column) for column in columns.order(board.columns, first, table.headline)]
    return {
        "condition": board.condition,
        "reference": board.reference,
        "columns": shown,
        "lead": None if first is None or board.reference else shown[0],
        "rows": [rows.index(row) for row in board.rows],
    }


def _cell_of(card: Card) -> list[int] | None:
    """Width and height of an image in a grid of samples with its line, as `sample_files.grid` draws it."""
    if card.data is None:
        return None
    _, height, width = card.data.shape
    scale = max(1, math.ceil(CELL / max(height, width)))
    return [scale * width + 1, scale * height + 1]


def _real(card: Card, beside: Beside, data_dir: str | Path | None) -> View | None:
    """Real images of the split that was scored, where they can be had."""
    data = card.data
    content = real.grid_of(data, data_dir) if data is not None else None
    picture = beside.take(content, REAL) if content is not None else None
    return {**asdict(picture), "of": f"{data.name}, {data.split}"} if picture and data is not None else None


def _column(column: Column) -> View:
    return {**asdict(column), "higher": column.better == "higher", "human": column.id in HUMAN}


def _row(row: tables.Row, several: Sequence[Card], columns: Sequence[View], beside: Beside, facts: Facts) -> View:
    card, model = row.card, row.card.model
    return {
        "name": model.name,
        "tag": model.tag,
        "label": card.name,
        "source": _source(card)[:8],
        "id": row_of(card)[:8],
        "family": model.family or "unknown",
        "purpose": purpose(card) if is_reference(row) else None,
        "mark": model.family if model.family in MARKS else None,
        "relation": row.relation,
        "method": tables.method(row),
        "cards": [facts.add(one, beside.spread(one)) for one in several],
        "cells": {
            str(i): _cell(row.values[column["key"]], column["key"], several)
            for i, column in enumerate(columns)
            if column["key"] in row.values
        },
        "published": [entry.to_dict() for entry in card.published or ()],
        "costs": {key: _cost(card, key) for key in COSTS},
        "pictures": [asdict(picture) for picture in beside.pictures(card)],
        "curve": beside.curve(card),
        "machine": _machine(card.environment or Environment()),
        "trained_on": model.training_device or "not recorded",
    }


def _cell(entry: Metric, key: str, several: Sequence[Card]) -> View:
    """A value with its protocol: its own fields, each seed's value, and other likelihoods of the same key.

    filled: it is a metric without a number, in a column where its numbers would have stood.
    """
    values = [(card.seed, one.value) for card in several for one in card.metrics if one.comparable_key == key]
    weaker = [one for card in several for one in card.weaker_likelihoods if one.comparable_key == key]
    cell = {
        "value": entry.value,
        "relation": entry.relation,
        "interval": _plain(entry.interval),
        "params": entry.params.to_dict() | ({"trained_with": True} if several[0].is_flattered(entry) else {}),
        "filled": entry.comparable_key != key or None,
        "status": None if entry.value is not None else entry.status or "failed",
        "seeds": values if len(values) > 1 else None,
        "weaker": [[one.relation, one.value, one.params.method] for one in weaker],
    }
    return {name: value for name, value in cell.items() if value not in (None, [])}


def _source(card: Card) -> str:
    """sha256 of the weights, or of the samples of a row that has none."""
    if card.model.weights is not None:
        return card.model.weights.sha256
    return (card.sampling.sha256 if card.sampling is not None else None) or ""


def _tell_apart(rows: list[View]) -> None:
    """Rows of one name get the beginning of their weights' sha256."""
    labels = [row["label"] for row in rows]
    for row in rows:
        row["twin"] = (row["source"] or "no weights") if labels.count(row["label"]) > 1 else None
        row["label"] += f" {row['twin']}" if row["twin"] else ""
    labels = [row["label"] for row in rows]
    for row in rows:
        if labels.count(row["label"]) > 1:  # of the same weights
            row["source"] = row["twin"] = row["id"]
            row["label"] += f" {row['id']}"


def _cost(card: Card, key: str) -> float | None:
    """What the model or its evaluation cost, by the name of the field: one of `COSTS`."""
    part: Part | None = card.model if key in ModelEntry.model_fields else card.performance
    value: float | None = getattr(part, key, None)
    return value


def _machine(environment: Environment) -> str:
    """What speeds depend on, as far as a card knows: two machines may share all of it."""
    torch = environment.packages.get("torch")
    parts = [
        environment.device,
        count(environment.processes, "process", "processes") if environment.processes else None,
        count(environment.threads, "thread") if environment.threads else None,
        environment.precision,
        f"torch {torch}" if torch else None,
    ]
    return ", ".join(part for part in parts if part) or "environment not recorded"


def _data_line(card: Card) -> str:
    """`digits: 1×8×8, 17 levels; 300 images of test; 1,000 samples`."""
    data, sampling = card.data, card.sampling
    parts = []
    if data is not None:
        parts.append(f"{data.name}: {'×'.join(map(str, data.shape))}, {data.levels} levels")
        parts += [f"{data.n:,} images of {data.split}"] if data.n is not None else []
    if sampling is not None and sampling.n:
        parts.append(f"{sampling.n:,} samples")
    return "; ".join(parts)


def count(n: int, what: str, several: str = "") -> str:
    return f"{n:,} {what if n == 1 else several or what + 's'}"
