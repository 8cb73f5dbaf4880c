"""Tables from cards: grouped by relation, never ranking what is not comparable.

A column holds values of one `comparable_key` only. A table is led by its first likelihood, that most rows have: whether
a row is exact, a bound or an estimate is said of that likelihood, here and in the page (`html`). Exact values are
ordered; bounds and estimates are listed by name, because no order between them is known.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from zoo_bench.cards import card as cards
from zoo_bench.cards import unmeasured
from zoo_bench.evaluation import floors
from zoo_core.errors import ZooError

GROUPS = {
    "=": "exact likelihood (=), best first",
    "≤": "upper bounds on the negative log-likelihood (≤), by name: bounds are not ordered",
    "≈": "estimates (≈), by name: not ordered",
    None: "no likelihood, by name",
}


@dataclass(frozen=True)
class Column:
    """One comparable key: a metric under one protocol.

    relational: its values are exact, bounds or estimates. better: None where nothing is: a flag, or no value at all.
    """

    key: str
    title: str
    unit: str
    digits: int
    id: str
    version: int
    reference: str | None
    conditioning: str
    relational: bool
    better: Literal["higher", "lower"] | None
    flag: bool


@dataclass(frozen=True)
class Row:
    """The cards of one model, one a sampling seed, with what they measured by key; the first stands for all.

    relation, order: of its likelihood under `key`; rows with the same `key` are ordered by it, and no others. That is
    the first likelihood column it has a value in, or, without a likelihood, another metric with a relation (kl, tv).
    """

    name: str
    relation: str | None
    key: str
    order: float
    values: dict[str, dict[str, Any]]
    card: cards.Card


@dataclass(frozen=True)
class Table:
    """All complete cards of one task. lead: the key of the column that the rows are ordered by, where there is one."""

    task: str
    columns: list[Column]
    lead: str | None
    groups: list[tuple[str, list[Row]]]
    failed: list[cards.Card]
    partial: list[cards.Card]
    unmeasured: list[str]


def tables(found: Sequence[cards.Card]) -> list[Table]:
    """Cards by task, with the floor and the copycat beside samples; partial cards stay out, failed ones are named."""
    by_task: dict[str, list[cards.Card]] = {}
    for card in floors.completed(found):
        by_task.setdefault(card["task"]["id"], []).append(card)
    return [_table(task, members) for task, members in sorted(by_task.items())]


def _table(task: str, members: list[cards.Card]) -> Table:
    complete = [card for card in members if cards.is_complete(card)]
    if len({card["task"].get("sha256") for card in complete}) > 1:
        told = list({card["task"].get("sha256"): cards.stem(card) for card in complete}.values())
        raise ZooError(
            f"{told[0]} and {told[1]} define {task} differently: one of them was made by a suite that was edited "
            "without a new version; make it again, or remove it"
        )
    found: dict[str, list[tuple[dict[str, Any], cards.Card]]] = {}
    for card in complete:
        for entry in card["metrics"]:
            found.setdefault(entry["comparable_key"], []).append((entry, card))
    homes = unmeasured.homes(found)
    members_of_rows = _by_weights(complete)
    values = [unmeasured.place(_values(seeds), homes) for seeds in members_of_rows]
    shown = (pairs for key, pairs in found.items() if key in homes.get(key, [key]))
    columns = _order([_column(*min(pairs, key=_typical)) for pairs in shown], values)
    leads = _leads(columns, values)
    rows = [_row(seeds, row, leads) for seeds, row in zip(members_of_rows, values)]
    rows = _apart(rows)
    groups = []
    for relation, title in GROUPS.items():
        group = [row for row in rows if row.relation == relation]
        if relation == "=":
            group.sort(key=lambda row: (leads.index(row.key), row.order, row.name))
        else:
            group.sort(key=lambda row: row.name)
        if group:
            groups.append((title, group))
    failed = [card for card in members if card["status"] != "ok"]
    partial = [card for card in members if card["status"] == "ok" and card.get("partial")]
    reasons = {
        _reason(entry, card) for card in complete for entry in card["metrics"] if unmeasured.is_unmeasured(entry)
    }
    return Table(task, columns, leads[0] if leads else None, groups, failed, partial, sorted(reasons))


def _reason(entry: dict[str, Any], card: cards.Card) -> str:
    """Why there is no number. What is missing is missing for all models, what fails is a model's own."""
    reason = f"{entry['id']}: {entry['params'].get('reason', 'no reason given')}"
    return f"skipped: {reason}" if entry.get("status") == "skipped" else f"{name_of(card)}: no {reason}"


def _by_weights(complete: list[cards.Card]) -> list[list[cards.Card]]:
    """Cards that differ in their sampling seed only, together: one row of the table."""
    found: dict[str, list[cards.Card]] = {}
    for card in sorted(complete, key=cards.seed):
        found.setdefault(cards.row_of(card), []).append(card)
    return list(found.values())


def _apart(rows: list[Row]) -> list[Row]:
    """Rows of one name, called by what tells them apart: where their weights or images are from, else by a digest."""
    names = [row.name for row in rows]
    rows = [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name} ({_source(row.card)})") for row in rows
    ]
    names = [row.name for row in rows]
    return [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name[:-1]}, row {cards.row_of(row.card)[:6]})")
        for row in rows
    ]


def _source(card: cards.Card) -> str:
    """What tells rows of one name apart: where the weights are from, or the images."""
    weights, sampling = card["model"].get("weights") or {}, card.get("sampling") or {}
    if weights:
        return f"{weights['source']}, {weights['sha256'][:8]}"
    drawn = str(sampling.get("weights") or sampling.get("sha256") or "?")[:8]
    return f"{sampling.get('model', card['model']['family'])}, {drawn}"


