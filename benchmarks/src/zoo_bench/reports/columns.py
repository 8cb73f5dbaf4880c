"""Columns of a table, each of one comparable key: which come first, which a short table shows, how they are headed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zoo_bench.cards.types import Card, Metric

SHORT = {"bits_per_dim": "bits/dim", "nats": "nats/image"}  # what stands above them is their unit


@dataclass(frozen=True)
class Column:
    """One comparable key: a metric under one protocol.

    n: how many samples are compared with real images. relational: its values are exact, bounds or estimates.
    better: None where nothing is: a flag, or no value at all.
    """

    key: str
    title: str
    unit: str
    digits: int
    id: str
    version: int
    reference: str | None
    n: int | None
    conditioning: str
    relational: bool
    better: Literal["higher", "lower"] | None
    flag: bool


def column(pairs: Sequence[tuple[Metric, Card]]) -> Column:
    """The column of all entries of one key, named by the most telling one."""
    entry, card = min(pairs, key=_typical)
    reference = entry.params.reference
    better: Literal["higher", "lower"] | None = "higher" if entry.higher_is_better else "lower"
    better = None if entry.is_flag or entry.is_unmeasured else better
    n = entry.params.images or entry.params.n  # of precision and recall, as many on either side as there are of both
    n = n if reference else None
    title = card.title(entry) + (f" ({reference})" if reference else "") + (f", N={n}" if n else "")
    return Column(
        key=entry.comparable_key,
        title=title + (" ↑" if better == "higher" else ""),
        unit=entry.unit,
        digits=digits(entry.unit),
        id=entry.id,
        version=entry.version,
        reference=reference,
        n=n,
        conditioning=card.model.conditioning,
        relational=entry.relation is not None,
        better=better,
        flag=entry.is_flag,
    )


def digits(unit: str) -> int:
    """Behind the point: none where the number is a count, `of 1,000`."""
    return 0 if unit.startswith("of ") else 2 if unit in ("nats/image", "dB") else 4


def _typical(pair: tuple[Metric, Card]) -> tuple[bool, ...]:
    """Least for the entry that its column is named by: one with a relation, with a value."""
    entry, _ = pair
    return entry.relation is None, entry.value is None


def is_likelihood(column: Column) -> bool:
    return column.unit in ("bits/dim", "nats/image")


def ordered(columns: Sequence[Column], rows: Sequence[Mapping[str, Metric]], ids: Sequence[str]) -> list[Column]:
    """Likelihoods first, those of most rows before the others; the rest as the task lists them, by their `ids`."""

    def place(column: Column) -> tuple[int, int, str]:
        if is_likelihood(column):
            return 0, -rows_with(column, rows), ""
        return 1, ids.index(column.id), column.title

    return sorted(columns, key=place)


def rows_with(column: Column, rows: Sequence[Mapping[str, Metric]]) -> int:
    """How many rows have a value with a relation in it."""
    return sum(column.key in row and row[column.key].relation is not None for row in rows)


def leads(columns: Sequence[Column], rows: Sequence[Mapping[str, Metric]]) -> list[Column]:
    """Those that may order rows, best first: likelihoods as they are shown, then other metrics with a relation."""
    likelihoods = [column for column in columns if is_likelihood(column)]
    others = [column for column in columns if column.relational and column not in likelihoods]
    return [*likelihoods, *sorted(others, key=lambda column: -rows_with(column, rows))]


def lead(columns: Sequence[Column], rows: Sequence[Mapping[str, Metric]], named: Sequence[str]) -> Column | None:
    """What orders rows: the first of `leads`, or else the first of the headline that says which of two is better."""
    ranking = [column for column in headline(columns, named) if column.better is not None]
    return next(iter([*leads(columns, rows), *ranking]), None)


def headline(columns: Sequence[Column], named: Sequence[str]) -> list[Column]:
    """Those that a short table shows: of the metrics `named`, compared with images that no model was trained on.

    Where none of them is there, or none is named: the first likelihood and the first distance, or else the first metric
    that says which of two models is better.
    """
    found = [one for name in named for one in _held_out([one for one in columns if one.id == name])]
    if found:
        return found
    ranking = [one for one in columns if one.better is not None] or list(columns)
    first = [one.id for one in ranking if is_likelihood(one)][:1]
    first += [one.id for one in ranking if one.reference is not None and not one.relational][:1]
    return headline(columns, first or [ranking[0].id]) if ranking else []


def _held_out(same: Sequence[Column]) -> list[Column]:
    """Of the columns of one metric those of the test images; the others where there are none."""
    references = [one.reference for one in same]
    chosen = next((name for name in references if not (name or "").startswith("train")), *references[:1] or [None])
    return [one for one in same if one.reference == chosen]


def heads(columns: Sequence[Column]) -> list[str]:
    """What stands above columns of one table, in words that a line can break between; no two are the same.

    How many samples they are of is said only where that is not the same for all.
    """
    differ = len({one.n for one in columns if one.n is not None}) > 1
    found = [_head(one, differ) for one in columns]
    found = [name if found.count(name) == 1 else _head(one, True) for name, one in zip(found, columns)]
    return [name if found.count(name) == 1 else f"{name} {one.key[:6]}" for name, one in zip(found, columns)]


def _head(column: Column, with_n: bool) -> str:
    """`fd digitscnn (test), N=2,000`; `coverage digitscnn (test) ↑`; `bits/dim`."""
    if column.id in SHORT:
        return SHORT[column.id]
    reference = f" ({column.reference})" if column.reference else ""
    n = f", N={column.n:,}" if with_n and column.n is not None else ""
    better = " ↑" if column.better == "higher" else ""
    unit = f" [{column.unit}]" if column.unit else ""
    return f"{column.id.replace('_', ' ')}{reference}{n}{better}{unit}"
