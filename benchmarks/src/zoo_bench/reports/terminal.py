"""Tables drawn for a terminal: nothing is wrapped or lost, and nothing that a card says is markup or a control code."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text


def draw(
    title: str,
    header: Sequence[str],
    groups: Sequence[tuple[str, Sequence[Sequence[str]]]],
    below: Sequence[str],
    width: int | None = None,
) -> str:
    """One drawn table a group, with equal columns: what stands in different groups is not to be compared by eye.

    width: of the terminal, by default that of this one; no limit where there is none.
    """
    heads = [plain(head).replace(", N=", "\nN=") for head in header]
    cells = [[[plain(cell) for cell in row] for row in rows] for _, rows in groups]
    everything = [heads, *(row for rows in cells for row in rows)]
    widths = {i: max(cell_len(line) for row in everything for line in row[i].split("\n")) for i in range(len(heads))}
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    pieces = _pieces(widths, width)
    buffer = io.StringIO()
    console = Console(file=buffer, width=max(sum(widths[i] + 3 for i in piece) for piece in pieces) + 3)
    console.print(Text(plain(title), style="bold"))
    for (name, _), rows in zip(groups, cells):
        for piece in pieces:
            drawn = Table(title=Text(plain(name)), title_justify="left", box=SIMPLE_HEAD)
            for i in piece:
                drawn.add_column(Text(heads[i]), min_width=widths[i], justify="left" if i == 0 else "right")
            for row in rows:
                drawn.add_row(*(Text(row[i]) for i in piece))
            console.print(drawn)
    for line in below:
        console.print(Text(plain(line)))
    return buffer.getvalue()


def plain(text: str) -> str:
    """The text in one line, its control codes (and what else cannot be printed) spelled out: `\\x1b`."""
    line = " ".join(text.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode("ascii") for char in line
    )


def _pieces(widths: Mapping[int, int], room: int | None) -> list[list[int]]:
    """Columns that fit beside each other, the first in every piece; all of them where the room is not known."""
    first, *rest = widths
    pieces = [[first]]
    for i in rest:
        taken = sum(widths[j] + 3 for j in [*pieces[-1], i]) + 3
        if room is not None and taken > room and len(pieces[-1]) > 1:
            pieces.append([first])
        pieces[-1].append(i)
    return pieces
