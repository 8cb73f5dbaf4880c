"""Tables from cards: grouped by relation, an interval beside every value, never ranking what is not comparable.

    from zoo_bench import report
    print(report(["runs/quick"], form="markdown"))

A column holds values of one `comparable_key` only. A table is led by its first likelihood, that most rows have: whether
a row is exact, a bound or an estimate is said of that likelihood, here and in the page (`htmlreport`). Exact values are
ordered; bounds and estimates are listed by name, because no order between them is known.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zoo_bench import across, cards, comma_separated, floors, markdown, published, terminal, unmeasured
from zoo_core.errors import ZooError
from zoo_core.sampling import atomic

Form = Literal["terminal", "markdown", "csv"]

GROUPS = {
    "=": "exact likelihood (=), best first",
    "≤": "upper bounds on the negative log-likelihood (≤), by name: bounds are not ordered",
    "≈": "estimates (≈), by name: not ordered",
    None: "no likelihood, by name",
}


@dataclass(frozen=True)
class Column:
    """One comparable key: a metric under one protocol.

    relational: its values are exact, bounds or estimates. better: None where nothing is: a flag, or no value at all.
    """

    key: str
    title: str
    unit: str
    digits: int
    id: str
    version: int
    reference: str | None
    conditioning: str
    relational: bool
    better: Literal["higher", "lower"] | None
    flag: bool


@dataclass(frozen=True)
class Row:
    """The cards of one model, one a sampling seed, with what they measured by key; the first stands for all.

    relation, order: of its likelihood under `key`; rows with the same `key` are ordered by it, and no others. That is
    the first likelihood column it has a value in, or, without a likelihood, another metric with a relation (kl, tv).
    """

    name: str
    relation: str | None
    key: str
    order: float
    values: dict[str, dict[str, Any]]
    card: cards.Card


@dataclass(frozen=True)
class Table:
    """All complete cards of one task. lead: the key of the column that the rows are ordered by, where there is one."""

    task: str
    columns: list[Column]
    lead: str | None
    groups: list[tuple[str, list[Row]]]
    failed: list[cards.Card]
    partial: list[cards.Card]
    unmeasured: list[str]


def report(paths: str | Path | Iterable[str | Path], *, form: Form = "markdown", width: int | None = None) -> str:
    """The tables of all cards in `paths` (files, or folders with cards) as text."""
    found = tables(cards.read_all(paths))
    if not found:
        where = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
        raise ZooError(f"no result cards in {where}; `zoo bench quick` makes some")
    if form == "csv":
        return comma_separated.text(found)
    if form == "markdown":
        return "\n".join(_markdown(table) for table in found)
    return "\n".join(_terminal(table, width) for table in found)


def tables(found: Sequence[cards.Card]) -> list[Table]:
    """Cards by task, with the floor and the copycat beside samples; partial cards stay out, failed ones are named."""
    by_task: dict[str, list[cards.Card]] = {}
    for card in floors.completed(found):
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
    found: dict[str, list[tuple[dict[str, Any], cards.Card]]] = {}
    for card in complete:
        for entry in card["metrics"]:
            found.setdefault(entry["comparable_key"], []).append((entry, card))
    homes = unmeasured.homes(found)
    members_of_rows = _by_weights(complete)
    values = [unmeasured.place(_values(seeds), homes) for seeds in members_of_rows]
    shown = (pairs for key, pairs in found.items() if key in homes.get(key, [key]))
    columns = _order([_column(*min(pairs, key=_typical)) for pairs in shown], values)
    leads = _leads(columns, values)
    rows = [_row(seeds, row, leads) for seeds, row in zip(members_of_rows, values)]
    rows = _apart(rows)
    groups = []
    for relation, title in GROUPS.items():
        group = [row for row in rows if row.relation == relation]
        if relation == "=":
            group.sort(key=lambda row: (leads.index(row.key), row.order, row.name))
        else:
            group.sort(key=lambda row: row.name)
        if group:
            groups.append((title, group))
    failed = [card for card in members if card["status"] != "ok"]
    partial = [card for card in members if card["status"] == "ok" and card.get("partial")]
    reasons = {
        _reason(entry, card) for card in complete for entry in card["metrics"] if unmeasured.is_unmeasured(entry)
    }
    return Table(task, columns, leads[0] if leads else None, groups, failed, partial, sorted(reasons))


def _reason(entry: dict[str, Any], card: cards.Card) -> str:
    """Why there is no number. What is missing is missing for all models, what fails is a model's own."""
    reason = f"{entry['id']}: {entry['params'].get('reason', 'no reason given')}"
    return f"skipped: {reason}" if entry.get("status") == "skipped" else f"{_name(card)}: no {reason}"


def _by_weights(complete: list[cards.Card]) -> list[list[cards.Card]]:
    """Cards that differ in their sampling seed only, together: one row of the table."""
    found: dict[str, list[cards.Card]] = {}
    for card in sorted(complete, key=cards.seed):
        found.setdefault(cards.row_of(card), []).append(card)
    return list(found.values())


