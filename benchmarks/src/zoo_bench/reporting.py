"""Tables from cards: grouped by relation, an interval beside every value, never ranking what is not comparable.

    from zoo_bench import report
    print(report(["runs/quick"], form="markdown"))

A column holds values of one `comparable_key` only. Exact values are ordered; bounds and estimates are listed by name,
because no order between them is known.
"""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from zoo_bench import across, cards, published
from zoo_core.errors import ZooError
from zoo_core.sampling import atomic

Form = Literal["terminal", "markdown", "csv"]

GROUPS = {
    "=": "exact likelihood (=), best first",
    "≤": "upper bounds on the negative log-likelihood (≤), by name: bounds are not ordered",
    "≈": "estimates (≈), by name: not ordered",
    None: "no likelihood, by name",
}


CSV_HEADER = [
    *("task", "model", "tag", "family", "status", "metric", "reference"),
    *("relation", "value", "low", "high", "unit", "method", "comparable_key"),
]


@dataclass(frozen=True)
class Column:
    """One comparable key: a metric under one protocol."""

    key: str
    title: str
    unit: str
    digits: int


@dataclass(frozen=True)
class Row:
    """The cards of one model, one a sampling seed, with what they measured by key; the first stands for all.

    order: the value of its first likelihood, by which rows with the same `key` are ordered, and no others.
    """

    name: str
    relation: str | None
    key: str
    order: float
    values: dict[str, dict[str, Any]]
    card: cards.Card


@dataclass(frozen=True)
class Table:
    """All complete cards of one task."""

    task: str
    columns: list[Column]
    groups: list[tuple[str, list[Row]]]
    failed: list[cards.Card]
    partial: list[cards.Card]
    skipped: list[str]


def report(paths: Iterable[str | Path], *, form: Form = "markdown", width: int | None = None) -> str:
    """The tables of all cards in `paths` (files, or folders with cards) as text."""
    found = tables(cards.read_all(paths))
    if not found:
        raise ZooError(f"no result cards in {', '.join(map(str, paths))}; `zoo bench quick` makes some")
    if form == "csv":
        return _csv(found)
    if form == "markdown":
        return "\n".join(_markdown(table) for table in found)
    return "\n".join(_terminal(table, width) for table in found)


def tables(found: Sequence[cards.Card]) -> list[Table]:
    """Cards by task; partial cards stay out, failed ones are named below the table."""
    by_task: dict[str, list[cards.Card]] = {}
    for card in found:
        by_task.setdefault(card["task"]["id"], []).append(card)
    return [_table(task, members) for task, members in sorted(by_task.items())]


def _table(task: str, members: list[cards.Card]) -> Table:
    complete = [card for card in members if cards.is_complete(card)]
    if len({card["task"].get("sha256") for card in complete}) > 1:
        told = list({card["task"].get("sha256"): cards.stem(card) for card in complete}.values())
        raise ZooError(
            f"{told[0]} and {told[1]} define {task} differently: one of them was made by a suite that was edited "
            "without a new version; make it again, or remove it"
        )
    columns: dict[str, Column] = {}
    for card in complete:
        for entry in card["metrics"]:
            columns.setdefault(entry["comparable_key"], _column(entry, card))
    rows = [_row(seeds, columns) for seeds in _by_weights(complete)]
    names = [row.name for row in rows]
    rows = [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name} ({_source(row.card)})") for row in rows
    ]
    groups = []
    for relation, title in GROUPS.items():
        group = [row for row in rows if row.relation == relation]
        keys = [column for column in columns if any(row.key == column for row in group)]  # one order for each key
        group.sort(
            key=lambda row: (keys.index(row.key), row.order, row.name) if relation == "=" else (0, 0.0, row.name)
        )
        if group:
            groups.append((title, group))
    failed = [card for card in members if card["status"] != "ok"]
    partial = [card for card in members if card["status"] == "ok" and card.get("partial")]
    missing = [entry for card in complete for entry in card["metrics"] if entry.get("status") == "skipped"]
    skipped = sorted({f"{entry['id']}: {entry['params']['reason']}" for entry in missing})
    return Table(task, _order(list(columns.values())), groups, failed, partial, skipped)


def _by_weights(complete: list[cards.Card]) -> list[list[cards.Card]]:
    """Cards that differ in their sampling seed only, together: one row of the table."""
    found: dict[tuple[Any, ...], list[cards.Card]] = {}
    for card in sorted(complete, key=cards.seed):
        found.setdefault((card["model"]["name"], card["model"]["tag"], _source(card)), []).append(card)
    return list(found.values())


