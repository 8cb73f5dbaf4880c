"""Rescue of an empty component: it is started again where the likelihood is worst, and the likelihood does not fall.

A component that has lost all its images has weight 0, and the likelihood does not depend on its other parameters. One
of N images, x*, is the one that the mixture p explains worst. The component k is put onto it, with weight 1/N from all:

    p'(x) = (1 - 1/N) p(x) + 1/N p_k(x),    hence    ln p'(x) >= ln p(x) + ln(1 - 1/N)    for every x

and the likelihood of the N images rises by at least

    ln p'(x*) - ln p(x*) + (N - 1) ln(1 - 1/N)

The last term is above -1 nat, so it nearly always rises. Where this bound is below 0 the component stays empty, and the
next pass tries again. The same holds for a lower bound of each ln p(x) that is a logsumexp over components, as `gmm`'s
with integrated noise is. One component is rescued after a pass, as the worst image is another one afterwards; looking
for it takes a pass of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zoo_core.images import Batch
from zoo_core.step import Step

Parameters = dict[str, Tensor]


def rescued(
    parameters: Parameters,
    step: Step,
    log_joint: Callable[[Parameters, Tensor], Tensor],
    restart: Callable[[Parameters, int, Tensor], Parameters],
) -> Parameters:
    """`parameters` with the first empty component restarted, or as they are.

    log_joint: ln pi_k + ln p(x | k) of images, `(N, K)`. restart: all but the weights, with component k on an image
    `(1, C, H, W)`.
    """
    empty = (parameters["weights"] == 0).nonzero().flatten()
    if not len(empty):
        return parameters

    def worst(batch: Batch) -> dict[str, Tensor]:
        objective, index = log_joint(parameters, batch.x).logsumexp(1).min(0, keepdim=True)
        return {"x": batch.x[index], "objective": objective, "images": torch.full_like(index, len(batch))}

    parts = step.gather(worst)  # equal on every process
    x, images = parts["x"][parts["objective"].argmin()][None], int(parts["images"].sum())
    component = int(empty[0])
    weights = parameters["weights"] * (1 - 1 / images)
    weights[component] = 1 / images
    new = {**restart(parameters, component, x), "weights": weights}
    gain = (log_joint(new, x).logsumexp(1) - log_joint(parameters, x).logsumexp(1)).item()
    return new if gain + (images - 1) * math.log1p(-1 / images) >= 0 else parameters
