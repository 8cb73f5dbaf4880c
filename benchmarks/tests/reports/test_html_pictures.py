"""The pictures of the HTML report: each once, real images before samples, and only where its card lies beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page
from made_cards import card, distance, likelihood, png, saved, zoo_of_cards
from PIL import Image
from zoo_bench.cards import files
from zoo_bench.cards.types import Card
from zoo_bench.datasets import load as datasets
from zoo_bench.reports import html as htmlreport

from zoo_core import registry


def test_pictures_beside_a_card_are_in_the_page_once(tmp_path: Path) -> None:
    folder = saved(zoo_of_cards()[:3], tmp_path) / "cards"
    (folder / "worse.digits.quick-v1-digits.seed0.png").write_bytes(png(1))
    (folder / "better.digits.quick-v1-digits.seed0.png").write_bytes(png(1))
    (folder / "better.digits.quick-v1-digits.seed0.neighbours.png").write_bytes(png(2, (40, 10)))
    (folder / "better.digits.quick-v1-digits.seed0.heatmap.png").write_bytes(b"no picture")
    (tmp_path / "quick-v1-digits.heatmaps.png").write_bytes(png(3))
    text = htmlreport.page(files.read_all([tmp_path]), [tmp_path])
    page = Page(text)
    assert sorted(page.data["images"].values()) == sorted(
        "data:image/png;base64," + base64.b64encode(png(colour, size)).decode()
        for colour, size in [(1, (16, 16)), (2, (40, 10)), (3, (16, 16))]
    )
    above, _, gallery = text.partition('id="h-pictures"')
    strip, gallery = above.partition("<table")[0], gallery.partition('id="h-scatter"')[0]
    assert len(Page(strip).attributes("data-image")) == 3  # samples, and the heat maps of all models
    assert len(Page(gallery).attributes("data-image")) == 4
    links = [link for link in Page(strip).attributes("href") if "picture" in link and link != "#pictures"]
    assert len(links) == 3 and {link[1:] for link in links} <= set(Page(gallery).attributes("id"))
    assert "nearest training images: better.digits on quick@1/digits" in page.attributes("alt")
    assert "1 picture left out" in page.text


def test_a_card_without_its_file_has_no_pictures(tmp_path: Path) -> None:
    found = zoo_of_cards()[:1]
    folder = saved(found, tmp_path) / "cards"
    (folder / "worse.digits.quick-v1-digits.seed0.png").write_bytes(png(1))
    other = card("worse", likelihood(1.0, "="), distance(0.2))  # than the one that lies beside the picture
    assert Page(htmlreport.page([other], [tmp_path])).data["images"] == {}
    elsewhere = card("../cards/worse", likelihood(1.0, "="))
    assert Page(htmlreport.page([elsewhere], [tmp_path])).data["images"] == {}


def scored_on(one: Card, name: str, split: str = "test", **fields: Any) -> Card:
    """A card whose data are those of a registered set."""
    assert one.data is not None
    splits = registry.datasets.get(name).splits
    return one.but(data=one.data.but(name=name, split=split, sha256=splits[split], splits=splits, **fields))


def with_samples(found: list[Card], tmp_path: Path) -> Page:
    folder = saved(found, tmp_path) / "cards"
    for one in found:
        (folder / f"{one.stem}.png").write_bytes(png(7, (265, 265)))
    return Page(htmlreport.page(files.read_all([tmp_path]), [tmp_path]))


def test_real_images_stand_before_the_samples(tmp_path: Path) -> None:
    page = with_samples([scored_on(card("a", likelihood(2.0, "=")), "digits")], tmp_path)
    assert page.attributes("alt")[:2] == [
        "real images: digits, test on quick@1/digits",
        "samples: a.digits on quick@1/digits",
    ]
    content = base64.b64decode(page.data["images"][page.attributes("data-image")[0]].partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("L"))
    x = datasets.load("digits", "test").pinned.x
    assert pixels.shape == (265, 265) and len(content) < 20_000
    for i in (0, 9, 63):
        top, left = 33 * (i // 8) + 1, 33 * (i % 8) + 1
        assert (np.rint(pixels[top : top + 32 : 4, left : left + 32 : 4] * (16 / 255)) == x[i, 0].numpy()).all()


def test_real_images_are_those_of_the_card_or_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other pixels, a set that is not here, a folder of one's own: no picture, no word, and nothing is fetched."""
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("something was fetched"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    right = scored_on(card("a", likelihood(2.0, "=")), "digits")
    assert right.data is not None
    others = [
        right.but(data=right.data.but(sha256="5" * 64, splits={"test": "5" * 64})),
        right.but(data=right.data.but(name="../digits")),
        right.but(data=right.data.but(name="folder:photos?size=8")),
        right.but(data=right.data.but(split="nothing")),
        right.but(data=right.data.but(name="cifar10", shape=(3, 32, 32), levels=256)),  # whose hashes are not pinned
    ]
    if not any(Path(place, "mnist").exists() for place in ("/usr/share/datasets", "/usr/local/share/datasets")):
        others.append(scored_on(right, "mnist", shape=(1, 28, 28), levels=256))
    for i, one in enumerate(others):
        page = with_samples([one], tmp_path / str(i))
        assert {alt.partition(":")[0] for alt in page.attributes("alt")} == {"samples"}, one.data
    alone = Page(htmlreport.page([right]))  # beside no samples there is nothing to compare them with
    assert not alone.attributes("alt")


def test_a_task_with_pictures_comes_first(tmp_path: Path) -> None:
    plain = [card(name, likelihood(2.0, "="), task="a@1/first") for name in "abc"]
    folder = saved([*plain, seen := card("d", likelihood(2.0, "="), task="z@1/last")], tmp_path) / "cards"
    assert [task["id"] for task in Page(htmlreport.page(files.read_all([folder]), [folder])).data["tasks"]] == [
        "a@1/first",
        "z@1/last",
    ]
    (folder / f"{seen.stem}.png").write_bytes(png(1))
    assert Page(htmlreport.page(files.read_all([folder]), [folder])).data["tasks"][0]["id"] == "z@1/last"


def test_samples_have_the_order_of_the_tables_below_them_and_reference_rows_come_last(tmp_path: Path) -> None:
    page = with_samples(zoo_of_cards(), tmp_path)
    strip = [alt.split(": ")[1].partition(".")[0] for alt in page.attributes("alt")][:9]
    assert strip == ["better", "worse", "alpha", "zeta", "ode", "gan", "given", "training_images", "diluted"]
    sizes = {(tag["width"], tag["height"]) for name, tag in page.tags if name == "img"}
    assert sizes == {("166", "166"), ("265", "265")}  # five whole images, and all of them


def test_large_pictures_become_smaller(tmp_path: Path) -> None:
    folder = saved(zoo_of_cards()[:1], tmp_path) / "cards"
    noise = np.random.default_rng(0).integers(0, 256, (600, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "worse.digits.quick-v1-digits.seed0.heatmap.png")
    page = Page(htmlreport.page(files.read_all([tmp_path]), [tmp_path]))
    (content,) = page.data["images"].values()
    assert len(content) < (folder / "worse.digits.quick-v1-digits.seed0.heatmap.png").stat().st_size / 2
    with Image.open(io.BytesIO(base64.b64decode(content.partition(",")[2]))) as image:
        assert image.size == (1200, 450)
