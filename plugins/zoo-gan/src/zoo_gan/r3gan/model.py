"""R3GAN: real and generated images are judged in pairs, and D is kept flat where both of them are.

Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024,
https://arxiv.org/abs/2501.05441, section 2:

    L = E_{x,z}[f(D(x) - D(G(z)))],    f(t) = -log(1 + e^-t)            relativistic pairing; D maximises, G minimises
    R1 = gamma/2 E_x[|grad_x D(x)|^2],    R2 = gamma/2 E_z[|grad_v D(v)|^2] at v = G(z)        both, in each step

Written for the sign convention of this family, in which D is larger for real images. The loss is Jolicoeur-Martineau's
(2018, https://arxiv.org/abs/1807.00734); in practice G maximises E[f(D(G(z)) - D(x))] instead, which does not vanish
where D is sure. The penalties make it converge: a real point and a generated one beside it, with D(v) = psi v, only
turn around their equilibrium without them, and approach it exponentially with them (Mescheder, Geiger, Nowozin, 2018,
https://arxiv.org/abs/1801.04406; a test has the rate).

Departures: the paper also changes Adam's beta2 and the average's half-life in the burn-in, here they are constant
(but see the recipe key `ema_ramp`); dither (`adversarial.py`); for the networks' see `networks.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_core.images import Batch
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_gan.adversarial import Adversarial
from zoo_gan.losses import RelativisticPairing
from zoo_gan.penalties import gradient, watched
from zoo_gan.priors import Normal
from zoo_gan.r3gan.config import R3GANConfig
from zoo_gan.r3gan.networks import Discriminator, Generator


class R3GAN(Adversarial):
    """Image i of a batch is paired with the i-th generated one, so that a batch can be split between any two."""

    config: R3GANConfig
    prior = Normal()
    losses = RelativisticPairing()

    def __init__(self, images: ImageSpec, config: R3GANConfig) -> None:
        super().__init__(images, config, Generator(images, config), Discriminator(images, config))

    def with_noise(self, batch: Batch, step: Step) -> Batch:
        """Also gamma, which depends on the step."""
        gamma = torch.full((len(batch),), self.gamma(step.progress), device=self.device, dtype=self.dtype)
        return super().with_noise(batch, step).with_(gamma=gamma)

    def gamma(self, progress: float) -> float:
        """From `gamma_start` to `gamma` along half a cosine, then constant."""
        config = self.config
        done = min(progress / config.burn_in, 1.0) if config.burn_in else 1.0
        return config.gamma + (config.gamma_start - config.gamma) * (1 + math.cos(math.pi * done)) / 2

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """-L + R1 + R2, with |grad D|^2 at real and at generated images beside it. One pass for both."""
        with torch.no_grad():
            v = torch.cat([self.real(batch), self.generated(batch)])  # (2N, C, H, W)
        v = watched(v)
        output = self.judged(v, batch)  # (2N,)
        real, generated = output.chunk(2)
        r1, r2 = (batch.extra["gamma"].repeat(2) / 2 * gradient(output, v).square().sum(1)).chunk(2)  # (N,), (N,)
        loss = self.losses.discriminator(real, generated) + r1.mean() + r2.mean()
        readouts = self.readouts(real, generated)
        return {"loss": loss, **readouts, "r1": r1.mean(), "r2": r2.mean()}
