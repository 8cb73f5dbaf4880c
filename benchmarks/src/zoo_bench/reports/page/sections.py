"""The sections of the page as HTML: tables, frames for the charts, galleries. Whatever a card says is escaped here.

A view is plain JSON that `htmlreport` made of cards; page.js reads the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

View = dict[str, Any]

HUMAN = ("bradley_terry", "plackett_luce")
RELATIONS = {
    "=": "The value itself: the model says exactly how probable each image is.",
    "≤": "A bound: the truth is at most the number shown, and nobody knows how far below it.",
    "≈": "An estimate: a solver or sampled chains stand between the model and the number, which errs to either side.",
}
GROUPS = {
    "=": "exact values (=), in order",
    "≤": "upper bounds (≤), by name: bounds are not ordered",
    "≈": "estimates (≈), by name: not ordered",
    None: "no value under this key, by name",
}
WIDE = 400  # pixels: pictures that need more room than a grid of samples
MARKS = {
    "floor": "real images scored as samples: training images against the test images are the floor",
    "constructed": "built to show what a metric does not see; no model anybody would use",
    "samples": "images from elsewhere; only they were seen, not the model",
    "baseline": "a closed-form anchor",
}
COSTS = {
    "params": ("parameters", "", False),
    "training_seconds": ("training", "s", True),
    "sampling_images_per_second": ("sampling", "images/s", True),
    "likelihood_images_per_second": ("likelihood", "images/s", True),
    "training_images_per_second": ("training rate", "images/s", True),
    "peak_memory_mb": ("peak memory", "MB", True),
    "images_seen": ("images seen", "", False),
}


def ordered(rows: Sequence[View], columns: Sequence[View], lead: int | None) -> list[tuple[str, list[int]]]:
    """Groups of rows, by their numbers, sorted by column `lead`, best first: titles and members. As page.js does it."""
    column = None if lead is None else columns[lead]
    cells = [row["cells"].get(str(lead), {}) for row in rows]
    sign = -1 if column and column["higher"] else 1

    def by_name(i: int) -> str:
        return str(rows[i]["label"])

    def by_value(i: int) -> tuple[float, str]:
        value = cells[i].get("value")
        return math.inf if value is None else sign * value, by_name(i)

    everyone = range(len(rows))
    if column is None:
        found = [("no likelihood, by name", sorted(everyone, key=by_name))]
    elif column["relational"]:
        groups = {relation: [i for i in everyone if cells[i].get("relation") == relation] for relation in GROUPS}
        found = [
            (GROUPS[relation], sorted(members, key=by_value if relation == "=" else by_name))
            for relation, members in groups.items()
        ]
    else:
        there, absent = ([i for i in everyone if ("value" in cells[i]) == has] for has in (True, False))
        how, key = ("a warning, no score; by name", by_name) if column["flag"] else ("one key, in order", by_value)
        found = [
            (f"all rows with {column['title']}: {how}", sorted(there, key=key)),
            ("no value, by name", sorted(absent, key=by_name)),
        ]
    return [(title, members) for title, members in found if members]


def leaderboard(number: int, task: View) -> str:
    """A task's table, what is not in it, and published values."""
    shown = [i for i, column in enumerate(task["columns"]) if not column["human"]]
    if task["columns"] and not shown:  # people's scores alone, which have a section of their own
        return ""
    below = "".join(f"<li>{escape(line)}</li>" for line in task["below"])
    below = f'<ul class="below" aria-label="Below the table">{below}</ul>' if below else ""
    table = _table(number, task, shown) if task["rows"] else '<p class="note">No complete card.</p>'
    return (
        f'<section class="task" data-task="{escape(task["id"])}" aria-labelledby="task{number}">'
        f'<h3 id="task{number}">{escape(task["id"])}</h3><p class="facts">{escape(task["facts"])}</p>'
        f"{table}{below}{_published(number, task)}</section>"
    )


