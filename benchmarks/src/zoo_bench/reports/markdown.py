"""Rows of Markdown tables, in which whatever a card says stays text: no column, tag, link or emphasis comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo_bench.reports.cells import Cell


def row(cells: Iterable[object]) -> str:
    """`| a | b |`, each cell escaped."""
    return line(map(escaped, cells))


def line(cells: Iterable[str]) -> str:
    """`| a | b |`, of cells that are Markdown."""
    return "| " + " | ".join(cells) + " |"


def cell(cell: Cell) -> str:
    """A cell of a table; a whole one has no space that a line could break at, the best one is bold."""
    text = escaped(cell.text)
    text = text.replace(" ", "\u00a0") if cell.whole else text
    return f"**{text}**" if cell.best else text


def escaped(text: object) -> str:
    """One line that a reader of Markdown sees as `text`; white space and line breaks become single spaces."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\|`*~$]|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(", r"\\\g<0>", line)
