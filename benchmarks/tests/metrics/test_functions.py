"""Metrics of feature sets: closed forms, examples by hand, torch-fidelity as the oracle, and what all of them keep."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_bench.features import featuresets
from zoo_bench.metrics import clipped, frechet, inception_score, kernels, neighbours

from zoo_core import ZooError


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def like_features(n: int, seed: int, shift: float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Correlated, non-negative, far from the origin, as a network's pooled features are: `(n, 48)`."""
    mix = normal(48, 48, 0) / 7
    return ((normal(n, 48, seed) @ mix + 0.5 + shift).clamp(min=0)).to(dtype)


# What every metric keeps

METRICS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "fd": lambda a, b: frechet.frechet_distance(frechet.fit(a), frechet.fit(b)),
    "fd_inf": lambda a, b: frechet.fd_inf(a, frechet.fit(b), points=5).distances,
    "jackknife": lambda a, b: frechet.jackknife(a, frechet.fit(b)),
    "kid": lambda a, b: kernels.kid(a, b, subsets=5, size=100),
    "cmmd": kernels.cmmd,
    "prdc": lambda a, b: list(neighbours.prdc(a, b).values()),
    "clipped": lambda a, b: list(clipped.clipped(a, b).values()),
    "memorisation": lambda a, b: neighbours.memorisation(a, b, b[:50] + 0.01)["ratio"],
    "is": lambda a, b: inception_score.inception_score(torch.cat([a, b])),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_order_of_the_images_does_not_matter(name: str, dtype: torch.dtype) -> None:
    a, b = like_features(300, 1, dtype=dtype), like_features(200, 2, 0.1, dtype=dtype)
    b[50:60] = b[:10]  # equal rows too
    shuffle = torch.Generator().manual_seed(3)
    again = a[torch.randperm(300, generator=shuffle)], b[torch.randperm(200, generator=shuffle)]
    if name == "memorisation":  # its third set is made of the second's first rows
        again = again[0], b
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    assert METRICS[name](*again) == pytest.approx(METRICS[name](a, b), rel=tolerance)


def allow_bfloat16_by(api: str) -> None:
    """As a program does for its training."""
    if api == "set_float32_matmul_precision":
        torch.set_float32_matmul_precision("medium")
    else:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"


@pytest.mark.parametrize("api", ["set_float32_matmul_precision", "fp32_precision"])
@pytest.mark.parametrize("name", ["cmmd", "prdc", "clipped", "memorisation"])
def test_products_are_in_full_precision_whatever_training_may_round(
    name: str, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matmul, found = torch.backends.mkldnn.matmul, []

    def watched(*sets: Tensor) -> Tensor:
        found.append(matmul.fp32_precision)
        return mean(*sets)

    mean = featuresets.mean
    monkeypatch.setattr(featuresets, "mean", watched)  # all of them ask for it before their products
    try:
        allow_bfloat16_by(api)
        METRICS[name](like_features(120, 1), like_features(110, 2))
        found.append(matmul.fp32_precision)
    finally:
        matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
    assert found[-1] == "bf16"
    assert set(found[:-1]) == {"ieee"}


@pytest.mark.parametrize("name", METRICS)
def test_the_global_random_states_are_left_alone(name: str) -> None:
    a, b = like_features(120, 1), like_features(110, 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    threads = torch.get_num_threads()
    METRICS[name](a, b)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


@pytest.mark.parametrize("name", METRICS)
def test_float32_features_give_the_number_of_float64(name: str) -> None:
    a, b = like_features(300, 1, dtype=torch.float32), like_features(200, 2, 0.1, dtype=torch.float32)
    assert METRICS[name](a, b) == pytest.approx(METRICS[name](a.double(), b.double()), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("is",)])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (torch.zeros(0, 48), "empty set"),
        (torch.zeros(1, 48), "at least 2 images"),
        (torch.zeros(60, 4, 12), r"expected features \(N, d\)"),
        (torch.zeros(60, 47), "different dimensions"),
        (torch.full((60, 48), float("nan")), "NaN or infinity"),
        (torch.full((60, 48), float("inf")), "NaN or infinity"),
        (torch.zeros(60, 48, dtype=torch.uint8), "floating-point"),
        (torch.full((60, 48), 1e20), "more than 1e[+]15"),
        (np.zeros((60, 48)), "got ndarray"),
        (torch.zeros(60, 48, requires_grad=True), "without gradients"),
    ],
)
def test_bad_features_are_refused(name: str, broken: Tensor, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        METRICS[name](broken, like_features(60, 1))
    with pytest.raises(ZooError, match=message):
        METRICS[name](like_features(60, 1), broken)


def test_the_order_of_a_set_bears_rounding() -> None:
    """Another machine's features differ in the last digits; the subsets stay almost the same."""
    a = like_features(1000, 1)
    noisy = a + 1e-6 * normal(1000, 48, 2)
    one, other = (set(kernels.draws(x, 1, 100, (0, 0))[0].tolist()) for x in (a, noisy))
    assert len(one & other) >= 98


# Fréchet distance


def test_fd_is_torch_fidelitys() -> None:
    from torch_fidelity import metric_fid

    a, b = like_features(2000, 1), like_features(1000, 2, 0.1)
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (a, b)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]
    assert frechet.frechet_distance(frechet.fit(a), frechet.fit(b)) == pytest.approx(theirs, rel=1e-6)


