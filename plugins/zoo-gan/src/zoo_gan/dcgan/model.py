"""The deep convolutional generative adversarial network, trained on the non-saturating loss.

Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
2016, https://arxiv.org/abs/1511.06434 ("DCGAN" below); Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair,
Courville, Bengio, "Generative Adversarial Nets", 2014, https://arxiv.org/abs/1406.2661 ("GAN").

    discriminator   max  E_x[log D(x)] + E_z[log(1 - D(G(z)))]      (GAN, equation 1)
    generator       max  E_z[log D(G(z))]                           (GAN, section 3: stronger gradients early on)

z is uniform on [-1, 1]^latent, D(v) = sigmoid of a logit, G ends in tanh. There is no likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam, Optimizer

from zoo_core.chunks import rand
from zoo_core.errors import ZooError
from zoo_core.images import Batch, from_signed, to_signed
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_gan.dcgan import networks
from zoo_gan.dcgan.config import DCGANConfig

PASS = 256  # most images in one pass through the generator, when nothing is learned
CODES = 16 * PASS  # from which the statistics of batch normalisation are taken at the end


class DCGAN(GenerativeModel):
    """Two players, two optimisers; pixels are scaled to [-1, 1].

    Real pixels are integers and a generator's are not, which a discriminator could tell them by, above all where levels
    are few. So it sees both through the same noise, uniform and as wide as a level: of the real ones that is uniform
    dequantisation, and a generated pixel between two levels looks like one that is sometimes the one and sometimes the
    other.
    """

    config: DCGANConfig

    def __init__(self, images: ImageSpec, config: DCGANConfig) -> None:
        super().__init__(images, config)
        self.generator = networks.generator(images, config)
        self.discriminator = networks.discriminator(images, config)
        networks.initialise(self, config)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam for each player (DCGAN, section 4: beta1 = 0.5)."""
        betas = (self.config.beta1, 0.999)
        return {
            "discriminator": Adam(self.discriminator.parameters(), lr=lr * self.config.ratio, betas=betas, fused=True),
            "generator": Adam(self.generator.parameters(), lr=lr, betas=betas, fused=True),
        }

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """GAN, algorithm 1 with k = 1: a step of the discriminator, then one of the generator on codes of its own."""
        d = step.minimize(self.discriminator_loss, self.with_noise(batch, step), "discriminator")
        g = step.minimize(self.generator_loss, self.with_noise(batch, step), "generator")
        return {
            "loss/discriminator": d["loss"],
            "loss/generator": g["loss"],
            "d/real": d["real"],
            "d/generated": d["generated"],
        }

    def with_noise(self, batch: Batch, step: Step) -> Batch:
        """Codes, and the noise on real and on generated pixels: given these, the losses are deterministic."""
        shape = self.images.shape
        return batch.with_(
            z=2 * step.rand(batch, self.config.latent) - 1,
            on_real=step.rand(batch, *shape),
            on_generated=step.rand(batch, *shape),
        )

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """-E[log D(x)] - E[log(1 - D(G(z)))], nats; the mean D(x) and D(G(z)) beside it."""
        with torch.no_grad():
            generated = self.generated(batch)
        real = self.discriminator(self.dithered(to_signed(batch.x, self.images), batch.extra["on_real"]))  # (N,)
        fake = self.discriminator(generated)  # (N,)
        return {
            "loss": F.softplus(-real).mean() + F.softplus(fake).mean(),
            "real": real.sigmoid().mean(),
            "generated": fake.sigmoid().mean(),
        }

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """-E[log D(G(z))], nats."""
        return {"loss": F.softplus(-self.discriminator(self.generated(batch))).mean()}

    def generated(self, batch: Batch) -> Tensor:
        """G(z) as the discriminator sees it, `(N, C, H, W)`."""
        if self.config.norm == "batch" and self.training and len(batch) < 2:
            raise ZooError(
                "batch normalisation has no statistics of a single image: "
                "train with batches and micro-batches of 2 or more, or with norm='none'"
            )
        v = self.generator(batch.extra["z"])
        return self.dithered(v, batch.extra["on_generated"])

    def dithered(self, v: Tensor, u: Tensor) -> Tensor:
        """v with noise u in [0, 1) as wide as `config.dither` levels; two levels are 2 / (K - 1) apart."""
        return v + (u - 0.5) * (self.config.dither * 2 / (self.images.levels - 1))

    @torch.no_grad()
    def finish(self, step: Step) -> None:
        """Take the statistics of the generator's batch normalisation anew, layer by layer, over fixed codes.

        Running averages are of weights that were still moving; averaged weights were never run in training; and each
        process has averages of its own. The codes are the same everywhere, so now the statistics are too.
        """
        z = 2 * torch.rand(CODES, self.config.latent, generator=torch.Generator().manual_seed(0)) - 1
        parts = z.to(self.device).split(PASS)
        for i, layer in enumerate(self.generator):
            if isinstance(layer, _BatchNorm):
                inputs = (self.generator[:i](part).transpose(0, 1).flatten(1) for part in parts)  # (features, ...)
                var, mean = map(torch.stack, zip(*(torch.var_mean(h, 1, correction=0) for h in inputs)))
                layer.running_mean.copy_(mean.mean(0))
                layer.running_var.copy_(var.mean(0) + mean.var(0, correction=0))  # within the parts, and between them

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """G(z), rounded to the nearest level. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        z = 2 * rand(n, self.config.latent, generator=generator, device=self.device) - 1
        return self.decode(z)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The images of codes z `(N, latent)`. uint8 `(N, C, H, W)`."""
        if z.dim() != 2 or z.shape[1] != self.config.latent:
            raise ZooError(f"DCGAN.decode: expected codes (N, {self.config.latent}), got {tuple(z.shape)}")
        return torch.cat([from_signed(self.generator(part), self.images) for part in z.split(PASS)])
