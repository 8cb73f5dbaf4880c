"""The same weights on several data sets, side by side: bits/dim. Columns are different tasks and rank nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_bench import cards, markdown


def table(found: Sequence[cards.Card]) -> list[str]:
    """Lines of Markdown: a row for all weights that were scored on two sets or more, a column for each set."""
    scored: dict[str, dict[str, dict[str, Any]]] = {}
    for card in sorted(found, key=lambda card: card["task"]["id"]):
        for metric in card["metrics"]:
            if metric["id"] == "bits_per_dim" and metric["value"] is not None and cards.is_complete(card):
                name = f"{card['model']['name']}.{card['model'].get('tag') or 'untagged'}"
                scored.setdefault(name, {}).setdefault(card["data"]["name"], metric)
    rows = {name: metrics for name, metrics in scored.items() if len(metrics) > 1}
    sets = sorted({data for metrics in rows.values() for data in metrics})
    if not rows:
        return []
    lines = [markdown.row(["weights", *sets]), "|---" * (1 + len(sets)) + "|"]
    lines += [markdown.row([name, *(_cell(metrics.get(data)) for data in sets)]) for name, metrics in rows.items()]
    measured = any(metric["interval"] for metrics in rows.values() for metric in metrics.values())
    return [*lines, "", "± is a 95 % interval."] if measured else lines


def _cell(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return "not measured"
    interval = metric["interval"]
    half = f" ± {(interval['high'] - interval['low']) / 2:.3f}" if interval else ""
    return f"{metric['relation']} {metric['value']:.3f}{half}"
