"""MIND: a distance between two sets of features that fits nothing to them and asks for few images.

(Berthet, Wu, Crepy, Elie, Greff, Sander, "MIND: Monge Inception Distance for Generative Models Evaluation", 2026,
https://arxiv.org/abs/2605.06797.) The sliced Wasserstein distance: on a line the cheapest way to carry one set to the
other is in order, so sorting is all the transport there is.

    MIND = 3 d mean over unit vectors theta of W(theta),    W(theta) = mean_i (x_(i) - y_(i))^2

with the sorted projections x_(1) <= x_(2) <= ... of one set on theta, and y_(i) of the other. Sets that differ by a
shift mu are at 3 |mu|^2. The estimate is biased upwards in the number of images, which belongs to its identity.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError

DIRECTIONS = 1000
AT_ONCE = 2**21  # projections of one block of directions: 16 MB in float64


def mind(
    a: Tensor, b: Tensor, *, directions: int = DIRECTIONS, seed: int = 0, groups: int = 0
) -> tuple[float, float | None]:
    """The distance, and its standard error due to the choice of the images `a`; None without groups.

    By a delete-a-group jackknife (Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, section 11) with b held
    fixed: sets of different sizes have a distance too (`_transport`). Groups are random, by an order that belongs to
    the set. It is the deviation over other draws of `a` where the distributions differ, and a third too wide where they
    are equal. a, b: `(N, d)`, as many of either.
    """
    featuresets.check(a=a, b=b)
    n, d = a.shape
    if len(b) != n:
        raise ZooError(
            f"mind: expected as many images of either, got {n} and {len(b)}; choose {min(n, len(b))} of both"
        )
    if groups and not 2 <= groups <= n // 2:
        raise ZooError(f"groups: expected 0 or 2 to {n // 2} for {n} images, got {groups}")
    part = torch.empty(n, dtype=torch.int64)  # the group of each row
    for group, rows in enumerate(torch.tensor_split(featuresets.shuffled(a, seed=0), max(groups, 1))):
        part[rows] = group
    whole, without = 0.0, np.zeros(groups)
    for some in unit_vectors(directions, d, seed).split(max(1, AT_ONCE // n)):
        x, order = _projections(a, some).sort(1)
        y = _projections(b, some).sort(1).values
        of = part[order]
        whole += float(_transport(x, y).sum())
        for group in range(groups):
            without[group] += float(_transport(x[of != group].view(len(x), -1), y).sum())
    scale = 3 * d / directions
    error = scale * float(np.sqrt((groups - 1) * without.var())) if groups else None
    return scale * whole, error


def unit_vectors(n: int, d: int, seed: int) -> Tensor:
    """Uniformly random directions, float64 `(n, d)`: the same on every machine, the first ones of any longer list."""
    gaussian = np.random.RandomState(seed).standard_normal((n, d))
    return torch.from_numpy(gaussian / np.sqrt(np.square(gaussian).sum(1, keepdims=True)))


def _projections(features: Tensor, directions: Tensor) -> Tensor:
    """`(N, d)`, `(n, d)` -> float64 `(n, N)`."""
    found = torch.empty(len(directions), len(features), dtype=torch.float64)
    for start, block in featuresets.blocks(features):
        found[:, start : start + len(block)] = directions @ block.double().T
    return found


def _transport(x: Tensor, y: Tensor) -> Tensor:
    """The mean squared way along each row: `(n, N)` and `(n, M)`, ascending -> `(n,)`.

    Of N and M equal masses: the two are cut where either ends, and the pieces meet in order.
    """
    (n, m) = x.shape[1], y.shape[1]
    if n == m:
        return (x - y).square().mean(1)
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()  # in units of 1 / (N M)
    masses = ends.diff(prepend=torch.zeros(1, dtype=torch.int64)).double() / (n * m)
    return (x[:, (ends - 1) // m] - y[:, (ends - 1) // n]).square() @ masses
