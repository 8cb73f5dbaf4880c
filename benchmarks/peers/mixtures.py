"""Mixtures by EM against scikit-learn's `GaussianMixture`: the same points, K, start, floor and number of iterations.

    python benchmarks/peers/mixtures.py [NAME ...]     # digits, 10,000 x 64, mnist, bmm; default: all

Prints the difference of the mean log-likelihoods reached (nats per image) and the ratio of the times of a fit, medians
of alternating runs. `bmm` is trained as a model, start left out, beside scikit-learn's diagonal Gaussians on the same
binary images: other models, so there are no likelihoods to compare.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_mixture.bmm.model import BMM
from zoo_mixture.configs import BMMConfig
from zoo_mixture.gmm.em import Mixture, precision_factors

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import dequantise

K, ITERATIONS, FLOOR, ROUNDS = 20, 20, 1e-6, 7
NAMES = {"full": "full", "diagonal": "diag", "spherical": "spherical"}
SETS = {
    "digits": ("full", "diagonal", "spherical"),
    "10,000 x 64": ("full", "diagonal", "spherical"),
    "mnist": ("diagonal",),
}


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    chosen = sys.argv[1:] or [*SETS, "bmm"]
    for name in (name for name in SETS if name in chosen):
        points = POINTS[name]()
        for kind in SETS[name]:
            compare_gaussians(name, points, kind)
    if "bmm" in chosen:
        compare_bernoullis()


def digits() -> Tensor:
    train = data.load("digits", "train")
    return dequantise(train.pinned.x, train.images, torch.Generator().manual_seed(0))[0].flatten(1).double()


def noisy_digits() -> Tensor:
    """The digits again and again until there are 10,000 of them, each with noise of its own."""
    noise = 0.05 * torch.randn(10_000, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points = digits()
    return points[torch.arange(10_000) % len(points)] + noise


def mnist() -> Tensor:
    """60,000 images in the coordinates of their 50 principal components."""
    x = torch.cat([data.load("mnist", split).pinned.x for split in ("train", "validation")])
    v = x.flatten(1).double() / 255
    v -= v.mean(0)
    vectors = torch.linalg.eigh(v.T @ v / len(v)).eigenvectors
    return v @ vectors[:, -50:]


POINTS: dict[str, Callable[[], Tensor]] = {"digits": digits, "10,000 x 64": noisy_digits, "mnist": mnist}


def compare_gaussians(name: str, points: Tensor, kind: str) -> None:
    """Both from equal weights, K points as means, and the data's mean variance; a last E step in either time."""
    means = points[:: len(points) // K][:K].clone()
    variance, reached = float(points.var(0).mean()), []

    def ours() -> None:
        mixture = start(means, variance, kind)
        for _ in range(ITERATIONS):
            mixture = mixture.maximization(mixture.expectation(points), FLOOR)
        reached[:] = [float(mixture.log_joint(points).logsumexp(1).mean())]

    peer = witness(means, variance, kind)
    line = in_turn(ours, lambda: peer.fit(points.numpy()), ITERATIONS)
    gap = reached[0] - peer.score(points.numpy())
    print(f"{name:>12} {kind:>9}: {line}; log-likelihood {gap:+.5f} nats", flush=True)


def compare_bernoullis(components: int = 10, iterations: int = 40) -> None:
    """All 1,797 digits, black or white."""
    splits = [data.load("digits", split).pinned.x for split in ("train", "validation", "test")]
    x = (torch.cat(splits) >= 8).to(torch.uint8)
    images = ImageSpec(channels=1, height=8, width=8, levels=2)

    ready = [LocalStep(BMM(images, BMMConfig(components=components)), data=Batch(x)) for _ in range(ROUNDS + 1)]
    for step in ready:
        step.run(Batch(x[:100]))

    def ours() -> None:
        step = ready.pop()
        for _ in range(iterations):
            step.run(Batch(x[:100]))

    v = x.flatten(1).double()
    peer = witness(v[:: len(v) // components][:components].clone(), float(v.var(0).mean()), "diagonal", iterations)
    peer.set_params(reg_covar=1e-3)
    print(f"{'binary digits':>12} bmm: {in_turn(ours, lambda: peer.fit(v.numpy()), iterations)}", flush=True)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], iterations: int) -> str:
    """Both once to warm up, then in turn; how much faster ours is."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(ROUNDS + 1):
        for run, seconds in zip((ours, theirs), times):
            began = time.perf_counter()
            run()
            if i:
                seconds.append(time.perf_counter() - began)
    ratios = sorted(b / a for a, b in zip(*times))
    return (
        f"an iteration {statistics.median(times[0]) / iterations * 1e3:.2f} ms, {statistics.median(ratios):.2f} times "
        f"as fast as scikit-learn ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def start(means: Tensor, variance: float, kind: str) -> Mixture:
    k, dims = means.shape
    shape = {"full": (k, dims, dims), "diagonal": (k, dims), "spherical": (k, 1)}[kind]
    covariances = torch.full(shape, variance, dtype=torch.float64)
    if kind == "full":
        covariances = variance * torch.eye(dims, dtype=torch.float64).repeat(k, 1, 1)
    return Mixture(torch.full((k,), 1 / k, dtype=torch.float64), means, precision_factors(covariances))


def witness(means: Tensor, variance: float, kind: str, iterations: int = ITERATIONS) -> GaussianMixture:
    k, dims = means.shape
    precisions = {
        "full": np.repeat(np.eye(dims)[None] / variance, k, axis=0),
        "diagonal": np.full((k, dims), 1 / variance),
        "spherical": np.full(k, 1 / variance),
    }[kind]
    return GaussianMixture(
        k,
        covariance_type=NAMES[kind],
        tol=0.0,
        reg_covar=FLOOR,
        max_iter=iterations,
        weights_init=np.full(k, 1 / k),
        means_init=means.numpy(),
        precisions_init=precisions,
    )


if __name__ == "__main__":
    main()
