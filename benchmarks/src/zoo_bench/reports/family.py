"""All weights of one family trained on one data set, side by side: the headlines of every task that scored them.

A row is a model by name, in no order but the alphabet's: columns of different tasks rank nothing together.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_bench.cards.types import Card
from zoo_bench.reports import markdown
from zoo_bench.reports.boards import Board, boards
from zoo_bench.reports.cells import ABSENT, Cell, cells, header, legend
from zoo_bench.reports.tables import Row, tables

SIDES = 2  # before the numbers stand model and family, behind them parameters and training time


def table(found: Sequence[Card]) -> list[str]:
    """Lines of Markdown, of unconditional models. found: the cards of the family on the data set."""
    shown = [board for one in tables(found) for board in boards(one) if not board.reference and not board.condition]
    if not shown:
        return []
    rows: dict[str, dict[str, tuple[Row, Board]]] = {}
    for board in shown:
        for row in board.rows:
            rows.setdefault(_name(row), {})[board.task] = row, board
    heads = [head for board in shown for head in header(board)[SIDES:-SIDES]]
    lines = [markdown.row(["model", *heads, "params", "training"]), "|---|" + "--:|" * (len(heads) + SIDES)]
    for name, there in sorted(rows.items()):
        numbers = [cell for board in shown for cell in _numbers(there.get(board.task), board)]
        row, board = next(iter(there.values()))
        lines.append(markdown.line(map(markdown.cell, [Cell(name), *numbers, *cells(row, board)[-SIDES:]])))
    return [*lines, "", markdown.escaped(legend(shown, "Bold"))]


def _name(row: Row) -> str:
    return f"{row.card.model.name}.{row.card.model.tag or 'untagged'}"


def _numbers(there: tuple[Row, Board] | None, board: Board) -> list[Cell]:
    if there is None:
        return [Cell(ABSENT)] * len(board.columns)
    return cells(*there)[SIDES:-SIDES]
