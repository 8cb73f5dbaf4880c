"""What the family offers, told without torch: the configs and the specs of its models, simplest first."""

from __future__ import annotations

from zoo_autoregressive.configs import dense, pixelcnn
from zoo_autoregressive.configs.dense import FVSBNConfig
from zoo_autoregressive.configs.pixelcnn import GatedPixelCNNConfig, PixelCNNConfig
from zoo_autoregressive.image_gpt import config as image_gpt
from zoo_autoregressive.image_gpt.config import ImageGPTConfig
from zoo_autoregressive.made import config as made
from zoo_autoregressive.made.config import MADEConfig, MADEOrdersConfig
from zoo_autoregressive.nade import config as nade
from zoo_autoregressive.nade.config import NADEConfig
from zoo_autoregressive.pixelcnnpp import config as pixelcnnpp
from zoo_autoregressive.pixelcnnpp.config import PixelCNNPPConfig
from zoo_autoregressive.pixelrnn import config as pixelrnn
from zoo_autoregressive.pixelrnn.config import PixelRNNConfig, RowLSTMConfig
from zoo_autoregressive.pixelsnail import config as pixelsnail
from zoo_autoregressive.pixelsnail.config import PixelSNAILConfig

__all__ = [
    "SPECS",
    "FVSBNConfig",
    "GatedPixelCNNConfig",
    "ImageGPTConfig",
    "MADEConfig",
    "MADEOrdersConfig",
    "NADEConfig",
    "PixelCNNConfig",
    "PixelCNNPPConfig",
    "PixelRNNConfig",
    "PixelSNAILConfig",
    "RowLSTMConfig",
]

SPECS = (
    *dense.SPECS,
    *nade.SPECS,
    *made.SPECS,
    *pixelrnn.SPECS,
    *pixelcnn.SPECS,
    *pixelcnnpp.SPECS,
    *pixelsnail.SPECS,
    *image_gpt.SPECS,
)
