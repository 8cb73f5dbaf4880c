"""What stands where on the page: the order of rows, which pictures, charts and columns. The templates say how it looks.

A view is plain JSON that `views` made of cards; page.js reads the same, and orders rows as `ordered` does. Which rows
and columns stand in one table, and how reference rows are ordered, `reports.boards` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zoo_bench.cards.types import TRAINED_WITH
from zoo_bench.reports.page.beside import REAL, SAMPLES
from zoo_bench.reports.page.views import COSTS, View

RELATIONS = {
    "=": "Exact: the model computes the probability of each image exactly.",
    "≤": "A bound: the true value is at most the number shown, and how far below it is unknown.",
    "≈": "An estimate: computed by a solver or by sampled chains, it may err in either direction.",
}
GROUPS = {
    "=": "exact values (=), in order",
    "≤": "upper bounds (≤), by name: bounds are not ordered",
    "≈": "estimates (≈), by name: not ordered",
    None: "no value under this key, by name",
}
WIDE = 400  # pixels: pictures that need more room than a grid of samples
STRIP = 172  # pixels: the side of what is seen of a picture above a table, at most


@dataclass(frozen=True)
class Board:
    """A table of a task: models of one condition, or the reference rows below them.

    shown: its columns, by number, as they stand. groups: titles, and rows by number, in order; without a title where
    they are in no order. sides: which columns stand beside the numbers.
    """

    number: int
    task: View
    condition: str
    reference: bool
    shown: list[int]
    lead: int | None
    groups: list[tuple[str, list[int]]]
    sides: list[str]

    @property
    def title(self) -> str:
        """`models given labels`; `reference rows, given labels`; nothing for the models that a task begins with."""
        if self.reference:
            return ", ".join(filter(None, ("reference rows", self.condition)))
        return self.condition and f"models {self.condition}"

    @property
    def name(self) -> str:
        """`quick@1/digits, models given labels`."""
        return ", ".join(filter(None, (self.task["id"], self.title)))


@dataclass(frozen=True)
class Figure:
    """A picture in the gallery. row: whose; None for all models, and for real images."""

    id: str
    picture: View
    label: str
    row: View | None


@dataclass(frozen=True)
class Plot:
    """A chart of a task. x, y: titles, what can be chosen, and what is to begin with."""

    kind: str
    number: int
    task: View
    x: tuple[str, list[tuple[str, str]], str]
    y: tuple[str, list[tuple[str, str]], str]


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
        found = [("by name", sorted(everyone, key=by_name))]
    elif column["relational"]:
        groups = {relation: [i for i in everyone if cells[i].get("relation") == relation] for relation in GROUPS}
        found = [
            (GROUPS[relation], sorted(members, key=by_value if relation == "=" else by_name))
            for relation, members in groups.items()
        ]
    else:
        there, absent = ([i for i in everyone if ("value" in cells[i]) == has] for has in (True, False))
        trained = [i for i in there if cells[i]["params"].get("trained_with")]
        there = [i for i in there if i not in trained]
        how, key = ("a warning, not a score; by name", by_name) if column["flag"] else ("one key, in order", by_value)
        found = [
            (f"all rows with {column['title']}: {how}", sorted(there, key=key)),
            (f"{TRAINED_WITH}, by name", sorted(trained, key=by_name)),
            ("no value, by name", sorted(absent, key=by_name)),
        ]
    return [(title, members) for title, members in found if members]


def leaderboards(tasks: Sequence[View]) -> list[tuple[int, View, list[Board]]]:
    """Tasks, their numbers and tables; people's scores alone have a section of their own."""
    found = [(number, task, _boards(number, task, human=False)) for number, task in enumerate(tasks)]
    return [one for one in found if one[2] or not one[1]["rows"]]


def judged(tasks: Sequence[View]) -> list[tuple[int, View, list[Board]]]:
    """Tasks with people's scores, their numbers, and the tables of these scores."""
    found = [(number, task, _boards(number, task, human=True)) for number, task in enumerate(tasks)]
    return [one for one in found if one[2]]


