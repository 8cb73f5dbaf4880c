"""The weights of a family on one data set, side by side."""

from __future__ import annotations

from pathlib import Path

from made_cards import card, distance, entry, likelihood
from zoo_bench.reports import family
from zoo_bench.reports.report import fill_blocks


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
