"""In which order a table's columns are shown: what a reader looks for first stands beside the model's name."""

from __future__ import annotations

from zoo_bench.reports.columns import headline
from zoo_bench.reports.tables import Table


def order(table: Table) -> list[int]:
    """The places of all columns in `table.columns`: what orders the rows, the task's headline, and the rest."""
    keys = [column.key for column in table.columns]
    first = [table.lead] if table.lead is not None else []
    first += [column.key for column in headline(table.columns, table.headline) if column.key not in first]
    return [keys.index(key) for key in first] + [i for i, key in enumerate(keys) if key not in first]