def _boards(number: int, task: View, *, human: bool) -> list[Board]:
    """The tables of a task, of people's scores or of all other metrics. Of people's, the rows that have any."""
    found = []
    for board in task["boards"]:
        shown = [i for i in board["columns"] if task["columns"][i]["human"] == human]
        rows = [r for r in board["rows"] if not human or any(str(i) in task["rows"][r]["cells"] for i in shown)]
        if not rows or (board["columns"] and not shown):
            continue
        lead = shown[0] if human else board["lead"]
        lead = lead if lead in shown and not board["reference"] else None
        groups = [("", rows)] if board["reference"] else _ordered(task, rows, lead)
        sides = _sides([task["rows"][r] for r in rows], human)
        found.append(Board(number, task, board["condition"], board["reference"], shown, lead, groups, sides))
    return found


def _ordered(task: View, members: Sequence[int], lead: int | None) -> list[tuple[str, list[int]]]:
    """Some rows of a task in the groups of `ordered`, by their numbers in the task."""
    groups = ordered([task["rows"][r] for r in members], task["columns"], lead)
    return [(title, [members[i] for i in places]) for title, places in groups]


def _sides(rows: Sequence[View], human: bool) -> list[str]:
    """The columns beside the numbers that any of the rows has something in."""
    there = {
        "purpose": any(row["purpose"] for row in rows),
        "method": not human and any(row["method"] for row in rows),
        "params": not human and any(row["costs"]["params"] is not None for row in rows),
        "family": True,
    }
    return [side for side, has in there.items() if has]


def figures(number: int, task: View) -> list[Figure]:
    """All pictures of a task: of real images, of all models, then those of each row, by name."""
    found = []
    if task["real"]:
        found.append((task["real"], task["real"]["of"], None))
    found += [(picture, "All models", None) for picture in task["overview"]]
    for row in sorted(task["rows"], key=lambda row: str(row["label"])):
        found += [(picture, row["label"], row) for picture in row["pictures"]]
    return [Figure(f"picture{number}-{i}", *one) for i, one in enumerate(found)]


def pictured(tasks: Sequence[View]) -> list[tuple[int, View]]:
    """Tasks with pictures, and their numbers."""
    return [(number, task) for number, task in enumerate(tasks) if figures(number, task)]


def strip(number: int, task: View, boards: Sequence[Board]) -> list[Figure]:
    """What is seen above the tables: real images, heat maps of all models, samples in the order of the tables.

    Samples of reference rows come last.
    """
    last = sorted(boards, key=lambda board: board.reference)
    rows = [r for board in last for _, members in board.groups for r in members]
    places = {task["rows"][r]["label"]: i for i, r in enumerate(rows)}
    whole = [one for one in figures(number, task) if one.row is None]
    samples = [one for one in figures(number, task) if one.label in places and one.picture["kind"] == SAMPLES]
    found = whole + sorted(samples, key=lambda one: places[one.label])
    return [_cropped(one, task["cell"]) if one.picture["kind"] in (REAL, SAMPLES) else one for one in found]


