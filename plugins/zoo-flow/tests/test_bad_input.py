"""What every flow answers to input that it cannot use: an error of its own that says what was expected."""

from __future__ import annotations

import math

import pytest
import torch
from zoo_flow.flow_config import FlowConfig
from zoo_flow.pixel_maps import Logit

import zoo_core as zoo
from zoo_core import ImageSpec, ZooError

IMAGES = ImageSpec(channels=1, height=4, width=4, levels=16)
SMALL = {
    "nice": {"hidden": (4,)},
    "realnvp": {"scales": 1, "width": 4, "blocks": 0},
    "realnvp_vd": {"flow.scales": 1, "flow.width": 4, "dequantiser.width": 4},
    "glow": {"scales": 1, "depth": 1, "width": 4},
    "maf": {"hidden": (20,)},
    "nsf": {"steps": 1, "hidden": 4, "blocks": 1},
    "ffjord": {"hidden": (4,)},
}


@pytest.fixture(params=SMALL)
def model(request: pytest.FixtureRequest) -> zoo.GenerativeModel:
    return zoo.create(request.param, IMAGES, **SMALL[request.param])


def test_a_temperature_is_a_finite_number(model: zoo.GenerativeModel) -> None:
    for temperature in (-1.0, math.nan, math.inf, "1", None, torch.ones(2)):
        with pytest.raises(ZooError, match="sample: expected temperature >= 0, a finite factor"):
            model.sample(1, temperature=temperature)


def test_the_ends_of_a_line_are_images(model: zoo.GenerativeModel) -> None:
    x = torch.zeros(1, 4, 4, dtype=torch.uint8)
    for other, message in (
        ("x", r"expected a uint8 tensor \(N, 1, 4, 4\), got str"),
        ([x], "got list"),
        (x[0], r"got \(4, 4\)"),
        (x.expand(2, 1, 4, 4), "expected one image at each end, got 2 and 1"),
        (x.float(), "expected uint8 pixels"),
    ):
        with pytest.raises(ZooError, match=message):
            model.interpolate(other, x, 3)


def test_noise_is_finite(model: zoo.GenerativeModel) -> None:
    z = torch.zeros(3, 16)
    z[1, 5], z[2] = math.nan, math.inf
    with pytest.raises(ZooError, match=r"decode: expected finite noise, got NaN or infinity in 2 of 3 rows"):
        model.decode(z)


def test_no_images_are_no_codes(model: zoo.GenerativeModel) -> None:
    z = model.encode(torch.zeros(0, 1, 4, 4, dtype=torch.uint8))
    assert z.shape == (0, 16)
    assert model.decode(z).shape == (0, 1, 4, 4)


def test_a_logit_that_float32_cannot_tell_from_its_poles_is_refused() -> None:
    for alpha in (1e-7, 0.0, 0.5):
        with pytest.raises(ZooError, match=r"FlowConfig.alpha: expected at least 1e-06"):
            FlowConfig(alpha=alpha)
    v = torch.tensor([0.0, 0.3, 1.0]).view(3, 1, 1, 1)
    for one, two in zip(Logit(FlowConfig(alpha=1e-6).alpha)(v), Logit(1e-6)(v.double())):
        torch.testing.assert_close(one.double(), two, rtol=0, atol=0.05)
