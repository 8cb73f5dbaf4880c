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
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from zoo_autoregressive.gated_pixelcnn import GatedPixelCNN

from zoo_autoencoder import checks
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
        self.code_images = self.first_stage.code_images
        self.prior = GatedPixelCNN(self.code_images, config.prior)
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
        return self.prior.loss(Batch(self.first_stage.codes(batch.x), batch.labels))

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
        checks.count("VQVAE.elbo", "draws", draws)
        parts, rows = [], self.first_stage.rows
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            z = self.first_stage.codes(part)
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
        return self._pixels(codes, generator) if noise else self.decode(codes)

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`x` where `mask` is True; elsewhere pixels from p(x | z), where codes of squares that are known are kept.

        The other codes are drawn by the prior, in raster order, given those before them. Two approximations: a code
        does not look at known ones behind it, and the encoder, whose view is wider than a square, is shown the mean of
        the known pixels in place of unknown ones. mask: bool, of x's shape. labels: as for `sample`.
        """
        check(x, self.images)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(f"complete: expected a mask torch.bool {tuple(x.shape)}, True where known, got {given}")
        mean = (x * mask).flatten(1).sum(1) / mask.flatten(1).sum(1).clamp_min(1)  # (N,)
        codes = self.encode(torch.where(mask, x, mean.round().to(torch.uint8).view(-1, 1, 1, 1)))
        unknown = (~mask).any(1, keepdim=True).to(torch.float32)
        side = 2 ** (len(self.config.first_stage.widths) - 1)
        known = F.max_pool2d(unknown, side, ceil_mode=True) == 0  # (N, 1, H, W) -> (N, 1, h, w)
        codes = self.prior.complete(codes, known, labels=labels, generator=generator, temperature=temperature)
        return torch.where(mask, x, self._pixels(codes, generator))

    def _pixels(self, codes: Tensor, generator: torch.Generator | None) -> Tensor:
        """A draw from p(x | z)."""
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
        checks.count("VQVAE.interpolate", "n", n, 2, ", both ends included")
        ends = [checks.one("VQVAE.interpolate", image, self.images) for image in (a, b)]
        h = self.first_stage.latents(torch.cat(ends))
        t = torch.linspace(0, 1, n, device=h.device, dtype=h.dtype).view(-1, 1, 1, 1)
        codes = self.first_stage.quantiser.codes(torch.lerp(h[:1], h[1:], t))
        return self.decode(codes.to(torch.uint8).unsqueeze(1))
