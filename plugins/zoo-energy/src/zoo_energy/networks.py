"""Energies as networks: an image in, a number out, as smooth as a score needs.

An energy is descended by its gradient in the image, and trained through that gradient, so a network is twice
differentiable: SiLU or softplus, no maxima, and no batch normalisation, by which one image's energy would depend on
the others'. No last bias: a constant changes no distribution, and no score, so that nothing could learn it.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec
from zoo_energy.energy_config import EnergyConfig

ACTIVATIONS = {"silu": nn.SiLU, "softplus": nn.Softplus}


class EnergyNetwork(nn.Module):
    """Real images `(N, C, H, W)`, pixels at [0, 1], to `(N,)`."""

    def __init__(self, images: ImageSpec, config: EnergyConfig) -> None:
        super().__init__()
        act = ACTIVATIONS[config.activation]
        layers: list[nn.Module] = []
        channels, (height, width) = images.channels, (images.height, images.width)
        if config.network == "conv":
            height, width = smallest(images, len(config.widths) - 1)
            for i, (before, after) in enumerate(itertools.pairwise((channels, *config.widths))):
                layers += [nn.Conv2d(before, after, 3, stride=1 if i == 0 else 2, padding=1), act()]
            channels = config.widths[-1]
        layers.append(nn.Flatten())
        features = channels * height * width
        for before, after in itertools.pairwise((features, *config.hidden)):
            layers += [nn.Linear(before, after), act()]
        self.features = nn.Sequential(*layers)
        last = config.hidden[-1] if config.hidden else features
        self.head = nn.Linear(last, 1, bias=False) if config.head == "linear" else Quadratic(last)

    def forward(self, v: Tensor) -> Tensor:
        if isinstance(self.features[0], nn.Conv2d):
            v = v.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        return self.head(self.features(2 * v - 1)).squeeze(1)  # type: ignore[no-any-return]  # (N, 1) -> (N,)


class Quadratic(nn.Module):
    """`(a^T h + a0)(b^T h + b0) + c^T h^2`, of features `(N, W)`: `(N, 1)`.

    The last layer of Li, Chen, Sommer, "Learning Energy-Based Models in High-Dimensional Spaces with Multi-scale
    Denoising Score Matching", 2019, https://arxiv.org/abs/1910.07762, less its constant.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factors = nn.Linear(width, 2)
        self.squares = nn.Linear(width, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.factors(h).prod(1, keepdim=True) + self.squares(h.square())  # type: ignore[no-any-return]


def smallest(images: ImageSpec, halvings: int) -> tuple[int, int]:
    """Height and width after so many halvings, rounded up; `ZooError` if one would halve 1 × 1."""
    height, width = images.height, images.width
    for done in range(halvings):
        if max(height, width) == 1:
            raise ZooError(
                f"images of {images.height}×{images.width} are too small for {halvings} convolutions of stride 2: "
                f"give at most {done + 1} widths, or take network = 'mlp'"
            )
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width