def _table(number: int, task: View, shown: Sequence[int], human: bool = False) -> str:
    columns, rows = task["columns"], task["rows"]
    lead = shown[0] if human else task["lead"]
    heads = [_head("model", "model")]
    for i in shown:
        column = columns[i]
        better, arrow = "a warning, no score" if column["flag"] else "no value", ""
        if column["better"]:
            better = f"{column['better']} is better"
            arrow = f'<span class="better" title="{better}">{"↑" if column["higher"] else "↓"}</span>'
        unit = f'<span class="unit">{escape(column["unit"])}</span>' if column["unit"] else ""
        name, _, rest = column["title"].removesuffix(" ↑").partition(" ")
        title = (
            f'<span class="metric">{escape(name)}</span>{arrow}'
            + (f'<span class="unit">{escape(rest)}</span>' if rest else "")
            + unit
        )
        aria = f' aria-sort="{"descending" if column["higher"] else "ascending"}"' if i == lead else ""
        heads.append(_head(str(i), title, f' class="number"{aria}', f"{column['title']}, {better}"))
    if not human:
        heads.append('<th scope="col" class="text"><span>method</span></th>')
        heads.append(_head("params", "parameters", ' class="number"'))
    heads.append(_head("family", "family"))
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    width = len(shown) + (2 if human else 4)
    members = [row for row in rows if not human or any(str(i) in row["cells"] for i in shown)]
    numbers = [rows.index(row) for row in members]
    bodies = []
    for title, group in ordered(members, columns, lead):
        band = f'<tr class="band"><th colspan="{width}" scope="rowgroup"><span>{escape(title)}</span></th></tr>'
        bodies.append(
            "<tbody>" + band + "".join(_line(numbers[i], members[i], columns, shown, human) for i in group) + "</tbody>"
        )
    what = "Human judgement" if human else "Leaderboard"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{what} of {escape(task["id"])}, scrolls sideways">'
        f'<table class="board" data-t="{number}" data-lead="{"" if lead is None else lead}">{head}{"".join(bodies)}'
        f'</table></div><p class="order" role="status"></p>'
    )


def _head(sort: str, title: str, attributes: str = "", label: str | None = None) -> str:
    aria = f' aria-label="Sort by {escape(label or title)}"'
    return f'<th scope="col"{attributes}><button type="button" data-sort="{sort}"{aria}>{title}</button></th>'


def _line(number: int, row: View, columns: Sequence[View], shown: Sequence[int], human: bool) -> str:
    what = row["mark"]
    mark = f' <span class="mark {what}" title="{escape(MARKS[what])}">{what}</span>' if what else ""
    tag = f'<wbr><span class="tag">.{escape(str(row["tag"]))}</span>' if row["tag"] else ""
    twin = f" <code>{escape(row['source'] or 'no weights')}</code>" if row["twin"] else ""
    name = f'<th scope="row"><span class="name">{_breakable(row["name"])}{tag}</span>{twin}{mark}</th>'
    cells = "".join(f'<td class="number">{_button(i, row["cells"].get(str(i)), columns[i])}</td>' for i in shown)
    if not human:
        params = "—" if row["costs"]["params"] is None else f"{row['costs']['params']:,}"
        cells += f'<td class="text">{escape(str(row["method"] or "—"))}</td><td class="number">{params}</td>'
    family = f'<td class="text">{escape(row["family"])}</td>'
    return f'<tr data-r="{number}"{_attributes(row)}>{name}{cells}{family}</tr>'


def _breakable(name: str) -> str:
    """A name that may be broken behind an underscore and before a dot."""
    return escape(str(name)).replace("_", "_<wbr>").replace(".", "<wbr>.")


def _attributes(row: View) -> str:
    """What the filters look at."""
    values = {"model": row["label"], "family": row["family"], "relation": row["relation"] or "none"}
    return "".join(f' data-{name}="{escape(str(value))}"' for name, value in values.items())


def _button(i: int, cell: View | None, column: View) -> str:
    if cell is None:
        return '<span class="absent">not measured</span>'
    opens = (
        f'<button type="button" class="cell" tabindex="-1" data-c="{i}" aria-haspopup="dialog" aria-expanded="false">'
    )
    if "status" in cell:
        reason = "" if "filled" in cell else f": {cell['params'].get('reason', 'no value')}"
        return f'{opens}<span class="absent {cell["status"]}">{cell["status"]}{escape(reason)}</span></button>'
    digits, interval = column["digits"], cell.get("interval")
    half = _interval(cell["value"], interval["low"], interval["high"], digits) if interval else ""
    sign = f'<span class="sign">{cell["relation"]}</span> ' if "relation" in cell else ""
    seeds = f'<span class="seeds"> sd, {len(cell["seeds"])} seeds</span>' if "seeds" in cell else ""
    warning = cell["params"].get("warning")
    marks = f'<abbr class="warning" title="{escape(warning)}"> !</abbr>' if warning else ""
    marks += '<span class="warning"> flagged</span>' if cell["params"].get("flag") else ""
    return f'{opens}{sign}{cell["value"]:.{digits}f}<span class="half"> {half}</span>{seeds}{marks}</button>'


