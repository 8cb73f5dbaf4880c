"""Encoders and decoders that models of this family share: fully connected ones, and convolutional ones for any size.

A convolutional encoder halves the sides of its feature maps and rounds up; its decoder enlarges them to the very sizes
that the encoder went through, so an image of any size comes back exactly (odd sides included).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid}


def encoder(images: ImageSpec, config: NetworkConfig, outputs: int, inputs: int | None = None) -> nn.Module:
    """A network from pixels `(N, inputs, H, W)` to `(N, outputs)`. inputs: channels, the images' own by default."""
    channels = images.channels if inputs is None else inputs
    if config.network == "conv":
        return ConvEncoder(images, config, outputs, channels)
    return Flat(*mlp((channels * images.height * images.width, *config.hidden, outputs), config))


def decoder(images: ImageSpec, config: NetworkConfig, latent: int, outputs: int) -> nn.Module:
    """A network from codes `(M, latent)` to `outputs` numbers per place: `(M, outputs H W)`, channels first."""
    if config.network == "conv":
        return ConvDecoder(images, config, latent, outputs)
    return mlp((latent, *reversed(config.hidden), outputs * images.height * images.width), config)


def start_at(network: nn.Module, bias: Tensor) -> None:
    """Start a decoder's output at `bias` `(outputs, H, W)`; a convolution at its mean over the places."""
    if isinstance(network, ConvDecoder):
        network.out.bias.copy_(bias.mean((1, 2)))  # type: ignore[union-attr]
    else:
        network[-1].bias.copy_(bias.flatten())  # type: ignore[index]


def mlp(widths: Sequence[int], config: NetworkConfig) -> nn.Sequential:
    """Linear layers of these widths with the activation between them; Glorot's uniform initialisation.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
    https://proceedings.mlr.press/v9/glorot10a.html, equation 16.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
    return nn.Sequential(*layers[:-2])


class Flat(nn.Sequential):
    """Fully connected layers that take images as they are, `(N, C, H, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))  # type: ignore[no-any-return]


def sides(images: ImageSpec, halvings: int) -> list[tuple[int, int]]:
    """Height and width of the feature maps, the image's first; `ZooError` if one would be halved at 1 × 1."""
    found = [(images.height, images.width)]
    for _ in range(halvings):
        height, width = found[-1]
        if max(height, width) == 1:
            raise ZooError(
                f"images of {images.height}×{images.width} are too small for {halvings} convolutions of stride 2: "
                f"give at most {len(found) - 1} widths, or take network = 'mlp'"
            )
        found.append(((height + 1) // 2, (width + 1) // 2))
    return found


class ConvEncoder(nn.Module):
    """A 3×3 convolution of stride 2 for each of `config.widths`, then fully connected layers."""

    def __init__(self, images: ImageSpec, config: NetworkConfig, outputs: int, inputs: int) -> None:
        super().__init__()
        height, width = sides(images, len(config.widths))[-1]
        act = ACTIVATIONS[config.activation]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((inputs, *config.widths)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), act()]
        self.features = nn.Sequential(*layers)
        self.head = mlp((config.widths[-1] * height * width, *config.hidden, outputs), config)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))  # type: ignore[no-any-return]


class ConvDecoder(nn.Module):
    """Fully connected layers, then for each of `config.widths` an enlargement to nearest neighbours and a convolution.

    Enlarge, then convolve: A. Odena, V. Dumoulin, C. Olah, "Deconvolution and Checkerboard Artifacts", 2016,
    https://distill.pub/2016/deconv-checkerboard. Transposed convolutions leave a checkerboard, and odd sizes out.
    """

    def __init__(self, images: ImageSpec, config: NetworkConfig, latent: int, outputs: int) -> None:
        super().__init__()
        *self.sizes, smallest = sides(images, len(config.widths))  # the image's first
        self.shape = (config.widths[-1], *smallest)
        act = ACTIVATIONS[config.activation]
        channels = config.widths[-1] * smallest[0] * smallest[1]
        self.head = nn.Sequential(*mlp((latent, *reversed(config.hidden), channels), config), act())
        widths = (*reversed(config.widths), config.widths[0])
        self.features = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), act()) for before, after in itertools.pairwise(widths)
        )
        self.out = nn.Conv2d(config.widths[0], outputs, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.head(z).view(len(z), *self.shape)  # (M, latent) -> (M, W, h, w)
        for layer, size in zip(self.features, reversed(self.sizes)):
            h = layer(F.interpolate(h, size=size, mode="nearest"))
        return self.out(h).flatten(1)  # type: ignore[no-any-return]  # (M, outputs H W)
