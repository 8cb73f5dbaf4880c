"""k-means, the start of EM: seeds far apart, then a few rounds of Lloyd's algorithm; and what else EM may start from.

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
from zoo_mixture.start_config import StartConfig

Clusters = tuple[Tensor, Tensor, int]  # centres (K, D), the images' mean squared distance to the nearest, how many


def cluster(batch: Batch, step: Step, k: int, rounds: int, points: Callable[[Tensor], Tensor]) -> Clusters:
    """`k` centres `(K, D)` of the training images as `points` `(N, D)`, their mean squared distance, how many images.

    batch: brings the noise.
    """
    return starts(batch, step, StartConfig(components=k, lloyd=rounds), points)[0]


def starts(batch: Batch, step: Step, config: StartConfig, points: Callable[[Tensor], Tensor]) -> list[Clusters]:
    """`config.n_init` times the clusters that EM starts from, each with noise of its own.

    What is gathered is equal on every process, and sorted it does not depend on how images are spread over them.
    """
    draws = [step.rand(batch, config.components) for _ in range(config.n_init)]
    u = step.gather(lambda part: part.extra["u"], batch.with_(u=torch.stack(draws, 1)))[0]  # (n_init, K)
    x, counts = step.gather(lambda part: part.x).flatten(1).unique(dim=0, return_counts=True)
    different = points(x)
    weights, images = counts.to(different), int(counts.sum())
    _expect_as_many(different, config.components)
    if config.init == "means":
        given = torch.tensor(config.means, dtype=torch.float64).to(different)
        return [(*lloyd(different, weights, given, rounds=0), images)]
    far = config.init == "kmeans++"
    seeded = [seeds(different, weights, row.to(different), far=far) for row in u]
    return [(*lloyd(different, weights, centres, config.lloyd if far else 0), images) for centres in seeded]


def seeds(points: Tensor, counts: Tensor, u: Tensor, *, far: bool = True) -> Tensor:
    """k-means++: each next centre is a point drawn with probability proportional to D(x)^2, its squared distance to
    the centres so far (steps 1a to 1c). Unless `far`: any point that is not a centre yet.

    points: `(M, D)`, all different. counts: `(M,)`, how often each occurs. u: `(K,)`, the draws, uniform in [0, 1).
    A function of its arguments alone, so that all processes agree. Returns `(K, D)`.
    """
    _expect_as_many(points, len(u))
    distance = torch.ones_like(points[:, 0])  # the first centre: any point
    centres = []
    for draw in u:
        mass = (distance * counts).cumsum(0)
        index = torch.searchsorted(mass, draw * mass[-1], right=True).clamp(max=len(points) - 1)
        centre = points[index]
        # Not by matrix products, which would leave a chosen point at a distance of not quite 0.
        to_centre = torch.cdist(points, centre[None], compute_mode="donot_use_mm_for_euclid_dist").squeeze(1).square()
        if not far:
            to_centre = (to_centre > 0).to(points)
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


def _expect_as_many(points: Tensor, k: int) -> None:
    if len(points) < k:
        raise ZooError(
            f"{k} components need as many different images to start from, and the training set has {len(points)}; "
            f"set components to at most {len(points)}, or train on more images"
        )
