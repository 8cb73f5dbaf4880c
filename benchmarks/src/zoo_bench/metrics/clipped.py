"""Clipped density and clipped coverage: which share of good samples, the others bad, would look like these.

(Salvy, Talbot, Thirion, "Enhanced Generative Model Evaluation with Clipped Density and Coverage", 2025,
https://arxiv.org/abs/2507.01761.) Density and coverage (`neighbours.prdc`) are means over samples and over balls around
real images, and say little by themselves: some that count for much make up for others that are bad, one ball around an
outlier holds whatever is far away, and what is perfect is not at 1. Here none counts for more than 1, no ball of the
density reaches farther than the median one, and both are calibrated, so that they fall in a straight line as bad
samples are mixed in.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_bench.metrics.neighbours import Space, to_kth, within
from zoo_core.errors import ZooError
from zoo_core.precision import full_float32


@full_float32()
def clipped(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Both by balls around real images, closed, that reach to the k-th nearest of the other real images.

    clipped_density: mean_j min(c_j / k, 1), c_j being in how many balls sample j lies, none wider than the median ball;
    divided by the same mean of the real images, each left out of its own ball, and at most 1.
    clipped_coverage: u = mean_i min(n_i / k, 1), n_i being how many samples ball i holds; then the share of good
    samples that `expected` has at u. real `(N, d)`, more than k rows; fake `(M, d)`; N and M belong to the identity.
    """
    featuresets.check(real=real, fake=fake)
    if not 1 <= k < len(real):
        raise ZooError(
            f"clipped density and coverage: k = {k} needs at least {k + 1} real images (and k of at least 1), got "
            f"{len(real)}; give more images of either kind, or a smaller k (which is another protocol)"
        )
    space = Space(real, fake)
    real_points, fake_points = space.points(real), space.points(fake)
    radii = to_kth(real_points, k, space)  # (N,), squared
    cut = radii.clamp(max=_median(radii))
    good, held = 0, torch.zeros(len(real), dtype=torch.int64)
    for rows, square, slack in space.squares(fake_points, real_points):
        good += int(within(square, cut[None], slack, fake, real, rows).sum(1).clamp(max=k).sum())
        held += within(square, radii[None], slack, fake, real, rows).sum(0)
    best = 0
    for rows, square, slack in space.squares(real_points, real_points):
        others = within(square, cut[None], slack, real, real, rows).sum(1) - 1
        best += int(others.clamp(max=k).sum())
    share = np.arange(len(fake) + 1) / len(fake)
    covered = float(held.clamp(max=k).sum()) / (k * len(real))
    return {
        "clipped_density": min((good / len(fake)) / (best / len(real)), 1.0),
        "clipped_coverage": float(np.interp(covered, expected(len(real), len(fake), k).numpy(), share)),
    }


def _median(radii: Tensor) -> float:
    """The square of the median of the roots: of two in the middle, which lie at equal distances, exactly that."""
    low, high = radii.sort().values[[(len(radii) - 1) // 2, len(radii) // 2]].tolist()
    return low if low == high else ((low**0.5 + high**0.5) / 2) ** 2


def expected(n: int, m: int, k: int) -> Tensor:
    """f(0), ..., f(m): what u is on average where so many of the samples are good, and the others in no ball at all.

    The ball to the k-th of n - 1 others has a share p ~ Beta(k, n - k) of the distribution, and of t good samples it
    holds j with the probability P_t(j) = C(t, j) B(k + j, n + t - k - j) / B(k, n - k). The mean of min(j / k, 1) is
    f(t) = 1 - sum_{j < k} (1 - j / k) P_t(j). The beta functions are below 1e-308, so P_t(0) = prod_{s < t} (1 - k /
    (n + s)) is summed up in logarithms, and the others follow by their ratios. `(m + 1,)`.
    """
    t = torch.arange(m + 1, dtype=torch.float64)
    holding = torch.cat([torch.zeros(1), torch.log1p(-k / (n + t[:-1])).cumsum(0)]).exp()  # P_t(0)
    missing = holding.clone()
    for j in range(1, k):
        pairs = j * (n + t - k - j).clamp(min=1)  # below 1 for t < j only, where P_t(j) = 0
        holding = holding * (t - j + 1).clamp(min=0) * (k + j - 1) / pairs  # P_t(j)
        missing += (1 - j / k) * holding
    return (1 - missing).cummax(0).values  # it grows; where it hardly does, rounding might not let it
