"""Sharpness: blurred samples lie below 1, noisy ones above it, real images at it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from zoo_bench.cards.types import Metric
from zoo_bench.datasets.load import load
from zoo_bench.metrics import measured, sharpness
from zoo_bench.tasks import suites

from zoo_core.specs import ImageSpec

SUITE = suites.load("drawing/digits")


def of(x: Tensor) -> Metric:
    (found,) = sharpness.sharpness(measured.of_images(SUITE, SUITE.tasks[0], x))
    return found


def test_the_filter_sees_curvature_and_no_slope() -> None:
    """Of one pixel of 1 among 5 x 5 zeros, the nine responses are one -4, four 1 and four 0: variance 20 / 9."""
    images = ImageSpec(channels=1, height=5, width=5, levels=2)
    dot = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    dot[..., 2, 2] = 1
    assert sharpness.of(dot, images).item() == pytest.approx(20 / 9)
    ramp = torch.arange(5, dtype=torch.uint8).expand(1, 1, 5, 5)
    assert sharpness.of(ramp, ImageSpec(channels=1, height=5, width=5, levels=5)).item() == pytest.approx(0, abs=1e-12)


def test_real_images_are_as_sharp_as_others_and_blurred_ones_are_flagged() -> None:
    train = load("digits", "train").pinned.x
    real = of(train)
    assert real.interval is not None and real.value is not None
    assert real.interval.low < 1 < real.interval.high and not real.params.flag
    blurred = F.avg_pool2d(train.double(), 3, stride=1, padding=1).round().to(torch.uint8)
    assert (of(blurred).value or 0) < 0.5 and of(blurred).params.flag
    noise = torch.randint(17, train.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert (of(noise).value or 0) > 1.25 and of(noise).params.flag


def test_the_interval_covers_the_ratio_as_often_as_it_says() -> None:
    """Against halves of the training images, of the whole of them: 95 % within binomial noise."""
    train = load("digits", "train").pinned.x
    truth = float(sharpness.of(train, load("digits", "train").images).mean())
    generator = torch.Generator().manual_seed(0)
    inside = 0
    for _ in range(100):
        found = of(train[torch.randint(len(train), (200,), generator=generator)])
        aim = truth / float(found.params.get("real"))
        assert found.interval is not None
        inside += found.interval.low < aim < found.interval.high
    assert inside >= 90
