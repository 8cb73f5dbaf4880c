"""Where a metric that gave no number stands: in the columns in which its numbers would have stood.

A metric that is skipped (its weights are missing) or fails does not get as far as its protocol, so the key of its entry
is one of its own and no other model's. Its name is the metric's as it is asked for, which may be that of several
numbers: `prdc_x` stands for precision, recall, density and coverage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zoo_bench.cards.types import Card, Metric


def ids(entry: Metric) -> tuple[str, ...]:
    """What its numbers are called, as the entry says itself."""
    return entry.params.ids or (entry.id,)


def homes(found: Mapping[str, Sequence[tuple[Metric, Card]]]) -> dict[str, list[str]]:
    """For every key that has no number: the keys of its columns; its own alone where there is no column of its metric.

    found: what the cards of a table measured, by key. Of columns of one metric those of the card's conditioning.
    """

    def told(key: str) -> tuple[str, str]:
        entry, card = found[key][0]
        return entry.id, card.model.conditioning

    empty = {key for key, pairs in found.items() if all(entry.is_unmeasured for entry, _ in pairs)}
    columns = {key: told(key) for key in found if key not in empty}
    placed: dict[str, list[str]] = {}
    for key in (key for key in found if key in empty):
        name, conditioning = told(key)
        names = {name, *ids(found[key][0][0])}
        there = [column for column, (other, _) in columns.items() if other in names]
        placed[key] = [column for column in there if columns[column][1] == conditioning] or there or [key]
        if not there:
            columns[key] = name, conditioning
    return placed


def place(values: Mapping[str, Metric], placed: Mapping[str, Iterable[str]]) -> dict[str, Metric]:
    """A row's entries by column: those without a number in all of their columns that hold nothing else."""
    row = {key: entry for key, entry in values.items() if key not in placed}
    for key, entry in values.items():
        for column in placed.get(key, ()):
            row.setdefault(column, entry)
    return row
