"""What the configs of all flows share: how pixels become real numbers without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config

LEAST = 1e-6  # of alpha, as in papers on MNIST; below, 1 - alpha is a few steps of float32 from 1, or 1 itself


@dataclass(frozen=True, kw_only=True)
class FlowConfig(Config):
    """pixels: the map from [0, 1] to the flow's own space, whose Jacobian is part of the density: "logit" of
    alpha + (1 - 2 alpha) v, or "centre", v - 1/2. alpha: how far the logit keeps from its poles, at least 1e-6.
    """

    pixels: Literal["logit", "centre"] = "logit"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("alpha", LEAST <= self.alpha < 0.5, f"at least {LEAST:g}, for the sake of float32, and below 0.5")
