"""The deep convolutional generative adversarial network, trained on the non-saturating loss.

Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
2016, https://arxiv.org/abs/1511.06434 ("DCGAN" below); Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair,
Courville, Bengio, "Generative Adversarial Nets", 2014, https://arxiv.org/abs/1406.2661 ("GAN").

    discriminator   max  E_x[log D(x)] + E_z[log(1 - D(G(z)))]      (GAN, equation 1)
    generator       max  E_z[log D(G(z))]                           (GAN, section 3: stronger gradients early on)

z is uniform on [-1, 1]^latent, D(v) = sigmoid of a logit, G ends in tanh. There is no likelihood.
"""

from __future__ import annotations

from zoo_core.specs import ImageSpec
from zoo_gan import strided_networks as networks
from zoo_gan.adversarial import Adversarial
from zoo_gan.dcgan.config import DCGANConfig
from zoo_gan.losses import NonSaturating


class DCGAN(Adversarial):
    """GAN, algorithm 1 with k = 1, by Adam (DCGAN, section 4: beta1 = 0.5)."""

    config: DCGANConfig
    losses = NonSaturating()

    def __init__(self, images: ImageSpec, config: DCGANConfig) -> None:
        super().__init__(images, config, networks.generator(images, config), networks.discriminator(images, config))
        networks.initialise(self.generator, config.norm)
        networks.initialise(self.discriminator, config.norm)
