"""VQ-VAE: a frozen first stage, and an autoregressive prior over its codes as over any small image.

van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017, https://arxiv.org/abs/1711.00937,
section 3.3. The prior is a gated PixelCNN (`zoo_autoregressive`).

    P(x) = sum_z p(x | z) p(z)  >=  p(x | z(x)) p(z(x)),    z(x) the encoder's code                        (section 3.2)

The right side is the evidence lower bound of a posterior that has all its mass on z(x), whose entropy is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.optim import Optimizer
from zoo_autoregressive.gated_pixelcnn import GatedPixelCNN

from zoo_autoencoder.vqvae.config import VQVAEConfig
from zoo_autoencoder.vqvae.first_stage import VQVAECodes
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, check
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import Step


class VQVAE(GenerativeModel):
    """The second stage: only the prior learns. The recipe's `init` says which first stage it is of."""

    config: VQVAEConfig
    first_stages = ("first_stage",)

    def __init__(self, images: ImageSpec, config: VQVAEConfig) -> None:
        super().__init__(images, config)
        self.first_stage = VQVAECodes(images, config.first_stage).requires_grad_(False)
        self.prior = GatedPixelCNN(self.first_stage.code_images, config.prior)
        self.conditioning = self.prior.conditioning

    def train(self, mode: bool = True) -> Self:
        """The first stage is used, never trained."""
        super().train(mode)
        self.first_stage.eval()
        return self

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        return self.prior.optimizers(lr)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Maximum likelihood of the codes. `bits_per_code`: of the batch, at most log2 K."""
        if self.prior.frequencies is not None:
            self.prior.frequencies.count(batch, step)
        loss: Tensor = step.minimize(self.loss, batch)  # type: ignore[assignment]
        return {"loss": loss, "bits_per_code": loss / (self.prior.images.dims * math.log(2))}

    def loss(self, batch: Batch) -> Tensor:
        """-log p(z(x)), averaged over the batch. nats."""
        return self.prior.loss(Batch(self.first_stage.encode(batch.x), batch.labels))

    @torch.no_grad()
    def elbo(
        self,
        x: Tensor,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        draws: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """log p(x | z) + log p(z) at z = z(x), with or without a label. Deterministic. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        if draws < 1:
            raise ZooError(f"VQVAE.elbo: expected draws >= 1, got {draws}")
        parts, rows = [], self.first_stage.rows
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            z = self.first_stage.encode(part)
            given = self.first_stage.log_likelihood(part, self.first_stage.vectors(z)).double()
            parts.append(given + self.log_prior(z, None if labels is None else labels[start : start + rows]))
        return torch.cat(parts)

    def log_prior(self, codes: Tensor, labels: Labels = None) -> Tensor:
        """log p(z) of codes `(N, 1, h, w)`. nats, float64 `(N,)`."""
        return self.prior.log_prob(codes, labels=labels).double()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        noise: bool = True,
    ) -> Tensor:
        """z ~ p(z), whose logits are divided by `temperature`, then pixels from p(x | z). uint8 `(n, C, H, W)`.

        noise: False gives the mean of p(x | z), as papers show it; that is no sample of the model, but looks better.
        """
        self.check_request(n, labels, text)
        codes = self.prior.sample(n, labels=labels, generator=generator, temperature=temperature)
        if not noise:
            return self.decode(codes)
        stage = self.first_stage
        parts = [stage.distribution(stage.vectors(part)) for part in codes.split(stage.rows)]
        return torch.cat([part.sample(generator) for part in parts])

    def encode(self, x: Tensor) -> Tensor:
        """The codes of integer images: images themselves, uint8 `(N, 1, h, w)` of K levels."""
        return self.first_stage.encode(x)

    def decode(self, codes: Tensor) -> Tensor:
        """The mean of p(x | z), rounded to the nearest level. uint8 `(N, C, H, W)`."""
        return self.first_stage.decode(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`, uint8 `(N, C, H, W)`."""
        return self.first_stage.reconstruct(x)

    @torch.no_grad()
    def interpolate(self, a: Tensor, b: Tensor, n: int) -> Tensor:
        """`n` images from a to b, both ends included, along the straight line between what the encoder gives.

        There is nothing between two codes, so the line is that of the encoder's outputs before they are quantised; each
        point of it then takes its nearest codes. a, b: one image each, uint8 `(C, H, W)` or `(1, C, H, W)`.
        """
        if n < 2:
            raise ZooError(f"VQVAE.interpolate: expected n >= 2, both ends included, got {n}")
        ends = check(torch.cat([v.reshape(-1, *v.shape[-3:]) for v in (a, b)]), self.images)
        if len(ends) != 2:
            raise ZooError(f"VQVAE.interpolate: expected one image at each end, got {len(ends)} in all")
        h = self.first_stage.latents(ends)
        t = torch.linspace(0, 1, n, device=h.device, dtype=h.dtype).view(-1, 1, 1, 1)
        codes = self.first_stage.quantiser.codes(torch.lerp(h[:1], h[1:], t))
        return self.decode(codes.to(torch.uint8).unsqueeze(1))
