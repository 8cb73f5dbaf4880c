"""MADE trained in several random orders of the pixels, each with a mask of its own: order-agnostic training.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509, section 4.

    p(x) = 1/M sum_m prod_d p_m(x_d | the pixels before d in order m)

An exact likelihood. Conditionals in one order it has none: what one order knows at a pixel, the others don't, and the
sum over what they don't is out of reach. So there are no `log_conditionals` and no `complete`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_autoregressive.ancestral import draw
from zoo_autoregressive.autoregressive import to_images, to_sequence
from zoo_autoregressive.made.config import MADEOrdersConfig
from zoo_autoregressive.made.network import MaskedAutoencoder, Numbering, drawn_degrees
from zoo_autoregressive.made.sampling import pixel_by_pixel
from zoo_core import Batch, ImageSpec, Step
from zoo_core.chunks import per_image


class MADEOrders(MaskedAutoencoder):
    """Training takes one order after the other; an image is drawn in one order, which is drawn too."""

    config: MADEOrdersConfig

    def __init__(self, images: ImageSpec, config: MADEOrdersConfig) -> None:
        super().__init__(images, config, numberings(images.dims, config) if images.dims > 1 else [])

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact log P of integer images, in a pass for each order. nats, `(N,)`."""
        log_p = self.log_pixels_under(to_sequence(self.check(x, labels, text))).sum(2)  # (M, N)
        return log_p.logsumexp(0) - math.log(len(log_p))

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": step.minimize(functools.partial(self.loss, order=step.index % len(self.numberings)), batch)}

    def loss(self, batch: Batch, order: int) -> Tensor:
        """-log p_m(x) in one order, averaged over the batch. nats."""
        s = to_sequence(batch.x)
        return -self.log_levels(self.logits_under(s, order), s).sum(1).mean()

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`n` images, uint8 `(n, C, H, W)`; logits are divided by `temperature`. Images of one order together."""
        self.check_request(n, labels, text)
        u = self._uniform(n, generator)
        options = {"generator": generator, "device": u.device}
        orders = per_image(n, lambda rows: torch.randint(len(self.numberings), (rows,), **options))
        s = torch.empty(u.shape, dtype=torch.uint8, device=u.device)
        for m in orders.unique().tolist():
            images = (orders == m).nonzero().squeeze(1)
            drawn = draw(pixel_by_pixel(self, len(images), m), self.images.levels, u[images], temperature)
            s[images] = drawn[:, self.numberings[m].place.to(u.device) - 1]  # from the order of m to the raster
        return to_images(s, self.images)


def numberings(dims: int, config: MADEOrdersConfig) -> list[Numbering]:
    """Random orders, and degrees drawn for each."""
    generator = torch.Generator().manual_seed(config.seed)
    return [
        Numbering(
            1 + torch.randperm(dims, generator=generator), drawn_degrees(dims, config.hidden, generator, sort=False)
        )
        for _ in range(config.orders)
    ]
