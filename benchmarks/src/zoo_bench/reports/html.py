"""The report as one HTML file that needs no network: leaderboards, pictures, curves, charts, each number's protocol.

    from zoo_bench.cards import files
    from zoo_bench.reports import html as htmlreport
    htmlreport.write(files.read_all(["runs"]), Path("report.html"), [Path("runs")])

Each task has the tables of `boards.boards`: models without labels, models given labels or captions, and the reference
rows of each; a column is one comparable key. Sorted by a likelihood, exact values are ordered and bounds and estimates
listed by name; sorted by anything else, all rows of the table are ordered that have the key.
Python writes the tables; page/page.js sorts and filters them and draws the charts from the data that lie beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zoo_core
from zoo_bench.cards.types import TRAINED_WITH, Card
from zoo_bench.evaluation import floors
from zoo_bench.reports import tables
from zoo_bench.reports.page import sections
from zoo_bench.reports.page.assemble import assemble
from zoo_bench.reports.page.beside import SAMPLES, Beside
from zoo_bench.reports.page.views import COSTS, Facts, View, count, task_of
from zoo_core.errors import ZooError
from zoo_core.files import atomic


def write(
    found: Sequence[Card], out: Path, folders: Sequence[Path] = (), *, data_dir: str | Path | None = None
) -> Path:
    """Write the page of the cards `found`. folders: where they were read from, with pictures and logs beside them.

    data_dir: where data sets lie; real images of those that are found stand beside the samples.
    """
    text = page(found, folders, data_dir)
    with atomic(Path(out)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(out)


def page(found: Sequence[Card], folders: Sequence[Path] = (), data_dir: str | Path | None = None) -> str:
    """The page as text."""
    found_tables = tables.tables(found)
    if not found_tables:
        raise ZooError(f"no result cards in {', '.join(map(str, folders)) or 'nothing'}; `zoo bench quick` makes some")
    beside, facts = Beside(folders), Facts()
    shown = floors.completed(found)
    tasks = [task_of(table, shown, beside, facts, data_dir) for table in found_tables]
    tasks.sort(key=_prominence)
    rows = [row for task in tasks for row in task["rows"]]
    counts = [count(len(found), "card"), count(len({row["label"] for row in rows}), "model"), count(len(tasks), "task")]
    places: dict[str, Any] = {
        "counts": " · ".join(counts),
        "version": zoo_core.__version__,
        "families": sorted({row["family"] for row in rows}),
        "tasks": tasks,
        "left_out": beside.left_out,
    }
    data = {
        "tasks": tasks,
        "images": beside.images,
        "groups": {key or "": text for key, text in sections.GROUPS.items()},
        "trained": f"{TRAINED_WITH}, by name",
    }
    return assemble(places, {**data, **facts.view(), "relations": sections.RELATIONS, "costs": COSTS})


def _prominence(task: View) -> tuple[bool, int, str]:
    """The first task on the page has pictures to see and many rows; else by name."""
    pictured = any(picture["kind"] == SAMPLES for row in task["rows"] for picture in row["pictures"])
    return not pictured, -len(task["rows"]), task["id"]
