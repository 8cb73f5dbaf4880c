"""What commands print: JSON for programs, a line for each row where it is piped, whole words on a terminal."""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def table(*rows: tuple[str, ...]) -> None:
    """Rows in columns two spaces apart. Where the terminal is too narrow, the last cell of a row stands below it."""
    fits = _needed([max(map(len, column)) for column in zip(*rows)]) <= _width()
    columns = list(zip(*(row if fits else row[:-1] for row in rows)))
    widths = [max(map(len, column)) for column in columns]
    least = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    while _needed(widths) > _width() and widths != least:
        widest = max((i for i, width in enumerate(widths) if width > least[i]), key=widths.__getitem__)
        widths[widest] -= 1
    for row in rows:
        cells = [_lines(cell, width) for cell, width in zip(row, widths)]
        for line in itertools.zip_longest(*cells, fillvalue=""):
            click.echo("  ".join(part.ljust(width) for part, width in zip(line, widths)).rstrip())
        if not fits:
            paragraph("", row[-1], indent=4)


def _needed(widths: list[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def paragraph(label: str, text: str, indent: int = 12) -> None:
    """A label, and beside it a text."""
    for line in _lines(text, max(_width() - indent, 1)):
        click.echo(f"{label:<{indent}}{line}")
        label = ""


def _width() -> int:
    """Of the terminal; what is piped has no end of line to be kept."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 2**31


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