def _interval(value: float, low: float, high: float, digits: int) -> str:
    """Half of a symmetric interval; both ends of any other one. page.js does the same."""
    if abs((low + high) / 2 - value) <= 0.01 * (high - low):
        return f"± {(high - low) / 2:.{digits}f}"
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _published(number: int, task: View) -> str:
    """Published values beside ours, each with its own protocol; in no column that is ordered."""
    lines = []
    for r, row in enumerate(task["rows"]):
        for entry in row["published"]:
            value, unit = str(entry["value"]), entry["unit"]
            same = [
                i
                for i, column in enumerate(task["columns"])
                if column["unit"] == unit and column["relational"] and str(i) in row["cells"]
            ]
            ours = _button(same[0], row["cells"][str(same[0])], task["columns"][same[0]]) if same else "—"
            lines.append(
                f'<tr data-r="{r}"{_attributes(row)}>'
                f'<th scope="row"><span class="name">{_breakable(row["label"])}</span></th>'
                f'<td class="number">{ours}</td><td class="number">{escape(value)}</td>'
                f'<td class="text">{escape(unit)}</td>'
                f'<td class="prose">{escape(entry["protocol"])}</td>'
                f'<td class="prose">{_linked(entry["source"])}</td></tr>'
            )
    if not lines:
        return ""
    titles = ("model", "ours", "published", "unit", "their protocol", "source")
    kinds = ("text", "number", "number", "text", "text", "text")
    heads = "".join(f'<th scope="col" class="{kind}">{title}</th>' for kind, title in zip(kinds, titles))
    return (
        '<div class="published"><h4>Published, beside ours</h4><p class="note">Another protocol is another quantity: '
        "these values are in no ranked column.</p>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="Published values of {escape(task["id"])}">'
        f'<table class="aside" data-t="{number}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></div>"
    )


_URL = re.compile(r"https?://[^\s<>\"')\]]+")


def _linked(text: str) -> str:
    """Text with its web addresses as links; nothing else ever becomes an address."""
    parts, end = [], 0
    for match in _URL.finditer(text):
        parts.append(escape(text[end : match.start()]))
        parts.append(f'<a href="{escape(match[0])}" rel="noopener noreferrer">{escape(match[0])}</a>')
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def judged(number: int, task: View) -> str:
    """People's scores of a task: a table of its own."""
    shown = [i for i, column in enumerate(task["columns"]) if column["human"]]
    if not shown:
        return ""
    table = _table(number, task, shown, human=True)
    return f'<section class="task" data-task="{escape(task["id"])}"><h3>{escape(task["id"])}</h3>{table}</section>'


def scatter(number: int, task: View) -> str:
    """The frame of likelihood against sample quality; nothing where a task has only one of them."""
    x = [i for i, column in enumerate(task["columns"]) if column["relational"]]
    y = [
        i for i, column in enumerate(task["columns"]) if not (column["relational"] or column["human"] or column["flag"])
    ]
    if not x or not y:
        return ""
    likelihood = next((i for i in x if task["columns"][i]["title"] == "bits_per_dim"), task["lead"])
    return _plot(
        number,
        task,
        "scatter",
        _select("x", "likelihood", _options(task, x, likelihood))
        + _select("y", "sample quality", _options(task, y, distance(task, y))),
    )


def cost(number: int, task: View) -> str:
    """The frame of cost against quality, and what was measured, by environment."""
    quality = [i for i, column in enumerate(task["columns"]) if not (column["human"] or column["flag"])]
    if not quality:
        return ""
    there = [key for key in COSTS if any(row["costs"][key] is not None for row in task["rows"])]
    if not there:
        return ""
    options = "".join(f'<option value="{key}">{_cost_title(key)}</option>' for key in there)
    chosen = _options(task, quality, distance(task, quality))
    return _plot(
        number, task, "cost", _select("x", "cost", options) + _select("y", "quality", chosen), _costs(task, there)
    )


def distance(task: View, among: Sequence[int]) -> int:
    """The column to begin with: the first Fréchet distance to the training set, any other one, or the first of all."""
    columns = task["columns"]
    distances = [
        i for i in among if columns[i]["id"].startswith(("fd_", "fid")) and columns[i]["conditioning"] == "none"
    ]
    return next((i for i in distances if columns[i]["reference"] == "train"), [*distances, *among][0])


def _plot(number: int, task: View, kind: str, controls: str, below: str = "") -> str:
    name = escape(task["id"])
    return (
        f'<figure class="plot" data-task="{name}" data-t="{number}" data-kind="{kind}">'
        f'<figcaption><h3>{name}</h3><div class="controls">{controls}</div></figcaption>'
        f'<div class="canvas"></div><p class="note" role="status"></p>{below}</figure>'
    )


def _select(name: str, title: str, options: str) -> str:
    return f'<label>{title} <select data-axis="{name}">{options}</select></label>'


