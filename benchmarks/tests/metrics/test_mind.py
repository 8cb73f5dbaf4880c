"""MIND: its definition, what it is where that is known, and what its interval is worth."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_bench.metrics import mind

from zoo_core import ZooError


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def value(a: Tensor, b: Tensor, directions: int = 200) -> float:
    return mind.mind(a, b, directions=directions)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_its_definition(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = normal(70, 6, 1, dtype), (2 * normal(70, 6, 2) + 100).to(dtype)
    x, y = a.double().numpy(), b.double().numpy()
    total = 0.0
    for theta in np.random.RandomState(0).standard_normal((1000, 6)):
        theta = theta / np.linalg.norm(theta)
        pairs = zip(sorted(x @ theta), sorted(y @ theta))
        total += sum((p - q) ** 2 for p, q in pairs) / 70
    monkeypatch.setattr(mind, "AT_ONCE", 70 * 64)  # several blocks
    assert mind.mind(a, b) == (pytest.approx(3 * 6 * total / 1000, rel=1e-9), None)


def test_directions_are_unit_vectors_without_a_preference_and_pinned() -> None:
    found = mind.unit_vectors(20_000, 3, 0)
    assert torch.allclose(found.square().sum(1), torch.ones(20_000).double(), rtol=1e-12)
    assert torch.allclose(found.T @ found / 20_000, torch.eye(3).double() / 3, atol=0.01)
    assert found[0].tolist() == pytest.approx([0.8577, 0.1946, 0.4759], abs=1e-4), "RandomState(0), everywhere"
    assert torch.equal(mind.unit_vectors(7, 3, 0), found[:7])
    assert not torch.equal(mind.unit_vectors(7, 3, 1), found[:7])


def test_a_shifted_gaussian_is_at_three_times_the_squared_shift() -> None:
    """3 d E (theta . mu)^2 = 3 |mu|^2; the two sets are one shifted, so that nothing else is between them."""
    x = normal(2000, 12, 1)
    mu = torch.linspace(-1, 1, 12).double()
    theta = mind.unit_vectors(1000, 12, 0)
    assert mind.mind(x + mu, x)[0] == pytest.approx(3 * 12 * float((theta @ mu).square().mean()), rel=1e-9)
    assert mind.mind(x + mu, x)[0] == pytest.approx(3 * float(mu @ mu), rel=0.1)
    apart = mind.mind(x + mu, normal(2000, 12, 2))[0]
    assert apart == pytest.approx(3 * float(mu @ mu), rel=0.1)
    scaled = mind.mind(2 * x, x)[0]  # the other closed form: W = (2 - 1)^2 of each projection's variance
    assert scaled == pytest.approx(3 * 12, rel=0.05)


def test_the_bias_of_equal_distributions_falls_with_the_number_of_images() -> None:
    few, many = (value(normal(n, 8, 1), normal(n, 8, 2)) for n in (100, 3000))
    assert 0 < many < few / 10


def test_equal_sets_are_at_zero_in_any_order() -> None:
    x, y = normal(300, 5, 1), normal(300, 5, 2) + 0.3
    mixed = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    assert value(x, x[mixed]) == pytest.approx(0, abs=1e-20)
    assert value(x[mixed], y) == pytest.approx(value(x, y), rel=1e-12) == pytest.approx(value(y, x), rel=1e-12)
    errors = [mind.mind(rows, y, directions=50, groups=10)[1] for rows in (x, x[mixed])]
    assert errors[0] == pytest.approx(errors[1], rel=1e-9), "groups belong to the set"


def test_a_common_rotation_or_shift_changes_nothing_but_the_directions() -> None:
    x, y = normal(400, 6, 1), normal(400, 6, 2) * torch.linspace(0.5, 2, 6).double()
    rotation = torch.linalg.qr(normal(6, 6, 3))[0]
    assert value(x + 50, y + 50) == pytest.approx(value(x, y), rel=1e-9)
    assert value(x @ rotation, y @ rotation, 3000) == pytest.approx(value(x, y, 3000), rel=0.05)


@pytest.mark.parametrize(("n", "m"), [(9, 10), (10, 9), (7, 3), (1, 8), (12, 4)])
def test_sets_of_different_sizes_are_at_the_distance_of_all_their_copies(n: int, m: int) -> None:
    """n images m times each against m images n times each: as many of both."""
    x, y = normal(n, 4, 1).T.sort(1).values, normal(m, 4, 2).T.sort(1).values
    expected = (x.repeat_interleave(m, 1) - y.repeat_interleave(n, 1)).square().mean(1)
    assert torch.allclose(mind._transport(x, y), expected, rtol=1e-12)


def test_the_jackknife_is_that_of_leaving_groups_out() -> None:
    from zoo_bench.features import featuresets

    a, b = normal(53, 4, 1), normal(53, 4, 2) + 0.5
    found = []
    for group in torch.tensor_split(featuresets.shuffled(a, seed=0), 10):
        keep = torch.ones(53, dtype=torch.bool)
        keep[group] = False
        m = int(keep.sum())  # as many of both, by copies
        found.append(value(a[keep].repeat_interleave(53, 0), b.repeat_interleave(m, 0), 30))
    expected = np.sqrt(0.9 * np.sum((np.array(found) - np.mean(found)) ** 2))
    assert mind.mind(a, b, directions=30, groups=10)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("scale", "shift", "low", "high"), [(1.1, 0.1, 0.75, 1.3), (1.0, 0.5, 0.75, 1.3), (1, 0, 1, 1.8)]
)
def test_the_error_is_the_deviation_over_other_draws_of_the_images(
    scale: float, shift: float, low: float, high: float
) -> None:
    """Too wide where the distributions are equal: there the distance is no smooth function of the images."""
    b = normal(400, 6, 0)
    found = [mind.mind(normal(400, 6, seed) * scale + shift, b, directions=60, groups=10) for seed in range(1, 81)]
    values, errors = np.array(found).T
    assert low < np.sqrt(np.mean(errors**2)) / values.std(ddof=1) < high


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ZooError, match=r"as many images of either, got 50 and 40; choose 40 of both"):
        mind.mind(normal(50, 3, 0), normal(40, 3, 1))
    with pytest.raises(ZooError, match="different dimensions"):
        mind.mind(normal(50, 3, 0), normal(50, 4, 1))
    with pytest.raises(ZooError, match="NaN"):
        mind.mind(normal(50, 3, 0) * float("nan"), normal(50, 3, 1))
    with pytest.raises(ZooError, match="expected 0 or 2 to 2 for 5 images, got 3"):
        mind.mind(normal(5, 3, 0), normal(5, 3, 1), groups=3)


def test_random_states_are_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    mind.mind(normal(50, 3, 0), normal(50, 3, 1), groups=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()
