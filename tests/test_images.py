"""The roads between integers and real numbers, and the batch that carries what belongs to images."""

from __future__ import annotations

import math

import pytest
import torch

from zoo_core.errors import ZooError
from zoo_core.images import Batch, check, dequantise, from_signed, from_unit, quantise, to_signed, to_unit
from zoo_core.specs import ImageSpec

LEVELS = (2, 3, 17, 255, 256)


def spec(levels: int) -> ImageSpec:
    return ImageSpec(channels=1, height=1, width=levels, levels=levels)


def ramp(levels: int) -> torch.Tensor:
    """One image with every level in it."""
    return torch.arange(levels, dtype=torch.uint8).view(1, 1, 1, levels)


@pytest.mark.parametrize("levels", LEVELS)
def test_maps_invert_each_other(levels):
    x, images = ramp(levels), spec(levels)
    unit, signed = to_unit(x, images), to_signed(x, images)
    assert torch.equal(from_unit(unit, images), x) and torch.equal(from_signed(signed, images), x)
    assert (float(unit.min()), float(unit.max())) == (0, 1)
    assert (float(signed.min()), float(signed.max())) == (-1, 1)


@pytest.mark.parametrize("levels", LEVELS)
def test_quantise_inverts_dequantise(levels):
    images, generator = spec(levels), torch.Generator().manual_seed(0)
    x = ramp(levels).expand(500, -1, -1, -1)
    v, log_volume = dequantise(x, images, generator)
    assert torch.equal(quantise(v, images), x)
    assert float(v.min()) >= 0 and float(v.max()) < 1
    assert log_volume == pytest.approx(-images.dims * math.log(levels))
    middle = (x + 0.5) / levels
    assert (v - middle).abs().max() <= 0.5 / levels + 1e-6
    assert torch.allclose((v - middle).mean(0) * levels, torch.zeros(1), atol=0.1)  # uniform in the cell, so centred


def test_dequantise_takes_its_noise_from_the_generator():
    x, images = ramp(17), spec(17)
    state = torch.get_rng_state()
    one, two = (dequantise(x, images, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(one, two) and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("levels", LEVELS)
def test_values_outside_are_clamped(levels):
    images, far = spec(levels), torch.tensor([-1e6, -0.1, 1.1, 1e6, -math.inf, math.inf])
    ends = torch.tensor([0, 0, 1, 1, 0, 1]) * (levels - 1)
    assert torch.equal(from_unit(far, images).long(), ends)
    assert torch.equal(from_signed(far * 2 - 1, images).long(), ends)
    assert torch.equal(quantise(far, images).long(), ends)


def test_a_uniform_density_scores_log_k():
    """The density 1 on [0, 1]^D, dequantised, is the uniform distribution over K^D images."""
    images = ImageSpec(channels=3, height=2, width=2, levels=17)
    _, log_volume = dequantise(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), images)
    assert 0 - log_volume == pytest.approx(12 * math.log(17))


IMAGES = ImageSpec(channels=3, height=4, width=5, levels=17)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1, 2]], r"expected a uint8 tensor \(N, 3, 4, 5\), got list"),
        (
            torch.zeros(2, 3, 4, 5),
            r"expected uint8 pixels 0..16, got torch.float32; turn pixels in \[0, 1\].*from_unit",
        ),
        (torch.zeros(2, 3, 4, 5, dtype=torch.int64), r"expected uint8 pixels 0..16, got torch.int64$"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), r"expected images of shape \(N, 3, 4, 5\), got \(3, 4, 5\)"),
        (torch.zeros(2, 4, 5, 3, dtype=torch.uint8), r"expected images of shape \(N, 3, 4, 5\), got \(2, 4, 5, 3\)"),
        (torch.full((2, 3, 4, 5), 17, dtype=torch.uint8), r"expected pixels 0..16 \(17 levels\), got a pixel of 17"),
    ],
)
def test_check_says_what_is_wrong(x, message):
    with pytest.raises(ZooError, match=message):
        check(x, IMAGES)


def test_check_returns_good_images_unchanged():
    x = torch.full((2, 3, 4, 5), 16, dtype=torch.uint8)
    assert check(x, IMAGES) is x
    assert len(check(x[:0], IMAGES)) == 0


def test_a_batch_is_cut_through_everything_in_it():
    x = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    batch = Batch(x, labels=torch.arange(5), text=list("abcde")).with_(eps=torch.arange(5.0))
    part = batch[1:3]
    assert len(part) == 2 and part.text == ["b", "c"]
    assert part.x.flatten().tolist() == part.labels.tolist() == part.extra["eps"].tolist() == [1, 2]
    parts = list(batch.split(2))
    assert [len(p) for p in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([p.extra["eps"] for p in parts]), batch.extra["eps"])
    assert [len(p) for p in batch.split(None)] == [5]


def test_with_keeps_what_was_there_and_the_original():
    batch = Batch(torch.zeros(2, 1, 1, 1, dtype=torch.uint8)).with_(t=torch.ones(2))
    more = batch.with_(eps=torch.zeros(2), t=torch.zeros(2))
    assert set(more.extra) == {"t", "eps"} and set(batch.extra) == {"t"}
    assert float(batch.extra["t"].sum()) == 2 and float(more.extra["t"].sum()) == 0


@pytest.mark.parametrize("parts", [{"labels": torch.zeros(3)}, {"text": ["a"]}, {"extra": {"eps": torch.zeros(1, 2)}}])
def test_rows_that_do_not_match_are_refused(parts):
    with pytest.raises(ZooError, match="expected 2 rows"):
        Batch(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), **parts)


@pytest.mark.parametrize("levels", [2, 17, 200, 256])
def test_dequantised_pixels_stay_in_their_cells_to_the_last_bit(levels: int) -> None:
    """Rounding carries one in a hundred thousand draws onto the edge of the next cell, unless it is held back."""
    images = ImageSpec(channels=1, height=1000, width=1000, levels=levels)
    x = torch.full((2, 1, 1000, 1000), levels - 1, dtype=torch.uint8)
    x[1] = levels // 2
    v, _ = dequantise(x, images, torch.Generator().manual_seed(0))
    assert v.max() < 1
    assert torch.equal(quantise(v, images), x)
