"""The report as one HTML file that needs no network: leaderboards, pictures, curves, charts, each number's protocol.

    from zoo_bench.cards import card as cards
    from zoo_bench.reports import html as htmlreport
    htmlreport.write(cards.read_all(["runs"]), Path("report.html"), [Path("runs")])

Columns, rows and groups are those of `tables.tables`: a column is one comparable key. Sorted by a likelihood, exact
values are ordered and bounds and estimates listed by name; sorted by anything else, all rows of the key are ordered.
Python writes the tables; page/page.js sorts and filters them and draws the charts from the data that lie beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import zoo_core
from zoo_bench.cards import card as cards
from zoo_bench.cards.card import Card
from zoo_bench.evaluation import floors
from zoo_bench.reports import cells, tables
from zoo_bench.reports.page import sections
from zoo_bench.reports.page.assemble import assemble
from zoo_bench.reports.page.beside import Beside
from zoo_bench.reports.page.sections import View
from zoo_core.errors import ZooError
from zoo_core.sampling import atomic

NEITHER = '<p class="note">No task of these cards has both.</p>'


def write(found: Sequence[Card], out: Path, folders: Sequence[Path] = ()) -> Path:
    """Write the page of the cards `found`. folders: where they were read from, with pictures and logs beside them."""
    text = page(found, folders)
    with atomic(Path(out)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(out)


def page(found: Sequence[Card], folders: Sequence[Path] = ()) -> str:
    """The page as text."""
    found_tables = tables.tables(found)
    if not found_tables:
        raise ZooError(f"no result cards in {', '.join(map(str, folders)) or 'nothing'}; `zoo bench quick` makes some")
    beside = Beside(folders)
    facts = _Facts()
    shown = floors.completed(found)
    tasks = [_task(table, shown, beside, facts) for table in found_tables]
    families = sorted({row["family"] for task in tasks for row in task["rows"]})
    models = {row["label"] for task in tasks for row in task["rows"]}
    judged = [task for task in tasks if any(column["human"] for column in task["columns"])]
    places = {
        "title": "zoo: result cards",
        "counts": f"{_count(len(found), 'card')} · {_count(len(models), 'model')} · {_count(len(tasks), 'task')}",
        "version": escape(f"zoo {zoo_core.__version__}"),
        "families": "".join(f"<option>{escape(family)}</option>" for family in families),
        "tasks": "".join(f"<option>{escape(task['id'])}</option>" for task in tasks),
        "leaderboards": "\n".join(sections.leaderboard(i, task) for i, task in enumerate(tasks)),
        "scatters": "\n".join(sections.scatter(i, task) for i, task in enumerate(tasks)) or NEITHER,
        "costs": "\n".join(sections.cost(i, task) for i, task in enumerate(tasks)) or NEITHER,
        "pictures": sections.gallery(tasks, beside.left_out),
        "curves": sections.curves(tasks),
        "judges": "\n".join(sections.judged(tasks.index(task), task) for task in judged),
        "judges_hidden": "" if judged else " hidden",
        "relations": "".join(
            f'<dt class="sign">{sign}</dt><dd>{text}</dd>' for sign, text in sections.RELATIONS.items()
        ),
    }
    data = {
        "tasks": tasks,
        "images": beside.images,
        "groups": {key or "": text for key, text in sections.GROUPS.items()},
    }
    return assemble(places, {**data, **facts.view(), "relations": sections.RELATIONS, "costs": sections.COSTS})


class _Facts:
    """What cards share (environments, data, tasks), once."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, int]] = {"environments": {}, "data": {}, "tasks_of_cards": {}}
        self._values: dict[str, list[Any]] = {name: [] for name in self._places}
        self.cards: list[View] = []

    def once(self, kind: str, value: Any) -> int:
        key = cards.canonical(value)
        if key not in self._places[kind]:
            self._places[kind][key] = len(self._values[kind])
            self._values[kind].append(value)
        return self._places[kind][key]

    def add(self, card: Card, spread: dict[str, float] | None) -> int:
        model = {key: value for key, value in card["model"].items() if key not in ("name", "tag", "family")}
        entry = {
            "model": model,
            "sampling": card.get("sampling"),
            "command": card.get("command"),
            "timing": card.get("timing"),
            "nats_file": card.get("nats_file"),
            "spread": spread,
            "environment": self.once("environments", card.get("environment") or {}),
            "data": self.once("data", card.get("data") or {}),
            "task": self.once("tasks_of_cards", card["task"]),
        }
        self.cards.append({key: value for key, value in entry.items() if value is not None})
        return len(self.cards) - 1

    def view(self) -> View:
        return {"cards": self.cards, **self._values}


