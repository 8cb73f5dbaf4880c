"""DAE: reconstruct an image from a corrupted copy of it.

P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, "Extracting and Composing Robust Features with Denoising
Autoencoders", 2008, https://doi.org/10.1145/1390156.1390294; P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio,
P.-A. Manzagol, "Stacked Denoising Autoencoders", 2010, https://jmlr.org/papers/v11/vincent10a.html: minimise

    E[L(x, g(f(x~)))],   x~ ~ q(x~ | x)

gaussian:        x~ = x + sigma eps                                         sigma: `level`
masking:         x~_d = 0 for a random share of the subpixels               the share: `level`
salt_and_pepper: x~_d = 0 or 1, with equal chances, for such a share

What it learns (G. Alain, Y. Bengio, "What Regularized Auto-Encoders Learn from the Data-Generating Distribution", 2014,
https://jmlr.org/papers/v15/alain14a.html): with Gaussian corruption and squared errors, the best r = g o f has

    (r(x) - x) / sigma^2  ->  d ln p(x) / dx   as sigma -> 0

Departures: each subpixel is hit or not by itself, instead of a fixed number of them; errors on corrupted and on other
subpixels weigh the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_autoencoder.dae.config import DAEConfig
from zoo_autoencoder.deterministic import ROWS, DeterministicAutoencoder
from zoo_core.images import Batch
from zoo_core.step import Step


class DAE(DeterministicAutoencoder):
    """Corruption is for training alone: `encode` and `reconstruct` see images as they are."""

    config: DAEConfig

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Noise for the corruption of each image, then a step on `loss`."""
        draw = step.randn if self.config.corruption == "gaussian" else step.rand
        return super().train_step(batch.with_(noise=draw(batch, *self.images.shape)), step)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L(x, g(f(x~))) per subpixel; "mse", the squared error of the same pixels, beside it."""
        v = self.unit(batch.x)
        return self.reconstruction(v, self.output(self.codes(self.corrupt(v, batch.extra["noise"]))))

    def corrupt(self, v: Tensor, noise: Tensor) -> Tensor:
        """x~, `(N, C, H, W)`, of pixels in [0, 1]. noise: standard normal for "gaussian", else uniform in [0, 1)."""
        level = self.config.level
        if self.config.corruption == "gaussian":
            return v + level * noise
        if self.config.corruption == "masking":
            return torch.where(noise < level, 0, v)
        return torch.where(noise < level / 2, 0, torch.where(noise < level, 1, v))

    @torch.no_grad()
    def denoise(self, v: Tensor) -> Tensor:
        """r(v), real images `(N, C, H, W)`, for real images `v`, pixels at [0, 1], corrupted or not."""
        parts = self.check_real(v).to(self.dtype).split(ROWS)
        return torch.cat([self.pixels(self.output(self.codes(part))) for part in parts])
