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

from zoo_bench.cards import unmeasured
from zoo_bench.cards.card import row_of
from zoo_bench.cards.types import Card, Interval, Metric, Relation
from zoo_bench.evaluation import floors
from zoo_core.errors import ZooError

GROUPS: dict[Relation | None, str] = {
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
    """The cards of one model, one per sampling seed, with what they measured by key; the first stands for all.

    relation, order: of its likelihood under `key`; rows with the same `key` are ordered by it, and no others. That is
    the first likelihood column it has a value in, or, without a likelihood, another metric with a relation (kl, tv).
    """

    name: str
    relation: Relation | None
    key: str
    order: float
    values: dict[str, Metric]
    card: Card


@dataclass(frozen=True)
class Table:
    """All complete cards of one task. lead: the key of the column that the rows are ordered by, where there is one."""

    task: str
    columns: list[Column]
    lead: str | None
    groups: list[tuple[str, list[Row]]]
    failed: list[Card]
    partial: list[Card]
    unmeasured: list[str]


def tables(found: Sequence[Card]) -> list[Table]:
    """Cards by task, with the floor and the copycat beside samples; partial cards stay out, failed ones are named."""
    by_task: dict[str, list[Card]] = {}
    for card in floors.completed(found):
        by_task.setdefault(card.task.id, []).append(card)
    return [_table(task, members) for task, members in sorted(by_task.items())]


def _table(task: str, members: list[Card]) -> Table:
    complete = [card for card in members if card.is_complete]
    if len({card.task.sha256 for card in complete}) > 1:
        told = list({card.task.sha256: card.stem for card in complete}.values())
        raise ZooError(
            f"{told[0]} and {told[1]} define {task} differently: one of them was made by a suite that was edited "
            "without a new version; make it again, or remove it"
        )
    found: dict[str, list[tuple[Metric, Card]]] = {}
    for card in complete:
        for entry in card.metrics:
            found.setdefault(entry.comparable_key, []).append((entry, card))
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
    failed = [card for card in members if card.status != "ok"]
    partial = [card for card in members if card.status == "ok" and card.partial]
    reasons = {_reason(entry, card) for card in complete for entry in card.metrics if entry.is_unmeasured}
    return Table(task, columns, leads[0] if leads else None, groups, failed, partial, sorted(reasons))


def _reason(entry: Metric, card: Card) -> str:
    """Why there is no number. What is missing is missing for all models, what fails is a model's own."""
    reason = f"{entry.id}: {entry.params.reason or 'no reason given'}"
    return f"skipped: {reason}" if entry.status == "skipped" else f"{card.name}: no {reason}"


def _by_weights(complete: list[Card]) -> list[list[Card]]:
    """Cards that differ in their sampling seed only, together: one row of the table."""
    found: dict[str, list[Card]] = {}
    for card in sorted(complete, key=lambda card: card.seed):
        found.setdefault(row_of(card), []).append(card)
    return list(found.values())


def _apart(rows: list[Row]) -> list[Row]:
    """Rows of one name, called by what tells them apart: where their weights or images are from, else by a digest."""
    names = [row.name for row in rows]
    rows = [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name} ({_source(row.card)})") for row in rows
    ]
    names = [row.name for row in rows]
    return [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name[:-1]}, row {row_of(row.card)[:6]})")
        for row in rows
    ]


def _source(card: Card) -> str:
    """What tells rows of one name apart: where the weights are from, or the images."""
    weights, sampling = card.model.weights, card.sampling
    if weights is not None:
        return f"{weights.source}, {weights.sha256[:8]}"
    model, drawn = (sampling.model, sampling.weights or sampling.sha256) if sampling is not None else (None, None)
    return f"{model or card.model.family}, {(drawn or '?')[:8]}"


def _typical(pair: tuple[Metric, Card]) -> tuple[bool, ...]:
    """Least for the entry that its column is named by: one with a relation, with a value."""
    entry, _ = pair
    return entry.relation is None, entry.value is None


def _column(entry: Metric, card: Card) -> Column:
    reference = entry.params.reference
    better: Literal["higher", "lower"] | None = "higher" if entry.higher_is_better else "lower"
    better = None if entry.is_flag or entry.is_unmeasured else better
    title = card.title(entry) + (f" ({reference})" if reference else "")
    n = entry.params.images or entry.params.n  # of precision and recall, as many on either side as there are of both
    title += f", N={n}" if reference and n else ""
    return Column(
        key=entry.comparable_key,
        title=title + (" ↑" if better == "higher" else ""),
        unit=entry.unit,
        digits=2 if entry.unit == "nats/image" else 4,
        id=entry.id,
        version=entry.version,
        reference=reference,
        conditioning=card.model.conditioning,
        relational=entry.relation is not None,
        better=better,
        flag=entry.is_flag,
    )


