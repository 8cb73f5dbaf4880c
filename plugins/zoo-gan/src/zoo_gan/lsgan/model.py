"""The least squares generative adversarial network, on the networks of a DCGAN.

Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", 2017,
https://arxiv.org/abs/1611.04076:

    D minimises 1/2 E_x[(D(x) - b)^2] + 1/2 E_z[(D(G(z)) - a)^2],   G minimises 1/2 E_z[(D(G(z)) - c)^2]  (equation 2)

Where a sigmoid is satisfied by any image on the right side of its boundary, least squares pull those that are far away.
For a fixed G that draws from q, with p the data (section 3.2):

    D*(x) = (b p(x) + a q(x)) / (p(x) + q(x))
    1/2 E_p[(D* - c)^2] + 1/2 E_q[(D* - c)^2] = 1/2 chi^2_Pearson(p + q || 2 q)      if b - c = 1 and b - a = 2

whose first term does not depend on G while D is held fixed. Departures: the networks (`strided_networks.py`) are those
of a DCGAN, without the paper's second convolution at each size; dither.
"""

from __future__ import annotations

from zoo_core.specs import ImageSpec
from zoo_gan import strided_networks as networks
from zoo_gan.adversarial import Adversarial
from zoo_gan.losses import LeastSquares
from zoo_gan.lsgan.config import LSGANConfig


class LSGAN(Adversarial):
    """D's output is a number near its targets, no logit; `d/real` and `d/generated` are its means."""

    config: LSGANConfig

    def __init__(self, images: ImageSpec, config: LSGANConfig) -> None:
        super().__init__(images, config, networks.generator(images, config), networks.discriminator(images, config))
        self.losses = LeastSquares(config.a, config.b, config.c)
        networks.initialise(self.generator, config.norm)
        networks.initialise(self.discriminator, config.norm)
