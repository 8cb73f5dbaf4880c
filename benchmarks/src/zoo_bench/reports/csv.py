"""Tables as CSV, for programs: every number once, with its key, which way is better, and what its interval is.

Values may be compared where their `comparable_key` is equal, and ordered where their `relation` is `=` or empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from zoo_bench.cards.types import TRAINED_WITH, Card, Interval, Metric
from zoo_bench.reports.tables import Table

HEADER = [
    *("task", "model", "tag", "family", "status", "metric", "reference"),
    *("relation", "value", "low", "high", "unit", "method", "comparable_key"),
    *("higher_is_better", "seeds", "interval", "note"),
]


def text(tables: Iterable[Table]) -> str:
    """One line for each metric of each row, and one for each card that failed.

    higher_is_better: true or false; empty for a flag, where there is no number, and where an encoder measures that the
    model was trained with. seeds: how many the value is the mean of. interval: what low and high are. note: why there
    is no number, or what it comes with a warning of.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, restval="")
    writer.writeheader()
    for table in tables:
        for row in (row for _, rows in table.groups for row in rows):
            for entry in {entry.comparable_key: entry for entry in row.values.values()}.values():
                writer.writerow({"task": table.task, **_model(row.card, row.name), **_number(entry, row.card)})
        for card in table.failed:
            writer.writerow({"task": table.task, **_model(card, card.model.name), "note": card.error})
    return buffer.getvalue()


def _model(card: Card, name: str) -> dict[str, Any]:
    return {"model": name, "tag": card.model.tag, "family": card.model.family, "status": card.status}


def _number(entry: Metric, card: Card) -> dict[str, Any]:
    params, interval = entry.params, entry.interval
    flattered = card.is_flattered(entry)
    undirected = entry.is_flag or entry.is_unmeasured or flattered
    why = f"{entry.status or 'failed'}: {params.reason or 'no reason given'}"
    notes = [why] if entry.value is None else [params.warning] if params.warning else []
    if entry.is_flag:
        notes.append("flagged" if params.flag else "not flagged")
    if flattered:
        notes.append(TRAINED_WITH)
    return {
        "metric": entry.id,
        "reference": params.reference,
        "relation": entry.relation,
        "value": entry.value,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "unit": entry.unit,
        "method": params.method,
        "comparable_key": entry.comparable_key,
        "higher_is_better": "" if undirected else str(entry.higher_is_better).lower(),
        "seeds": params.seeds or 1,
        "interval": interval and _meaning(interval),
        "note": "; ".join(notes),
    }


def _meaning(interval: Interval) -> str:
    """`95 %, normal`."""
    level = "" if interval.level is None else f"{100 * interval.level:g} %, "
    return f"{level}{interval.method}"
