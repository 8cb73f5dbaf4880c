"""What a model costs, in floating-point operations: counted by torch on one image, so equal on every machine.

A multiplication with an addition counts 2 (`torch.utils.flop_counter`); element-wise work is not counted. Informational
only: never ranked.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo_bench.randomness import preserved
from zoo_core import LocalStep
from zoo_core.images import Batch
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel


def flops(model: GenerativeModel, batch: Batch, condition: dict[str, Any]) -> dict[str, int | None]:
    """Of drawing one image under `condition` (for one image), and of one training step on `batch`, for each image.

    None where a model computes outside torch, or fits the whole training set at once instead of descending.
    """
    drawn, trained = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with preserved():
        with evaluating(model), drawn:
            model.sample(1, generator=torch.Generator(model.device).manual_seed(0), **condition)
        learner = copy.deepcopy(model)
        step = LocalStep(learner, steps=2)
        if step.optimizers:
            with trained:
                step.run(batch.to(model.device))
    per_image = trained.get_total_flops() // len(batch) if step.optimizers else None
    return {"flops_per_generated_image": drawn.get_total_flops(), "flops_per_training_image": per_image}
