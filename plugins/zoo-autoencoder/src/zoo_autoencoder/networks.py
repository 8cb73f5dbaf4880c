"""Encoders and decoders that models of this family share: fully connected ones, and convolutional ones for any size.

A convolutional encoder halves the sides of its feature maps and rounds up; its decoder enlarges them to the very sizes
that the encoder went through, so an image of any size comes back exactly (odd sides included).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": functools.partial(nn.LeakyReLU, 0.1),  # max(x, 0.1 x)
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
}


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


def widest(images: ImageSpec, config: NetworkConfig, outputs: int) -> int:
    """Numbers that a decoder of `outputs` per place holds of one code where it is widest; of an MLP, its outputs."""
    largest = outputs * images.height * images.width
    if config.network == "conv":
        for width, (height, breadth) in zip(config.widths, sides(images, len(config.widths))):
            largest = max(largest, width * height * breadth)  # enlarged, before its convolution
    return largest


def load(images: ImageSpec, config: NetworkConfig, outputs: int) -> int:
    """By what an evaluation counts a code of a decoder of `outputs` per place (`importance.py`).

    A convolution's weights are rearranged in every pass, which pays from a hundred codes or so: its maps, which are
    read once and forgotten, count an eighth.
    """
    return max(outputs * images.height * images.width, widest(images, config, outputs) // 8)


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


def fewer_widths(halvings: int) -> str:
    """What to do about images that can be halved `halvings` times, fewer than there are `widths`."""
    return (f"give at most {halvings} widths, or " if halvings else "") + "take network = 'mlp'"


def sides(images: ImageSpec, halvings: int, advice: Callable[[int], str] = fewer_widths) -> list[tuple[int, int]]:
    """Height and width of the feature maps, the image's first; `ZooError` if one would be halved at 1 × 1.

    advice: what to do, by how many halvings there can be.
    """
    found = [(images.height, images.width)]
    for _ in range(halvings):
        height, width = found[-1]
        if max(height, width) == 1:
            raise ZooError(
                f"images of {images.height}×{images.width} are too small for {halvings} convolutions of stride 2: "
                f"{advice(len(found) - 1)}"
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
        x = x.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
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
        h = h.contiguous(memory_format=torch.channels_last)
        for (convolution, act), size in zip(self.features, reversed(self.sizes)):  # type: ignore[misc]
            h = act(enlarged(h, convolution, size))
        return self.out(h).flatten(1)  # type: ignore[no-any-return]  # (M, outputs H W)


def enlarged(h: Tensor, convolution: nn.Conv2d, size: tuple[int, int]) -> Tensor:
    """`convolution` (3×3, padding 1) of `h` enlarged to nearest neighbours at `size`. (M, W, h, w) -> (M, W', *size).

    Where both sides double, a pixel and its copies meet several weights each, so that the same sum is a transposed
    convolution of stride 2 by 4×4 sums of weights: 16 multiplications instead of 36, and half the time. On the smallest
    maps, which have the most weights, the sums take longer than they save.
    """
    if size != (2 * h.shape[2], 2 * h.shape[3]) or h.shape[2] * h.shape[3] < 16:
        return convolution(F.interpolate(h, size=size, mode="nearest"))  # type: ignore[no-any-return]
    weight = convolution.weight.transpose(0, 1)  # (W', W, 3, 3) -> (W, W', 3, 3)
    for dim in (2, 3):  # -> (W, W', 4, 4)
        first, middle, last = weight.unbind(dim)
        weight = torch.stack([last, middle + last, first + middle, first], dim)
    return F.conv_transpose2d(h, weight, convolution.bias, stride=2, padding=1)
