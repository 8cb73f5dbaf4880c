"""Our numbers beside published ones, as Markdown: how far apart they are, and why. Never a ranking."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.cards.published import pairs
from zoo_bench.cards.types import Card, Metric, Published
from zoo_bench.reports import markdown

HEADER = [
    "| weights, task | ours | published | ours less theirs | protocol of the published number | why they differ "
    "| source |",
    "|---|---|---|---|---|---|---|",
]


def table(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown, one row for each number of a recipe's `[[published]]` and each card that has its unit."""
    rows = [_row(card, metric, metric.value, entry) for card, metric, entry in pairs(found) if metric.value is not None]
    return [*HEADER, *sorted(set(rows))] if rows else []


def _row(card: Card, metric: Metric, value: float, entry: Published) -> str:
    ours, theirs = f"{metric.relation} {value:.2f} {metric.unit}", f"{entry.value} {metric.unit}"
    difference = f"{value - entry.value:+.2f}"
    why = entry.why or "not said"
    return markdown.row([f"{card.name}, {card.task.id}", ours, theirs, difference, entry.protocol, why, entry.source])