def test_fd_of_a_set_with_itself_is_zero_even_where_the_covariance_is_singular() -> None:
    for n in (500, 30):
        fitted = frechet.fit(torch.cat([like_features(n, 1), torch.zeros(n, 3)], dim=1))
        assert frechet.frechet_distance(fitted, fitted) == pytest.approx(0, abs=1e-6)


def test_fd_of_rotated_gaussians_is_the_closed_form() -> None:
    """With S = Q diag(s) Q^T for both, tr (S_1 S_2)^(1/2) = sum sqrt(s_1 s_2), some of them 0."""
    rotation = torch.linalg.qr(normal(6, 6, 0))[0]
    s1, s2 = (
        torch.tensor([4.0, 1.0, 9.0, 0.0, 2.0, 0.0]).double(),
        torch.tensor([1.0, 1.0, 4.0, 3.0, 0.0, 0.0]).double(),
    )
    a, b = (frechet.Gaussian(torch.zeros(6).double(), rotation * s @ rotation.T, 1) for s in (s1, s2))
    expected = float((s1.sqrt() - s2.sqrt()).square().sum())
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet.frechet_distance(b, a) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [500, 1000, 4000])
def test_the_bias_of_fd_is_the_one_expected(n: int) -> None:
    """Two sets of N images of N(0, I) are at d^2 / 2N + 2d/N, to the order of (d/N)^2."""
    d = 40
    found = [
        frechet.frechet_distance(frechet.fit(normal(n, d, seed)), frechet.fit(normal(n, d, 100 + seed)))
        for seed in range(5)
    ]
    assert np.mean(found) == pytest.approx(d * d / (2 * n) + 2 * d / n, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "expected"), [(1000, 132), (2000, 66), (5000, 26), (10_000, 13)])
def test_the_anchors_of_fd_at_512_dimensions(n: int, expected: float) -> None:
    found = frechet.frechet_distance(frechet.fit(normal(n, 512, 1)), frechet.fit(normal(n, 512, 2)))
    assert found == pytest.approx(expected, abs=1)


def test_fd_inf_removes_the_bias_of_the_generated_side() -> None:
    d = 20
    truth = frechet.Gaussian(torch.zeros(d).double(), torch.eye(d).double(), 10**9)
    x = normal(4000, d, 1) * 1.1 + 0.1  # distance d (0.1^2 + 0.1^2) = 0.4
    plain, found = frechet.frechet_distance(frechet.fit(x[:600]), truth), frechet.fd_inf(x[:600], truth)
    assert found.value == pytest.approx(0.4, abs=0.1)
    assert abs(found.value - 0.4) < abs(plain - 0.4)
    assert found.slope > 0 and found.error > 0
    assert found.sizes[0] >= 2 * d and found.sizes[-1] == 600
    assert found.distances[-1] == pytest.approx(plain, rel=1e-9)
    assert frechet.fd_inf(x[:600], truth) == found
    assert frechet.fd_inf(x[:600], truth, seed=1) != found


def test_fd_inf_of_too_few_images_is_refused() -> None:
    with pytest.raises(ZooError, match="at least 20 images"):
        frechet.fd_inf(normal(19, 2, 0), frechet.fit(normal(50, 2, 1)))


