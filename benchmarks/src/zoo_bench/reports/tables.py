"""Tables from cards: grouped by relation, never ranking what is not comparable.

A column holds values of one `comparable_key` only. A table is led by its first likelihood, that most rows have: whether
a row is exact, a bound or an estimate is said of that likelihood, here and in the page (`html`). Exact values are
ordered; bounds and estimates are listed by name, because no order between them is known. A table in which nothing has
such a relation is led by its headline; numbers by an encoder that their model was trained with stand apart there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo_bench.cards import unmeasured
from zoo_bench.cards.card import row_of
from zoo_bench.cards.types import TRAINED_WITH, Card, Interval, Metric, Relation
from zoo_bench.evaluation import floors
from zoo_bench.reports import columns as of_columns
from zoo_bench.reports.columns import Column
from zoo_bench.tasks import suites
from zoo_core.errors import ZooError

GROUPS: dict[Relation | None, str] = {
    "=": "exact likelihood, best first",
    "≤": "bounds, by name",
    "≈": "estimates, by name",
    None: "no likelihood measured, by name",
}


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
    """All complete cards of one task.

    lead: the key of the column that the rows are ordered by, where there is one. headline: the ids of the metrics that
    a short table shows, as the task names them.
    """

    task: str
    columns: list[Column]
    lead: str | None
    headline: tuple[str, ...]
    groups: list[tuple[str, list[Row]]]
    failed: list[Card]
    partial: list[Card]
    unmeasured: list[str]


def tables(found: Sequence[Card], suite: str | None = None) -> list[Table]:
    """Cards by task, with the floor and the copycat beside samples; partial cards stay out, failed ones are named.

    suite: one that is not in the wheel, whose tasks name their headlines.
    """
    own = suites.load(suite) if suite is not None else None
    by_task: dict[str, list[Card]] = {}
    for card in floors.completed(found):
        by_task.setdefault(card.task.id, []).append(card)
    return [_table(task, members, suites.headline(task, own)) for task, members in sorted(by_task.items())]


def _table(task: str, members: list[Card], headline: tuple[str, ...]) -> Table:
    complete = [card for card in members if card.is_complete]
    if len({card.task.sha256 for card in complete}) > 1:
        told = list({card.task.sha256: card.stem for card in complete}.values())
        raise ZooError(
            f"{told[0]} and {told[1]} define {task} differently: one of them was made by a suite that was edited "
            "without a new version; make it again, or remove it"
        )
    seeds_of_rows = _by_weights(complete)
    columns, values = _columns(complete, seeds_of_rows)
    leads = [column.key for column in of_columns.leads(columns, values)]
    rows = _apart([_row(seeds, row, leads) for seeds, row in zip(seeds_of_rows, values)])
    lead = of_columns.lead(columns, values, headline)
    failed = [card for card in members if card.status != "ok"]
    partial = [card for card in members if card.status == "ok" and card.partial]
    reasons = {_reason(entry, card) for card in complete for entry in card.metrics if entry.is_unmeasured}
    return Table(
        task=task,
        columns=columns,
        lead=lead.key if lead is not None else None,
        headline=headline,
        groups=_by_relation(rows, leads) if leads else _in_order(rows, lead),
        failed=failed,
        partial=partial,
        unmeasured=sorted(reasons),
    )


def _columns(complete: list[Card], seeds_of_rows: list[list[Card]]) -> tuple[list[Column], list[dict[str, Metric]]]:
    """The columns of a table in order, and by their keys the values of each row."""
    found: dict[str, list[tuple[Metric, Card]]] = {}
    for card in complete:
        for entry in card.metrics:
            found.setdefault(entry.comparable_key, []).append((entry, card))
    homes = unmeasured.homes(found)
    values = [unmeasured.place(_values(seeds), homes) for seeds in seeds_of_rows]
    shown = [of_columns.column(pairs) for key, pairs in found.items() if key in homes.get(key, [key])]
    longest = sorted(complete, key=lambda card: -len(card.metrics))
    ids = list(dict.fromkeys(entry.id for card in longest for entry in card.metrics))
    return of_columns.ordered(shown, values, ids), values


def _by_relation(rows: list[Row], leads: list[str]) -> list[tuple[str, list[Row]]]:
    """Exact values in order, what has no order by name."""
    groups = []
    for relation, title in GROUPS.items():
        group = [row for row in rows if row.relation == relation]
        if relation == "=":
            group.sort(key=lambda row: (leads.index(row.key), row.order, row.name))
        else:
            group.sort(key=lambda row: row.name)
        if group:
            groups.append((title, group))
    return groups


def _in_order(rows: list[Row], lead: Column | None) -> list[tuple[str, list[Row]]]:
    """Rows of a task that measures nothing with a relation: by the first number that says which is better."""
    by_name = sorted(rows, key=lambda row: row.name)
    if lead is None:
        return [("by name", by_name)] if rows else []
    aside = [row for row in by_name if _is_flattered(row, lead.key)]
    ranked = [row for row in by_name if not _is_flattered(row, lead.key)]
    ranked.sort(key=lambda row: _height(row.values.get(lead.key)))
    groups = [(f"by {lead.id.replace('_', ' ')}, best first", ranked), (f"{TRAINED_WITH}, by name", aside)]
    return [(title, members) for title, members in groups if members]


def _is_flattered(row: Row, key: str) -> bool:
    entry = row.values.get(key)
    return entry is not None and entry.value is not None and row.card.is_flattered(entry)


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
    """Rows of one name, called by what tells them apart: tags, where weights or images are from, a digest."""
    for told in (lambda card: card.model.tag or "untagged", _source, lambda card: f"row {row_of(card)[:6]}"):
        facts = {name: {told(row.card) for row in rows if row.name == name} for name in [row.name for row in rows]}
        rows = [replace(row, name=_with(row.name, told(row.card))) if len(facts[row.name]) > 1 else row for row in rows]
    return rows


def _with(name: str, more: str) -> str:
    """`gated_pixelcnn (digits)`; `gated_pixelcnn (digits, runs/two)`."""
    return f"{name[:-1]}, {more})" if name.endswith(")") else f"{name} ({more})"


def _source(card: Card) -> str:
    """What tells rows of one name apart: where the weights are from, or the images."""
    weights, sampling = card.model.weights, card.sampling
    if weights is not None:
        return f"{weights.source}, {weights.sha256[:8]}"
    model, drawn = (sampling.model, sampling.weights or sampling.sha256) if sampling is not None else (None, None)
    return f"{model or card.model.family}, {(drawn or '?')[:8]}"


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


def lacking(table: Table) -> list[Column]:
    """The columns in which samples are compared with real images, and no training images stand beside them."""
    rows = [row for _, members in table.groups for row in members]

    def compared(column: Column) -> bool:
        there = [row.values[column.key] for row in rows if column.key in row.values]
        return any(entry.params.n_reference is not None and entry.value is not None for entry in there)

    floor = {key for row in rows if row.card.model.family == "floor" for key in row.values}
    return [column for column in table.columns if compared(column) and column.key not in floor]
