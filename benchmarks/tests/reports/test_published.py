"""Published numbers stand beside ours with the difference, their protocol and the reason, and rank nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo_bench.cards import files
from zoo_bench.cards.types import Card
from zoo_bench.reports import published
from zoo_bench.reports.report import fill_blocks

from zoo_core import ZooError

RESULTS = Path(__file__).parents[2] / "results" / "cards"


def made() -> list[Card]:
    return [card for card in files.read_all([RESULTS]) if card.model.name == "made" and card.published]


def test_the_difference_is_ours_less_theirs_in_their_unit() -> None:
    (card,) = made()
    (nats,) = [metric.value for metric in card.metrics if metric.unit == "nats/image"]
    rows = published.table(made())[2:]
    assert card.published is not None and nats is not None
    assert len(rows) == len(card.published) == 2
    for entry in card.published:
        (row,) = [row for row in rows if f"| {entry.value} nats/image |" in row]
        assert f"| {nats - entry.value:+.2f} |" in row
        assert entry.protocol in row and entry.source in row


def test_without_published_numbers_there_is_no_table() -> None:
    assert published.table([made()[0].but(published=())]) == []


def test_a_page_has_a_block_for_them(tmp_path: Path) -> None:
    page = tmp_path / "made.md"
    page.write_text("# made\n\n<!-- begin published: made -->\n<!-- end published -->\n\nthe end\n")
    assert not fill_blocks(page, made(), check=True)
    assert not fill_blocks(page, made())
    assert fill_blocks(page, made(), check=True)
    assert "\n".join(published.table(made())) in page.read_text()
    assert page.read_text().endswith("<!-- end published -->\n\nthe end\n")
    with pytest.raises(ZooError, match="no result card for 'made'"):
        fill_blocks(page, [])
