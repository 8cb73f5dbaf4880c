"""The Fréchet distance between two sets of features: the formula behind FID, for any features.

d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))  (Dowson, Landau, "The Fréchet distance between multivariate
normal distributions", 1982, https://doi.org/10.1016/0047-259X(82)90077-X, eq. 4; as an image metric: Heusel et al.,
2017, https://arxiv.org/abs/1706.08500, eq. 6).

The trace of the square root is taken through a symmetric eigendecomposition of S_1^(1/2) S_2 S_1^(1/2), in float64: it
is real and never NaN. The estimate is biased upwards in the number of images, so N belongs to a number's identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec


@dataclass(frozen=True)
class Gaussian:
    """Mean `(d,)` and covariance `(d, d)` (divided by N - 1) of features, with the number of images behind them."""

    mean: Tensor
    covariance: Tensor
    n: int


def pixel_features(x: Tensor, images: ImageSpec) -> Tensor:
    """Pixels at [0, 1], flattened: float64 `(N, D)`. Distances on 17-level digits are those of pixels / 16."""
    return x.double().flatten(1) / (images.levels - 1)


def fit(features: Tensor) -> Gaussian:
    """The Gaussian of features `(N, d)`, in float64."""
    if features.dim() != 2 or len(features) < 2:
        raise ZooError(f"expected features (N, d) of at least 2 images, got {tuple(features.shape)}")
    features = features.double()
    if not bool(torch.isfinite(features).all()):
        raise ZooError("features contain NaN or infinity; the images or the extractor are broken")
    mean = features.mean(0)
    centred = features - mean
    return Gaussian(mean, centred.T @ centred / (len(features) - 1), len(features))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance between two Gaussians; 0 for equal ones, never negative."""
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(float(distance), 0.0)


def jackknife(features: Tensor, reference: Gaussian, groups: int = 10) -> float:
    """The standard error of the distance due to the choice of the generated images: a delete-a-group jackknife.

    (Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, section 11.) The reference set is held fixed.
    features: `(N, d)`, exchangeable, so consecutive blocks are random groups.
    """
    blocks = np.array_split(np.arange(len(features)), groups)
    values = []
    for block in blocks:
        keep = torch.ones(len(features), dtype=torch.bool)
        keep[torch.from_numpy(block)] = False
        values.append(frechet_distance(fit(features[keep]), reference))
    spread = np.asarray(values) - np.mean(values)
    return float(np.sqrt((groups - 1) / groups * np.sum(spread**2)))
