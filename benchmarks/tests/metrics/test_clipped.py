"""Clipped density and coverage: their definition, word by word, and the line that they promise."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_bench.features import extract as extractors
from zoo_bench.metrics import clipped, neighbours

from zoo_core import ZooError

K = 5


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def clusters(n: int, d: int, seed: int) -> Tensor:
    """Ten Gaussian clusters of different widths, as many of each in every draw."""
    of = torch.arange(n) % 10
    return 6 * normal(10, d, 77)[of] + torch.linspace(0.3, 1.5, 10).double()[of, None] * normal(n, d, seed)


def exactly(n: int, m: int, k: int) -> Fraction:
    """f(m) = (1 / k) sum_j min(j, k) C(m, j) B(k + j, n + m - k - j) / B(k, n - k), in whole numbers."""

    def beta(a: int, b: int) -> Fraction:
        return Fraction(math.factorial(a - 1) * math.factorial(b - 1), math.factorial(a + b - 1))

    terms = (min(j, k) * math.comb(m, j) * beta(k + j, n + m - k - j) for j in range(m + 1))
    return sum(terms, Fraction(0)) / (k * beta(k, n - k))


def literally(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """One image after the other."""
    real, fake = real.double().numpy(), fake.double().numpy()
    n, m = len(real), len(fake)
    away = np.sqrt(((real[:, None] - real) ** 2).sum(2))
    radii = np.array([sorted(np.delete(away[i], i))[k - 1] for i in range(n)])
    cut = np.minimum(radii, np.median(radii))

    def count(x: np.ndarray, without: int | None = None) -> int:
        return sum(i != without and np.sqrt(((real[i] - x) ** 2).sum()) <= cut[i] for i in range(n))

    of_fakes = np.mean([min(count(x) / k, 1) for x in fake])
    of_reals = np.mean([min(count(x, j) / k, 1) for j, x in enumerate(real)])
    held = [sum(np.sqrt(((x - y) ** 2).sum()) <= radius for y in fake) for x, radius in zip(real, radii)]
    u = sum(min(each, k) for each in held) / n / k
    f = [exactly(n, t, k) for t in range(m + 1)]
    below = max(t for t in range(m + 1) if f[t] <= u)
    share = 1.0 if below == m else (below + float((u - f[below]) / (f[below + 1] - f[below]))) / m
    return {"clipped_density": min(of_fakes / of_reals, 1), "clipped_coverage": share}


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 5), (61, 40, 5), (40, 61, 3), (30, 30, 1), (6, 9, 5)])
@pytest.mark.parametrize("shift", [0.0, 0.7, 30.0])
def test_they_are_their_definition(n: int, m: int, k: int, shift: float) -> None:
    real, fake = normal(n, 3, 1), normal(m, 3, 2)
    fake[: m // 2] += shift
    assert clipped.clipped(real, fake, k) == pytest.approx(literally(real, fake, k), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["grid", "far"])
def test_they_are_exact_where_rounding_or_ties_could_decide(
    dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binary points have many equal distances; far from the origin float32 products are worthless."""
    make = {
        "grid": lambda seed: (normal(60, 12, seed) > 0).double() / 3,
        "far": lambda seed: normal(60, 12, seed) * 1e-3 + torch.arange(12) * 100,
    }[kind]
    real, fake = make(1).to(dtype), make(2).to(dtype)
    monkeypatch.setattr(neighbours, "ENTRIES", 700)  # several blocks
    assert clipped.clipped(real, fake) == pytest.approx(literally(real, fake, K), rel=1e-9)


def test_the_calibration_holds_at_any_size() -> None:
    """Whole numbers against logarithms; ten thousand of either are in range, and more good samples are never less."""
    for n, m, k in ((30, 40, 5), (6, 300, 5), (200, 12, 3), (50, 50, 1)):
        found = clipped.expected(n, m, k)
        assert found.tolist() == pytest.approx([float(exactly(n, t, k)) for t in range(m + 1)], rel=1e-9, abs=1e-14)
    found = clipped.expected(10_000, 10_000, K)
    assert found[0] == 0 and bool((found.diff() > 0).all()) and 0.7 < found[-1] < 0.8
    assert found[1] == pytest.approx(1 / 10_000, rel=1e-9), "one sample is in a ball with the probability k / n"
    assert float(clipped.expected(6, 10_000, K)[-1]) <= 1


SHARES = np.linspace(0, 1, 6)


def mixed(real: Tensor, good: Tensor, bad: Tensor) -> list[dict[str, float]]:
    """The values for each share of bad samples."""
    m = len(good)
    numbers = [round(share * m) for share in SHARES]
    return [clipped.clipped(real, torch.cat([good[: m - n], bad[:n]])) for n in numbers]


