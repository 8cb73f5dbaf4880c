"""MADE: an autoencoder whose masked weights leave each output nothing but the inputs before it.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509.

    -log p(x) = sum_d -log p(x_d | x_<d)                                                                     (eq. 5)

The D (sub)pixels stand in raster order, the channels of a pixel innermost (R, G, B): the natural order under each mask.
Several masks (connectivity-agnostic training) make a mixture with equal weights:

    p(x) = 1/M sum_m p_m(x)
    p(x_d | x_<d) = sum_m p(m | x_<d) p_m(x_d | x_<d),    p(m | x_<d) ~ p_m(x_<d)
"""

from __future__ import annotations

import functools
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_autoregressive.autoregressive import Autoregressive, to_sequence
from zoo_autoregressive.made.config import MADEConfig
from zoo_autoregressive.made.network import MaskedAutoencoder, Numbering, drawn_degrees, even_degrees
from zoo_autoregressive.made.sampling import pixel_by_pixel
from zoo_core import Batch, ImageSpec, Step
from zoo_core.images import Labels


class MADE(MaskedAutoencoder, Autoregressive):
    """Training takes one mask after the other; likelihoods, samples and completions are the mixture's, exactly."""

    config: MADEConfig

    def __init__(self, images: ImageSpec, config: MADEConfig) -> None:
        place = torch.arange(1, images.dims + 1)
        masks = hidden_degrees(images.dims, config) if images.dims > 1 else []
        super().__init__(images, config, [Numbering(place, degrees) for degrees in masks])

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        if len(self.numberings) == 1:
            return self.logits_under(s, 0)
        levels = torch.stack([self._every_level(self.logits_under(s, m)) for m in range(len(self.numberings))])
        chosen = levels.gather(-1, s.long().expand(len(levels), -1, -1).unsqueeze(-1))  # (M, N, D, 1)
        return self._mixed(levels + chosen.cumsum(2) - chosen)

    def log_pixels(self, s: Tensor, labels: Labels = None) -> Tensor:
        if len(self.numberings) == 1:
            return super().log_pixels(s, labels)
        log_p = self.log_pixels_under(s)  # log p_m(x_d | x_<d), (M, N, D)
        before = log_p.cumsum(2) - log_p  # log p_m(x_<d)
        return (before.log_softmax(0) + log_p).logsumexp(0)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at about the cost of one pass, which is one of each mask: nothing is computed twice."""
        return pixel_by_pixel(self, n) if len(self.numberings) == 1 else self._pixel_by_pixel_mixed(n)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": step.minimize(functools.partial(self.loss, mask=step.index % len(self.numberings)), batch)}

    def loss(self, batch: Batch, mask: int = 0) -> Tensor:
        """-log p_m(x) under one mask, averaged over the batch. nats."""
        s = to_sequence(batch.x)
        return -self.log_levels(self.logits_under(s, mask), s).sum(1).mean()

    def _pixel_by_pixel_mixed(self, n: int) -> Generator[Tensor, Tensor, None]:
        """The samplers of all masks side by side, weighed by p(m | x_<d)."""
        masks = [pixel_by_pixel(self, n, m) for m in range(len(self.numberings))]
        levels = self._every_level(torch.stack([next(mask) for mask in masks]))  # log p_m(. | x_<d), (M, n, K)
        log_p = levels.new_zeros(len(masks), n, 1)  # log p_m(x_<d)
        for _ in range(self.images.dims - 1):
            level = yield self._mixed(log_p + levels)
            log_p = log_p + levels.gather(2, level.long().expand(len(masks), n).unsqueeze(2))
            levels = self._every_level(torch.stack([mask.send(level) for mask in masks]))
        yield self._mixed(log_p + levels)

    def _every_level(self, logits: Tensor) -> Tensor:
        """log p of each level, `(..., P)` -> `(..., K)`."""
        if self.images.levels > 2:
            return logits.log_softmax(-1)
        return F.logsigmoid(torch.cat([-logits, logits], -1))

    def _mixed(self, log_p: Tensor) -> Tensor:
        """The logits of sum_m exp(log_p_m), which need not be normalised: `(M, ..., K)` -> `(..., P)`."""
        mixed = log_p.logsumexp(0)
        return mixed if self.images.levels > 2 else mixed[..., 1:] - mixed[..., :1]


def hidden_degrees(dims: int, config: MADEConfig) -> list[list[Tensor]]:
    """m^l(k), the number of the last input that unit k of layer l may see: 1 .. D-1, for each mask and layer.

    Units of the first mask are sorted by degree: what the sampler computes together lies together.
    """
    if config.degrees == "even":
        return [even_degrees(dims, config.hidden)]
    generator = torch.Generator().manual_seed(config.seed)
    return [drawn_degrees(dims, config.hidden, generator, sort=mask == 0) for mask in range(config.masks)]
