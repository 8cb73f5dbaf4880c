"""The same weights on several data sets, side by side: bits/dim. Columns are different tasks and rank nothing."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.cards.types import Card, Metric
from zoo_bench.reports import markdown


def table(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown: a row for all weights that were scored on two sets or more, a column for each set.

    Where several tasks score a set, each has a column: a column holds values of one key.
    """
    scored: dict[str, dict[tuple[str, str], Metric]] = {}
    for card in sorted(found, key=lambda card: card.task.id):
        for metric in card.metrics:
            if metric.id == "bits_per_dim" and metric.value is not None and card.is_complete:
                name = f"{card.model.name}.{card.model.tag or 'untagged'}"
                data = card.data.name if card.data is not None else card.task.id
                scored.setdefault(name, {})[data, card.task.id] = metric
    rows = {name: metrics for name, metrics in scored.items() if len({data for data, _ in metrics}) > 1}
    sets = sorted({where for metrics in rows.values() for where in metrics})
    names = [data for data, _ in sets]
    titles = [data if names.count(data) == 1 else f"{data} ({task})" for data, task in sets]
    if not rows:
        return []
    lines = [markdown.row(["weights", *titles]), "|---" * (1 + len(sets)) + "|"]
    lines += [markdown.row([name, *(_cell(metrics.get(where)) for where in sets)]) for name, metrics in rows.items()]
    measured = any(metric.interval is not None for metrics in rows.values() for metric in metrics.values())
    return [*lines, "", "± is a 95 % interval."] if measured else lines


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return "not measured"
    half = f" ± {metric.interval.half_width:.3f}" if metric.interval is not None else ""
    return f"{metric.relation} {metric.value:.3f}{half}"
