"""What all models with several layers of latents have in their configs, told without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig(Config):
    """How a hierarchy of latents is observed and trained (`hierarchy.py`).

    pixels: the distribution of a pixel given the latents; "auto" is Bernoulli for 2 levels, logistic for more.
    components: of the mixture of logistics, where pixels are logistic.
    samples, objective: how many draws of the latents each image of a training batch gets, and which bound is maximised
    with them. warmup: share of the training over which the weight of the divergences in the ELBO rises from 0 to 1.
    weight_decay: AdamW's.
    """

    pixels: Literal["auto", "bernoulli", "categorical", "logistic"] = "auto"
    components: int = 1
    samples: int = 1
    objective: Literal["elbo", "iwae"] = "elbo"
    warmup: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("components", "samples"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")
        self.expect("warmup", 0 <= self.warmup <= 1, "a share of the training, 0 to 1")
        elbo = self.warmup == 0 or self.objective == "elbo"
        self.expect("warmup", elbo, "0 where the objective is 'iwae', which has no divergence to weigh")
