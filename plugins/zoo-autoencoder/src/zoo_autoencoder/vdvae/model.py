"""The very deep VAE: dozens of layers of latents, one for each residual block of a top-down network.

R. Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images", 2021,
https://arxiv.org/abs/2011.10650, sections 2.2 and 3:

    p(z) = prod_t p(z_t | z_{>t}),   q(z | x) = prod_t q(z_t | z_{>t}, x)

z_t is a map of latents at one of several resolutions; p and q both see the layers above through the state of the
top-down network, q the image through a bottom-up network's features. Every divergence is in closed form given the
layers above. Initial weights of what residual blocks add are scaled by 1 / sqrt(depth), and priors start at N(0, I).

Departures: updates with huge gradients are clipped, as a recipe says, instead of skipped; log variances instead of log
standard deviations; images of any size, with maps rounded up.
"""

from __future__ import annotations

from torch import Tensor

from zoo_autoencoder.hierarchy import Draws, Hierarchy
from zoo_autoencoder.vdvae.config import VDVAEConfig
from zoo_autoencoder.vdvae.network import BottomUp, TopDown, sizes
from zoo_core.images import to_signed
from zoo_core.specs import ImageSpec


class VDVAE(Hierarchy):
    """encoder: bottom up. decoder: top down."""

    config: VDVAEConfig

    def __init__(self, images: ImageSpec, config: VDVAEConfig) -> None:
        super().__init__(images, config)
        maps = sizes(images, config.pooling)
        width, middle = config.width, config.bottleneck
        self.encoder = BottomUp(images.channels, maps, config.pooling, config.up, width, middle)
        self.decoder = TopDown(maps, config.down, width, middle, config.latents, self.observation.per_place)
        self.layers = tuple(block.count for block in self.decoder.blocks())
        self.numbers = max(self.latent, images.height * images.width * max(2 * width, self.observation.per_place))

    def see(self, x: Tensor) -> list[Tensor]:
        """Features at each resolution, the image's first."""
        return self.encoder(to_signed(x, self.images).to(self.dtype))  # type: ignore[no-any-return]

    def infer(self, seen: list[Tensor], eps: Tensor) -> Draws:
        out, layers = self.decoder.infer(seen, eps)
        return Draws(layers, out.flatten(1).unflatten(0, eps.shape[:2]))

    def generate(self, u: Tensor) -> Tensor:
        return self.decoder.generate(u).flatten(1)

    def start_at(self, bias: Tensor) -> None:
        self.decoder.out.bias.copy_(bias.mean((1, 2)))  # type: ignore[union-attr]
