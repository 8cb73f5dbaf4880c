"""Kernel distances between two sets of features: KID and CMMD, the squared maximum mean discrepancy.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)  (Gretton et al., "A Kernel Two-Sample Test", 2012,
https://jmlr.org/papers/v13/gretton12a.html, eq. 2, 3 and 5).

Matrix products are taken in the precision of the features, between centred rows, so that float32 loses little; all
else in float64. No more than one pair of subsets, or one block, is in memory beside the features.

KID costs no more multiplications than torch-fidelity's, in one product instead of three, and looks at each pair of
images once. benchmarks/peers/metrics.py measures both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError
from zoo_core.precision import full_float32

ENTRIES = 2**22  # of one block of a kernel matrix: 32 MB in float64
ROWS = 250  # of a kernel matrix of 2,000: a block of it in float64 is 4 MB


def kid(a: Tensor, b: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The kernel distance of Bińkowski et al.: the unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3 of random subsets.

    (Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", 2018, https://arxiv.org/abs/1801.01401, section 4.)
    Returns the mean over subsets, which may be negative, and the sd *over subsets*, which is not a standard error:
    subsets overlap, and it says how subsets of this size vary, not how other images would have moved the mean.
    a, b: `(N, d)`, of at least `size` images each.
    """
    featuresets.check(a=a, b=b)
    most = min(len(a), len(b))
    if subsets < 1 or not 2 <= size <= most:
        raise ZooError(
            f"kid: expected subsets of 2 to {most} images, which both sets have, got {subsets} subsets of {size}; "
            "give more images or a smaller size (which is another protocol)"
        )
    dtype = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    a, b = a.to(dtype), b.to(dtype)
    centre = featuresets.mean(a, b).to(dtype)
    rows, columns = (draws(x, subsets, size, (seed, side)) for side, x in enumerate((a, b)))
    along_a, along_b = _along(a, centre), _along(b, centre)
    both = torch.empty(2 * size, len(centre), dtype=dtype)  # memory that every pair of subsets uses again
    products = np.zeros((2 * size, 2 * size), both.numpy().dtype, order="F")
    space = torch.empty(ROWS * 2 * size, dtype=torch.float64)
    half_of = blas.ssyrk if dtype == torch.float32 else blas.dsyrk  # of a matrix times itself
    values = []
    with _one_thread():
        for i, j in zip(rows, columns):
            torch.index_select(a, 0, i, out=both[:size])
            torch.index_select(b, 0, j, out=both[size:])
            both.sub_(centre)
            products = half_of(1.0, both.numpy().T, trans=1, lower=1, c=products, overwrite_c=1)
            along = torch.cat([along_a[i], along_b[j]])
            values.append(_unbiased(torch.from_numpy(products.T), along, len(centre), space))
    if not np.isfinite(values).all():
        raise ZooError(f"kid: the kernel overflows for features as large as {max(a.abs().max(), b.abs().max()):.3g}")
    return float(np.mean(values)), float(np.std(values))


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread, while another library's threads do the work: those of both, in turn, wait for each other
    by spinning, and on a busy machine take three times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draws(features: Tensor, subsets: int, size: int, seed: tuple[int, int]) -> Tensor:
    """Row numbers `(subsets, size)`: each subset drawn without replacement, independently of the others.

    They depend on the set and the seed: not on the order of the rows, the other set, or how many subsets follow.
    """
    ranked, random = featuresets.order(features), np.random.RandomState(seed)
    return torch.stack([ranked[torch.from_numpy(random.permutation(len(ranked))[:size])] for _ in range(subsets)])


def _along(features: Tensor, centre: Tensor) -> Tensor:
    """x.c - c.c / 2, `(N,)`: x.y = (x - c).(y - c) + (x.c - c.c / 2) + (y.c - c.c / 2)."""
    c = centre.double()
    return torch.cat([block.double() @ c for _, block in featuresets.blocks(features)]) - c.square().sum() / 2


def _unbiased(products: Tensor, along: Tensor, d: int, space: Tensor) -> float:
    """MMD^2 of two sets of n, without the pairs (x, x).

    products: of all centred rows, `(2n, 2n)`, the first set's before the other's; what is below the diagonal is not
    looked at. along: what `_along` says of each, `(2n,)`. space: `(2n ROWS,)`, is overwritten. With t = along + d / 2 a
    pair has k = (p_ij + t_i + t_j)^3 / d^3.
    """
    n = len(products) // 2
    t = along + d / 2

    def cubes(rows: slice, columns: slice) -> Tensor:
        part = products[rows, columns]
        return space[: part.numel()].view(part.shape).copy_(part).add_(t[columns]).add_(t[rows, None]).pow_(3)

    within = between = 0.0
    for first, end in ((0, n), (n, 2 * n)):
        for start in range(first, end, ROWS):
            rows = slice(start, min(start + ROWS, end))
            within += float(cubes(rows, rows).triu_(1).sum()) + float(cubes(rows, slice(rows.stop, end)).sum())
            between += float(cubes(rows, slice(n, 2 * n)).sum()) if end == n else 0.0
    return 2 * (within / (n * (n - 1)) - between / n**2) / d**3


@full_float32()
def cmmd(a: Tensor, b: Tensor, *, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CLIP's maximum mean discrepancy: Gaussian kernel exp(-|x - y|^2 / (2 sigma^2)), biased, times 1000.

    (Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", 2024,
    https://arxiv.org/abs/2401.09603, section 4.) The paper's features are CLIP's, L2-normalised; here they are taken as
    given. exp(z) - 1 is summed instead of exp(z): the ones cancel, and with them the digits that float64 would lose.
    """
    featuresets.check(a=a, b=b)
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(dtype), b.to(dtype)
    centre = featuresets.mean(a, b)
    within = _gaussian_mean(a, a, centre, sigma) + _gaussian_mean(b, b, centre, sigma)
    return scale * max(within - 2 * _gaussian_mean(a, b, centre, sigma), 0.0)


def _gaussian_mean(x: Tensor, y: Tensor, centre: Tensor, sigma: float) -> float:
    """The mean over all pairs of exp(-|x - y|^2 / (2 sigma^2)) - 1."""
    y_centred = (y.double() - centre).to(y.dtype)
    y_square = y_centred.double().square().sum(1)
    total = 0.0
    for _, block in featuresets.blocks(x, max(1, ENTRIES // len(y))):
        x_centred = (block.double() - centre).to(x.dtype)
        square = x_centred.double().square().sum(1)[:, None] + y_square - 2 * (x_centred @ y_centred.T).double()
        total += float((square.clamp_(min=0) / (-2 * sigma**2)).expm1_().sum())
    return total / (len(x) * len(y))
