"""EM for Gaussian mixtures against scikit-learn's `GaussianMixture`: the same points, K, start and floor.

    python benchmarks/peers/em.py

Prints the difference of the mean log-likelihoods reached (nats per image) and the ratio of the times of an iteration.
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from zoo_bench.datasets import load as data
from zoo_mixture.gmm.em import Mixture, precision_factors

from zoo_core.images import dequantise

K, ITERATIONS, FLOOR, ROUNDS = 10, 20, 1e-6, 7
NAMES = {"full": "full", "diagonal": "diag", "spherical": "spherical"}


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    train = data.load("digits", "train")
    digits = dequantise(train.pinned.x, train.images, torch.Generator().manual_seed(0))[0].flatten(1).double()
    noise = 0.05 * torch.randn(10_000, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for name, points in (("digits", digits), ("10,000 x 64", digits[torch.arange(10_000) % len(digits)] + noise)):
        for kind in NAMES:
            compare(name, points, kind)


def compare(name: str, points: torch.Tensor, kind: str) -> None:
    """Both from equal weights, K distant points as means, and the data's mean variance."""
    means = points[:: len(points) // K][:K].clone()
    variance = float(points.var(0).mean())
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        mixture = start(means, variance, kind)
        for _ in range(ITERATIONS):
            mixture = mixture.maximization(mixture.expectation(points), FLOOR)
        ours.append(time.perf_counter() - began)
        peer = witness(means, variance, kind)
        began = time.perf_counter()
        peer.fit(points.numpy())
        theirs.append(time.perf_counter() - began)
    reached = float(mixture.log_joint(points).logsumexp(1).mean()) - peer.score(points.numpy())
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    print(
        f"{name:>12} {kind:>9}: log-likelihood {reached:+.5f} nats against scikit-learn's; an iteration "
        f"{statistics.median(ours) / ITERATIONS * 1e3:.1f} ms, {statistics.median(ratios):.2f} times as fast "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def start(means: torch.Tensor, variance: float, kind: str) -> Mixture:
    dims = means.shape[1]
    shape = {"full": (K, dims, dims), "diagonal": (K, dims), "spherical": (K, 1)}[kind]
    covariances = torch.full(shape, variance, dtype=torch.float64)
    if kind == "full":
        covariances = variance * torch.eye(dims, dtype=torch.float64).repeat(K, 1, 1)
    return Mixture(torch.full((K,), 1 / K, dtype=torch.float64), means, precision_factors(covariances))


def witness(means: torch.Tensor, variance: float, kind: str) -> GaussianMixture:
    dims = means.shape[1]
    precisions = {
        "full": np.repeat(np.eye(dims)[None] / variance, K, axis=0),
        "diagonal": np.full((K, dims), 1 / variance),
        "spherical": np.full(K, 1 / variance),
    }[kind]
    return GaussianMixture(
        K,
        covariance_type=NAMES[kind],
        tol=0.0,
        reg_covar=FLOOR,
        max_iter=ITERATIONS,
        weights_init=np.full(K, 1 / K),
        means_init=means.numpy(),
        precisions_init=precisions,
    )


if __name__ == "__main__":
    main()
