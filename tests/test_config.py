"""The strict codec: what goes out comes back, and each kind of error has its path in the message."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest

from zoo_core.config import Config
from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec


@dataclass(frozen=True, kw_only=True)
class UNet(Config):
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    dropout: float | None = None


@dataclass(frozen=True, kw_only=True)
class Toy(Config):
    steps: int
    rate: float = 1.0
    name: str = "toy"
    learn: bool = False
    loss: Literal["simple", "hybrid"] = "simple"
    pair: tuple[int, float] = (1, 2.0)
    unet: UNet = field(default_factory=UNet)
    second: UNet | None = None
    rows: tuple[tuple[int, ...], ...] = ()


def test_round_trip_through_json():
    config = Toy(steps=10, rate=0.5, learn=True, loss="hybrid", second=UNet(multipliers=(1, 2, 4), dropout=0.1))
    assert Toy.from_dict(json.loads(config.to_json())) == config
    assert hash(Toy.from_dict(config.to_dict())) == hash(config)


def test_missing_keys_take_defaults():
    assert Toy.from_dict({"steps": 3}) == Toy(steps=3)
    assert Toy.from_dict({"steps": 3, "unet": {"width": 8}}).unet == UNet(width=8)


def test_equal_configs_have_equal_text():
    backwards = dict(reversed(Toy(steps=1).to_dict().items()))
    assert Toy.from_dict(backwards).to_json() == Toy(steps=1).to_json()
    assert " " not in Toy(steps=1).to_json()


def test_ints_are_floats_where_floats_are_wanted():
    config = Toy(steps=1, rate=2)
    assert type(config.rate) is float and config.to_json() == Toy(steps=1, rate=2.0).to_json()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"steps": "a"}, "Toy.steps: expected int, got 'a'"),
        ({"steps": True}, "Toy.steps: expected int, got True"),
        ({"steps": 1.0}, "Toy.steps: expected int, got 1.0"),
        ({"steps": None}, "Toy.steps: expected int, got None"),
        ({}, "Toy: missing steps"),
        ({"steps": 1, "rates": 2.0}, "Toy.rates: unknown key; did you mean 'rate'"),
        ({"steps": 1, "unet": {"width": "a"}}, "Toy.unet.width: expected int, got 'a'"),
        ({"steps": 1, "unet": {"widht": 3}}, "Toy.unet.widht: unknown key; did you mean 'width'"),
        ({"steps": 1, "unet": 3}, "Toy.unet: expected UNet, got 3"),
        ({"steps": 1, "unet": {"multipliers": [1, "b"]}}, "Toy.unet.multipliers[1]: expected int, got 'b'"),
        ({"steps": 1, "unet": {"multipliers": 4}}, "Toy.unet.multipliers: expected tuple[int, ...], got 4"),
        ({"steps": 1, "unet": {"dropout": "x"}}, "Toy.unet.dropout: expected float or null, got 'x'"),
        ({"steps": 1, "second": {"width": "a"}}, "Toy.second.width: expected int, got 'a'"),
        ({"steps": 1, "second": 3}, "Toy.second: expected UNet or null, got 3"),
        ({"steps": 1, "loss": "simpel"}, "Toy.loss: expected one of 'simple', 'hybrid', got 'simpel'; did you mean"),
        ({"steps": 1, "loss": 3}, "Toy.loss: expected one of 'simple', 'hybrid', got 3"),
        ({"steps": 1, "pair": [1]}, "Toy.pair: expected tuple[int, float], got [1]"),
        ({"steps": 1, "learn": 1}, "Toy.learn: expected bool, got 1"),
        ({"steps": 1, "name": 1}, "Toy.name: expected str, got 1"),
        ([], "Toy: expected an object with the fields of Toy, got []"),
    ],
)
def test_errors_name_the_path(data, message):
    with pytest.raises(ZooError) as caught:
        Toy.from_dict(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"steps": "a"}, "Toy.steps: expected int"), ({"steps": 1, "loss": "no"}, "Toy.loss: expected one of")],
)
def test_the_constructor_is_as_strict(values, message):
    with pytest.raises(ZooError, match=message):
        Toy(**values)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("steps", "96", 96),
        ("rate", "1e-3", 1e-3),
        ("name", "96", "96"),
        ("learn", "true", True),
        ("learn", "False", False),
        ("loss", "hybrid", "hybrid"),
        ("unet.width", 32, 32),
        ("unet.width", "32", 32),
        ("unet.multipliers", "(64, 64)", (64, 64)),
        ("unet.multipliers", "(64,)", (64,)),
        ("unet.multipliers", "[64]", (64,)),
        ("unet.multipliers", "()", ()),
        ("rows", "[[1, 2], [3]]", ((1, 2), (3,))),
        ("rows", "[[1]]", ((1,),)),
        ("unet.dropout", "0.5", 0.5),
        ("unet.dropout", "null", None),
        ("unet.dropout", "None", None),
    ],
)
def test_override_reads_strings_as_the_field_type(key, value, expected):
    config = Toy(steps=1, unet=UNet(dropout=0.1)).override({key: value})
    for name in key.split("."):
        config = getattr(config, name)
    assert config == expected and type(config) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("unet.widht", "3", "Toy.unet.widht: unknown key; did you mean 'width'"),
        ("unet.width", "a", "Toy.unet.width: expected int, got 'a'"),
        ("steps.width", "3", "Toy.steps: has no fields of its own"),
        ("nothing", "3", "Toy.nothing: unknown key"),
        ("learn", "yes", "Toy.learn: expected bool, got 'yes'"),
    ],
)
def test_bad_overrides_name_the_path(key, value, message):
    with pytest.raises(ZooError) as caught:
        Toy(steps=1).override({key: value})
    assert message in str(caught.value)


def test_override_leaves_the_original_alone():
    config = Toy(steps=1)
    assert config.override({"unet.width": 8}).unet.width == 8
    assert config == Toy(steps=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 1}, "ImageSpec.levels: expected 2 to 256"),
        ({"levels": 257}, "ImageSpec.levels: expected 2 to 256"),
        ({"height": 0}, "ImageSpec.height: expected at least 1, got 0"),
        ({"classes": -1}, "ImageSpec.classes: expected 0"),
        ({"width": 2.5}, "ImageSpec.width: expected int, got 2.5"),
    ],
)
def test_image_specs_refuse_what_is_no_image(change, message):
    with pytest.raises(ZooError, match=message):
        ImageSpec(**{"channels": 1, "height": 2, "width": 2, **change})


def test_image_spec_counts():
    images = ImageSpec(channels=3, height=4, width=5, levels=17, classes=10)
    assert images.shape == (3, 4, 5) and images.dims == 60
    assert str(images) == "3x4x5, 17 levels, 10 classes"
    assert [f.name for f in fields(images)] == ["channels", "height", "width", "levels", "classes"]
