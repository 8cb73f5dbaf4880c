"""Kernel distances between two sets of features: KID and CMMD, the squared maximum mean discrepancy.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)  (Gretton et al., "A Kernel Two-Sample Test", 2012,
https://jmlr.org/papers/v13/gretton12a.html, eq. 2, 3 and 5).

Matrix products are taken in the precision of the features, between centred rows, so that float32 loses little; all
else in float64. Blocks bound the memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_bench import featuresets
from zoo_core.errors import ZooError

ENTRIES = 2**22  # of one block of a kernel matrix: 32 MB in float64
PARTS = 10  # bricks of a subset, at most


def kid(a: Tensor, b: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The kernel distance of Bińkowski et al.: the unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3 of random subsets.

    (Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", 2018, https://arxiv.org/abs/1801.01401, section 4.)
    Returns the mean over subsets, which may be negative, and the sd *over subsets*, which is not a standard error:
    subsets overlap, and it says how subsets of this size vary, not how other images would have moved the mean.

    a, b: `(N, d)`, of at least `size` images each. Every subset is a uniformly random one, but made of bricks
    (`Bricks`): the kernel is summed once over a pair of bricks, however many subsets hold both.
    """
    featuresets.check(a=a, b=b)
    most = min(len(a), len(b))
    if subsets < 1 or not 2 <= size <= most:
        raise ZooError(
            f"kid: expected subsets of 2 to {most} images, which both sets have, got {subsets} subsets of {size}; "
            "give more images or a smaller size (which is another protocol)"
        )
    centre, dtype = featuresets.mean(a, b), torch.promote_types(a.dtype, b.dtype)
    x, y = Bricks(a, subsets, size, (seed, 0)), Bricks(b, subsets, size, (seed, 1))
    rows, columns = _Centred(a, x.rows, centre, dtype), _Centred(b, y.rows, centre, dtype)
    within_x, within_y = _within(rows, x), _within(columns, y)
    between = _sums(rows, x, columns, y, (x.member.T @ y.member) > 0)
    crossed = ((x.member @ between) * y.member).sum(1)
    values = (within_x + within_y) / (size * (size - 1)) - 2 * crossed / size**2
    return float(values.mean()), float(values.std(correction=0))


class Bricks:
    """Random subsets of a set's rows: the same for any order of the rows, and whatever the other set is.

    The rows, shuffled, are cut into bricks of a tenth of `size`, of a fifth where there are rows in plenty, or of the
    nearest larger fraction that divides it; a subset is so many different bricks at random. So each subset is a
    uniformly random one; only how much two subsets have in common varies more than if rows were drawn singly. Less than
    one brick of rows is left out. Choose a size that ten divides: a prime one leaves N / size bricks to choose from.

    rows: `(P g,)`, brick after brick. brick: g. member: `(subsets, P)`, 1 where the subset holds the brick.
    """

    def __init__(self, features: Tensor, subsets: int, size: int, seed: tuple[int, int]) -> None:
        most = PARTS if len(features) < 5 * size else PARTS // 2
        parts = next(parts for parts in range(most, 0, -1) if size % parts == 0)
        self.brick = size // parts
        count = len(features) // self.brick
        random = np.random.RandomState(seed)
        shuffled = torch.from_numpy(random.permutation(len(features))[: count * self.brick])
        self.rows = featuresets.order(features)[shuffled]
        self.member = torch.zeros(subsets, count, dtype=torch.float64)
        for subset in self.member:
            subset[torch.from_numpy(random.permutation(count)[:parts])] = 1

    def subset(self, i: int) -> Tensor:
        """Row numbers `(size,)` of one subset."""
        return self.rows.view(-1, self.brick)[self.member[i] > 0].flatten()


class _Centred:
    """Chosen rows minus c, and their x.c - c.c / 2: x.y = (x - c).(y - c) + (x.c - c.c / 2) + (y.c - c.c / 2)."""

    def __init__(self, features: Tensor, rows: Tensor, centre: Tensor, dtype: torch.dtype) -> None:
        self.values = torch.empty(len(rows), len(centre), dtype=dtype)
        self.along = torch.empty(len(rows), dtype=torch.float64)
        for start in range(0, len(rows), featuresets.ROWS):
            chosen = slice(start, start + featuresets.ROWS)
            block = features[rows[chosen]].double()
            self.along[chosen] = block @ centre - centre.square().sum() / 2
            self.values[chosen] = block - centre


def _within(x: _Centred, bricks: Bricks) -> Tensor:
    """Sums of k over pairs of different rows inside each subset, `(subsets,)`."""
    d = x.values.shape[1]
    needed = ((bricks.member.T @ bricks.member) > 0).triu()
    sums = _sums(x, bricks, x, bricks, needed)
    squares = torch.cat([block.double().square().sum(1) for _, block in featuresets.blocks(x.values)])
    diagonal = ((squares + 2 * x.along) / d + 1) ** 3
    own = sums.diagonal() - diagonal.view(-1, bricks.brick).sum(1)
    return 2 * ((bricks.member @ sums.triu(1)) * bricks.member).sum(1) + bricks.member @ own


def _sums(x: _Centred, rows: Bricks, y: _Centred, columns: Bricks, needed: Tensor) -> Tensor:
    """Sums of k over the pairs of rows of two bricks, `(P, Q)`, where some subset needs them."""
    d = x.values.shape[1]
    sums = torch.zeros(needed.shape, dtype=torch.float64)
    for p, q in needed.nonzero().tolist():
        i, j = slice(p * rows.brick, (p + 1) * rows.brick), slice(q * columns.brick, (q + 1) * columns.brick)
        base = (x.values[i] @ y.values[j].T).double()
        base.add_(x.along[i, None]).add_(y.along[j]).div_(d).add_(1)
        sums[p, q] = base.square().mul_(base).sum()
    return sums


def cmmd(a: Tensor, b: Tensor, *, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CLIP's maximum mean discrepancy: Gaussian kernel exp(-|x - y|^2 / (2 sigma^2)), biased, times 1000.

    (Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", 2024,
    https://arxiv.org/abs/2401.09603, section 4.) The paper's features are CLIP's, L2-normalised; here they are taken as
    given. exp(z) - 1 is summed instead of exp(z): the ones cancel, and with them the digits that float64 would lose.
    """
    featuresets.check(a=a, b=b)
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
