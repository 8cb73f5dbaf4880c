"""A model's probability of every image there is, where these are few: exact, by cells of a density, or a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.types import Relation
from zoo_bench.tasks.suites import Task
from zoo_core import likelihood
from zoo_core.images import ImageSpec
from zoo_core.model import GenerativeModel, HasLogDensity, HasLogProb

CHUNK = 1024  # images scored at a time; noise is seeded by chunk, so it belongs to the protocol
MIDPOINTS = 4  # of a cell, along each axis


@dataclass(frozen=True)
class Distribution:
    """A model's log Q(x) of every image, float64 `(K,) * D`: exact, by cells, or a lower bound, as `relation` says."""

    log_q: Tensor
    relation: Relation
    method: str

    @property
    def tells_mass(self) -> bool:
        """Whether exp(log_q) is Q itself, not a bound on it."""
        return self.relation != "≤"


def all_images(images: ImageSpec) -> Tensor:
    """Every image, uint8 `(K^D, C, H, W)`, the last pixel fastest."""
    axes = [torch.arange(images.levels, dtype=torch.uint8)] * images.dims
    return torch.cartesian_prod(*axes).view(-1, *images.shape)


def enumerate_all(model: GenerativeModel, task: Task) -> Distribution | None:
    """The strongest that `model` says about every image; None where it says nothing."""
    images = model.images
    x = all_images(images)
    if isinstance(model, HasLogDensity) and not isinstance(model, HasLogProb):
        relation: Relation = "≈"
        log_q, method = by_cells(model, x), f"midpoint-{MIDPOINTS}"
    else:
        options = {"seed": task.likelihood_seed, "draws": task.draws, "n": task.iwae}
        result = likelihood.score(model, x, **options, chunk=CHUNK, share=processes.share)
        if result.nats is None:
            return None
        log_q, relation, method = result.nats, cast(Relation, result.relation), result.method
    return Distribution(log_q.view((images.levels,) * images.dims), relation, method)


def by_cells(model: GenerativeModel, x: Tensor) -> Tensor:
    """log of the integral of the density over the cell of each image of x, by the midpoint rule. float64 `(N,)`."""
    images = model.images
    middles = (torch.arange(MIDPOINTS, dtype=torch.float64) + 0.5) / MIDPOINTS
    offsets = torch.cartesian_prod(*[middles] * images.dims).view(-1, *images.shape)  # (M^D, C, H, W)
    log_volume = -images.dims * math.log(images.levels)

    def cells(c: int) -> Tensor:
        part = x[c * CHUNK : (c + 1) * CHUNK].double()
        v = ((part[:, None] + offsets) / images.levels).flatten(0, 1)  # (n, C, H, W) -> (n M^D, C, H, W)
        log_density = model.log_density(v.to(model.device, torch.get_default_dtype()))  # type: ignore[operator]
        each = log_density.cpu().double().view(len(part), len(offsets))
        return each.logsumexp(1) - math.log(len(offsets)) + log_volume

    with likelihood.evaluating(model):
        return torch.cat(processes.share(math.ceil(len(x) / CHUNK), cells))
