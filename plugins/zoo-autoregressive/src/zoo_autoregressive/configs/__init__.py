"""What the family offers, told without torch: the configs and the specs of its models, simplest first."""

from __future__ import annotations

from zoo_autoregressive.configs import dense, pixelcnn
from zoo_autoregressive.configs.dense import FVSBNConfig, MADEConfig, NADEConfig
from zoo_autoregressive.configs.pixelcnn import PixelCNNConfig

__all__ = ["SPECS", "FVSBNConfig", "MADEConfig", "NADEConfig", "PixelCNNConfig"]

SPECS = (*dense.SPECS, *pixelcnn.SPECS)