def off_the_line(draws: list[list[dict[str, float]]]) -> dict[str, float]:
    """How far values, on average over draws, lie at most from the line between no bad samples and nothing else."""
    off = {}
    for name in draws[0][0]:
        values = np.array([[each[name] for each in draw] for draw in draws])
        assert ((values >= 0) & (values <= 1)).all()
        values = values.mean(0)
        assert values[0] > 0.95 and values[-1] < 0.05, "fresh draws of the same distribution, and none of it"
        off[name] = float(np.abs(values - (values[0] + SHARES * (values[-1] - values[0]))).max())
    return off


@pytest.mark.parametrize(
    ("n", "d", "draws", "bad"),
    [(1000, 2, 5, "far"), (1000, 16, 5, "wide"), (1500, 8, 3, "one place"), (3000, 8, 1, "far")],
)
def test_they_fall_in_a_straight_line_as_bad_samples_are_mixed_in(n: int, d: int, draws: int, bad: str) -> None:
    found = []
    for seed in range(0, 10 * draws, 10):
        others = {
            "far": 40 + normal(n, d, seed + 3),
            "wide": 60 * normal(n, d, seed + 3),
            "one place": clusters(1, d, 4) + 25 + 1e-3 * normal(n, d, seed + 3),
        }[bad]
        found.append(mixed(clusters(n, d, seed + 1), clusters(n, d, seed + 2), others))
    off = off_the_line(found)
    assert max(off.values()) < 0.03, off


def test_they_fall_in_a_straight_line_in_features_of_digits() -> None:
    """Noise and digits upside down in levels, by the digits' own network, and by their pixels."""
    train, test, validation = (data.load("digits", split).pinned.x for split in ("train", "test", "validation"))
    x = torch.cat([train, test, validation])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    noise = torch.randint(17, x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = data.load("digits", "test").images
    for extractor in ("digitscnn", "pixels"):
        real, good = extractors.extract(extractor, x, images).values.split(899)[:2]
        for bad in (noise, 16 - x):
            off = off_the_line([mixed(real[:898], good, extractors.extract(extractor, bad[:898], images).values)])
            assert max(off.values()) < 0.03, (extractor, off)


@pytest.mark.parametrize("d", [1, 5, 64])
@pytest.mark.parametrize("good", [5, 20, 35])
def test_the_calibration_is_the_average_over_draws_of_any_distribution(d: int, good: int) -> None:
    """Of u, whatever the distribution and its dimension; the share that u is calibrated to is no straight function."""
    f, found = clipped.expected(50, 60, K).numpy(), []
    for seed in range(0, 600, 2):
        fake = normal(60, d, seed) ** 3
        fake[good:] += 1e4
        share = clipped.clipped(normal(50, d, seed + 1) ** 3, fake)["clipped_coverage"]
        found.append(np.interp(share * 60, np.arange(61), f))
    assert np.mean(found) == pytest.approx(f[good], abs=4 * np.std(found) / 300**0.5)


def test_outliers_among_real_images_do_not_make_noise_look_real() -> None:
    """Ten of a thousand far out: their balls hold whatever is out there, and count in plain density."""
    real, outliers = normal(1000, 8, 1), 40 * normal(10, 8, 2)
    noise = 20 * normal(1000, 8, 3)
    clean, spoiled = real, torch.cat([real[10:], outliers])
    assert neighbours.prdc(clean, noise)["density"] < 0.01 < 0.3 < neighbours.prdc(spoiled, noise)["density"]
    assert clipped.clipped(spoiled, noise)["clipped_density"] < 0.01
    honest = normal(1000, 8, 4)
    assert clipped.clipped(spoiled, honest) == pytest.approx(clipped.clipped(clean, honest), abs=0.03)


def test_good_samples_that_are_all_alike_do_not_make_up_for_bad_ones() -> None:
    """Three of five samples at the densest place, the others nowhere: plain density calls that more than perfect."""
    real = torch.rand(1000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = (torch.cdist(real, real) <= torch.cdist(real, real).sort(1).values[:, [K]]).sum(0)
    densest = real[counts.argmax()]
    fake = torch.cat([densest + 1e-6 * normal(600, 2, 2), 100 + normal(400, 2, 3)])
    assert neighbours.prdc(real, fake)["density"] > 1
    found = clipped.clipped(real, fake)
    assert found["clipped_density"] < 0.9
    assert found["clipped_coverage"] < 0.05


def test_copies_of_the_real_images_are_at_most_perfect() -> None:
    real = clusters(500, 6, 1)
    assert clipped.clipped(real, real) == {"clipped_density": 1, "clipped_coverage": 1}
    assert clipped.clipped(torch.ones(50, 3), torch.ones(40, 3))["clipped_density"] == 1, "all at one place"


def test_too_few_images_are_refused_with_what_to_do() -> None:
    with pytest.raises(ZooError, match=r"k = 5 needs at least 6 real images.*got 5; give more images"):
        clipped.clipped(normal(5, 3, 0), normal(50, 3, 1))
    assert clipped.clipped(normal(6, 3, 0), normal(2, 3, 1)).keys() == {"clipped_density", "clipped_coverage"}
