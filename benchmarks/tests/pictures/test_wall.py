"""The wall of samples that the README opens with: every family has its row, of weights that ship."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from made_cards import card, distance
from PIL import Image
from zoo_bench.cards import files
from zoo_bench.cards.types import Card, Weights
from zoo_bench.datasets import load as datasets

from zoo_core import registry

PICTURES = Path(__file__).parents[2] / "pictures"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("wall", PICTURES / "wall.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules["wall"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


def test_families_come_from_the_registry_alone(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is offered has a row; the code names no family, no model and no weights."""
    offered = {
        spec.family: spec for spec in registry.models.all() for entry in spec.pretrained if entry.tag == "digits"
    }
    assert [row.family for row in script.rows("digits")] == sorted(offered)
    text = (PICTURES / "wall.py").read_text()
    assert not [spec.name for spec in registry.models.all() if spec.name in text]
    assert not [family for family in offered if family in text]
    one, *_ = offered.values()
    monkeypatch.setattr(registry.models, "all", lambda: [one])
    assert [row.family for row in script.rows("digits")] == [one.family]


def of_weights(name: str, sha256: str, value: float, reference: str = "test", **fields: Any) -> Card:
    made = card(name, distance(value, reference), **fields)
    return made.but(model=made.model.but(weights=Weights(source="recipe", sha256=sha256)))


def test_the_samples_nearest_to_the_test_images_stand_for_their_family(script: ModuleType) -> None:
    families: dict[str, list[tuple[str, str]]] = {}
    for spec in registry.models.all():
        own = [(spec.name, one.sha256) for one in spec.pretrained if one.tag == "digits"]
        families.setdefault(spec.family, []).extend(own)
    first, *_, last = max(families.values(), key=len)
    nearest = [of_weights(*first, 0.3), of_weights(*last, 0.2)]
    besides = [
        of_weights(*first, 0.1, "train"),
        of_weights(*first, 0.1, data="mnist"),
        of_weights(*first, 0.1, partial=True),
        of_weights("diluted", first[1], 0.1),  # the same weights in a constructed row
    ]
    for found, chosen in (([], first), (nearest, last), (besides, first), ([*nearest, *besides], last)):
        shown = {(row.name, row.sha256) for row in script.rows("digits", found)}
        assert {(f"{name}.digits", sha256) for name, sha256 in (first, last)} & shown == {
            (f"{chosen[0]}.digits", chosen[1])
        }


def test_a_wall_is_drawn_and_drawn_again(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "WIDTH", 340)  # four images a row
    chosen = script.rows("digits")
    for name in ("one.png", "two.png"):
        script.write(tmp_path / name, "digits", chosen)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.text["rows"] == script.told(chosen)
        assert picture.width == 340 and picture.height > len(chosen) * 40
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0 and picture.convert("RGBA").getpixel((170, 8))[3] == 255


def test_images_grow_by_whole_factors_and_stay_what_they_are(script: ModuleType) -> None:
    x = datasets.load("digits", "test").pinned.x[:2]
    for picture, image in zip(script.enlarged(x, 5, "digits"), x):
        assert picture.size == (40, 40)
        levels = torch.from_numpy(np.array(picture.convert("L"))).double() * 16 / 255
        assert (levels[::5, ::5].round() == image[0]).all() and (levels[4::5, 4::5] == levels[::5, ::5]).all()


def test_the_wall_that_ships_is_of_the_weights_that_ship(script: ModuleType) -> None:
    path = PICTURES / "wall.png"
    with Image.open(path) as picture:
        told, width = picture.text["rows"], picture.width
    cards = files.read_all([script.RESULTS])
    assert told == script.told(script.rows("digits", cards)), "the wall is out of date: make pictures"
    assert width <= 830 and path.stat().st_size < 150_000
    assert f"]({path.relative_to(PICTURES.parents[1])})" in (PICTURES.parents[1] / "README.md").read_text()
