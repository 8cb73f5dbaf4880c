"""What stands in the cells of a table, above and below it, in words: the same in all forms."""

from __future__ import annotations

import math
from typing import Any

from zoo_bench.cards import unmeasured
from zoo_bench.reports.tables import Column, Row, Table, is_flag, lacking, method, name_of


def header(table: Table) -> list[str]:
    titles = [f"{column.title} [{column.unit}]" if column.unit else column.title for column in table.columns]
    return ["model", "family", *titles, "method", "params", "images seen"]


def cells(row: Row, table: Table) -> list[str]:
    card = row.card
    params = card["model"].get("params")
    seen = card["model"].get("images_seen")
    return [
        row.name,
        card["model"]["family"],
        *(_cell(row.values.get(column.key), column) for column in table.columns),
        method(row) or "—",
        "—" if params is None else f"{params:,}",
        "—" if seen is None else f"{seen:,}",
    ]


def _cell(entry: dict[str, Any] | None, column: Column) -> str:
    if entry is None:
        return "not measured"
    if unmeasured.is_unmeasured(entry):  # why, is said below the table
        return str(entry.get("status", "failed"))
    if entry["value"] is None:
        return f"failed: {entry['params'].get('reason', 'no value')}"
    half = _interval(entry, column.digits)
    relation = f"{entry['relation']} " if entry["relation"] else ""
    seeds = f" sd ({entry['params']['seeds']} seeds)" if "seeds" in entry["params"] else ""
    flag = (" flagged" if entry["params"]["flag"] else " not flagged") if is_flag(entry) else ""
    warning = " !" if entry["params"].get("warning") else ""
    return f"{relation}{entry['value']:.{column.digits}f}{half}{seeds}{flag}{warning}"


def _interval(entry: dict[str, Any], digits: int) -> str:
    """` ± 0.01`, or the ends of an interval that is not symmetric about the value."""
    if not (interval := entry["interval"]):
        return ""
    low, high = interval["low"], interval["high"]
    if math.isclose((low + high) / 2, entry["value"], abs_tol=0.01 * (high - low) + 1e-12):
        return f" ± {(high - low) / 2:.{digits}f}"
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def legend(table: Table) -> str:
    """How to read the numbers: which is better, and what the intervals are."""
    parts = ["lower is better but where ↑ says so"]
    seeds = ["seeds" in entry["params"] for entry in _entries(table) if entry["interval"]]
    if False in seeds:
        parts.append("± or [low, high] is a 95 % interval")
    if True in seeds:
        parts.append("± … sd is one standard deviation over sampling seeds")
    if any(column.flag for column in table.columns):
        parts.append("a flag warns and ranks nothing")
    return "; ".join(parts)


def _entries(table: Table) -> list[dict[str, Any]]:
    return [entry for _, rows in table.groups for row in rows for entry in row.values.values()]


def below(table: Table) -> list[str]:
    """What the marks warn of, and what is not in the table, and why."""
    warned: dict[str, dict[str, None]] = {}
    for entry in _entries(table):
        if entry["params"].get("warning") and entry["value"] is not None:
            warned.setdefault(entry["params"]["warning"], {})[entry["id"]] = None
    lines = [f"! {', '.join(ids)}: {warning}" for warning, ids in warned.items()]
    lines += [f"{name_of(card)}: {card['status']}: {card['error']}" for card in table.failed]
    lines += table.unmeasured
    if bare := lacking(table):
        lines.append(f"no floor in {', '.join(bare)}: zoo bench of this task scores training images as samples")
    for card in table.partial:
        first = card["metrics"][0] if card["metrics"] else None
        value = f", {first['id']} {first['relation'] or ''} {first['value']}" if first else ""
        lines.append(f"{name_of(card)}: not in the table, because it is partial{value}")
    return lines
