"""Tables drawn for a terminal: no number or word is divided or lost, and nothing that a card says is markup or a
control code."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo_bench.reports.boards import Board
from zoo_bench.reports.cells import Cell, cells, header, numeric

GAP, TIGHT = 2, 1  # between columns
READABLE = 24  # a column of text is not made narrower
BEST = "*"


def room() -> int | None:
    """The width of this terminal; None where there is none, so that nothing limits a table."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@dataclass(frozen=True)
class _Column:
    """Of a drawn table. least: how wide it must be for what cannot be divided; most: for its longest line."""

    head: str
    number: bool
    least: int
    most: int


def draw(board: Board, width: int | None, spare: str = "") -> str:
    """One drawn table a group, with equal columns: what stands in different groups is not to be compared by eye.

    What is wider than `width` wraps between words; then the column that is headed by `spare` is left out, and columns
    stand closer, if that is enough; then there are several pieces, each with the first column.
    """
    heads = [plain(head) for head in header(board)]
    groups = [(title, [[_plain(cell) for cell in cells(row, board)] for row in rows]) for title, rows in board.groups]
    rows = [row for _, members in groups for row in members]
    columns = [
        _Column(
            head,
            number,
            least=max(_longest_word(head), *(_least(cell) for cell in below)),
            most=max(cell_len(cell.text) for cell in (Cell(head), *below)),
        )
        for head, number, below in zip(heads, numeric(board), zip(*rows))
    ]
    pieces, gap = _pieces(columns, width, spare)
    drawn = []
    for number, (title, members) in enumerate(groups):
        drawn += [f"{plain(title)}\n"] if title else []
        for piece in pieces:
            shown = [columns[i] for i in piece]
            table = _table(shown, width, gap, headed=number == 0 or len(pieces) > 1)
            for row in members:
                table.add_row(*(Text(row[i].text, style="bold" if row[i].best else "") for i in piece))
            drawn.append(_text(table))
    return "".join(drawn)


def _plain(cell: Cell) -> Cell:
    """The cell as it is printed, the best with its mark; numbers end below each other."""
    return Cell((f"{BEST} " if cell.best else "") + plain(cell.text), cell.whole, cell.best)


def _least(cell: Cell) -> int:
    """How wide a column must be for what is not to be divided."""
    width = cell_len(cell.text)
    return width if cell.whole else max(min(width, READABLE), _longest_word(cell.text))


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _pieces(columns: Sequence[_Column], width: int | None, spare: str) -> tuple[list[list[int]], int]:
    """Columns that stand beside each other, the first in every piece, and the gap between them."""

    def fits(piece: Sequence[int], gap: int = GAP) -> bool:
        return width is None or _taken([columns[i].least for i in piece], gap) <= width

    everything = list(range(len(columns)))
    without = [i for i in everything if columns[i].head != spare]
    for piece, gap in ((everything, GAP), (without, GAP), (without, TIGHT)):
        if fits(piece, gap):
            return [piece], gap
    pieces = [everything[:1]]
    for i in everything[1:]:
        if len(pieces[-1]) > 1 and not fits([*pieces[-1], i]):
            pieces.append(everything[:1])
        pieces[-1].append(i)
    return pieces, GAP


def _taken(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _widths(columns: Sequence[_Column], width: int | None, gap: int) -> list[int]:
    """As wide as the longest line; where that is too much, the widest is cut first, as far as it can be."""
    widths = [column.most for column in columns]
    while width is not None and _taken(widths, gap) > width:
        loose = [i for i, column in enumerate(columns) if widths[i] > column.least]
        if not loose:
            break
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return widths


def _table(columns: Sequence[_Column], width: int | None, gap: int, *, headed: bool) -> Table:
    """With its columns, and no rows yet."""
    table = Table(box=SIMPLE_HEAD, show_header=headed, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for column, taken in zip(columns, _widths(columns, width, gap)):
        justify: Literal["left", "right"] = "right" if column.number else "left"
        table.add_column(Text(column.head), min_width=taken, max_width=taken, justify=justify)
    return table


def _text(table: Table) -> str:
    """The table in lines, and an empty one. Bold only where somebody looks at it."""
    buffer, styled = io.StringIO(), sys.stdout.isatty()
    wide = sum((column.max_width or 0) + GAP for column in table.columns)
    colours: Literal["standard"] | None = "standard" if styled else None
    Console(file=buffer, width=wide, force_terminal=styled, color_system=colours).print(table)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines() if line.strip()) + "\n"


def prose(lines: Iterable[str], width: int | None) -> str:
    """Lines of text, wrapped between words where the width is known."""
    told = [plain(line) for line in lines]
    if width is not None:
        told = [textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in told]
    return "".join(f"{line}\n" for line in told)


def plain(text: str) -> str:
    """The text in one line, its control codes (and what else cannot be printed) spelled out: `\\x1b`."""
    line = " ".join(text.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode("ascii") for char in line
    )
