"""The Fréchet distance is the closed form between Gaussians, zero for equal sets, and biased upwards in N."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from zoo_bench.datasets import load as data
from zoo_bench.metrics import frechet

from zoo_core import ZooError


def features(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + seed


def test_equal_sets_are_at_distance_zero() -> None:
    a = frechet.fit(features(500, 20, 0))
    assert frechet.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_it_is_the_closed_form_for_commuting_covariances() -> None:
    """For diagonal covariances the distance is |m1 - m2|^2 + sum (s1 - s2)^2."""
    m1, m2 = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double()
    s1, s2 = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 1.0, 0.5]).double()
    a = frechet.Gaussian(m1, torch.diag(s1**2), 1)
    b = frechet.Gaussian(m2, torch.diag(s2**2), 1)
    expected = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    assert frechet.frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-12)


def test_it_agrees_with_the_matrix_square_root() -> None:
    x, y = features(300, 12, 1), features(200, 12, 2)
    a, b = frechet.fit(x), frechet.fit(y)
    ca, cb = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(ca @ cb).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(ca + cb - 2 * root)
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet.frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_it_is_permutation_invariant_and_leaves_the_random_state_alone() -> None:
    x, y = features(100, 5, 1), features(90, 5, 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = frechet.frechet_distance(frechet.fit(x), frechet.fit(y))
    frechet.jackknife(x, frechet.fit(y))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert frechet.frechet_distance(frechet.fit(x.flip(0)), frechet.fit(y)) == pytest.approx(one, rel=1e-10)


def test_singular_covariances_are_no_problem() -> None:
    few = features(5, 30, 0)
    distance = frechet.frechet_distance(frechet.fit(few), frechet.fit(features(200, 30, 0)))
    assert np.isfinite(distance)


def test_the_jackknife_error_matches_repeated_draws() -> None:
    reference = frechet.fit(features(5000, 4, 0))
    generator = torch.Generator().manual_seed(2)
    population = features(20_000, 4, 0)
    sets = [population[torch.randint(20_000, (400,), generator=generator)] for _ in range(200)]
    spread = np.std([frechet.frechet_distance(frechet.fit(x), reference) for x in sets])
    estimated = np.mean([frechet.jackknife(x, reference) for x in sets[:50]])
    assert 0.5 < estimated / spread < 2.0


def test_bad_features_are_refused() -> None:
    with pytest.raises(ZooError, match="at least 2 images"):
        frechet.fit(torch.zeros(1, 3))
    with pytest.raises(ZooError, match="NaN or infinity"):
        frechet.fit(torch.tensor([[1.0, float("nan")], [0.0, 0.0]]))


def test_the_anchor_of_the_digits() -> None:
    """Pixels at [0, 1], training against test images."""
    sets = [data.load("digits", split) for split in ("train", "test")]
    fitted = [frechet.fit(part.pinned.x.double().flatten(1) / 16) for part in sets]
    assert frechet.frechet_distance(*fitted) == pytest.approx(0.109, abs=5e-4)