def test_blocks_give_the_covariance_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = like_features(500, 1)
    monkeypatch.setattr(featuresets, "ROWS", 64)
    fitted = frechet.fit(x)
    assert torch.allclose(fitted.mean, x.mean(0), rtol=1e-12)
    assert torch.allclose(fitted.covariance, torch.from_numpy(np.cov(x.numpy(), rowvar=False)), rtol=1e-9, atol=1e-14)


def test_the_jackknife_is_that_of_refitting() -> None:
    x, reference = like_features(203, 1), frechet.fit(like_features(200, 2))
    groups = torch.tensor_split(featuresets.shuffled(x, seed=0), 10)
    values = []
    for group in groups:
        keep = torch.ones(len(x), dtype=torch.bool)
        keep[group] = False
        values.append(frechet.frechet_distance(frechet.fit(x[keep]), reference))
    expected = np.sqrt(0.9 * np.sum((np.asarray(values) - np.mean(values)) ** 2))
    assert frechet.jackknife(x, reference) == pytest.approx(expected, rel=1e-8)


# KID and CMMD


@pytest.mark.parametrize("n", [150, 400, 1000])
def test_kid_is_torch_fidelitys_on_the_same_subsets(n: int) -> None:
    from torch_fidelity import metric_kid

    a, b = like_features(n, 1), like_features(n - 30, 2, 0.1)
    rows, columns = (kernels.draws(x, 10, 100, (0, side)) for side, x in enumerate((a, b)))
    values = [
        metric_kid.kid_features_to_metric(a[i], b[j], kid_subsets=1, kid_subset_size=100, verbose=False)[
            metric_kid.KEY_METRIC_KID_MEAN
        ]
        for i, j in zip(rows, columns)
    ]
    mean, deviation = kernels.kid(a, b, subsets=10, size=100)
    assert mean == pytest.approx(np.mean(values), rel=1e-6)
    assert deviation == pytest.approx(np.std(values), rel=1e-6)


def test_kid_of_whole_sets_is_torch_fidelitys() -> None:
    from torch_fidelity import metric_kid

    a, b = like_features(150, 1), like_features(150, 2, 0.1)
    theirs = metric_kid.kernel_mmd(a.numpy(), b.numpy(), kid_kernel="poly", kid_kernel_poly_gamma=None)
    assert kernels.kid(a, b, subsets=3, size=150) == pytest.approx((theirs, 0), rel=1e-6, abs=1e-14)
    assert kernels.kid(a.float(), b.float(), subsets=3, size=150)[0] == pytest.approx(theirs, rel=1e-5)


def test_kid_by_hand() -> None:
    """Ten 0s and ten 1s in one dimension: k is 1 among the 0s and between, 8 among the 1s."""
    assert kernels.kid(torch.zeros(10, 1), torch.ones(10, 1), size=10) == pytest.approx((1 + 8 - 2, 0), abs=1e-12)


def test_kid_is_unbiased() -> None:
    """Sets of one distribution are at 0 on average."""
    sets = [(normal(30, 5, seed), normal(25, 5, 1000 + seed)) for seed in range(60)]
    values = [kernels.kid(a, b, subsets=2, size=20)[0] for a, b in sets]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(60)


@pytest.mark.parametrize("n", [100, 115, 800])
def test_subsets_are_of_different_rows_and_every_row_and_pair_is_as_likely(n: int) -> None:
    rows = kernels.draws(like_features(n, 1), 1000, 100, (0, 0))
    assert all(len(set(subset.tolist())) == 100 for subset in rows)
    member = torch.zeros(1000, n).scatter_(1, rows, 1)
    together, p, q = member.T @ member, 100 / n, 100 * 99 / (n * (n - 1))
    pairs = together[~torch.eye(n, dtype=torch.bool)]
    assert float((member.sum(0) - 1000 * p).abs().max()) <= 6 * (1000 * p * (1 - p)) ** 0.5
    assert float((pairs - 1000 * q).abs().max()) <= 8 * (1000 * q * (1 - q)) ** 0.5  # half a million of them