def _source(card: cards.Card) -> str:
    """What tells rows of one model apart: where the weights are from."""
    weights = card["model"].get("weights") or {}
    return f"{weights.get('source', '?')}, {weights.get('sha256', '?')[:8]}"


def _column(entry: dict[str, Any], card: cards.Card) -> Column:
    reference = entry["params"].get("reference")
    title = cards.title(card, entry) + (f" ({reference})" if reference else "")
    n = entry["params"].get("n") if reference else None
    title += f", N={n}" if n else ""
    title += " ↑" if entry["higher_is_better"] and not is_flag(entry) else ""
    return Column(entry["comparable_key"], title, entry["unit"], 2 if entry["unit"] == "nats/image" else 4)


def is_flag(entry: dict[str, Any]) -> bool:
    """Whether the metric warns of something, and says nothing about better or worse."""
    return "flag" in entry["params"]


def _order(columns: list[Column]) -> list[Column]:
    """Likelihoods first, as the task lists them; then the rest by title."""
    return sorted(columns, key=lambda column: ("", "") if _is_likelihood(column) else ("rest", column.title))


def _is_likelihood(column: Column) -> bool:
    return column.unit in ("bits/dim", "nats/image")


def _row(seeds: list[cards.Card], columns: dict[str, Column]) -> Row:
    card, by_key = seeds[0], {}
    for entry in (entry for one in seeds for entry in one["metrics"] if entry["comparable_key"] in columns):
        by_key.setdefault(entry["comparable_key"], []).append(entry)
    values = {key: _over_seeds(entries) for key, entries in by_key.items()}
    likelihoods = [entry for entry in card["metrics"] if entry["relation"]]
    relation = likelihoods[0]["relation"] if likelihoods else None
    order, key = (likelihoods[0]["value"], likelihoods[0]["comparable_key"]) if likelihoods else (None, "")
    return Row(card["model"]["name"], relation, key, math.inf if order is None else order, values, card)


