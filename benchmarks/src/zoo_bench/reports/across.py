"""The same weights on several data sets, side by side: bits/dim. Rows are different tasks and rank nothing."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.cards.types import Card, Metric
from zoo_bench.reports import markdown
from zoo_bench.reports.cells import ABSENT, Cell


def table(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown: a column for all weights that were scored on two sets or more, a row for each set.

    Where several tasks score a set, each has a row: a row holds values of one key.
    """
    scored: dict[str, dict[tuple[str, str], Metric]] = {}
    for card in sorted(found, key=lambda card: card.task.id):
        for metric in card.metrics:
            if metric.id == "bits_per_dim" and metric.value is not None and card.is_complete:
                name = f"{card.model.name}.{card.model.tag or 'untagged'}"
                data = card.data.name if card.data is not None else card.task.id
                scored.setdefault(name, {})[data, card.task.id] = metric
    several = {name: metrics for name, metrics in scored.items() if len({data for data, _ in metrics}) > 1}
    if not several:
        return []
    sets = sorted({where for metrics in several.values() for where in metrics})
    names = [data for data, _ in sets]
    lines = [markdown.row(["data", *several]), "|---|" + "--:|" * len(several)]
    for data, task in sets:
        cells = [_cell(metrics.get((data, task))) for metrics in several.values()]
        title = Cell(data if names.count(data) == 1 else f"{data} ({task})")
        lines.append(markdown.line(map(markdown.cell, [title, *cells])))
    everything = [metric for metrics in several.values() for metric in metrics.values()]
    told = ["± is a 95 % interval"] if any(metric.interval is not None for metric in everything) else []
    told += [f"{ABSENT} was not measured"] if len(everything) < len(sets) * len(several) else []
    return [*lines, "", f"{'; '.join(told)}."] if told else lines


def _cell(metric: Metric | None) -> Cell:
    if metric is None or metric.value is None:
        return Cell(ABSENT)
    half = f" {metric.interval.shown(metric.value, 3)}" if metric.interval is not None else ""
    return Cell(f"{metric.relation} {metric.value:.3f}{half}", whole=True)