def _apart(rows: list[Row]) -> list[Row]:
    """Rows of one name, called by what tells them apart: where their weights or images are from, else by a digest."""
    names = [row.name for row in rows]
    rows = [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name} ({_source(row.card)})") for row in rows
    ]
    names = [row.name for row in rows]
    return [
        row if names.count(row.name) == 1 else replace(row, name=f"{row.name[:-1]}, row {cards.row_of(row.card)[:6]})")
        for row in rows
    ]


def _source(card: cards.Card) -> str:
    """What tells rows of one name apart: where the weights are from, or the images."""
    weights, sampling = card["model"].get("weights") or {}, card.get("sampling") or {}
    if weights:
        return f"{weights['source']}, {weights['sha256'][:8]}"
    drawn = str(sampling.get("weights") or sampling.get("sha256") or "?")[:8]
    return f"{sampling.get('model', card['model']['family'])}, {drawn}"


def _typical(pair: tuple[dict[str, Any], cards.Card]) -> tuple[bool, ...]:
    """Least for the entry that its column is named by: one with a relation, with a value."""
    entry, _ = pair
    return entry["relation"] is None, entry["value"] is None


def _column(entry: dict[str, Any], card: cards.Card) -> Column:
    params = entry["params"]
    reference = params.get("reference")
    better: Literal["higher", "lower"] | None = "higher" if entry["higher_is_better"] else "lower"
    better = None if is_flag(entry) or unmeasured.is_unmeasured(entry) else better
    title = cards.title(card, entry) + (f" ({reference})" if reference else "")
    n = params.get("images", params.get("n"))  # of precision and recall, as many on either side as there are of both
    title += f", N={n}" if reference and n else ""
    return Column(
        key=entry["comparable_key"],
        title=title + (" ↑" if better == "higher" else ""),
        unit=entry["unit"],
        digits=2 if entry["unit"] == "nats/image" else 4,
        id=entry["id"],
        version=entry["version"],
        reference=reference,
        conditioning=card["model"].get("conditioning") or "none",
        relational=bool(entry["relation"]),
        better=better,
        flag=is_flag(entry),
    )


def is_flag(entry: dict[str, Any]) -> bool:
    """Whether the metric warns of something, and says nothing about better or worse."""
    return "flag" in entry["params"]


def _order(columns: list[Column], rows: list[dict[str, Any]]) -> list[Column]:
    """Likelihoods first, those of most rows before the others, then as the task lists them; the rest by title."""

    def place(column: Column) -> tuple[int, int, str]:
        return (0, -_rows_with(column, rows), "") if _is_likelihood(column) else (1, 0, column.title)

    return sorted(columns, key=place)


def _rows_with(column: Column, rows: list[dict[str, Any]]) -> int:
    return sum(bool(column.key in row and row[column.key]["relation"]) for row in rows)


def _is_likelihood(column: Column) -> bool:
    return column.unit in ("bits/dim", "nats/image")


def _leads(columns: list[Column], rows: list[dict[str, Any]]) -> list[str]:
    """The keys that may order rows, best first: likelihoods as they are shown, then other metrics with a relation."""
    likelihoods = [column for column in columns if _is_likelihood(column)]
    others = [column for column in columns if column.relational and column not in likelihoods]
    return [column.key for column in [*likelihoods, *sorted(others, key=lambda column: -_rows_with(column, rows))]]


def _values(seeds: list[cards.Card]) -> dict[str, dict[str, Any]]:
    """What the cards of a row measured, by key."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for entry in (entry for one in seeds for entry in one["metrics"]):
        by_key.setdefault(entry["comparable_key"], []).append(entry)
    for entries in by_key.values():
        kinds = {(entry["relation"], entry["params"].get("method")) for entry in entries if not is_flag(entry)}
        if len(kinds) > 1:
            told = " and ".join(sorted(f"{relation or ''} {method or ''}".strip() for relation, method in kinds))
            raise ZooError(
                f"{_name(seeds[0])}: its cards of several sampling seeds hold {entries[0]['id']} as {told}, which have "
                "no mean; evaluate it again"
            )
    return {key: _over_seeds(entries) for key, entries in by_key.items()}


def _row(seeds: list[cards.Card], values: dict[str, dict[str, Any]], leads: list[str]) -> Row:
    card = seeds[0]
    key = next((key for key in leads if key in values and values[key]["relation"]), "")
    entry = values.get(key, {"relation": None, "value": None, "higher_is_better": False})
    order = math.inf if entry["value"] is None else -entry["value"] if entry["higher_is_better"] else entry["value"]
    return Row(card["model"]["name"], entry["relation"], key, order, values, card)


def _over_seeds(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry for several of one metric: the mean, and the standard deviation over the seeds as the interval."""
    values = [entry["value"] for entry in entries]
    if len(entries) == 1 or None in values:
        return entries[0] if len(entries) == 1 else entries[values.index(None)]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    method = f"standard deviation over {len(values)} seeds"
    interval = {"low": mean - deviation, "high": mean + deviation, "method": method, "n": len(values)}
    params = {**entries[0]["params"], "seeds": len(values)}
    for key in ("warning", "flag"):  # of any of them
        if found := [entry["params"][key] for entry in entries if entry["params"].get(key)]:
            params[key] = found[0]
    return {**entries[0], "value": mean, "interval": interval, "params": params}


