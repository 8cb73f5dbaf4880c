"""What of a table is shown, and where: models, conditional models, reference rows, each in a board of its own.

A board holds rows that may be compared, so those of one condition: log P(x | label) is another quantity than log P(x).
Below the models of a condition stand the rows to read them by (`reference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo_bench.cards.types import Metric
from zoo_bench.reports.best import best
from zoo_bench.reports.columns import Column, headline
from zoo_bench.reports.reference import is_reference, place
from zoo_bench.reports.tables import Row, Table
from zoo_core import registry
from zoo_core.specs import Conditioning

CONDITIONS: dict[Conditioning, str] = {"none": "", "class": "given labels", "text": "given captions"}


@dataclass(frozen=True)
class Board:
    """Rows under one condition, and the columns that are shown of them.

    condition: of the models, in words. reference: these rows are no models. every: all columns are shown, not the
    headline alone. best: by the key of a column, the name of the row that is proven the best. whole: of the headline's
    metrics all parts are shown, and how many images the models saw.
    """

    task: str
    condition: str
    reference: bool
    every: bool
    columns: list[Column]
    groups: list[tuple[str, list[Row]]]
    best: dict[str, str]
    whole: bool = False

    @property
    def title(self) -> str:
        """`quick@1/digits`; `quick@1/digits, given labels`."""
        return ", ".join(filter(None, (self.task, self.condition)))

    @property
    def rows(self) -> list[Row]:
        return [row for _, rows in self.groups for row in rows]

    @property
    def entries(self) -> list[Metric]:
        """What stands in the cells."""
        return [row.values[one.key] for row in self.rows for one in self.columns if one.key in row.values]


def boards(table: Table, every: bool = False, whole: bool = False) -> list[Board]:
    """The models of a table and its reference rows, condition by condition; none is empty.

    every: show all columns. whole: those that a model has a value in, of all that the headline's metrics say.
    """
    headline_ids = _whole(table.headline) if whole else table.headline
    found = []
    for conditioning, condition in CONDITIONS.items():
        groups = [
            (title, [row for row in rows if row.card.model.conditioning == conditioning])
            for title, rows in table.groups
        ]
        models = _kept(groups, reference=False)
        others = sorted((row for _, rows in _kept(groups, reference=True) for row in rows), key=place)
        telling = models if whole and models else groups
        shown = _shown(table, [row for _, rows in telling for row in rows], headline_ids, every)
        read = [column for column in shown if any(column.key in row.values for row in others)]
        if models:
            proven = _proven(shown, [row for _, rows in models for row in rows])
            found.append(Board(table.task, condition, False, every, shown, models, proven, whole))
        if others:
            found.append(Board(table.task, condition, True, every, read, [("", others)], {}, whole))
    return found


def _kept(groups: Sequence[tuple[str, list[Row]]], *, reference: bool) -> list[tuple[str, list[Row]]]:
    kept = [(title, [row for row in rows if is_reference(row) == reference]) for title, rows in groups]
    alone = sum(len(rows) for _, rows in kept) == 1  # nothing is in any order
    return [("" if alone else title, rows) for title, rows in kept if rows]


def _shown(table: Table, rows: Sequence[Row], named: Sequence[str], every: bool) -> list[Column]:
    """The columns that one of these rows has a value in."""
    there = [column for column in table.columns if any(column.key in row.values for row in rows)]
    return there if every else headline(there, named)


def _whole(named: Sequence[str]) -> list[str]:
    """All that the metrics say of which one number is named: with the clipped coverage the clipped density, too."""
    parts = [spec.params.get("entries", [spec.name]) for spec in registry.metrics.all()]
    return list(dict.fromkeys(part for name in named for ids in [*parts, [name]] if name in ids for part in ids))


def _proven(columns: Sequence[Column], models: Sequence[Row]) -> dict[str, str]:
    found = {column.key: best(column, models) for column in columns}
    return {key: name for key, name in found.items() if name is not None}
