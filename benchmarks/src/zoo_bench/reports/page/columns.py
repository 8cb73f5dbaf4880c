"""In which order columns of a table are shown: what a reader looks for first stands beside the model's name."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.reports.columns import Column, headline


def order(columns: Sequence[Column], lead: Column | None, named: Sequence[str]) -> list[Column]:
    """What orders the rows, the headline (of the metrics `named`), and the rest."""
    first = [lead] if lead is not None else []
    first += [column for column in headline(columns, named) if column not in first]
    return first + [column for column in columns if column not in first]
