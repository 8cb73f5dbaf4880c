"""Our numbers beside published ones, as Markdown: how far apart they are, and why. Never a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_bench.cards import card as cards
from zoo_bench.cards.published import pairs
from zoo_bench.reports import markdown

HEADER = [
    "| weights | task | ours | published | difference | protocol of the published number | why they differ | source |",
    "|---|---|---|---|---|---|---|---|",
]


def table(found: Sequence[cards.Card]) -> list[str]:
    """Lines of Markdown, one row for each number of a recipe's `[[published]]` and each card that has its unit."""
    rows = [_row(card, metric, entry) for card, metric, entry in pairs(found)]
    return [*HEADER, *sorted(set(rows))] if rows else []


def _row(card: cards.Card, metric: dict[str, Any], entry: dict[str, Any]) -> str:
    model, unit = card["model"], metric["unit"]
    ours = f"{metric['relation']} {metric['value']:.2f} {unit}"
    difference = f"{metric['value'] - entry['value']:+.2f}"
    name = f"{model['name']}.{model['tag']}" if model.get("tag") else model["name"]
    theirs = [f"{entry['value']} {unit}", difference, entry["protocol"], entry.get("why", "not said"), entry["source"]]
    return markdown.row([name, card["task"]["id"], ours, *theirs])
