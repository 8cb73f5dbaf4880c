"""What the pages show works: their `zoo` commands are run in order, their Python is executed, their tables are true.

Each runs in a fork of one Python that has imported torch already (`forks.py`); `test_cli.py` starts new ones.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import Forks

ROOT = Path(__file__).parent.parent
FOLDERS = ("*/README.md", "plugins/*/README.md", "plugins/*/pages/*.md")
PAGES = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted(ROOT.glob(folder)))]
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _BLOCK.findall(page.read_text()) if kind == language]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as started:
        yield started


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path, forks: Forks) -> None:
    """In one folder, in order. Lines that are no `zoo` command are make targets, which must exist."""
    makefile = (ROOT / "Makefile").read_text()
    for line in (line for block in blocks(page, "bash") for line in block.splitlines() if line.strip()):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
            continue
        assert words[0] == "zoo", line
        if "mnist" in line and "ZOO_DATA" not in os.environ:
            continue
        done = forks.run(["-m", "zoo_core", *words[1:]], tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_python_of_a_page_works(page: Path, tmp_path: Path, forks: Forks) -> None:
    for i, block in enumerate(blocks(page, "python")):
        script = tmp_path / f"block{i}.py"
        script.write_text(block)
        done = forks.run([str(script)], tmp_path)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_tables_of_a_page_are_those_of_the_cards(page: Path) -> None:
    from zoo_bench.cards import files
    from zoo_bench.reports.report import fill_blocks

    assert fill_blocks(page, files.read_all([RESULTS]), check=True), f"{name(page)} is out of date: make report"


def least_width(rows: list[str]) -> float:
    """Pixels that a table of Markdown needs at least: what no line can break, and the padding of each cell."""
    cells = [
        [cell.strip().strip("*") for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|--")
    ]
    pieces = [[len(piece) for cell in column for piece in re.split("[ -]", cell)] for column in zip(*cells)]
    return sum(7.5 * max(lengths) + 27 for lengths in pieces)


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "model_cards").glob("*.md"))], ids=name)
def test_the_generated_tables_of_a_page_fit_a_browser(page: Path) -> None:
    """GitHub shows a page 830 pixels wide, in a type whose digits are about 8 pixels wide; wider tables scroll."""
    text = page.read_text()
    if page.parent.name != "model_cards":
        text = "\n".join(re.findall(r"<!-- begin .*?<!-- end", text, re.DOTALL))
    for rows in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert least_width(rows.splitlines()) <= 830, rows.partition("\n")[0]


def test_the_model_cards_are_those_of_the_result_cards() -> None:
    from zoo_bench.cards import files
    from zoo_bench.reports import modelcards

    assert not modelcards.update(ROOT / "model_cards", files.read_all([RESULTS]), check=True)


def test_every_published_weight_has_a_model_card() -> None:
    from zoo_core import registry

    names = {f"{spec.name}.{entry.tag}" for spec in registry.models.all() for entry in spec.pretrained}
    assert names == {path.name.removesuffix(".md") for path in (ROOT / "model_cards").glob("*.md")}
    assert {"made.digits", "vae.digits", "gmm.digits"} <= names


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