def test_subsets_overlap_as_independent_ones_do() -> None:
    """Two subsets of m of n share m^2 / n rows on average, with the variance of a hypergeometric distribution."""
    n, m = 400, 100
    rows = kernels.draws(like_features(n, 1), 200, m, (0, 0))
    member = torch.zeros(200, n).scatter_(1, rows, 1)
    shared = (member @ member.T)[torch.ones(200, 200).triu(1) > 0]
    assert float(shared.mean()) == pytest.approx(m * m / n, rel=0.02)
    assert float(shared.var()) == pytest.approx(m * m / n * (1 - m / n) ** 2 * n / (n - 1), rel=0.1)


def test_the_subsets_of_one_set_do_not_depend_on_how_many_there_are() -> None:
    few, many = (kernels.draws(like_features(300, 1), count, 100, (0, 0)) for count in (2, 5))
    assert torch.equal(few, many[:2])
    assert not torch.equal(many[0], many[1])


def test_kid_refuses_subsets_larger_than_a_set() -> None:
    with pytest.raises(ZooError, match="subsets of 2 to 69 images"):
        kernels.kid(like_features(69, 1), like_features(90, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kid_of_half_precision_features_is_computed_in_single(dtype: torch.dtype) -> None:
    a, b = like_features(120, 1, dtype=dtype), like_features(110, 2, 0.1, dtype=dtype)
    expected = kernels.kid(a.double(), b.double(), subsets=3, size=100)
    assert kernels.kid(a, b, subsets=3, size=100) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_kid_of_wide_float32_features_is_that_of_float64(shift: float) -> None:
    """Where features lie far from the origin, single precision without centring has no correct digit."""
    a, b = ((normal(220, 2048, seed).abs() + shift + 0.1 * seed).float() for seed in (1, 2))
    expected = kernels.kid(a.double(), b.double(), subsets=5, size=200)
    assert kernels.kid(a, b, subsets=5, size=200)[0] == pytest.approx(expected[0], rel=1e-6)


def test_cmmd_is_its_definition() -> None:
    a, b = (torch.nn.functional.normalize(like_features(n, n), dim=1) for n in (70, 50))

    def kernel(x: Tensor, y: Tensor) -> float:
        return float((-(x[:, None] - y).square().sum(2) / (2 * 10**2)).exp().mean())

    expected = 1000 * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))
    assert kernels.cmmd(a, b) == pytest.approx(expected, rel=1e-9)
    assert kernels.cmmd(a.float(), b.float()) == pytest.approx(expected, rel=1e-4)
    assert kernels.cmmd(a, a) == pytest.approx(0, abs=1e-12)


def test_cmmd_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = like_features(70, 1), like_features(50, 2)
    whole = kernels.cmmd(a, b)
    monkeypatch.setattr(kernels, "ENTRIES", 300)
    assert kernels.cmmd(a, b) == pytest.approx(whole, rel=1e-10)


# Neighbours


def column(*values: float) -> Tensor:
    return torch.tensor(values).double()[:, None]


def test_prdc_by_hand() -> None:
    """k = 1. Real 0, 1, 3, 7 have radii 1, 1, 2, 4; fakes 5, 5.5, 20 have 0.5, 0.5, 14.5.

    Real balls [-1,1] [0,2] [1,5] [3,11] hold: nothing, nothing, the 5 (on its edge), the 5 and the 5.5.
    Fake balls [4.5,5.5] [5,6] [5.5,34.5] hold: nothing, nothing, the 7.
    """
    found = neighbours.prdc(column(0, 1, 3, 7), column(5, 5.5, 20), k=1)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 1 / 4, "density": 3 / 3, "coverage": 2 / 4})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_and_recall_are_torch_fidelitys(dtype: torch.dtype) -> None:
    from torch_fidelity import metric_prc

    real, fake = like_features(1500, 1, dtype=dtype), like_features(1000, 2, 0.1, dtype=dtype)
    theirs = metric_prc.prc_features_to_metric(fake, real, prc_neighborhood=5, verbose=False)
    found = neighbours.prdc(real, fake, k=5)
    assert 0.1 < found["precision"] < 0.9 or 0.1 < found["recall"] < 0.9  # else the comparison would be empty
    for name in ("precision", "recall"):
        assert found[name] == pytest.approx(theirs[name], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["continuous", "grid", "far"])
