"""EM for mixtures of factor analysers against scikit-learn, on the same points, from the same start.

    python benchmarks/peers/mfa.py

Mixtures: scikit-learn's `GaussianMixture` with full covariances, which has no mixture of low rank; the start's
covariances are the same, what follows is another model. One component: `FactorAnalysis`, the same model, whose
iteration is a singular value decomposition and no pass of EM: the time to come within 0.001 nats per dimension of its
likelihood.
Prints ratios of times, of an iteration or of a fit.
"""

from __future__ import annotations

import statistics
import time
import warnings

import torch
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_mixture.mfa.em import Analysers

from zoo_core.errors import ZooError
from zoo_core.images import dequantise

K, Q, ITERATIONS, FLOOR, ROUNDS = 10, 6, 5, 1e-4, 5


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, rows in (("digits", None), ("fashion", 5_000)):
        try:
            train = data.load(name, "train")
        except ZooError as error:
            print(f"{name}: {error}")
            continue
        x = train.pinned.x[:rows]
        points = dequantise(x, train.images, torch.Generator().manual_seed(0))[0].flatten(1).double()
        against_full_covariances(name, points)
        against_factor_analysis(name, points[:1_000])


def start(points: Tensor, components: int) -> Analysers:
    """Distant points as means, equal weights, small random factors, the data's mean variance as noise."""
    means = points[:: len(points) // components][:components].clone()
    dims, variance = points.shape[1], points.var(0).mean()
    loadings = torch.randn(components, dims, Q, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.full((components,), 1 / components, dtype=torch.float64)
    return Analysers(weights, means, (variance / 10).sqrt() * loadings, variance.expand(components, dims))


def iterate(mixture: Analysers, points: Tensor, iterations: int) -> Analysers:
    for _ in range(iterations):
        parts = [(mixture.expectation(part, FLOOR), len(part) / len(points)) for part in points.split(1_000)]
        means = {name: sum(part[name] * share for part, share in parts) for name in parts[0][0]}
        mixture = mixture.maximization(means, FLOOR)
    return mixture


def against_full_covariances(name: str, points: Tensor) -> None:
    ours, theirs, mixture = [], [], start(points, K)
    covariances = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise)
    precisions = torch.linalg.inv(covariances)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        iterate(mixture, points, ITERATIONS)
        ours.append(time.perf_counter() - began)
        peer = GaussianMixture(
            K,
            tol=0.0,
            reg_covar=FLOOR,
            max_iter=ITERATIONS,
            weights_init=mixture.weights.numpy(),
            means_init=mixture.means.numpy(),
            precisions_init=((precisions + precisions.mT) / 2).numpy(),
        )
        began = time.perf_counter()
        peer.fit(points.numpy())
        theirs.append(time.perf_counter() - began)
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    print(
        f"{name}, {len(points):,} x {points.shape[1]}, K = {K}: an iteration of {Q} factors "
        f"{statistics.median(ours) / ITERATIONS * 1e3:.1f} ms, {statistics.median(ratios):.2f} times as fast as of "
        f"full covariances ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def against_factor_analysis(name: str, points: Tensor) -> None:
    """Pixels that never change have no likelihood without a floor: the points get noise of its variance."""
    points = points + FLOOR**0.5 * torch.randn(points.shape, generator=torch.Generator().manual_seed(2)).double()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        peer = FactorAnalysis(Q, svd_method="lapack").fit(points.numpy())
        theirs.append(time.perf_counter() - began)
        target = peer.score(points.numpy()) - 0.001 * points.shape[1]
        began, mixture, iterations = time.perf_counter(), start(points, 1), 0
        while float(mixture.log_joint(points).mean()) < target and iterations < 500:
            mixture, iterations = iterate_plain(mixture, points), iterations + 10
        ours.append(time.perf_counter() - began)
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    print(
        f"{name}, {len(points):,} x {points.shape[1]}, K = 1: {iterations} iterations to scikit-learn's likelihood, "
        f"{statistics.median(ours):.2f} s, {statistics.median(ratios):.2f} times as fast as FactorAnalysis "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def iterate_plain(mixture: Analysers, points: Tensor) -> Analysers:
    """Ten iterations without a floor, which the peer has not either."""
    for _ in range(10):
        mixture = mixture.maximization(mixture.expectation(points))
    return mixture


if __name__ == "__main__":
    main()