def _cropped(figure: Figure, cell: Sequence[int] | None) -> Figure:
    """As many whole images of a grid as fit into the strip, from its corner; each is `cell` pixels, with its line."""
    if cell is None:
        return figure
    picture = figure.picture
    width, height = (
        min(picture[side], max(1, STRIP // size) * size + 1) for side, size in zip(("width", "height"), cell)
    )
    return replace(figure, picture={**picture, "width": width, "height": height})


def shelves(number: int, task: View) -> list[tuple[str, bool, list[Figure]]]:
    """The pictures of a task by kind, samples first: titles, whether they are wide, figures."""
    found = figures(number, task)
    kinds = sorted({SAMPLES if one.picture["kind"] == REAL else one.picture["kind"] for one in found}, reverse=True)
    members = [
        [one for one in found if one.picture["kind"] in (kind, REAL if kind == SAMPLES else kind)] for kind in kinds
    ]
    return [
        (f"{kind[0].upper()}{kind[1:]}", min(one.picture["width"] for one in group) > WIDE, group)
        for kind, group in zip(kinds, members)
    ]


def scatters(tasks: Sequence[View]) -> list[Plot]:
    """Likelihood against sample quality, of tasks that have both."""
    found = []
    for number, task in enumerate(tasks):
        columns = task["columns"]
        x = [i for i, column in enumerate(columns) if column["relational"]]
        y = [i for i, column in enumerate(columns) if not (column["relational"] or column["human"] or column["flag"])]
        if x and y:
            likelihood = next((i for i in x if columns[i]["title"] == "bits_per_dim"), task["lead"])
            left, right = _choices(task, x, likelihood), _choices(task, y, distance(task, y))
            found.append(Plot("scatter", number, task, ("likelihood", *left), ("sample quality", *right)))
    return found


def costs(tasks: Sequence[View]) -> list[Plot]:
    """Cost against quality, of tasks where both were measured."""
    found = []
    for number, task in enumerate(tasks):
        quality = [i for i, column in enumerate(task["columns"]) if not (column["human"] or column["flag"])]
        there = measured_costs(task)
        if quality and there:
            x = ("cost", [(key, cost_title(key)) for key in there], there[0])
            found.append(Plot("cost", number, task, x, ("quality", *_choices(task, quality, distance(task, quality)))))
    return found


def measured_costs(task: View) -> list[str]:
    return [key for key in COSTS if any(row["costs"][key] is not None for row in task["rows"])]


def by_machine(task: View) -> list[tuple[str, list[View]]]:
    """Rows with measured costs, by environment and by name."""
    machines: dict[str, list[View]] = {}
    for row in sorted(task["rows"], key=lambda row: str(row["label"])):
        if any(value is not None for value in row["costs"].values()):
            machines.setdefault(row["machine"], []).append(row)
    return sorted(machines.items())


def distance(task: View, among: Sequence[int]) -> int:
    """The column to begin with: the first Fréchet distance to the training set, any other one, or the first of all."""
    columns = task["columns"]
    distances = [
        i for i in among if columns[i]["id"].startswith(("fd_", "fid")) and columns[i]["conditioning"] == "none"
    ]
    return next((i for i in distances if columns[i]["reference"] == "train"), [*distances, *among][0])


def _choices(task: View, among: Sequence[int], chosen: int | None) -> tuple[list[tuple[str, str]], str]:
    """What a list offers, and what is chosen in it."""
    return [(str(i), _title(task["columns"][i])) for i in among], str(chosen)


def _title(column: View) -> str:
    return f"{column['title']} [{column['unit']}]" if column["unit"] else str(column["title"])


def cost_title(key: str) -> str:
    title, unit, _ = COSTS[key]
    return f"{title} [{unit}]" if unit else title


def curves(tasks: Sequence[View]) -> list[tuple[int, View, list[tuple[int, View]]]]:
    """Tasks with rows whose training left a log, by name."""
    found = []
    for number, task in enumerate(tasks):
        rows = [(r, row) for r, row in enumerate(task["rows"]) if row["curve"]]
        if rows:
            found.append((number, task, sorted(rows, key=lambda pair: str(pair[1]["label"]))))
    return found


def published(task: View) -> list[tuple[int, View, View, int | None]]:
    """Published values: row, its number, the value, and our column that has its unit; in no column that is ordered."""
    found = []
    for r, row in enumerate(task["rows"]):
        for entry in row["published"]:
            same = [
                i
                for i, column in enumerate(task["columns"])
                if column["unit"] == entry["unit"] and column["relational"] and str(i) in row["cells"]
            ]
            found.append((r, row, entry, same[0] if same else None))
    return found