def _options(task: View, among: Sequence[int], chosen: int | None) -> str:
    return "".join(
        f'<option value="{i}"{" selected" if i == chosen else ""}>{escape(_title(task["columns"][i]))}</option>'
        for i in among
    )


def _title(column: View) -> str:
    return f"{column['title']} [{column['unit']}]" if column["unit"] else str(column["title"])


def _cost_title(key: str) -> str:
    title, unit, _ = COSTS[key]
    return f"{title} [{unit}]" if unit else title


def _costs(task: View, there: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col" class="number">{_cost_title(key)}</th>' for key in there)
    machines: dict[str, list[View]] = {}
    for row in sorted(task["rows"], key=lambda row: row["label"]):
        if any(value is not None for value in row["costs"].values()):
            machines.setdefault(row["machine"], []).append(row)
    bodies = []
    for machine, rows in sorted(machines.items()):
        lines = "".join(
            f'<tr{_attributes(row)}><th scope="row"><span class="name">{_breakable(row["label"])}</span></th>'
            + "".join(f'<td class="number">{_plain(row["costs"][key])}</td>' for key in there)
            + "</tr>"
            for row in rows
        )
        band = (
            f'<tr class="band"><th colspan="{len(there) + 1}" scope="rowgroup"><span>{escape(machine)}</span></th></tr>'
        )
        bodies.append(f"<tbody>{band}{lines}</tbody>")
    return (
        "<details><summary>The measurements, by environment and by name</summary>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="Cost, {escape(task["id"])}"><table class="aside">'
        f'<thead><tr><th scope="col">model</th>{heads}</tr></thead>{"".join(bodies)}</table></div></details>'
    )


def _plain(value: float | None) -> str:
    if value is None:
        return '<span class="absent">not measured</span>'
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.2f}"


def gallery(tasks: Sequence[View], left_out: int) -> str:
    """All pictures, by task and kind; page.js puts each image into its frame when it comes near the window."""
    shelves = []
    for task in tasks:
        found = [(picture, "All models", "") for picture in task["overview"]]
        for row in sorted(task["rows"], key=lambda row: row["label"]):
            found += [(picture, row["label"], _attributes(row)) for picture in row["pictures"]]
        kinds = sorted({picture["kind"] for picture, *_ in found}, reverse=True)  # samples, nearest, heat maps
        figures = [[_picture(*one, task) for one in found if one[0]["kind"] == kind] for kind in kinds]
        wide = [min(one[0]["width"] for one in found if one[0]["kind"] == kind) > WIDE for kind in kinds]
        shelves.append(_shelves(task, list(zip(kinds, figures, wide))))
    left = f"{left_out} picture{'' if left_out == 1 else 's'} left out: too large for this page, or no PNG."
    note = f'<p class="note">{left}</p>' if left_out else ""
    return ("".join(shelves) or '<p class="note">No pictures lie beside these cards.</p>') + note


def _picture(picture: View, label: str, attributes: str, task: View) -> str:
    size = f'width="{picture["width"]}" height="{picture["height"]}"'
    said = escape(f"{picture['kind']}: {label} on {task['id']}")
    return (
        f'<figure class="picture"{attributes}>'
        f'<img data-image="{picture["image"]}" alt="{said}" {size} loading="lazy" decoding="async">'
        f'<figcaption class="name">{_breakable(label)}</figcaption></figure>'
    )


def curves(tasks: Sequence[View]) -> str:
    """Frames for the training curves, by task."""
    shelves = []
    for number, task in enumerate(tasks):
        figures = [
            f'<figure class="curve" data-t="{number}" data-r="{r}"{_attributes(row)}>'
            f'<figcaption class="name">{escape(row["label"])}</figcaption><div class="canvas"></div></figure>'
            for r, row in sorted(enumerate(task["rows"]), key=lambda pair: pair[1]["label"])
            if row["curve"]
        ]
        shelves.append(_shelves(task, [("", figures, False)] if figures else []))
    return "".join(shelves) or '<p class="note">No log of their training lies beside these cards.</p>'


def _shelves(task: View, kinds: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    """Figures of a task, kind by kind; wide ones in wider columns."""
    if not kinds:
        return ""
    name = escape(task["id"])
    inside = "".join(
        (f"<h4>{escape(kind[0].upper() + kind[1:])}</h4>" if kind else "")
        + f'<div class="shelf{" wide" if wide else ""}">{"".join(figures)}</div>'
        for kind, figures, wide in kinds
    )
    return f'<section class="task" data-task="{name}"><h3>{name}</h3>{inside}</section>'
