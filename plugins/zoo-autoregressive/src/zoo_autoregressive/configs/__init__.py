"""What the family offers, told without torch: the configs and the specs of its models, simplest first."""

from __future__ import annotations

from zoo_autoregressive.configs import dense
from zoo_autoregressive.configs.dense import FVSBNConfig, MADEConfig

__all__ = ["SPECS", "FVSBNConfig", "MADEConfig"]

SPECS = (*dense.SPECS,)
