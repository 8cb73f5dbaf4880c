"""Reports: the tables of result cards as text, and the blocks of Markdown files that are filled from cards.

from zoo_bench import report
print(report(["runs/quick"], form="markdown"))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from zoo_bench.cards import files
from zoo_bench.cards.types import Card
from zoo_bench.reports import across, csv, markdown, published, terminal
from zoo_bench.reports.cells import below, cells, header, legend
from zoo_bench.reports.tables import Table, is_likelihood, tables
from zoo_core.errors import ZooError
from zoo_core.files import atomic

Form = Literal["terminal", "markdown", "csv"]


def report(paths: str | Path | Iterable[str | Path], *, form: Form = "markdown", width: int | None = None) -> str:
    """The tables of all cards in `paths` (files, or folders with cards) as text."""
    found = tables(files.read_all(paths))
    if not found:
        where = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
        raise ZooError(f"no result cards in {where}; `zoo bench quick` makes some")
    if form == "csv":
        return csv.text(found)
    if form == "markdown":
        return "\n".join(_markdown(table) for table in found)
    return "\n".join(_terminal(table, width) for table in found)


def _markdown(table: Table) -> str:
    heads = header(table)
    lines = [f"**{markdown.escaped(table.task)}**", "", markdown.row(heads), "|" + "---|" * len(heads)]
    for title, rows in table.groups:
        lines.append(f"| *{title}* |" + " |" * (len(heads) - 1))
        lines += [markdown.row(cells(row, table)) for row in rows]
    told = legend(table)
    lines += [f"\n{markdown.escaped(line)}" for line in [f"{told[0].upper()}{told[1:]}.", *below(table)]]
    return "\n".join(lines) + "\n"


def _terminal(table: Table, width: int | None) -> str:
    """Without the family, the images seen, and a likelihood whose rows have it in another unit already."""
    heads, rows = header(table), [row for _, group in table.groups for row in group]
    seen: list[set[str]] = []
    hidden = {heads.index("family"), len(heads) - 1}
    for i, column in enumerate(table.columns, 2):
        if is_likelihood(column):
            having = {row.name for row in rows if column.key in row.values}
            hidden |= {i} if any(having <= before for before in seen) else set()
            seen.append(having)
    shown = [i for i in range(len(heads)) if i not in hidden]

    def chosen(row: Sequence[str]) -> list[str]:
        return [row[i] for i in shown]

    groups = [(title, [chosen(cells(row, table)) for row in group]) for title, group in table.groups]
    return terminal.draw(f"{table.task}: {legend(table)}", chosen(heads), groups, below(table), width)


_BLOCK = re.compile(
    r"(<!-- begin (?P<kind>results|published|across): (?P<what>[^ ]+) -->\n).*?(<!-- end (?P=kind) -->)", re.DOTALL
)


def fill_blocks(path: str | Path, found: Sequence[Card], *, check: bool = False) -> bool:
    """Rewrite the blocks `<!-- begin results: WHAT -->` of a Markdown file from cards; True if it was up to date.

    WHAT is a suite (`quick@1`: its tables) or a model (`made`: its rows of every table). `begin published: made` is a
    model's distance to published numbers instead, `begin across: made` its weights on several data sets. check: change
    nothing.
    """
    path = Path(path)
    text = path.read_text()

    def fill(match: re.Match[str]) -> str:
        what = match["what"]
        if "@" in what:
            chosen = [card for card in found if card.task.id.startswith(f"{what}/")]
        else:
            chosen = [card for card in found if card.model.name == what]
        if not chosen and match[0].count("\n") > 1:
            raise ZooError(f"{path}: no result card for {what!r}; run the suite, or empty the block")
        if not chosen:  # of a model that is new: the block waits for its first card
            return match[0]
        if match["kind"] != "results":
            lines = {"published": published.table, "across": across.table}[match["kind"]](chosen)
            return match[1] + "".join(f"{line}\n" for line in lines) + match[4]
        return match[1] + "\n".join(_markdown(table) for table in tables(chosen)) + match[4]

    new = _BLOCK.sub(fill, text)
    if new != text and not check:
        with atomic(path) as temporary:
            temporary.write_text(new)
    return new == text
