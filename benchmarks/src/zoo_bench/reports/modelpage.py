"""All numbers of one model, as Markdown: for each task and each set of weights a table with a row for each metric."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.cards.types import TRAINED_WITH, Card, Metric, Relation
from zoo_bench.evaluation import floors
from zoo_bench.evaluation.rows import COPYCAT_GIVEN
from zoo_bench.reports import markdown
from zoo_bench.reports.boards import CONDITIONS
from zoo_bench.reports.cells import ABSENT, Cell, below, duration, marked
from zoo_bench.reports.columns import SHORT, Column
from zoo_bench.reports.tables import Row, Table, tables

WHOLE = 16  # characters: longer numbers may break before their interval, so that a page is wide enough
BESIDE = {
    "floor": "training images scored as samples, the floor for every model",
    "copycat": "a model that memorises the training set",
}
RELATIONS: dict[Relation, str] = {"=": "exact", "≤": "a bound", "≈": "an estimate"}


def listing(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown, of the cards of one model. The floor and the copycat stand beside what they have too."""
    models = {card.model.name for card in found}
    lines: list[str] = []
    shown: list[Row] = []
    titles: dict[str, None] = {}
    for table in tables(found):
        rows = [row for _, rows in table.groups for row in rows]
        others = [row for row in rows if row.card.model.name not in models]
        for row in (row for row in rows if row.card.model.name in models):
            beside = _beside(row, others)
            titles |= dict.fromkeys(beside)
            shown += [row, *beside.values()]
            lines += [_heading(table, row), "", *_grid(table, row, beside), ""]
        lines += [line for told in below(table) for line in (markdown.escaped(told), "")]
    return [*lines, _legend(shown, list(titles))]


def _beside(row: Row, others: Sequence[Row]) -> dict[str, Row]:
    """The floor and the copycat of the row's condition that have a number under one of its keys."""
    found = {}
    for other in others:
        model = other.card.model
        title = "floor" if model.family == "floor" else "copycat"
        known = model.family == "floor" or model.name in (floors.COPYCAT, COPYCAT_GIVEN)
        if known and model.conditioning == row.card.model.conditioning and other.values.keys() & row.values.keys():
            found[title] = other
    return {title: found[title] for title in BESIDE if title in found}


def _heading(table: Table, row: Row) -> str:
    """`**quick@1/digits**: made.digits; 647,220 parameters, 120,000 images seen in 28 s`."""
    model = row.card.model
    name = row.card.name if row.name == model.name else row.name
    facts = [f"{model.params:,} parameters"] if model.params is not None else []
    if model.images_seen is not None:
        time = f" in {duration(model.training_seconds)}" if model.training_seconds is not None else ""
        facts.append(f"{model.images_seen:,} images seen{time}")
    condition = CONDITIONS[model.conditioning]
    title = markdown.escaped(table.task + (f", {condition}" if condition else ""))
    return f"**{title}**: {markdown.escaped('; '.join(filter(None, (name, ', '.join(facts)))))}"


def _grid(table: Table, row: Row, beside: dict[str, Row]) -> list[str]:
    heads = ["metric", "value", *beside, "N"]
    lines = [markdown.row(heads), "|---|" + "--:|" * (len(heads) - 1)]
    for column in (column for column in table.columns if column.key in row.values):
        values = [_value(one, column) for one in (row, *beside.values())]
        cells = [_name(column, row.values[column.key]), *values, _n(row, column)]
        lines.append(markdown.line(map(markdown.cell, cells)))
    return lines


def _name(column: Column, entry: Metric) -> Cell:
    """`fd_pixels (test)`, `nats (iwae-5000)`, `restore_half_psnr ↑ [dB]`: the metric, against what, and how."""
    how = ", ".join(filter(None, (column.reference, entry.params.method)))
    better = " ↑" if column.better == "higher" else ""
    unit = f" [{column.unit}]" if column.unit and column.id not in SHORT else ""
    return Cell(column.id + (f" ({how})" if how else "") + better + unit)


def _value(row: Row, column: Column) -> Cell:
    entry = row.values.get(column.key)
    if entry is None:
        return Cell(ABSENT)
    text = marked(entry, row.card, column.digits)
    return Cell(text, whole=entry.value is not None and len(text) <= WHOLE)


def _n(row: Row, column: Column) -> Cell:
    """How many samples were compared, or over how many images the mean is."""
    interval = row.values[column.key].interval
    n = column.n if column.n is not None else interval and interval.n
    return Cell(ABSENT if n is None else f"{n:,}", whole=True)


def _legend(rows: Sequence[Row], beside: Sequence[str]) -> str:
    entries = [entry for row in rows for entry in row.values.values()]
    signs = {entry.relation for entry in entries if entry.relation is not None}
    told = ["Lower is better unless marked ↑; ± or [low, high] is a 95 % interval; N is the number of images"]
    told += [f"{sign} is {RELATIONS[sign]}" for sign in RELATIONS if sign in signs]
    told += ["a flag is a warning and is not ranked"] if any(entry.is_flag for entry in entries) else []
    if any(row.card.is_flattered(entry) for row in rows for entry in row.values.values() if entry.value is not None):
        told.append(f"† is measured {TRAINED_WITH}")
    return "; ".join([*told, *(f"{title}: {BESIDE[title]}" for title in beside)]) + "."
