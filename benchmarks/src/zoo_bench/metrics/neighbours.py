"""Nearest neighbours in feature space, and what is made of them: precision, recall, density, coverage, memorisation.

Distances are Euclidean and exact: products in the features' own precision find candidates, sums of squared differences
in float64 decide between them. So ties are ties, and a distance is the same from either end. Blocks bound the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError
from zoo_core.precision import full_float32

ENTRIES = 2**22  # of one block of approximate distances
SPARE = 4  # candidates beside the k wanted
NUMBERS = 2**21  # of one block of exact differences: 16 MB in float64
NEAR = 0.1  # of the median distance from test to training images: nearer is suspicious
MORE = 0.01  # share of near images beyond that among test images that raises the flag


@full_float32()
def prdc(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Improved precision and recall, density and coverage, by balls that reach to the k-th neighbour in their own set.

    precision: share of fakes inside some ball around a real image; recall: share of real images inside some ball
    around a fake (Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
    https://arxiv.org/abs/1904.06991, eq. 1-3). density: real balls that hold a fake, on average, / k, which may exceed
    1; coverage: share of real balls that hold some fake (Naeem et al., "Reliable Fidelity and Diversity Metrics for
    Generative Models", 2020, https://arxiv.org/abs/2002.09797, eq. 5 and 7). Balls are closed in all four; an image is
    no neighbour of itself. real `(N, d)`, fake `(M, d)`, more than k rows each; N and M belong to the identity.
    """
    featuresets.check(real=real, fake=fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ZooError(
            f"prdc: k = {k} needs more than {k} images on either side (and k of at least 1), "
            f"got {len(real)} real and {len(fake)} generated"
        )
    space = Space(real, fake)
    real_points, fake_points = space.points(real), space.points(fake)
    real_radii = to_kth(real_points, k, space)  # (N,), squared
    fake_radii = to_kth(fake_points, k, space)  # (M,), squared
    precise, dense = 0, 0
    covered, recalled = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    for rows, square, slack in space.squares(fake_points, real_points):
        inside = within(square, real_radii[None], slack, fake, real, rows)  # (rows, N)
        precise += int(inside.any(1).sum())
        dense += int(inside.sum())
        covered |= inside.any(0)
        recalled |= within(square, fake_radii[rows, None], slack, fake, real, rows).any(0)
    return {
        "precision": precise / len(fake),
        "recall": float(recalled.double().mean()),
        "density": dense / (k * len(fake)),
        "coverage": float(covered.double().mean()),
    }


@full_float32()
def nearest(queries: Tensor, base: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest rows of `base` for each query: distances float64 `(n, k)`, ascending, and row numbers `(n, k)`.

    Among equal distances the smaller row number comes first. A query that is itself in `base` finds itself.
    """
    featuresets.check(queries=queries, base=base)
    if not 1 <= k <= len(base):
        raise ZooError(f"k: expected 1 to {len(base)}, the number of images to choose from, got {k}")
    space = Space(base, queries)
    square, indices = _nearest(space.points(queries), space.points(base), k, space)
    return square.sqrt(), indices


def memorisation(generated: Tensor, train: Tensor, test: Tensor) -> dict[str, Any]:
    """How near generated images lie to training images, beside how near unseen ones do: flags, never a score.

    (The ratio after Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
    https://arxiv.org/abs/2004.05675, who compare the same two sets of distances by ranks.) A large ratio is no merit:
    noise is far from everything.

    ratio: median distance generated -> train over median distance test -> train; None where the latter is 0.
    copies, copies_test: share of images that equal a training image. near, near_test: share within a tenth of test's
    median. flag: ratio below 1/2, or near exceeds near_test by a hundredth and by three standard errors.
    distances `(n,)`, indices `(n,)`: each generated image's nearest training image, for the panel.
    """
    featuresets.check(generated=generated, train=train, test=test)
    distances, indices = (found[:, 0] for found in nearest(generated, train))
    unseen = nearest(test, train)[0][:, 0]
    usual = float(np.median(unseen))
    ratio = float(np.median(distances)) / usual if usual > 0 else None
    near, near_test = (float((found <= NEAR * usual).double().mean()) for found in (distances, unseen))
    n, m = len(generated), len(test)
    pooled = (n * near + m * near_test) / (n + m)
    doubt = 3 * (pooled * (1 - pooled) * (1 / n + 1 / m)) ** 0.5
    return {
        "ratio": ratio,
        "copies": float((distances == 0).double().mean()),
        "copies_test": float((unseen == 0).double().mean()),
        "near": near,
        "near_test": near_test,
        "flag": bool((ratio is not None and ratio < 0.5) or near - near_test > max(MORE, doubt)),
        "distances": distances,
        "indices": indices,
    }


class Points:
    """A set: as given, centred in its own precision, and the squared lengths of the centred rows."""

    def __init__(self, given: Tensor, centre: Tensor) -> None:
        self.given = given
        self.centred = torch.empty_like(given)
        for start, block in featuresets.blocks(given):
            self.centred[start : start + len(block)] = block.double() - centre
        self.square = torch.cat([block.double().square().sum(1) for _, block in featuresets.blocks(self.centred)])

    def some(self, rows: Tensor) -> Points:
        """Some rows of it."""
        part = object.__new__(Points)
        part.given, part.centred, part.square = self.given[rows], self.centred[rows], self.square[rows]
        return part


class Space:
    """Approximate squared distances with a bound on their error.

    |x|^2 + |y|^2 - 2 x.y in floating point of unit u is off by less than 4 u (sqrt(d) + 4) (|x|^2 + |y|^2): the worst
    case has d for sqrt(d), which is not met (Higham, Mary, "A New Approach to Probabilistic Rounding Error Analysis",
    2019, https://doi.org/10.1137/18M1226312). Centring makes lengths, and so the error, small.
    """

    def __init__(self, *sets: Tensor) -> None:
        self.centre = featuresets.mean(*sets)
        self.dtype = torch.promote_types(sets[0].dtype, sets[1].dtype)
        if self.dtype not in (torch.float32, torch.float64):
            self.dtype = torch.float32
        self.relative = 4 * torch.finfo(self.dtype).eps * (len(self.centre) ** 0.5 + 4)

    def points(self, given: Tensor) -> Points:
        return Points(given.to(self.dtype), self.centre)

    def squares(self, queries: Points, base: Points) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """In blocks: rows (a slice), squared distances `(rows, N)`, error bound `(rows, 1)`."""
        step = max(1, ENTRIES // len(base.given))
        longest, lengths = base.square.max(), base.square.to(self.dtype)
        for start in range(0, len(queries.given), step):
            rows = slice(start, start + step)
            square = torch.addmm(lengths, queries.centred[rows], base.centred.T, alpha=-2)
            square += queries.square[rows, None].to(self.dtype)
            yield rows, square, (self.relative * (queries.square[rows, None] + longest)).to(self.dtype)


def to_kth(points: Points, k: int, space: Space) -> Tensor:
    """The squared distance to the k-th neighbour other than itself, `(n,)`; equal rows are neighbours at 0.

    Distances are symmetric: each block of them serves its rows and its columns. Where the k-th candidate stands apart
    from the others, it alone is measured exactly; where candidates may be missing, `_nearest` looks again.
    """
    n = len(points.given)
    wanted = min(k + 1 + SPARE, n)
    values = torch.full((n, wanted), torch.inf, dtype=space.dtype)
    indices = torch.zeros(n, wanted, dtype=torch.int64)

    def merge(rows: slice, square: Tensor, first: int) -> None:
        found = square.topk(min(wanted, square.shape[1]), largest=False)
        both = torch.cat([values[rows], found.values], 1), torch.cat([indices[rows], found.indices + first], 1)
        values[rows], chosen = both[0].topk(wanted, largest=False)
        indices[rows] = both[1].gather(1, chosen)

    lengths = points.square.to(space.dtype)
    side = int(ENTRIES**0.5)
    for i in (slice(start, start + side) for start in range(0, n, side)):
        for j in (slice(start, start + side) for start in range(i.start, n, side)):
            square = torch.addmm(lengths[j], points.centred[i], points.centred[j].T, alpha=-2)
            square += lengths[i, None]
            merge(i, square, j.start)
            if j.start > i.start:
                merge(j, square.T, i.start)
    slack = (space.relative * (points.square + points.square.max())).to(space.dtype)
    gaps = values.diff(dim=1)
    apart = (gaps[:, k - 1] > 2 * slack) & (gaps[:, k] > 2 * slack if wanted > k + 1 else True)
    kth = torch.empty(n, dtype=torch.float64)
    alone, crowded = apart.nonzero()[:, 0], (~apart).nonzero()[:, 0]
    kth[alone] = exact(points.given, points.given, alone, indices[alone, k])
    each = crowded.repeat_interleave(wanted)
    measured = exact(points.given, points.given, each, indices[crowded].flatten()).view(-1, wanted)
    kth[crowded] = measured.sort(1).values[:, k]
    if wanted < n:  # whoever was left out may be as near, within rounding
        again = crowded[values[crowded, -1] - slack[crowded] < kth[crowded]]
        if len(again):
            kth[again] = _nearest(points.some(again), points, k + 1, space)[0][:, k]
    return kth


def _nearest(queries: Points, base: Points, k: int, space: Space) -> tuple[Tensor, Tensor]:
    """Squared distances and row numbers, `(n, k)`."""
    n = len(queries.given)
    distances, indices = torch.empty(n, k, dtype=torch.float64), torch.empty(n, k, dtype=torch.int64)
    wanted = min(k + SPARE, len(base.given))
    for rows, square, slack in space.squares(queries, base):
        candidates = square.topk(wanted, largest=False)
        each = torch.arange(rows.start, rows.start + len(square))
        found = exact(queries.given, base.given, each.repeat_interleave(wanted), candidates.indices.flatten())
        found, order = _ascending(found.view(-1, wanted), candidates.indices)
        distances[rows], indices[rows] = found[:, :k], order[:, :k]
        if wanted < len(base.given):  # whoever was left out may be as near, within rounding
            reach = distances[rows, -1] + slack[:, 0]
            for row in (candidates.values[:, -1] <= reach).nonzero()[:, 0].tolist():
                near = (square[row] <= reach[row]).nonzero()[:, 0]
                again = exact(queries.given, base.given, each[row].expand(len(near)), near)
                again, order = _ascending(again[None], near[None])
                distances[rows.start + row], indices[rows.start + row] = again[0, :k], order[0, :k]
    return distances, indices


def _ascending(found: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Rows sorted by distance, then by number."""
    indices, order = indices.sort(1)
    found, again = found.gather(1, order).sort(dim=1, stable=True)
    return found, indices.gather(1, again)


def within(square: Tensor, radii: Tensor, slack: Tensor, queries: Tensor, base: Tensor, rows: slice) -> Tensor:
    """Whether each distance is at most the radius; where rounding could decide, the exact distance does."""
    excess = square - radii.to(square.dtype)
    inside = excess <= 0
    doubtful = (excess.abs_() <= slack).nonzero()  # (n, 2)
    if len(doubtful):
        i, j = doubtful.T
        exactly = exact(queries, base, i + rows.start, j)
        inside[i, j] = exactly <= radii.expand(square.shape)[i, j]
    return inside


def exact(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """|x_i - y_j|^2 of pairs of rows, by differences in float64: `(n,)`."""
    step = max(1, NUMBERS // x.shape[1])
    parts = [
        (x[i[start : start + step]].double() - y[j[start : start + step]].double()).square_().sum(1)
        for start in range(0, len(i), step)
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)