def _task(table: tables.Table, found: Sequence[Card], beside: Beside, facts: _Facts) -> View:
    seeds: dict[str, list[Card]] = {}
    for card in found:
        if card["task"]["id"] == table.task and cards.is_complete(card):
            seeds.setdefault(cards.row_of(card), []).append(card)
    rows = [row for _, group in table.groups for row in group]
    members = [seeds[cards.row_of(row.card)] for row in rows]
    columns = [_column(column) for column in table.columns]
    views = [_row(row, sorted(several, key=cards.seed), columns, beside, facts) for row, several in zip(rows, members)]
    _tell_apart(views)
    return {
        "id": table.task,
        "facts": _data_line(rows[0].card) if rows else "",
        "columns": columns,
        "rows": views,
        "lead": next((i for i, column in enumerate(table.columns) if column.key == table.lead), None),
        "below": cells.below(table),
        "overview": [asdict(picture) for picture in beside.overview([row.card for row in rows], table.task)],
    }


def _column(column: tables.Column) -> View:
    return {**asdict(column), "higher": column.better == "higher", "human": column.id in sections.HUMAN}


def _row(row: tables.Row, several: Sequence[Card], columns: Sequence[View], beside: Beside, facts: _Facts) -> View:
    card = row.card
    model, performance = card["model"], card.get("performance") or {}
    return {
        "name": model["name"],
        "tag": model.get("tag"),
        "label": _name(card),
        "source": str((model.get("weights") or card.get("sampling") or {}).get("sha256") or "")[:8],
        "id": cards.row_of(card)[:8],
        "family": str(model.get("family") or "unknown"),
        "mark": model.get("family") if model.get("family") in sections.MARKS else None,
        "relation": row.relation,
        "method": tables.method(row),
        "cards": [facts.add(one, beside.spread(one)) for one in several],
        "cells": {
            str(i): _cell(row.values[column["key"]], column["key"], several)
            for i, column in enumerate(columns)
            if column["key"] in row.values
        },
        "published": [entry for entry in card.get("published") or [] if isinstance(entry, dict)],
        "costs": {key: _number(model.get(key, performance.get(key))) for key in sections.COSTS},
        "pictures": [asdict(picture) for picture in beside.pictures(card)],
        "curve": beside.curve(card),
        "machine": _machine(card.get("environment") or {}),
        "trained_on": str(model.get("training_device") or "not recorded"),
    }


def _cell(entry: dict[str, Any], key: str, several: Sequence[Card]) -> View:
    """A value with its protocol: its own fields, each seed's value, and other likelihoods of the same key.

    filled: it is a metric without a number, in a column where its numbers would have stood.
    """
    values = [(cards.seed(card), one["value"]) for card in several for one in card["metrics"] if _key(one) == key]
    weaker = [one for card in several for one in card.get("weaker_likelihoods") or () if _key(one) == key]
    cell = {
        "value": entry["value"],
        "relation": entry["relation"],
        "interval": entry["interval"],
        "params": entry["params"],
        "filled": _key(entry) != key or None,
        "status": None if entry["value"] is not None else "skipped" if entry.get("status") == "skipped" else "failed",
        "seeds": values if len(values) > 1 else None,
        "weaker": [[one["relation"], one["value"], one["params"].get("method")] for one in weaker],
    }
    return {name: value for name, value in cell.items() if value not in (None, [])}


def _key(entry: dict[str, Any]) -> str:
    return str(entry["comparable_key"])


def _name(card: Card) -> str:
    tag = card["model"].get("tag")
    return f"{card['model']['name']}.{tag}" if tag else str(card["model"]["name"])


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


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _machine(environment: dict[str, Any]) -> str:
    """What speeds depend on, as far as a card knows: two machines may share all of it."""
    torch = (environment.get("packages") or {}).get("torch")
    parts = [
        environment.get("device"),
        _count(environment["processes"], "process", "processes") if environment.get("processes") else None,
        _count(environment["threads"], "thread") if environment.get("threads") else None,
        environment.get("precision"),
        f"torch {torch}" if torch else None,
    ]
    return ", ".join(str(part) for part in parts if part) or "environment not recorded"


def _data_line(card: Card) -> str:
    """`digits: 1×8×8, 17 levels; 300 images of test; 1,000 samples`."""
    data, sampling = card.get("data") or {}, card.get("sampling") or {}
    parts = [f"{data['name']}: {'×'.join(map(str, data['shape']))}, {data['levels']} levels"] if "shape" in data else []
    parts += [f"{data['n']:,} images of {data['split']}"] if "n" in data and "split" in data else []
    parts += [f"{sampling['n']:,} samples"] if sampling.get("n") else []
    return "; ".join(parts)


def _count(n: int, what: str, several: str = "") -> str:
    return f"{n:,} {what if n == 1 else several or what + 's'}"