def test_prdc_is_exact_where_rounding_or_ties_could_decide(
    dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binary points have many equal distances; far from the origin float32 products are worthless."""
    make = {
        "continuous": lambda seed: normal(150, 20, seed),
        "grid": lambda seed: (normal(150, 20, seed) > 0).double() / 3,
        "far": lambda seed: normal(150, 20, seed) * 1e-3 + torch.arange(20) * 100,
    }[kind]
    real, fake = make(1).to(dtype), make(2).to(dtype)
    monkeypatch.setattr(neighbours, "ENTRIES", 1000)  # several blocks
    exactly = {
        name: (x[:, None].double() - y.double()).square().sum(2)
        for name, (x, y) in {"rr": (real, real), "ff": (fake, fake), "rf": (real, fake)}.items()
    }
    radii = {name: exactly[name].sort(1).values[:, 5] for name in ("rr", "ff")}
    in_real, in_fake = exactly["rf"] <= radii["rr"][:, None], exactly["rf"] <= radii["ff"][None]
    expected = {
        "precision": float(in_real.any(0).double().mean()),
        "recall": float(in_fake.any(1).double().mean()),
        "density": float(in_real.sum()) / (5 * len(fake)),
        "coverage": float(in_real.any(1).double().mean()),
    }
    assert neighbours.prdc(real, fake) == pytest.approx(expected, rel=1e-12)


def test_density_and_coverage_of_equal_distributions_are_those_expected() -> None:
    """E density = 1 and E coverage = 1 - prod_i (N - i) / (2N - i) over i = 1..k (Naeem et al., 2020, lemma 2)."""
    n, k = 300, 5
    found = [neighbours.prdc(normal(n, 6, seed), normal(n, 6, 100 + seed), k) for seed in range(20)]
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert np.mean([each["coverage"] for each in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([each["density"] for each in found]) == pytest.approx(1, abs=0.05)


def test_sets_far_apart_have_nothing_in_common() -> None:
    found = neighbours.prdc(normal(50, 4, 1), normal(60, 4, 2) + 100)
    assert found == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_prdc_needs_more_than_k_images() -> None:
    with pytest.raises(ZooError, match="more than 5 images"):
        neighbours.prdc(normal(5, 3, 0), normal(50, 3, 1))


def test_nearest_finds_neighbours_in_order_and_the_first_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    distances, indices = neighbours.nearest(column(0.4, 9), column(*([5, 1, 0, 1] + [0, 7] * 6)), k=3)
    assert indices.tolist() == [[2, 4, 6], [5, 7, 9]]
    assert torch.allclose(distances, torch.tensor([[0.4, 0.4, 0.4], [2.0, 2.0, 2.0]]).double())
    monkeypatch.setattr(neighbours, "ENTRIES", 500)
    queries, base = like_features(80, 1, dtype=torch.float32), like_features(90, 2, dtype=torch.float32)
    distances, indices = neighbours.nearest(queries, base, 7)
    expected = torch.cdist(queries.double(), base.double()).sort(1)
    assert torch.equal(indices, expected.indices[:, :7])
    assert torch.allclose(distances, expected.values[:, :7], rtol=1e-9)


def test_copies_are_flagged_and_honest_samples_are_not() -> None:
    train, test, honest = (like_features(n, seed) for n, seed in ((1000, 1), (300, 2), (400, 3)))
    assert not neighbours.memorisation(honest, train, test)["flag"]
    copycat = neighbours.memorisation(train[:400], train, test)
    assert copycat["flag"] and copycat["copies"] == 1 and copycat["ratio"] == 0
    assert torch.equal(copycat["indices"], torch.arange(400))
    noisy = neighbours.memorisation(train[:400] + 1e-3 * normal(400, 48, 4), train, test)
    assert noisy["flag"] and noisy["copies"] == 0 and noisy["near"] == 1
    tenth = neighbours.memorisation(torch.cat([honest[:360], train[:40]]), train, test)
    assert tenth["flag"] and tenth["copies"] == 0.1 and tenth["ratio"] > 0.9
    noise = neighbours.memorisation(honest + 10 * normal(400, 48, 5), train, test)
    assert not noise["flag"] and noise["ratio"] > 2  # far from everything: no merit, and no copy


def test_on_a_space_where_everything_is_in_the_training_set_nothing_is_suspicious() -> None:
    def corners(n: int, seed: int) -> Tensor:
        return (normal(n, 4, seed) > 0).double()

    found = neighbours.memorisation(corners(300, 1), corners(1000, 2), corners(300, 3))
    assert found["ratio"] is None and found["copies"] == 1 == found["copies_test"] and not found["flag"]
