"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_gan.dcgan import config as dcgan
from zoo_gan.dcgan.config import DCGANConfig

__all__ = ["SPECS", "DCGANConfig"]

SPECS = (*dcgan.SPECS,)