def _cell(entry: dict[str, Any] | None, column: Column) -> str:
    if entry is None:
        return "not measured"
    if unmeasured.is_unmeasured(entry):  # why, is said below the table
        return str(entry.get("status", "failed"))
    if entry["value"] is None:
        return f"failed: {entry['params'].get('reason', 'no value')}"
    half = _interval(entry, column.digits)
    relation = f"{entry['relation']} " if entry["relation"] else ""
    seeds = f" sd ({entry['params']['seeds']} seeds)" if "seeds" in entry["params"] else ""
    flag = (" flagged" if entry["params"]["flag"] else " not flagged") if is_flag(entry) else ""
    warning = " !" if entry["params"].get("warning") else ""
    return f"{relation}{entry['value']:.{column.digits}f}{half}{seeds}{flag}{warning}"


def _interval(entry: dict[str, Any], digits: int) -> str:
    """` ± 0.01`, or the ends of an interval that is not symmetric about the value."""
    if not (interval := entry["interval"]):
        return ""
    low, high = interval["low"], interval["high"]
    if math.isclose((low + high) / 2, entry["value"], abs_tol=0.01 * (high - low) + 1e-12):
        return f" ± {(high - low) / 2:.{digits}f}"
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def method(row: Row) -> str | None:
    """How the likelihood was computed that says where the row stands."""
    entries = [row.values[row.key]] if row.key else row.card["metrics"]
    return next((entry["params"]["method"] for entry in entries if "method" in entry["params"]), None)


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
        method(row) or "—",
        "—" if params is None else f"{params:,}",
        "—" if seen is None else f"{seen:,}",
    ]


def _markdown(table: Table) -> str:
    header = _header(table)
    lines = [f"**{markdown.escaped(table.task)}**", "", markdown.row(header), "|" + "---|" * len(header)]
    for title, rows in table.groups:
        lines.append(f"| *{title}* |" + " |" * (len(header) - 1))
        lines += [markdown.row(_cells(row, table)) for row in rows]
    legend = _legend(table)
    lines += [f"\n{markdown.escaped(line)}" for line in [f"{legend[0].upper()}{legend[1:]}.", *below(table)]]
    return "\n".join(lines) + "\n"


def _legend(table: Table) -> str:
    """How to read the numbers: which is better, and what the intervals are."""
    parts = ["lower is better but where ↑ says so"]
    seeds = ["seeds" in entry["params"] for entry in _entries(table) if entry["interval"]]
    if False in seeds:
        parts.append("± or [low, high] is a 95 % interval")
    if True in seeds:
        parts.append("± … sd is one standard deviation over sampling seeds")
    if any(column.flag for column in table.columns):
        parts.append("a flag warns and ranks nothing")
    return "; ".join(parts)


def _entries(table: Table) -> list[dict[str, Any]]:
    return [entry for _, rows in table.groups for row in rows for entry in row.values.values()]


def below(table: Table) -> list[str]:
    """What the marks warn of, and what is not in the table, and why."""
    warned: dict[str, dict[str, None]] = {}
    for entry in _entries(table):
        if entry["params"].get("warning") and entry["value"] is not None:
            warned.setdefault(entry["params"]["warning"], {})[entry["id"]] = None
    lines = [f"! {', '.join(ids)}: {warning}" for warning, ids in warned.items()]
    lines += [f"{_name(card)}: {card['status']}: {card['error']}" for card in table.failed]
    lines += table.unmeasured
    if bare := floors.lacking(table):
        lines.append(f"no floor in {', '.join(bare)}: zoo bench of this task scores training images as samples")
    for card in table.partial:
        first = card["metrics"][0] if card["metrics"] else None
        value = f", {first['id']} {first['relation'] or ''} {first['value']}" if first else ""
        lines.append(f"{_name(card)}: not in the table, because it is partial{value}")
    return lines


def _name(card: cards.Card) -> str:
    tag = card["model"]["tag"]
    return f"{card['model']['name']}.{tag}" if tag else str(card["model"]["name"])


def _terminal(table: Table, width: int | None) -> str:
    """Without the family, the images seen, and a likelihood whose rows have it in another unit already."""
    header, rows = _header(table), [row for _, group in table.groups for row in group]
    seen: list[set[str]] = []
    hidden = {header.index("family"), len(header) - 1}
    for i, column in enumerate(table.columns, 2):
        if _is_likelihood(column):
            having = {row.name for row in rows if column.key in row.values}
            hidden |= {i} if any(having <= before for before in seen) else set()
            seen.append(having)
    shown = [i for i in range(len(header)) if i not in hidden]

    def chosen(row: Sequence[str]) -> list[str]:
        return [row[i] for i in shown]

    groups = [(title, [chosen(_cells(row, table)) for row in group]) for title, group in table.groups]
    return terminal.draw(f"{table.task}: {_legend(table)}", chosen(header), groups, below(table), width)


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