def _typical(pair: tuple[dict[str, Any], cards.Card]) -> tuple[bool, ...]:
    """Least for the entry that its column is named by: one with a relation, with a value."""
    entry, _ = pair
    return entry["relation"] is None, entry["value"] is None


def _column(entry: dict[str, Any], card: cards.Card) -> Column:
    params = entry["params"]
    reference = params.get("reference")
    better: Literal["higher", "lower"] | None = "higher" if entry["higher_is_better"] else "lower"
    better = None if is_flag(entry) or unmeasured.is_unmeasured(entry) else better
    title = cards.title(card, entry) + (f" ({reference})" if reference else "")
    n = params.get("images", params.get("n"))  # of precision and recall, as many on either side as there are of both
    title += f", N={n}" if reference and n else ""
    return Column(
        key=entry["comparable_key"],
        title=title + (" ↑" if better == "higher" else ""),
        unit=entry["unit"],
        digits=2 if entry["unit"] == "nats/image" else 4,
        id=entry["id"],
        version=entry["version"],
        reference=reference,
        conditioning=card["model"].get("conditioning") or "none",
        relational=bool(entry["relation"]),
        better=better,
        flag=is_flag(entry),
    )


def is_flag(entry: dict[str, Any]) -> bool:
    """Whether the metric warns of something, and says nothing about better or worse."""
    return "flag" in entry["params"]


def _order(columns: list[Column], rows: list[dict[str, Any]]) -> list[Column]:
    """Likelihoods first, those of most rows before the others, then as the task lists them; the rest by title."""

    def place(column: Column) -> tuple[int, int, str]:
        return (0, -_rows_with(column, rows), "") if is_likelihood(column) else (1, 0, column.title)

    return sorted(columns, key=place)


def _rows_with(column: Column, rows: list[dict[str, Any]]) -> int:
    return sum(bool(column.key in row and row[column.key]["relation"]) for row in rows)


def is_likelihood(column: Column) -> bool:
    return column.unit in ("bits/dim", "nats/image")


def _leads(columns: list[Column], rows: list[dict[str, Any]]) -> list[str]:
    """The keys that may order rows, best first: likelihoods as they are shown, then other metrics with a relation."""
    likelihoods = [column for column in columns if is_likelihood(column)]
    others = [column for column in columns if column.relational and column not in likelihoods]
    return [column.key for column in [*likelihoods, *sorted(others, key=lambda column: -_rows_with(column, rows))]]


def _values(seeds: list[cards.Card]) -> dict[str, dict[str, Any]]:
    """What the cards of a row measured, by key."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for entry in (entry for one in seeds for entry in one["metrics"]):
        by_key.setdefault(entry["comparable_key"], []).append(entry)
    for entries in by_key.values():
        kinds = {(entry["relation"], entry["params"].get("method")) for entry in entries if not is_flag(entry)}
        if len(kinds) > 1:
            told = " and ".join(sorted(f"{relation or ''} {method or ''}".strip() for relation, method in kinds))
            raise ZooError(
                f"{name_of(seeds[0])}: its cards of several sampling seeds hold {entries[0]['id']} as {told}, which "
                "have no mean; evaluate it again"
            )
    return {key: _over_seeds(entries) for key, entries in by_key.items()}


def _row(seeds: list[cards.Card], values: dict[str, dict[str, Any]], leads: list[str]) -> Row:
    card = seeds[0]
    key = next((key for key in leads if key in values and values[key]["relation"]), "")
    entry = values.get(key, {"relation": None, "value": None, "higher_is_better": False})
    order = math.inf if entry["value"] is None else -entry["value"] if entry["higher_is_better"] else entry["value"]
    return Row(card["model"]["name"], entry["relation"], key, order, values, card)


def _over_seeds(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry for several of one metric: the mean, and the standard deviation over the seeds as the interval."""
    values = [entry["value"] for entry in entries]
    if len(entries) == 1 or None in values:
        return entries[0] if len(entries) == 1 else entries[values.index(None)]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    method = f"standard deviation over {len(values)} seeds"
    interval = {"low": mean - deviation, "high": mean + deviation, "method": method, "n": len(values)}
    params = {**entries[0]["params"], "seeds": len(values)}
    for key in ("warning", "flag"):  # of any of them
        if found := [entry["params"][key] for entry in entries if entry["params"].get(key)]:
            params[key] = found[0]
    return {**entries[0], "value": mean, "interval": interval, "params": params}


def method(row: Row) -> str | None:
    """How the likelihood was computed that says where the row stands."""
    entries = [row.values[row.key]] if row.key else row.card["metrics"]
    return next((entry["params"]["method"] for entry in entries if "method" in entry["params"]), None)


def name_of(card: cards.Card) -> str:
    tag = card["model"]["tag"]
    return f"{card['model']['name']}.{tag}" if tag else str(card["model"]["name"])


def lacking(table: Table) -> list[str]:
    """The columns in which samples are compared with real images, and no training images stand beside them."""
    rows = [row for _, members in table.groups for row in members]

    def compared(column: Column) -> bool:
        there = [row.values[column.key] for row in rows if column.key in row.values]
        return any("n_reference" in entry["params"] and entry["value"] is not None for entry in there)

    floor = {key for row in rows if row.card["model"]["family"] == "floor" for key in row.values}
    return [column.title for column in table.columns if compared(column) and column.key not in floor]
