"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_gan.dcgan import config as dcgan
from zoo_gan.dcgan.config import DCGANConfig
from zoo_gan.gan import config as gan
from zoo_gan.gan.config import GANConfig
from zoo_gan.lsgan import config as lsgan
from zoo_gan.lsgan.config import LSGANConfig
from zoo_gan.r3gan import config as r3gan
from zoo_gan.r3gan.config import R3GANConfig
from zoo_gan.sngan import config as sngan
from zoo_gan.sngan.config import SNGANConfig
from zoo_gan.wgan_gp import config as wgan_gp
from zoo_gan.wgan_gp.config import WGANGPConfig

__all__ = ["SPECS", "DCGANConfig", "GANConfig", "LSGANConfig", "R3GANConfig", "SNGANConfig", "WGANGPConfig"]

SPECS = (*gan.SPECS, *dcgan.SPECS, *lsgan.SPECS, *wgan_gp.SPECS, *sngan.SPECS, *r3gan.SPECS)
