"""Mode coverage: the two numbers of the papers on cases with known answers, and on stacked MNIST's own images."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from zoo_bench.cards.types import Metric
from zoo_bench.datasets import load as data
from zoo_bench.features.extract import extract
from zoo_bench.metrics import modes
from zoo_bench.metrics.measure import compute, measure
from zoo_bench.metrics.measured import Measured, of_images
from zoo_bench.tasks import suites

from zoo_core import registry

needs_mnist = pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="set ZOO_DATA to a folder with MNIST's IDX files")


def of(x: Tensor) -> Measured:
    suite = suites.load("modes")
    return of_images(suite, suite.tasks[0], x)


def numbers(x: Tensor) -> dict[str, Metric]:
    return {entry.id: entry for entry in measure(of(x))}


def test_the_kind_of_an_image_is_the_number_that_its_digits_spell() -> None:
    classes = torch.tensor([[0, 0, 7], [9, 8, 7], [1, 0, 0]])
    assert modes.kinds_of(classes, 10).tolist() == [7, 987, 100]
    assert modes.kinds_of(torch.tensor([[2, 1]]), 3).tolist() == [7]


def test_the_divergence_is_the_sum_over_kinds() -> None:
    kinds = torch.randint(50, (333,), generator=torch.Generator().manual_seed(0)).clamp(min=10)
    literal = sum(n / 333 * math.log(n / 333 * 1000) for n in Counter(kinds.tolist()).values())
    assert modes.divergence(kinds, 1000)[0] == pytest.approx(literal, abs=1e-12)


@pytest.mark.parametrize(("kinds", "value"), [(1000, 0.0), (500, math.log(2)), (1, math.log(1000))])
def test_evenly_drawn_kinds_are_ln_of_what_is_missing_away(kinds: int, value: float) -> None:
    found, error = modes.divergence(torch.arange(20_000) % kinds, 1000)
    assert found == pytest.approx(value, abs=1e-12)
    assert error == pytest.approx(0, abs=1e-12)
    assert modes.divergence(torch.zeros(19, dtype=torch.int64), 2) == (pytest.approx(math.log(2)), None)


def test_samples_of_the_even_distribution_are_as_far_away_as_their_number_says() -> None:
    """(M - 1) / 2N on average; and the jackknife's error is that of another draw, where kinds are not even."""
    generator = torch.Generator().manual_seed(0)
    even = [modes.divergence(torch.randint(50, (2000,), generator=generator), 50)[0] for _ in range(200)]
    assert torch.tensor(even).mean().item() == pytest.approx(49 / 4000, rel=0.05)
    uneven = torch.arange(1.0, 51.0)
    drawn = [torch.multinomial(uneven, 2000, replacement=True, generator=generator) for _ in range(200)]
    values, errors = torch.tensor([modes.divergence(kinds, 50) for kinds in drawn], dtype=torch.float64).T
    assert errors.square().mean().sqrt().item() == pytest.approx(values.std().item(), rel=0.15)


@needs_mnist
def test_real_images_show_their_digits_and_collapsed_samples_only_some() -> None:
    images, single = data.load("mnist", "test").images, data.load("mnist", "test").pinned[:300]
    right = extract("mnistcnn", single.x, images).logits.argmax(1) == single.labels
    assert right.double().mean() > 0.98
    digit = [single.x[right & (single.labels == d)][0, 0] for d in range(10)]
    triples = [(a, b, c) for a in (0, 3, 7) for b in (1, 2) for c in (9,)]  # 6 kinds of the 1,000
    x = torch.stack([torch.stack([digit[d] for d in triple]) for triple in triples])
    found = numbers(x.repeat(20, 1, 1, 1))
    assert found["modes_found"].value == 6 and found["modes_found"].higher_is_better
    assert found["modes_kl"].value == pytest.approx(math.log(1000 / 6)) and not found["modes_kl"].higher_is_better
    real = numbers(data.load("mnist_stacked", "test").pinned.x[:500])
    assert real["modes_found"].value == pytest.approx(1000 * (1 - math.exp(-0.5)), abs=30)
    assert real["modes_kl"].value < 0.2 * found["modes_kl"].value


@needs_mnist
def test_a_number_s_protocol_is_its_classifier_and_how_many_samples() -> None:
    x = data.load("mnist_stacked", "test").pinned.x[:60]
    one, other = numbers(x), numbers(x[:40])
    for name in ("modes_found", "modes_kl"):
        assert one[name].comparable_key != other[name].comparable_key
        params = one[name].params
        assert (params.n, params.get("modes"), params.extractor) == (60, 1000, "mnistcnn")
        assert params.get("sha256") == registry.extractors.get("mnistcnn").sha256
    assert one["modes_kl"].interval.n == 60 and one["modes_found"].interval is None
    assert compute("modes", of(x))[0].comparable_key == one["modes_found"].comparable_key


def test_images_whose_channels_are_no_digits_have_no_modes() -> None:
    suite = suites.load("quick")
    task = replace(suite.tasks[0], metrics=("modes",))
    measured = of_images(suite, task, data.load("digits", "test").pinned.x)
    assert measure(measured) == []
    (told,) = measure(measured, asked=["modes"])
    assert (
        told.params.ids == ("modes_found", "modes_kl") and "does not apply to this model and data" in told.params.reason
    )
