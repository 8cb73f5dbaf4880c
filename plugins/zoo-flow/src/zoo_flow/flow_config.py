"""What the configs of all flows share: how pixels become real numbers without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config


@dataclass(frozen=True, kw_only=True)
class FlowConfig(Config):
    """pixels: the map from [0, 1] to the flow's own space, whose Jacobian is part of the density: "logit" of
    alpha + (1 - 2 alpha) v, or "centre", v - 1/2. alpha: how far the logit keeps from its poles.
    """

    pixels: Literal["logit", "centre"] = "logit"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("alpha", 0 < self.alpha < 0.5, "a number above 0 and below 0.5")
