"""The two networks of an SNGAN, for images of any size, with or without classes.

Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018,
https://arxiv.org/abs/1802.05957 ("SNGAN"); Miyato, Koyama, "cGANs with Projection Discriminator", 2018,
https://arxiv.org/abs/1802.05637 ("projection").

    generator       z -> layers of dcgan's sizes; batch normalisation whose scale and shift depend on the class y
    discriminator   D(v, y) = psi(phi(v)) + <V_y, phi(v)>               (projection, figure 1d and section 3)

phi: dcgan's strided convolutions without batch normalisation, psi: linear; every weight of D, V's too, is spectrally
normalised. Without classes the last term is missing. So dcgan and sngan differ where the papers say, nowhere else.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.specs import ImageSpec
from zoo_gan.sngan.config import SNGANConfig
from zoo_gan.sngan.spectral import SpectralConv2d, SpectralEmbedding, SpectralLinear, power_iteration
from zoo_gan.strided_networks import SLOPE, area, dropout, initialise, plan

WARM_UP = 20  # power iterations before the first step: u and v begin as noise


class Scaled(nn.Module):
    """Normalisation (if any), then a scale and a shift of each channel that depend on the class (if there are any).

    Projection, section 4: conditional batch normalisation (Dumoulin, Shlens, Kudlur, "A Learned Representation For
    Artistic Style", 2017, https://arxiv.org/abs/1610.07629).
    """

    def __init__(self, norm: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        rows = max(classes, 1)
        self.scale = nn.Parameter(torch.ones(rows, features))
        self.shift = nn.Parameter(torch.zeros(rows, features))

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        axes = [1] * (h.dim() - 2)
        scale, shift = (p if labels is None else F.embedding(labels, p) for p in (self.scale, self.shift))
        return self.norm(h) * scale.view(len(scale), -1, *axes) + shift.view(len(shift), -1, *axes)


class Generator(nn.Module):
    """From codes z `(N, latent)` and labels `(N,)` to pixels in [-1, 1], `(N, C, H, W)`."""

    def __init__(self, images: ImageSpec, config: SNGANConfig, classes: int) -> None:
        super().__init__()
        sizes, channels, hidden = plan(images, config)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([config.latent, *hidden]):
            layers += [nn.Linear(before, after, bias=False), scaled(nn.BatchNorm1d, after, config, classes), nn.ReLU()]
        bottom = (channels[-1], *sizes[-1])
        last = len(sizes) == 1
        layers += [nn.Linear(hidden[-1] if hidden else config.latent, area(bottom), bias=last), nn.Unflatten(1, bottom)]
        for i in reversed(range(len(sizes) - 1)):
            layers += [scaled(nn.BatchNorm2d, channels[i + 1], config, classes), nn.ReLU()]
            layers += [  # sizes[i + 1] -> sizes[i]
                nn.ConvTranspose2d(
                    channels[i + 1], channels[i], 5, stride=2, padding=2,
                    output_padding=(1 - sizes[i][0] % 2, 1 - sizes[i][1] % 2), bias=i == 0,
                )
            ]  # fmt: skip
        self.layers = nn.ModuleList([*layers, nn.Tanh()])
        initialise(self, config.norm)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = z
        for layer in self.layers:
            h = layer(h, labels) if isinstance(layer, Scaled) else layer(h)
        return h


class Discriminator(nn.Module):
    """From pixels `(N, C, H, W)` and labels `(N,)` to D(v, y), `(N,)`; real images' is above 1 where it is sure."""

    def __init__(self, images: ImageSpec, config: SNGANConfig, classes: int) -> None:
        super().__init__()
        sizes, channels, hidden = plan(images, config)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [SpectralConv2d(before, after, 5, stride=2, padding=2), nn.LeakyReLU(SLOPE), *dropout(config)]
        layers += [nn.Flatten()]
        features = area((channels[-1], *sizes[-1]))
        for before, after in itertools.pairwise([features, *hidden]):
            layers += [SpectralLinear(before, after), nn.LeakyReLU(SLOPE), *dropout(config)]
        self.phi = nn.Sequential(*layers)
        self.slope = config.slope
        last = hidden[-1] if hidden else features
        self.psi = SpectralLinear(last, 1)
        self.projection = SpectralEmbedding(classes, last) if classes else None
        initialise(
            self, "batch"
        )  # small: D does not depend on the scale of its weights, but Adam turns small ones faster
        power_iteration(self, WARM_UP)

    def forward(self, v: Tensor, labels: Tensor | None = None) -> Tensor:
        phi = self.phi(v)
        out = self.psi(phi).flatten(0)
        out = out if self.projection is None else out + (self.projection(labels) * phi).sum(1)
        return self.slope * out


def scaled(kind: type[nn.Module], features: int, config: SNGANConfig, classes: int) -> Scaled:
    """Batch normalisation or none, then the scale and the shift."""
    norm = kind(features, affine=False) if config.norm == "batch" else nn.Identity()
    return Scaled(norm, features, classes)