def _order(columns: list[Column], rows: list[dict[str, Metric]]) -> list[Column]:
    """Likelihoods first, those of most rows before the others, then as the task lists them; the rest by title."""

    def place(column: Column) -> tuple[int, int, str]:
        return (0, -_rows_with(column, rows), "") if is_likelihood(column) else (1, 0, column.title)

    return sorted(columns, key=place)


def _rows_with(column: Column, rows: list[dict[str, Metric]]) -> int:
    return sum(column.key in row and row[column.key].relation is not None for row in rows)


def is_likelihood(column: Column) -> bool:
    return column.unit in ("bits/dim", "nats/image")


def _leads(columns: list[Column], rows: list[dict[str, Metric]]) -> list[str]:
    """The keys that may order rows, best first: likelihoods as they are shown, then other metrics with a relation."""
    likelihoods = [column for column in columns if is_likelihood(column)]
    others = [column for column in columns if column.relational and column not in likelihoods]
    return [column.key for column in [*likelihoods, *sorted(others, key=lambda column: -_rows_with(column, rows))]]


def _values(seeds: list[Card]) -> dict[str, Metric]:
    """What the cards of a row measured, by key."""
    by_key: dict[str, list[Metric]] = {}
    for entry in (entry for one in seeds for entry in one.metrics):
        by_key.setdefault(entry.comparable_key, []).append(entry)
    for entries in by_key.values():
        kinds = {(entry.relation, entry.params.method) for entry in entries if not entry.is_flag}
        if len(kinds) > 1:
            told = " and ".join(sorted(f"{relation or ''} {method or ''}".strip() for relation, method in kinds))
            raise ZooError(
                f"{seeds[0].name}: its cards of several sampling seeds hold {entries[0].id} as {told}, which "
                "have no mean; evaluate it again"
            )
    return {key: _over_seeds(entries) for key, entries in by_key.items()}


def _row(seeds: list[Card], values: dict[str, Metric], leads: list[str]) -> Row:
    key = next((key for key in leads if key in values and values[key].relation is not None), "")
    entry, card = values.get(key), seeds[0]
    relation = entry.relation if entry is not None else None
    return Row(card.model.name, relation, key, _height(entry), values, card)


def _height(entry: Metric | None) -> float:
    """Where a row stands among those of its key: the least first."""
    if entry is None or entry.value is None:
        return math.inf
    return -entry.value if entry.higher_is_better else entry.value


def _over_seeds(entries: list[Metric]) -> Metric:
    """One entry for several of one metric: the mean, and the standard deviation over the seeds as the interval."""
    first = entries[0]
    values = [entry.value for entry in entries if entry.value is not None]
    if len(values) < len(entries):
        return next(entry for entry in entries if entry.value is None)
    if len(values) == 1:
        return first
    mean, deviation, n = statistics.fmean(values), statistics.stdev(values), len(values)
    method = f"standard deviation over {n} seeds"
    interval = Interval(low=mean - deviation, high=mean + deviation, method=method, n=n)
    params: dict[str, Any] = {"seeds": n}
    for name in ("warning", "flag"):  # of any of them
        if found := [said for said in (entry.params.get(name) for entry in entries) if said]:
            params[name] = found[0]
    return first.but(value=mean, interval=interval, params=first.params.but(**params))


def method(row: Row) -> str | None:
    """How the likelihood was computed that says where the row stands."""
    entries = (row.values[row.key],) if row.key else row.card.metrics
    return next((entry.params.method for entry in entries if entry.params.method is not None), None)


def lacking(table: Table) -> list[str]:
    """The columns in which samples are compared with real images, and no training images stand beside them."""
    rows = [row for _, members in table.groups for row in members]

    def compared(column: Column) -> bool:
        there = [row.values[column.key] for row in rows if column.key in row.values]
        return any(entry.params.n_reference is not None and entry.value is not None for entry in there)

    floor = {key for row in rows if row.card.model.family == "floor" for key in row.values}
    return [column.title for column in table.columns if compared(column) and column.key not in floor]
