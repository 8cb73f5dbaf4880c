"""What every metric asks of its features: that they are numbers `(N, d)`, and an order that depends on the set alone.

Some metrics choose subsets or cut a set into parts: KID, the Inception score, `fd_inf`, a jackknife. They choose among
rows sorted by a pinned random projection, so a metric is a function of the *set* of features: the same for any order of
its rows, and nearly the same if another machine rounds the features differently. All randomness comes from generators
of their own with a pinned seed; the global ones of torch, numpy and python are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zoo_core.errors import ZooError

LARGEST = 1e15  # the squares of larger ones, and sums of them, are no float32 any more
ROWS = 1024  # rows of one float64 block: 16 MB at d = 2048, which allocators keep and use again (32 MB they do not)


def check(**sets: Tensor) -> None:
    """`ZooError` unless every set is a tensor `(N, d)`, finite and at most `LARGEST`, of 2 images or more, of one d."""
    for name, features in sets.items():
        if not isinstance(features, Tensor) or features.requires_grad:
            what = "a tensor with gradients" if isinstance(features, Tensor) else type(features).__name__
            raise ZooError(f"{name}: expected a tensor without gradients, got {what}; torch.as_tensor(x).detach()")
        shape = tuple(features.shape)
        if features.dim() != 2:
            raise ZooError(f"{name}: expected features (N, d), got {shape}; flatten what belongs to one image")
        if shape[0] == 0 or shape[1] == 0:
            raise ZooError(f"{name}: an empty set {shape}; give at least 2 images")
        if shape[0] == 1:
            raise ZooError(
                f"{name}: expected features (N, d) of at least 2 images, got {shape}; one has no distribution"
            )
        if not features.is_floating_point():
            raise ZooError(f"{name}: expected floating-point features, got {features.dtype}; extract features first")
        for start, block in blocks(features):
            low, high = block.aminmax()
            if not (low >= -LARGEST and high <= LARGEST):  # as neither is where one is NaN
                row = start + int((~(block.abs() <= LARGEST).all(1)).nonzero()[0])
                value = "NaN or infinity" if not bool(torch.isfinite(features[row]).all()) else f"more than {LARGEST:g}"
                what = f"{name}: features contain {value} (first in row {row})"
                raise ZooError(f"{what}; the images or the extractor are broken")
    widths = {name: features.shape[1] for name, features in sets.items()}
    if len(set(widths.values())) > 1:
        given = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ZooError(f"features of different dimensions ({given}); take both sets from one extractor")


def blocks(features: Tensor, rows: int = ROWS) -> Iterator[tuple[int, Tensor]]:
    """(first row, block) in turn."""
    for start in range(0, len(features), rows):
        yield start, features[start : start + rows]


def mean(*sets: Tensor) -> Tensor:
    """The mean of all rows in float64, `(d,)`."""
    total = torch.zeros(sets[0].shape[1], dtype=torch.float64)
    for features in sets:
        for _, block in blocks(features):
            total += block.double().sum(0)
    return total / sum(len(features) for features in sets)


def order(features: Tensor) -> Tensor:
    """Row numbers `(N,)` sorted by a pinned random projection: equal for equal sets, up to equal rows."""
    direction = torch.from_numpy(np.random.RandomState(0).standard_normal(features.shape[1]))
    # a product and a sum over each row, not BLAS: its rounding may depend on where a row stands
    projected = torch.cat([block.to(torch.float64, copy=True).mul_(direction).sum(1) for _, block in blocks(features)])
    return projected.argsort(stable=True)


def shuffled(features: Tensor, seed: int) -> Tensor:
    """Row numbers `(N,)` in a random order that belongs to the set and the seed, not to the order given."""
    return order(features)[torch.from_numpy(np.random.RandomState(seed).permutation(len(features)))]


def gram(x: Tensor) -> Tensor:
    """x^T x: `(n, d)` -> `(d, d)`. numpy sees that both factors are one matrix and computes half of it; torch won't."""
    array = x.numpy()
    return torch.from_numpy(array.T @ array)
