"""Tables in a terminal: whatever its width, no number and no word is divided, shortened or lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_cards import card, distance, likelihood, saved
from zoo_bench.cards import files
from zoo_bench.reports import cells as words
from zoo_bench.reports import tables, terminal
from zoo_bench.reports.boards import boards
from zoo_bench.reports.report import Columns, report

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("columns", ["headline", "all"])
@pytest.mark.parametrize("width", [80, 100, 200])
def test_results_fit_a_terminal(width: int, columns: Columns) -> None:
    text = report([RESULTS], form="terminal", width=width, columns=columns)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    there = set(text.split())
    for board in (one for table in tables.tables(files.read_all([RESULTS])) for one in boards(table, columns == "all")):
        sides = [i for i, head in enumerate(words.header(board)) if head != "family"]
        for cells in [[words.Cell(head) for head in words.header(board)], *(words.cells(r, board) for r in board.rows)]:
            for cell in (cells[i] for i in sides):
                assert cell.text in text if cell.whole else set(cell.text.split()) <= there, cell


def test_the_headline_of_each_task_is_one_piece_at_80_columns() -> None:
    """So each head and each model stands once, but for what emoji's long names need."""
    for table in tables.tables([one for one in files.read_all([RESULTS]) if not one.task.id.startswith("emoji")]):
        for board in (one for one in boards(table) if not one.reference):
            text = terminal.draw(board, 80, "family")
            assert text.count("training") == 1, table.task
            assert all(text.count(f"\n{row.name.partition(' ')[0]} ") >= 1 for row in board.rows)


def test_the_family_is_what_a_narrow_terminal_lacks(tmp_path: Path) -> None:
    folder = saved([card("a" * 14, likelihood(2.0, "="), distance(0.1), family="autoregressive")], tmp_path)
    wide, narrow = (report([folder], form="terminal", width=width) for width in (100, 76))
    assert "autoregressive" in wide and "autoregressive" not in narrow
    assert wide.count("params") == narrow.count("params") == 1


def test_a_terminal_too_narrow_for_two_numbers_gets_pieces_that_name_the_model(tmp_path: Path) -> None:
    folder = saved([card("a", likelihood(2.0, "="), distance(0.1)), card("b", likelihood(3.0, "="))], tmp_path)
    text = report([folder], form="terminal", width=30)
    assert "= 2.0000 ± 0.0100" in text and "0.1000 ± 0.0100" in text
    lines = [line for line in text.splitlines() if "= 2.0000" in line or "0.1000 ±" in line]
    assert len(lines) == 2 and all(line.startswith("a ") for line in lines)
    assert max(len(line) for line in text.splitlines()) <= 30


def test_numbers_of_all_groups_stand_to_the_right() -> None:
    found = [card("a", likelihood(2.0, "="), distance(0.1)), card("gan", distance(0.2))]
    (board,) = boards(tables.tables(found)[0])
    lines = {line.partition(" ")[0]: line for line in terminal.draw(board, None).splitlines()}
    assert lines["gan"].index("–") == lines["a"].index("= 2.0000 ± 0.0100") + len("= 2.0000 ± 0.0100") - 1
    assert lines["gan"].index("0.2000") == lines["a"].index("0.1000 ±")


def test_prose_wraps_between_words_only() -> None:
    path = "x" * 50
    assert terminal.prose([f"a {path} b-c"], 20) == f"a\n{path}\nb-c\n"
    assert terminal.prose(["one two three"], None) == "one two three\n"


def test_bold_is_for_who_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a pipe or a file the mark alone says which is the best."""
    folder = saved([card("a", distance(0.1)), card("b", distance(0.2))], tmp_path)
    plain = report([folder], form="terminal", width=80)
    assert "\x1b" not in plain and "* 0.1000 ± 0.0100" in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[1m* 0.1000 ± 0.0100\x1b[0m" in report([folder], form="terminal", width=80)
