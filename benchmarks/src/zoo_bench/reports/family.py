"""All weights of families trained on one data set, side by side: the headlines of every task that scored them.

A row is a model by name, in no order but the alphabet's: columns of different tasks rank nothing together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from zoo_bench.cards.types import Card
from zoo_bench.reports import markdown
from zoo_bench.reports.boards import Board, boards
from zoo_bench.reports.cells import ABSENT, Cell, cells, header, legend
from zoo_bench.reports.columns import is_likelihood
from zoo_bench.reports.tables import Row, tables

SIDES = 2  # before the numbers stand model and family, behind them parameters and training time
DRAWING = ("small@", "drawing@")  # the suites whose tasks say what samples are worth, and what they cost


def table(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown, of unconditional models. found: the cards of the family on the data set."""
    return _table([card for card in found if not card.task.id.startswith(DRAWING[1])], [], lambda row, board: [])


def drawing(found: Sequence[Card]) -> list[str]:
    """The same of what was drawn: likelihood and quality beside sharpness, images per second and FLOPs per image."""
    chosen = [card for card in found if card.task.id.startswith(DRAWING)]
    sharp = {card.name for card in chosen if card.task.id.startswith(DRAWING[1])}
    lines = _table([card for card in chosen if card.name in sharp], ["images/s", "MFLOP/image"], _costs, 2)
    lines[-1:] = [f"{line} Images per second are those of one machine." for line in lines[-1:]]
    return lines


def _table(
    found: Sequence[Card], ends: list[str], end: Callable[[Row, Board], list[Cell]], most: int | None = None
) -> list[str]:
    """A row per model: its name, the numbers of all tasks, and what `end` says of its last task, under `ends`.
    most: so many columns of each task."""
    every = [board for one in tables(found) for board in boards(one) if not board.reference and not board.condition]
    shown = [replace(board, columns=board.columns[:most]) for board in every]
    if not shown:
        return []
    shown.sort(key=lambda board: not any(map(is_likelihood, board.columns)))  # what leads any table leads here
    rows: dict[str, dict[str, tuple[Row, Board]]] = {}
    for board in shown:
        for row in board.rows:
            rows.setdefault(_name(row), {})[board.task] = row, board
    heads = [head for board in shown for head in header(board)[SIDES:-SIDES]]
    lines = [markdown.row(["model", *heads, *ends]), "|---|" + "--:|" * (len(heads) + len(ends))]
    for name, there in sorted(rows.items()):
        numbers = [cell for board in shown for cell in _numbers(there.get(board.task), board)]
        lines.append(markdown.line(map(markdown.cell, [Cell(name), *numbers, *end(*list(there.values())[-1])])))
    return [*lines, "", markdown.escaped(legend(shown, "Bold", timed=False))]


def _name(row: Row) -> str:
    """`vae`; with another tag than the data set's, `vae.mnist_bin_short`."""
    model, data = row.card.model, row.card.data
    return model.name if data is not None and model.tag == data.name else f"{model.name}.{model.tag or 'untagged'}"


def _numbers(there: tuple[Row, Board] | None, board: Board) -> list[Cell]:
    """An interval that is given by its ends is long, and so is a flag: they may stand on lines of their own. That
    there is no flag is not said."""
    if there is None:
        return [Cell(ABSENT)] * len(board.columns)
    numbers = [replace(cell, text=cell.text.removesuffix(" not flagged")) for cell in cells(*there)[SIDES:-SIDES]]
    return [replace(cell, whole=cell.whole and not re.search(r"\[|flagged", cell.text)) for cell in numbers]


def _costs(row: Row, board: Board) -> list[Cell]:
    """What drawing an image cost: images per second and, where they can be counted, millions of FLOPs."""
    cost = row.card.performance
    rate, flops = (cost.sampling_images_per_second, cost.flops_per_generated_image) if cost else (None, None)
    numbers = rate, flops / 1e6 if flops else None  # 0 where it is no matrix product that draws
    return [Cell(f"{number:,.{2 if number < 10 else 0}f}" if number else ABSENT, whole=True) for number in numbers]
