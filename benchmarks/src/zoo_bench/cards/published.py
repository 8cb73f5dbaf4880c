"""Published numbers beside ours, each under its own protocol. Never a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zoo_bench.cards.types import Card, Metric, Published


def pairs(found: Sequence[Card]) -> Iterator[tuple[Card, Metric, Published]]:
    """Each number of a recipe's `[[published]]` with each metric of its unit, of the cards that name it."""
    for card in found:
        for entry in card.published or ():
            for metric in card.metrics:
                if metric.unit == entry.unit and metric.value is not None and metric.relation:
                    yield card, metric, entry
