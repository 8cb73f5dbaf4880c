"""What stands in the cells of a table, above and below it, in words: the same in all forms."""

from __future__ import annotations

import math

from zoo_bench.cards.types import Metric
from zoo_bench.reports.tables import Column, Row, Table, lacking, method


def header(table: Table) -> list[str]:
    titles = [f"{column.title} [{column.unit}]" if column.unit else column.title for column in table.columns]
    return ["model", "family", *titles, "method", "params", "images seen"]


def cells(row: Row, table: Table) -> list[str]:
    model = row.card.model
    return [
        row.name,
        model.family,
        *(_cell(row.values.get(column.key), column) for column in table.columns),
        method(row) or "—",
        _count(model.params),
        _count(model.images_seen),
    ]


def _count(n: int | None) -> str:
    return "—" if n is None else f"{n:,}"


def _cell(entry: Metric | None, column: Column) -> str:
    if entry is None:
        return "not measured"
    if entry.is_unmeasured:  # why, is said below the table
        return entry.status or "failed"
    params = entry.params
    if entry.value is None:
        return f"failed: {params.reason or 'no value'}"
    half = _interval(entry, column.digits)
    relation = f"{entry.relation} " if entry.relation is not None else ""
    seeds = f" sd ({params.seeds} seeds)" if params.seeds is not None else ""
    flag = (" flagged" if params.flag else " not flagged") if entry.is_flag else ""
    warning = " !" if params.warning else ""
    return f"{relation}{entry.value:.{column.digits}f}{half}{seeds}{flag}{warning}"


def _interval(entry: Metric, digits: int) -> str:
    """` ± 0.01`, or the ends of an interval that is not symmetric about the value."""
    interval, value = entry.interval, entry.value
    if interval is None or value is None:
        return ""
    low, high = interval.low, interval.high
    if math.isclose((low + high) / 2, value, abs_tol=0.01 * (high - low) + 1e-12):
        return f" ± {interval.half_width:.{digits}f}"
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def legend(table: Table) -> str:
    """How to read the numbers: which is better, and what the intervals are."""
    parts = ["lower is better but where ↑ says so"]
    seeds = [entry.params.seeds is not None for entry in _entries(table) if entry.interval is not None]
    if False in seeds:
        parts.append("± or [low, high] is a 95 % interval")
    if True in seeds:
        parts.append("± … sd is one standard deviation over sampling seeds")
    if any(column.flag for column in table.columns):
        parts.append("a flag warns and ranks nothing")
    return "; ".join(parts)


def _entries(table: Table) -> list[Metric]:
    return [entry for _, rows in table.groups for row in rows for entry in row.values.values()]


def below(table: Table) -> list[str]:
    """What the marks warn of, and what is not in the table, and why."""
    warned: dict[str, dict[str, None]] = {}
    for entry in _entries(table):
        if entry.params.warning and entry.value is not None:
            warned.setdefault(entry.params.warning, {})[entry.id] = None
    lines = [f"! {', '.join(ids)}: {warning}" for warning, ids in warned.items()]
    lines += [f"{card.name}: {card.status}: {card.error}" for card in table.failed]
    lines += table.unmeasured
    if bare := lacking(table):
        lines.append(f"no floor in {', '.join(bare)}: zoo bench of this task scores training images as samples")
    for card in table.partial:
        first = next(iter(card.metrics), None)
        value = f", {first.id} {first.relation or ''} {first.value}" if first is not None else ""
        lines.append(f"{card.name}: not in the table, because it is partial{value}")
    return lines