def _over_seeds(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry for several of one metric: the mean, and the standard deviation over the seeds as the interval."""
    values = [entry["value"] for entry in entries]
    if len(entries) == 1 or None in values:
        return entries[0] if len(entries) == 1 else entries[values.index(None)]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    method = f"standard deviation over {len(values)} seeds"
    interval = {"low": mean - deviation, "high": mean + deviation, "method": method, "n": len(values)}
    return {**entries[0], "value": mean, "interval": interval, "params": {**entries[0]["params"], "seeds": len(values)}}


def _cell(entry: dict[str, Any] | None, column: Column) -> str:
    if entry is None:
        return "not measured"
    if entry["value"] is None:
        status = entry.get("status", "failed")
        return status if status == "skipped" else f"failed: {entry['params'].get('reason', 'no value')}"
    half = _interval(entry, column.digits)
    relation = f"{entry['relation']} " if entry["relation"] else ""
    seeds = f" ({entry['params']['seeds']} seeds)" if "seeds" in entry["params"] else ""
    flag = (" flagged" if entry["params"]["flag"] else " not flagged") if is_flag(entry) else ""
    return f"{relation}{entry['value']:.{column.digits}f}{half}{seeds}{flag}"


def _interval(entry: dict[str, Any], digits: int) -> str:
    """` ± 0.01`, or the ends of an interval that is not symmetric about the value."""
    if not (interval := entry["interval"]):
        return ""
    low, high = interval["low"], interval["high"]
    if math.isclose((low + high) / 2, entry["value"], abs_tol=0.01 * (high - low) + 1e-12):
        return f" ± {(high - low) / 2:.{digits}f}"
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def _method(row: Row) -> str:
    methods = [entry["params"]["method"] for entry in row.card["metrics"] if "method" in entry["params"]]
    return methods[0] if methods else "—"


def _header(table: Table) -> list[str]:
    titles = [f"{column.title} [{column.unit}]" if column.unit else column.title for column in table.columns]
    return ["model", "family", *titles, "method", "params", "images seen"]


def _cells(row: Row, table: Table) -> list[str]:
    card = row.card
    params = card["model"].get("params")
    seen = card["model"].get("images_seen")
    return [
        row.name,
        card["model"]["family"],
        *(_cell(row.values.get(column.key), column) for column in table.columns),
        _method(row),
        "—" if params is None else f"{params:,}",
        "—" if seen is None else f"{seen:,}",
    ]


def _markdown(table: Table) -> str:
    header = _header(table)
    lines = [f"**{table.task}**", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for title, rows in table.groups:
        lines.append(f"| *{title}* |" + " |" * (len(header) - 1))
        lines += ["| " + " | ".join(_cells(row, table)) + " |" for row in rows]
    lines += [f"\n{line}" for line in _below(table)]
    return "\n".join(lines) + "\n"


def _below(table: Table) -> list[str]:
    """What is not in the table, and why."""
    lines = [f"{_name(card)}: {card['status']}: {card['error']}" for card in table.failed]
    for reason in table.skipped:
        lines.append(f"skipped: {reason}")
    for card in table.partial:
        first = card["metrics"][0] if card["metrics"] else None
        value = f", {first['id']} {first['relation'] or ''} {first['value']}" if first else ""
        lines.append(f"{_name(card)}: not in the table, because it is partial{value}")
    return lines


def _name(card: cards.Card) -> str:
    return f"{card['model']['name']}.{card['model']['tag']}"


def _terminal(table: Table, width: int | None) -> str:
    """One drawn table a group, with equal columns: what stands in different groups is not to be compared by eye."""
    header = [title.replace(", N=", "\nN=") for title in _header(table)]
    likelihoods = [i for i, column in enumerate(table.columns, 2) if _is_likelihood(column)]
    hidden = {header[1], header[-1], *(header[i] for i in likelihoods[1:])}  # the same likelihood in another unit
    shown = [i for i, title in enumerate(header) if title not in hidden]
    cells = [[_cells(row, table) for row in rows] for _, rows in table.groups]
    everything = [header, *(row for rows in cells for row in rows)]
    widths = {i: max(len(line) for row in everything for line in row[i].split("\n")) for i in shown}
    buffer = io.StringIO()
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    pieces = _pieces(shown, widths, width)
    console = Console(file=buffer, width=max(sum(widths[i] + 3 for i in piece) for piece in pieces) + 3)
    console.print(
        f"[bold]{table.task}[/bold]: lower is better but where ↑ says so; intervals are 95 % (over seeds: one standard "
        "deviation)"
    )
    for (title, _), rows in zip(table.groups, cells):
        for piece in pieces:
            drawn = RichTable(title=title, title_justify="left", box=SIMPLE_HEAD)
            for i in piece:
                drawn.add_column(header[i], min_width=widths[i], justify="left" if i == 0 else "right")
            for row in rows:
                drawn.add_row(*(row[i] for i in piece))
            console.print(drawn)
    for line in _below(table):
        console.print(line, markup=False, highlight=False)
    return buffer.getvalue()


def _pieces(shown: list[int], widths: Mapping[int, int], room: int | None) -> list[list[int]]:
    """Columns that fit beside each other, the first in every piece; all of them where the room is not known."""
    first, *rest = shown
    pieces = [[first]]
    for i in rest:
        taken = sum(widths[j] + 3 for j in [*pieces[-1], i]) + 3
        if room is not None and taken > room and len(pieces[-1]) > 1:
            pieces.append([first])
        pieces[-1].append(i)
    return pieces


def _csv(found: list[Table]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_HEADER)
    for table in found:
        for _, rows in table.groups:
            for row in rows:
                for entry in row.values.values():
                    interval = entry["interval"] or {"low": "", "high": ""}
                    params = entry["params"]
                    writer.writerow(
                        [
                            table.task,
                            row.name,
                            row.card["model"]["tag"],
                            row.card["model"]["family"],
                            row.card["status"],
                            entry["id"],
                            params.get("reference", ""),
                            entry["relation"] or "",
                            entry["value"],
                            interval["low"],
                            interval["high"],
                            entry["unit"],
                            params.get("method", ""),
                            entry["comparable_key"],
                        ]
                    )
        for card in table.failed:
            model = card["model"]
            writer.writerow([table.task, model["name"], model["tag"], model["family"], card["status"], *[""] * 9])
    return buffer.getvalue()


_BLOCK = re.compile(
    r"(<!-- begin (?P<kind>results|published|across): (?P<what>[^ ]+) -->\n).*?(<!-- end (?P=kind) -->)", re.DOTALL
)


def fill_blocks(path: str | Path, found: Sequence[cards.Card], *, check: bool = False) -> bool:
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
            chosen = [card for card in found if card["task"]["id"].startswith(f"{what}/")]
        else:
            chosen = [card for card in found if card["model"]["name"] == what]
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
