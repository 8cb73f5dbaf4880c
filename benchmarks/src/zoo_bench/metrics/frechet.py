"""The Fréchet distance between two sets of features: the formula behind FID, for any features.

d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))  (Dowson, Landau, "The Fréchet distance between multivariate
normal distributions", 1982, https://doi.org/10.1016/0047-259X(82)90077-X, eq. 4; as an image metric: Heusel et al.,
2017, https://arxiv.org/abs/1706.08500, eq. 6).

The trace of the square root is the sum of the roots of the eigenvalues of R^T S_1 R, where R R^T = S_2: symmetric, in
float64, hence real and never NaN. The estimate is biased upwards in the number of images, so N belongs to a number's
identity: two sets of N images of one standard normal distribution are at d^2 / (2N) + 2d/N. `fd_inf` extrapolates.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError

# An interval costs `groups` symmetric eigendecompositions: seconds at d = 512, over a minute at d = 2048.
AFFORDABLE = 512
ROWS = 4096  # of one product: 64 MB in float64 at d = 2048


@dataclass(frozen=True)
class Gaussian:
    """Mean `(d,)` and covariance `(d, d)` (divided by N - 1) of features, with the number of images behind them."""

    mean: Tensor
    covariance: Tensor
    n: int

    @functools.cached_property
    def root(self) -> Tensor:
        """R `(d, r)` with R R^T = covariance: Cholesky's factor; where that is singular, from its eigenvectors."""
        factor, failed = torch.linalg.cholesky_ex(self.covariance)
        if not failed:
            return factor
        values, vectors = torch.linalg.eigh(self.covariance)
        some = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps  # the rest is rounding
        return vectors[:, some] * values[some].sqrt()


@dataclass(frozen=True)
class Extrapolation:
    """The limit of a Fréchet distance for infinitely many generated images, and the line it was read from.

    error: the standard error of the intercept, from the scatter of the points about the line. The subsets overlap, so
    it says how well the line fits, not how another N images would have differed.
    """

    value: float
    error: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def fit(features: Tensor) -> Gaussian:
    """The Gaussian of features `(N, d)`, in float64, block by block: `d^2` numbers beside the features."""
    featuresets.check(features=features)
    centre = featuresets.mean(features)
    return _gaussian(*_sums(features, centre), centre)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance between two Gaussians; 0 for equal ones, never negative. `b`'s root is kept."""
    if a.mean.shape != b.mean.shape:
        raise ZooError(
            f"features of different dimensions ({len(a.mean)} and {len(b.mean)}); take both sets from one extractor"
        )
    cross = torch.linalg.eigvalsh(b.root.T @ a.covariance @ b.root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(float(distance), 0.0)


def fd_inf(features: Tensor, reference: Gaussian, *, seed: int = 0, points: int = 15) -> Extrapolation:
    """The distance for N -> infinity: the intercept of a straight line in 1/N over random subsets of growing size.

    (Chong, Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", 2020,
    https://arxiv.org/abs/1911.07023, section 4; their 15 sizes from 5,000 to 50,000 are N/10 to N.) The bias is
    c/N + O(1/N^2), so no subset is smaller than twice the feature dimension where the set allows it; the smallest is
    never more than N/2. Only the generated side is extrapolated: the reference's own bias stays.
    features: `(N, d)`, N >= 20.
    """
    featuresets.check(features=features)
    n, d = features.shape
    if n < 20 or points < 3:
        raise ZooError(f"fd_inf: expected at least 20 images and 3 points for a line, got {n} images, {points} points")
    smallest = max(n // 10, min(2 * d, n // 2))
    sizes = np.unique(np.linspace(smallest, n, points).astype(int))
    centre, ranked, random = featuresets.mean(features), featuresets.order(features), np.random.RandomState(seed)
    distances = []
    for size in sizes:
        rows = ranked[torch.from_numpy(random.permutation(n)[:size])]
        distances.append(frechet_distance(_gaussian(*_sums(features, centre, rows), centre), reference))
    design = np.stack([np.ones(len(sizes)), 1 / sizes], axis=1)
    (value, slope), *_ = np.linalg.lstsq(design, np.asarray(distances), rcond=None)
    residuals = np.asarray(distances) - design @ np.array([value, slope])
    scatter = residuals @ residuals / (len(sizes) - 2)
    error = np.sqrt(scatter * np.linalg.inv(design.T @ design)[0, 0])
    return Extrapolation(float(value), float(error), float(slope), tuple(sizes.tolist()), tuple(distances))


def jackknife(features: Tensor, reference: Gaussian, groups: int = 10) -> float:
    """The standard error of the distance due to the choice of the generated images: a delete-a-group jackknife.

    (Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, section 11.) The reference set is held fixed.
    Groups are random, by an order that belongs to the set. Sums are taken once and each group's are subtracted again,
    which costs no more than one fit; the `groups` eigendecompositions stay, so see `AFFORDABLE`.
    """
    featuresets.check(features=features)
    if not 2 <= groups <= len(features) // 2:
        raise ZooError(f"groups: expected 2 to {len(features) // 2} for {len(features)} images, got {groups}")
    centre = featuresets.mean(features)
    parts = [
        _sums(features, centre, rows) for rows in torch.tensor_split(featuresets.shuffled(features, seed=0), groups)
    ]
    n = sum(part[0] for part in parts)
    total, scatter = (torch.as_tensor(sum(part[i] for part in parts)) for i in (1, 2))
    values = [
        frechet_distance(_gaussian(n - part[0], total - part[1], scatter - part[2], centre), reference)
        for part in parts
    ]
    spread = np.asarray(values) - np.mean(values)
    return float(np.sqrt((groups - 1) / groups * np.sum(spread**2)))


def _sums(features: Tensor, centre: Tensor, rows: Tensor | None = None) -> tuple[int, Tensor, Tensor]:
    """Of all rows or some: their number, sum `(d,)` and sum of squares `(d, d)` about the centre."""
    d = features.shape[1]
    total, scatter = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    n = len(features) if rows is None else len(rows)
    for start in range(0, n, ROWS):
        chosen = slice(start, start + ROWS)
        block = features[chosen if rows is None else rows[chosen]].double() - centre
        total += block.sum(0)
        scatter += featuresets.gram(block)
    return n, total, scatter


def _gaussian(n: int, total: Tensor, scatter: Tensor, centre: Tensor) -> Gaussian:
    """From sums about a centre near the mean, where nothing cancels."""
    shift = total / n
    return Gaussian(centre + shift, (scatter - n * torch.outer(shift, shift)) / (n - 1), n)
