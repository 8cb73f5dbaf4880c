"""The Wasserstein generative adversarial network with gradient penalty, on the networks of a DCGAN.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs", 2017,
https://arxiv.org/abs/1704.00028:

    critic      min  E_z[D(G(z))] - E_x[D(x)] + lambda E_v[(||grad_v D(v)||_2 - 1)^2]               (equation 3)
                v = m x + (1 - m) G(z),  m ~ U[0, 1] for each image
    generator   min  -E_z[D(G(z))],  once for every n_critic steps of the critic                     (algorithm 1)

The best 1-Lipschitz critic's E_x[D(x)] - E_z[D(G(z))] is the Wasserstein-1 distance of real and generated images: a
loss that falls as images improve, and a gradient that does not vanish where the two are easily told apart.

Adam has beta1 = 0, beta2 = 0.9, lambda = 10, n_critic = 5 (algorithm 1). The critic has layer normalisation or none:
batch normalisation would make an image's output depend on others, and the penalty is of each by itself (section 4). Its
last layer has no bias, on which the loss does not depend.

Departures: z is normal, which the paper leaves open; dither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.images import Batch
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_gan import penalties
from zoo_gan import strided_networks as networks
from zoo_gan.adversarial import Adversarial
from zoo_gan.losses import Wasserstein
from zoo_gan.priors import Normal
from zoo_gan.wgan_gp.config import WGANGPConfig


class WGANGP(Adversarial):
    """The discriminator is a critic: its output has no scale of its own but that of distances between images."""

    config: WGANGPConfig
    prior = Normal()
    losses = Wasserstein()

    def __init__(self, images: ImageSpec, config: WGANGPConfig) -> None:
        critic = networks.discriminator(images, config, config.critic_norm, last_bias=False)
        super().__init__(images, config, networks.generator(images, config), critic)
        networks.initialise(self.generator, config.norm)
        networks.initialise(self.discriminator, config.critic_norm)

    def with_noise(self, batch: Batch, step: Step) -> Batch:
        """Also where between a real and a generated image the gradient is looked at: m, `(N,)`."""
        return super().with_noise(batch, step).with_(mix=step.rand(batch))

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Equation 3. Without the penalty it is minus the estimate of the distance, `d/real` - `d/generated`."""
        with torch.no_grad():
            v = self.generated(batch)
        x = self.real(batch)
        real, generated = self.judged(x, batch), self.judged(v, batch)  # (N,), (N,)
        penalty = penalties.interpolated(lambda between: self.judged(between, batch), x, v, batch.extra["mix"])
        loss = self.losses.discriminator(real, generated) + self.config.penalty * penalty
        return {"loss": loss, **self.readouts(real, generated), "penalty": penalty}
