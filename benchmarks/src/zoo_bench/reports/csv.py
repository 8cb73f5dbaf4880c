"""Tables as CSV, for programs: every number once, with its key, which way is better, and what its interval is.

Values may be compared where their `comparable_key` is equal, and ordered where their `relation` is `=` or empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from zoo_bench.cards import unmeasured
from zoo_bench.reports.tables import Row, Table

HEADER = [
    *("task", "model", "tag", "family", "status", "metric", "reference"),
    *("relation", "value", "low", "high", "unit", "method", "comparable_key"),
    *("higher_is_better", "seeds", "interval", "note"),
]


def text(tables: Iterable[Table]) -> str:
    """One line for each metric of each row, and one for each card that failed.

    higher_is_better: true or false; empty for a flag, and where there is no number. seeds: how many the value is the
    mean of. interval: what low and high are. note: why there is no number, or what it comes with a warning of.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HEADER, restval="")
    writer.writeheader()
    for table in tables:
        for row in (row for _, rows in table.groups for row in rows):
            for entry in {entry["comparable_key"]: entry for entry in row.values.values()}.values():
                writer.writerow({"task": table.task, **_model(row.card, row.name), **_number(row, entry)})
        for card in table.failed:
            model = _model(card, card["model"]["name"])
            writer.writerow({"task": table.task, **model, "note": card["error"]})
    return buffer.getvalue()


def _model(card: dict[str, Any], name: str) -> dict[str, Any]:
    return {"model": name, "tag": card["model"]["tag"], "family": card["model"]["family"], "status": card["status"]}


def _number(row: Row, entry: dict[str, Any]) -> dict[str, Any]:
    params, interval = entry["params"], entry["interval"] or {}
    undirected = "flag" in params or unmeasured.is_unmeasured(entry)
    level = f"{100 * interval['level']:g} %, " if "level" in interval else ""
    why = f"{entry.get('status', 'failed')}: {params.get('reason', 'no reason given')}"
    notes = [why] if entry["value"] is None else [params["warning"]] if params.get("warning") else []
    if "flag" in params:
        notes.append("flagged" if params["flag"] else "not flagged")
    return {
        "metric": entry["id"],
        "reference": params.get("reference"),
        "relation": entry["relation"],
        "value": entry["value"],
        "low": interval.get("low"),
        "high": interval.get("high"),
        "unit": entry["unit"],
        "method": params.get("method"),
        "comparable_key": entry["comparable_key"],
        "higher_is_better": "" if undirected else str(entry["higher_is_better"]).lower(),
        "seeds": params.get("seeds", 1),
        "interval": f"{level}{interval['method']}" if interval else None,
        "note": "; ".join(notes),
    }
