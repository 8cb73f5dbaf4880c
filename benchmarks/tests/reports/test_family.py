"""The weights of a family on one data set, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_cards import card, distance, entry, likelihood
from zoo_bench.cards.types import Card
from zoo_bench.reports import family
from zoo_bench.reports.report import fill_blocks

from zoo_core import ZooError


def test_a_row_joins_what_every_task_says_of_the_weights(tmp_path: Path) -> None:
    found = [
        card("vae", likelihood(2.5, "≤"), distance(0.2, "test"), family="autoencoder", task="one@1/digits"),
        card("hvae", likelihood(2.0, "≤"), distance(0.1, "test"), family="autoencoder", task="one@1/digits"),
        card("vae", entry("probe", 0.75), family="autoencoder", task="two@1/digits"),
        card("cvae", likelihood(1.0, "≤", "class"), family="autoencoder", task="one@1/digits", given="class"),
        card("made", likelihood(1.9, "="), family="autoregressive", task="one@1/digits"),
        card("vae", entry("probe", 0.25), family="autoencoder", task="two@1/fashion", data="fashion"),
    ]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin family: autoencoder/digits -->\n<!-- end family -->\n")
    fill_blocks(page, found)
    lines = page.read_text().splitlines()
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert names == ["model", "hvae", "vae"]
    hvae, vae = (next(line for line in lines if line.startswith(f"| {name}")) for name in names[1:])
    assert "≤\u00a02.0000" in hvae and hvae.count("–") == 1  # its probe
    assert "≤\u00a02.5000" in vae and "0.7500" in vae and "0.2500" not in vae


def test_there_is_no_table_of_conditional_models_alone() -> None:
    assert family.table([card("cvae", likelihood(1.0, "≤", "class"), family="autoencoder", given="class")]) == []


def test_what_drawing_costs_stands_beside_likelihood_and_sharpness() -> None:
    """Of models whose sharpness was measured, by the card that measured it."""
    fast, slow = {"sampling_images_per_second": 1234.4, "flops_per_generated_image": 2_500_000}, dict[str, int]()
    found = [
        card("vae", likelihood(2.5, "≤"), task="small@2/digits", performance=slow),
        card("vae", entry("sharpness", 0.5), task="drawing@1/digits", performance=fast),
        card("made", likelihood(1.9, "="), task="small@2/digits", performance=slow),
    ]
    head, _, row, *_ = family.drawing(found)
    assert [cell.strip() for cell in head.split("|")[-3:-1]] == ["images/s", "MFLOP/image"]
    assert [cell.strip() for cell in row.split("|")[-3:-1]] == ["1,234", "2.50"] and "vae" in row
    assert not any("made" in line for line in family.drawing(found))


def filled(what: str, found: list[Card], folder: Path) -> list[list[str]]:
    """The rows of a block's tables, heads first, as cells."""
    page = folder / "page.md"
    page.write_text(f"<!-- begin task: {what} -->\n<!-- end task -->\n")
    fill_blocks(page, found)
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def of_samples(model: str, value: float, given: str = "none", **fields: Any) -> Card:
    names = ("fd_digitscnn", "clipped_density_digitscnn", "clipped_coverage_digitscnn", "kid_digitscnn")
    numbers = [entry(name, value, given=given, reference="test", n=2000) for name in names]
    return card(model, *numbers, task="small@2/digits", given=given, **fields)


def test_a_task_s_block_has_its_headline_s_metrics_whole_beside_images_seen(tmp_path: Path) -> None:
    """Both numbers of the metric of which the headline names one, no column without a value of a model, and no other
    family; what takes labels stands apart."""
    scored = card("made", likelihood(1.9, "="), family="autoregressive", task="small@2/digits")
    copied = of_samples("copycat", 0.25, family="constructed")
    copied = copied.but(metrics=(likelihood(6.9, "="), *copied.metrics))
    gans = [of_samples("dcgan", 0.5, family="gan"), of_samples("sngan", 0.75, "class", family="gan")]
    rows = filled("small@2/digits/gan", [scored, copied, *gans], tmp_path)
    numbers = ["fd digitscnn (test)", "clipped density digitscnn (test)", "clipped coverage digitscnn (test)"]
    heads = [row for row in rows if row[0] in ("model", "reference row")]
    assert heads[0] == ["model", "family", *numbers, "params", "images seen", "training"] == heads[2]
    assert heads[1] == ["reference row", *numbers, "purpose"]
    cells = {row[0]: row for row in rows}
    assert "made" not in cells and cells["dcgan"][-2:] == ["20,000", "3.5\u00a0s"]
    assert [cells[name][2][:6] for name in ("dcgan", "sngan")] == ["0.5000", "0.7500"]
    assert cells["copycat"][1].startswith("0.2500")
    everything = filled("small@2/digits", [scored, copied, *gans], tmp_path)
    assert {"made", "dcgan", "sngan", "copycat"} < {row[0] for row in everything}
    assert "bits/dim" in everything[0]


def test_a_task_s_block_waits_for_the_first_card_of_a_model(tmp_path: Path) -> None:
    copied = of_samples("copycat", 0.25, family="constructed")
    for what in ("small@2/digits/gan", "small@2/digits", "small/digits", "nothing"):
        assert filled(what, [copied], tmp_path) == []
    page = tmp_path / "page.md"
    page.write_text("<!-- begin task: small@2/digits/gan -->\n| of old |\n<!-- end task -->\n")
    with pytest.raises(ZooError, match="no result card for 'small@2/digits/gan'; run the suite"):
        fill_blocks(page, [copied])


def test_counts_are_whole_numbers(tmp_path: Path) -> None:
    found = entry("modes_found", 958.0).but(unit="of 1,000", higher_is_better=True)
    rows = filled("modes@1/mnist_stacked", [card("dcgan", found, task="modes@1/mnist_stacked")], tmp_path)
    assert rows[0][2] == "modes found ↑ [of 1,000]" and rows[1][2].startswith("958\u00a0±")
