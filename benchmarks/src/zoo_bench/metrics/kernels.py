"""Kernel distances between two sets of features: KID and CMMD, the squared maximum mean discrepancy.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)  (Gretton et al., "A Kernel Two-Sample Test", 2012,
https://jmlr.org/papers/v13/gretton12a.html, eq. 2, 3 and 5).

Matrix products are taken in the precision of the features, between centred rows, so that float32 loses little; all
else in float64. No more than one subset, or one block, is in memory beside the features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError
from zoo_core.precision import full_float32

ENTRIES = 2**22  # of one block of a kernel matrix: 32 MB in float64


@full_float32()
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
    x, y = (torch.empty(size, len(centre), dtype=dtype) for _ in "ab")  # memory that every subset uses again
    space = torch.empty(size, size, dtype=torch.float64), torch.empty(size, size, dtype=torch.float64)
    values = []
    for i, j in zip(rows, columns):
        torch.index_select(a, 0, i, out=x).sub_(centre)
        torch.index_select(b, 0, j, out=y).sub_(centre)
        values.append(_unbiased(x, y, along_a[i], along_b[j], *space))
    if not np.isfinite(values).all():
        raise ZooError(f"kid: the kernel overflows for features as large as {max(a.abs().max(), b.abs().max()):.3g}")
    return float(np.mean(values)), float(np.std(values))


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


def _unbiased(x: Tensor, y: Tensor, along_x: Tensor, along_y: Tensor, base: Tensor, square: Tensor) -> float:
    """MMD^2 of centred rows `(n, d)` without the pairs (x, x). The last two, `(n, n)`, are overwritten."""
    n, d = x.shape

    def total(p: Tensor, q: Tensor, along_p: Tensor, along_q: Tensor, diagonal: bool) -> float:
        base.copy_(featuresets.products(p, q)).add_(along_p[:, None]).add_(along_q).div_(d).add_(1)
        torch.mul(base, base, out=square)
        every = torch.dot(square.view(-1), base.view(-1))
        return float(every if diagonal else every - base.diagonal().pow(3).sum())

    within = total(x, x, along_x, along_x, diagonal=False) + total(y, y, along_y, along_y, diagonal=False)
    return within / (n * (n - 1)) - 2 * total(x, y, along_x, along_y, diagonal=True) / n**2


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
