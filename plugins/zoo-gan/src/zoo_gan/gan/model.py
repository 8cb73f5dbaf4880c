"""The generative adversarial network of fully connected layers, with either loss of its paper.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial Nets", 2014,
https://arxiv.org/abs/1406.2661:

    min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]                                    (equation 1)
    minimax          G minimises E_z[log(1 - D(G(z)))], the game itself
    non-saturating   G maximises E_z[log D(G(z))]: the same fixed point, stronger gradients early on (section 3)

For a fixed G that draws from q, the best discriminator and what it makes of the game are known (section 4.1):

    D*(x) = p(x) / (p(x) + q(x)),    V(D*, G) = 2 JSD(p, q) - log 4

The generator has rectifiers, the discriminator maxout units (section 5): the largest of several linear functions,
Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks", 2013, https://arxiv.org/abs/1302.4389.

Departures: Adam instead of momentum; tanh and pixels in [-1, 1] instead of a sigmoid and [0, 1], which is the same up
to scale; dropout is off unless asked for; dither, as in all of the family.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from zoo_core.specs import ImageSpec
from zoo_gan.adversarial import Adversarial
from zoo_gan.gan.config import GANConfig
from zoo_gan.losses import Minimax, NonSaturating


class GAN(Adversarial):
    """Algorithm 1; its k is `config.n_critic`."""

    config: GANConfig

    def __init__(self, images: ImageSpec, config: GANConfig) -> None:
        super().__init__(images, config, generator(images, config), discriminator(images, config))
        self.losses = Minimax() if config.loss == "minimax" else NonSaturating()


class Maxout(nn.Module):
    """The largest of `pieces` linear functions, for each of `features`."""

    def __init__(self, before: int, features: int, pieces: int) -> None:
        super().__init__()
        self.features = features
        self.linear = linear(before, features * pieces)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h).unflatten(1, (self.features, -1)).amax(2)  # (N, before) -> (N, features)


def generator(images: ImageSpec, config: GANConfig) -> nn.Sequential:
    """From z `(N, latent)` to pixels in [-1, 1], `(N, C, H, W)`."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([config.latent, *config.hidden]):
        layers += [linear(before, after), nn.ReLU()]
    last = linear(config.hidden[-1], images.dims, gain=1.0)
    return nn.Sequential(*layers, last, nn.Tanh(), nn.Unflatten(1, images.shape))


def discriminator(images: ImageSpec, config: GANConfig) -> nn.Sequential:
    """From pixels `(N, C, H, W)` to the logit that they are real, `(N,)`."""
    widths: Sequence[int] = [images.dims, *reversed(config.hidden)]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [Maxout(before, after, config.pieces), *([nn.Dropout(config.dropout)] if config.dropout else [])]
    return nn.Sequential(*layers, linear(widths[-1], 1, gain=1.0), nn.Flatten(0))


def linear(before: int, after: int, gain: float = math.sqrt(2)) -> nn.Linear:
    """A layer that keeps a rectifier's variance (He et al., 2015, https://arxiv.org/abs/1502.01852); biases zero."""
    layer = nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(before))
    nn.init.zeros_(layer.bias)
    return layer
