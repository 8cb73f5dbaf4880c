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
from zoo_bench.reports import across, csv, family, markdown, modelpage, published, reference, terminal
from zoo_bench.reports.boards import Board, boards
from zoo_bench.reports.cells import below, cells, header, legend, numeric
from zoo_bench.reports.tables import Table, tables
from zoo_bench.tasks import suites
from zoo_core.errors import ZooError
from zoo_core.files import atomic

Form = Literal["terminal", "markdown", "csv"]
Columns = Literal["headline", "all"]


def report(
    paths: str | Path | Iterable[str | Path],
    *,
    form: Form = "markdown",
    width: int | None = None,
    columns: Columns = "headline",
    suite: str | None = None,
) -> str:
    """The tables of all cards in `paths` (files, or folders with cards) as text.

    width: of the terminal, by default that of this one. columns: of Markdown and of a terminal, what each task is known
    by, or all; CSV has all. suite: one of your own, `./mine.toml`, whose tasks name their headlines.
    """
    found = tables(files.read_all(paths), suite)
    if not found:
        where = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
        raise ZooError(f"no result cards in {where}; `zoo bench quick` makes some")
    if form == "csv":
        return csv.text(found)
    if form == "markdown":
        return "\n".join(_markdown(table, columns == "all") for table in found)
    width = terminal.room() if width is None else width
    return "\n".join(_terminal(table, columns == "all", width) for table in found)


def _markdown(table: Table, every: bool = False, whole: bool = False) -> str:
    shown = boards(table, every, whole)
    parts = []
    for title, board in _titled(table, shown):
        parts += [f"**{markdown.escaped(title)}**\n"] if title else []
        parts += [_grid(board)] if board is not None else []
    told = ([legend(shown, "Bold")] if shown else []) + below(table, shown)
    return "\n".join([*parts, *(f"{markdown.escaped(line)}\n" for line in told)])


def _titled(table: Table, shown: Sequence[Board]) -> list[tuple[str, Board | None]]:
    """The boards, the first of each condition with its title; the title alone where there is none."""
    if not shown:
        return [(table.task, None)]
    before = [None, *(board.title for board in shown)]
    return [("" if board.title == last else board.title, board) for last, board in zip(before, shown)]


def _grid(board: Board) -> str:
    """A board in Markdown, its numbers to the right."""
    heads, groups = header(board), [(title, [cells(row, board) for row in rows]) for title, rows in board.groups]
    right = numeric(board)
    lines = [markdown.row(heads), "|" + "".join("--:|" if number else "---|" for number in right)]
    for title, rows in groups:
        if title:
            lines.append(f"| *{markdown.escaped(title)}* |" + " |" * (len(heads) - 1))
        lines += [markdown.line(map(markdown.cell, row)) for row in rows]
    return "\n".join(lines) + "\n"


def _terminal(table: Table, every: bool, width: int | None) -> str:
    """Where there is no room for it, without the family."""
    shown = boards(table, every)
    parts = []
    for title, board in _titled(table, shown):
        parts += [terminal.prose([title], width)] if title else []
        parts += [terminal.draw(board, width, spare="family")] if board is not None else []
    told = ([legend(shown, terminal.BEST)] if shown else []) + below(table, shown)
    return "\n".join([*parts, terminal.prose(told, width)])


_BLOCK = re.compile(
    r"(<!-- begin (?P<kind>results|defaults|task|published|across|family|drawing): (?P<what>[^ ]+) -->\n)"
    r".*?(<!-- end (?P=kind) -->)",
    re.DOTALL,
)


def fill_blocks(path: str | Path, found: Sequence[Card], *, check: bool = False) -> bool:
    """Rewrite the blocks `<!-- begin results: WHAT -->` of a Markdown file from cards; True if it was up to date.

    WHAT is a suite (`quick@1`: its tables) or a model (`made`: all its metrics). `begin defaults: quick@1` is short:
    the models that the suite trains by default, and its reference rows. `begin task: modes@1/mnist_stacked` is one task
    with all that its headline's metrics say and how many images each model saw; `begin task: small@2/fashion/gan` of
    some families only. `begin published: made` is a model's distance to published numbers, `begin across: made` its
    weights on several data sets, and `begin family: autoencoder/fashion` the weights of a family on one data set, of
    several by `begin drawing: autoencoder,autoregressive/fashion` with what drawing costs. check: change nothing.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")

    def fill(match: re.Match[str]) -> str:
        what = match["what"]
        if match["kind"] in ("family", "drawing"):
            families, _, data = what.partition("/")
            of_data = [card for card in found if card.data is not None and card.data.name == data]
            chosen = [card for card in of_data if card.model.family in families.split(",")]
        elif match["kind"] == "task":
            chosen = _of_task(found, what)
        elif "@" in what:
            chosen = [card for card in found if card.task.id.startswith(f"{what}/")]
            if match["kind"] == "defaults":
                chosen = _defaults(chosen, what)
        else:
            chosen = [card for card in found if card.model.name == what]
        if not chosen and match[0].count("\n") > 1:
            raise ZooError(f"{path}: no result card for {what!r}; run the suite, or empty the block")
        if not chosen:  # of a model that is new: the block waits for its first card
            return match[0]
        if match["kind"] == "task" or (match["kind"] in ("results", "defaults") and "@" in what):
            whole = match["kind"] == "task"
            return match[1] + "\n".join(_markdown(table, whole=whole) for table in tables(chosen)) + match[4]
        make = {
            "results": modelpage.listing,
            "published": published.table,
            "across": across.table,
            "family": family.table,
            "drawing": family.drawing,
        }[match["kind"]]
        return match[1] + "".join(f"{line}\n" for line in make(chosen)) + match[4]

    new = _BLOCK.sub(fill, text)
    if new != text and not check:
        with atomic(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
    return new == text


def _of_task(found: Sequence[Card], what: str) -> list[Card]:
    """The cards of `SUITE/TASK` or `SUITE/TASK/FAMILIES`, and its reference rows; none where none is of a model."""
    suite, _, rest = what.partition("/")
    task, _, families = rest.partition("/")
    of_task = [card for card in found if card.task.id == f"{suite}/{task}"]
    others = [card for card in of_task if card.model.family in reference.FAMILIES]
    models = [card for card in of_task if card.model.family not in reference.FAMILIES]
    models = [card for card in models if not families or card.model.family in families.split(",")]
    return [*models, *others] if models else []


def _defaults(found: Sequence[Card], suite: str) -> list[Card]:
    """Of a suite's cards those of its default models, trained by their packaged recipes, and of the reference rows."""
    models = suites.load(suite).models

    def trained(card: Card) -> bool:
        return card.model.name in models and card.data is not None and card.model.tag == card.data.name

    return [
        card
        for card in found
        if card.model.conditioning == "none" and (card.model.family in reference.FAMILIES or trained(card))
    ]
