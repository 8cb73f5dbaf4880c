"""What stands in the cells of a table, above and below it, in words: the same in all forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoo_bench.cards.types import TRAINED_WITH, Card, Metric
from zoo_bench.reports.boards import Board
from zoo_bench.reports.columns import Column, heads
from zoo_bench.reports.reference import purpose
from zoo_bench.reports.tables import Row, Table, lacking, method

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """One line of text. whole: a number, which stays in one piece. best: it is proven to be."""

    text: str
    whole: bool = False
    best: bool = False


Side = tuple[str, Callable[[Row], Cell]]


def _before(board: Board) -> list[Side]:
    """What stands before the numbers: heads, and what is below them."""
    name: Side = "reference row" if board.reference else "model", lambda row: Cell(row.name)
    family: Side = "family", lambda row: Cell(row.card.model.family)
    return [name] if board.reference and not board.every else [name, family]


def _after(board: Board) -> list[Side]:
    """What stands behind the numbers."""
    of_method: Side = "method", lambda row: Cell(method(row) or ABSENT)
    params: Side = "params", lambda row: _count(row.card.model.params)
    images: Side = "images seen", lambda row: _count(row.card.model.images_seen)
    training: Side = "training", lambda row: Cell(duration(row.card.model.training_seconds), whole=True)
    aim: Side = "purpose", lambda row: Cell(purpose(row.card))
    short = [] if board.reference else [params, images, training] if board.whole else [params, training]
    sides = [of_method, params, images, training] if board.every else short
    return [*sides, aim] if board.reference else sides


def header(board: Board) -> list[str]:
    """What stands above the columns."""
    return [title for title, _ in _before(board)] + heads(board.columns) + [title for title, _ in _after(board)]


def cells(row: Row, board: Board) -> list[Cell]:
    """A row of the board."""
    numbers = [_number(row, column, board.best.get(column.key) == row.name) for column in board.columns]
    return [cell(row) for _, cell in _before(board)] + numbers + [cell(row) for _, cell in _after(board)]


def numeric(board: Board) -> list[bool]:
    """Which columns hold numbers, so that they stand to the right."""
    return [any(cell.whole for cell in column) for column in zip(*(cells(row, board) for row in board.rows))]


def _number(row: Row, column: Column, best: bool) -> Cell:
    entry = row.values.get(column.key)
    if entry is None:
        return Cell(ABSENT)
    return Cell(marked(entry, row.card, column.digits), whole=entry.value is not None, best=best)


def marked(entry: Metric, card: Card, digits: int) -> str:
    """The number, with a † where an encoder measured it that flatters the model."""
    return number(entry, digits) + (" †" if card.is_flattered(entry) and entry.value is not None else "")


def number(entry: Metric, digits: int) -> str:
    """`= 2.0211 ± 0.0335`, or why there is no number."""
    if entry.is_unmeasured:  # why, is said below the table
        return entry.status or "failed"
    params = entry.params
    if entry.value is None:
        return f"failed: {params.reason or 'no value'}"
    half = f" {entry.interval.shown(entry.value, digits)}" if entry.interval is not None else ""
    relation = f"{entry.relation} " if entry.relation is not None else ""
    seeds = f" sd ({params.seeds} seeds)" if params.seeds is not None else ""
    flag = (" flagged" if params.flag else " not flagged") if entry.is_flag else ""
    warning = " !" if params.warning else ""
    return f"{relation}{entry.value:.{digits}f}{half}{seeds}{flag}{warning}"


def estimated(entry: Metric) -> str:
    """How an estimate was made and how far it can be trusted, as its model said; else nothing.

    `AIS, effective sample size 87.3 of 100, log Z ± 0.02 (standard error)`.
    """
    names = ("estimator", "effective_sample_size", "chains", "log_z_standard_error")
    estimator, size, chains, error = (entry.params.get(name) for name in names)
    parts = [estimator] if estimator is not None else []
    if size is not None:
        parts.append(f"effective sample size {size:,.1f}" + (f" of {chains:,}" if chains is not None else ""))
    parts += [f"log Z ± {error:.2g} (standard error)"] if error is not None else []
    return ", ".join(parts)


def _count(n: int | None) -> Cell:
    return Cell(ABSENT if n is None else f"{n:,}", whole=True)


def duration(seconds: float | None) -> str:
    """`28 s`, `3.2 min`, `1.4 h`."""
    if seconds is None:
        return ABSENT
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 59.95 * 60 else f"{seconds / 3600:.1f} h"


def legend(shown: Sequence[Board], best: str, *, timed: bool = True) -> str:
    """How to read the numbers: what is better, exact, proven, and what the intervals are. best: how it is marked.
    timed: training times are shown."""
    parts = [*_signs(shown), *_relations(shown), *_proofs(shown, best), *_facts(shown, timed)]
    return " ".join(f"{part}." for part in parts)


def _signs(shown: Sequence[Board]) -> list[str]:
    entries = [entry for board in shown for entry in board.entries]
    parts = ["Lower is better unless marked ↑"]
    seeds = [entry.params.seeds is not None for entry in entries if entry.interval is not None]
    if False in seeds:
        parts.append("± or [low, high] is a 95 % interval")
    if True in seeds:
        parts.append("± … sd is one standard deviation over sampling seeds")
    if any(cell.text == ABSENT for board in shown for row in board.rows for cell in cells(row, board)):
        parts.append(f"{ABSENT} was not measured")
    if any(column.flag for board in shown for column in board.columns):
        parts.append("a flag is a warning and is not ranked")
    if any("†" in cell.text for board in shown for row in board.rows for cell in cells(row, board) if cell.whole):
        parts.append(f"† is measured {TRAINED_WITH}")
    return ["; ".join(parts)]


def _relations(shown: Sequence[Board]) -> list[str]:
    there = {entry.relation for board in shown for entry in board.entries}
    parts = []
    if "≤" in there:
        parts.append("≤ is a bound (the true value is at most this), and two bounds are never ordered")
    if "≈" in there:
        parts.append("≈ is an estimate, which may err in either direction")
    if parts and "=" in there:
        parts.insert(0, "= is exact")
    return ["; ".join(parts)] if parts else []


def _proofs(shown: Sequence[Board], best: str) -> list[str]:
    """What the mark of the best says; said too where nothing has it and something could."""
    if any(board.best for board in shown):
        return [f"{best}: proven better than every other model in its column, by intervals that do not overlap"]
    compared = any(not board.reference and len(board.rows) > 1 and board.columns for board in shown)
    return ["No value is marked best, because none is proven better than all others in its column"] if compared else []


def _facts(shown: Sequence[Board], timed: bool) -> list[str]:
    """How many samples, where that is the same for all of a board, and whose time the training took."""
    facts = []
    numbers = [{column.n for column in board.columns if column.n is not None} for board in shown]
    if several := sorted({n for alone in numbers if len(alone) == 1 for n in alone}):
        facts.append(f"Sample quality is measured on {' and '.join(f'{n:,}' for n in several)} samples")
    models = [row for board in shown if not board.reference for row in board.rows]
    if timed and any(row.card.model.training_seconds is not None for row in models):
        facts.append("Training times depend on the machine, which the card names, and are not ranked")
    return facts


def below(table: Table, shown: Sequence[Board] | None = None) -> list[str]:
    """What the marks warn of, and what is not in the table, and why. shown: all that is seen of it."""
    if shown is None:
        places = [(row, table.columns) for _, rows in table.groups for row in rows]
    else:
        places = [(row, board.columns) for board in shown for row in board.rows]
    keys = {column.key for _, columns in places for column in columns}
    entries = [(row.name, row.values[one.key]) for row, columns in places for one in columns if one.key in row.values]
    warned: dict[str, dict[str, None]] = {}
    for _, entry in entries:
        if entry.params.warning and entry.value is not None:
            warned.setdefault(entry.params.warning, {})[entry.id] = None
    lines = [f"! {', '.join(ids)}: {warning}" for warning, ids in warned.items()]
    lines += dict.fromkeys(f"≈ {name}: {how}" for name, entry in entries if (how := estimated(entry)))
    lines += [f"{card.name}: {card.status}: {card.error}" for card in table.failed]
    lines += table.unmeasured
    if bare := [column.title for column in lacking(table) if column.key in keys]:
        lines.append(f"no floor in {', '.join(bare)}: run zoo bench on this task to score training images as samples")
    for card in table.partial:
        first = next(iter(card.metrics), None)
        value = f", {first.id} {first.relation or ''} {first.value}" if first is not None else ""
        lines.append(f"{card.name}: not in the table, because it is partial{value}")
    return lines
