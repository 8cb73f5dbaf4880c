"""SNGAN: a discriminator of bounded slope, by spectral normalisation, and a projection on the class where there is one.

Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018,
https://arxiv.org/abs/1802.05957:

    discriminator   max  E_x[min(0, -1 + D(x))] + E_z[min(0, -1 - D(G(z)))]         (equation 16, the hinge loss)
    generator       max  E_z[D(G(z))]                                               (equation 17)
    W_SN = W / sigma(W) in every layer of D                                         (section 2.1; `spectral.py`)

With classes y, Miyato, Koyama, "cGANs with Projection Discriminator", 2018, https://arxiv.org/abs/1802.05637:
D(x, y) = psi(phi(x)) + <V_y, phi(x)>, and generated images of the classes that the real ones beside them have.

Departures: networks of dcgan's sizes, so that the two may be compared; dither (`adversarial.py`); V is spectrally
normalised too. z is standard normal.
"""

from __future__ import annotations

from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_gan.adversarial import Adversarial
from zoo_gan.losses import Hinge
from zoo_gan.priors import Normal
from zoo_gan.sngan.config import SNGANConfig
from zoo_gan.sngan.networks import Discriminator, Generator
from zoo_gan.sngan.spectral import power_iteration


class SNGAN(Adversarial):
    """Unconditional, or told the class (`config.conditional`)."""

    config: SNGANConfig
    prior = Normal()
    losses = Hinge()

    def __init__(self, images: ImageSpec, config: SNGANConfig) -> None:
        if config.conditional and images.classes < 1:
            raise ZooError(f"SNGANConfig.conditional: expected images with classes, got {images}")
        classes = images.classes if config.conditional else 0
        generator, discriminator = Generator(images, config, classes), Discriminator(images, config, classes)
        super().__init__(images, config, generator, discriminator, conditional=config.conditional)

    def generate(self, z: Tensor, labels: Labels = None) -> Tensor:
        """G(z, y), in [-1, 1], `(N, C, H, W)`."""
        v: Tensor = self.generator(z, labels)
        return v

    def discriminate(self, v: Tensor, labels: Labels = None) -> Tensor:
        """D(v, y), `(N,)`."""
        output: Tensor = self.discriminator(v, labels)
        return output

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One power iteration, here and nowhere else; then algorithm 1 of both papers."""
        if self.config.conditional and batch.labels is None:
            raise ZooError("SNGAN is conditional: its training images need labels; give Batch(x, labels=…)")
        power_iteration(self.discriminator)
        return super().train_step(batch, step)
