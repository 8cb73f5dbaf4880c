"""k-means, the start of EM: seeds far apart, then a few rounds of Lloyd's algorithm.

D. Arthur, S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007,
https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf, section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Batch
from zoo_core.step import Step


def cluster(
    batch: Batch, step: Step, k: int, rounds: int, points: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, int]:
    """`k` centres `(K, D)` of the training images as `points` `(N, D)`, their mean squared distance, how many images.

    What is gathered is equal on every process, and sorted it does not depend on how images are spread over them.
    batch: brings the noise.
    """
    u = step.gather(lambda part: part.extra["u"], batch.with_(u=step.rand(batch, k)))[0]  # (K,)
    x, counts = step.gather(lambda part: part.x).flatten(1).unique(dim=0, return_counts=True)
    different = points(x)
    weights = counts.to(different.dtype)
    centres, distance = lloyd(different, weights, seeds(different, weights, u.to(different)), rounds)
    return centres, distance, int(counts.sum())


def seeds(points: Tensor, counts: Tensor, u: Tensor) -> Tensor:
    """k-means++: each next centre is a point drawn with probability proportional to D(x)^2, its squared distance to
    the centres so far (steps 1a to 1c).

    points: `(M, D)`, all different. counts: `(M,)`, how often each occurs. u: `(K,)`, the draws, uniform in [0, 1).
    A function of its arguments alone, so that all processes agree. Returns `(K, D)`.
    """
    if len(points) < len(u):
        raise ZooError(
            f"{len(u)} components need as many different images to start from, and the training set has {len(points)}; "
            f"set components to at most {len(points)}, or train on more images"
        )
    distance = torch.ones_like(points[:, 0])  # the first centre: any point
    centres = []
    for draw in u:
        mass = (distance * counts).cumsum(0)
        index = torch.searchsorted(mass, draw * mass[-1], right=True).clamp(max=len(points) - 1)
        centre = points[index]
        # Not by matrix products, which would leave a chosen point at a distance of not quite 0.
        to_centre = torch.cdist(points, centre[None], compute_mode="donot_use_mm_for_euclid_dist").squeeze(1).square()
        distance = torch.minimum(distance, to_centre) if centres else to_centre
        centres.append(centre)
    return torch.stack(centres)


def lloyd(points: Tensor, counts: Tensor, centres: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """`rounds` of k-means; a centre without points stays. Returns centres `(K, D)` and the mean squared distance."""
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        member = (nearest == torch.arange(len(centres), device=points.device)[:, None]) * counts  # (K, M)
        size = member.sum(1, keepdim=True)
        centres = torch.where(size > 0, member @ points / size.clamp_min(1), centres)
    square = torch.cdist(points, centres).amin(1).square()
    return centres, (square * counts).sum() / counts.sum()
