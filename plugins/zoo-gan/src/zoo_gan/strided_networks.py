"""Strided networks for images of any size: convolutions down to 4x4, and their mirror image.

Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
2016, https://arxiv.org/abs/1511.06434, section 3 and figure 1. Their 64x64 pictures are four halvings at width 128:

    generator       z -> 1024x4x4 -> 512x8x8 -> 256x16x16 -> 128x32x32 -> 3x64x64
    discriminator   3x64x64 -> 128x32x32 -> 256x16x16 -> 512x8x8 -> 1024x4x4 -> one logit

A 5x5 convolution of stride 2 and padding 2 takes n pixels to ceil(n / 2) for every n, one included, and its transpose
takes them back, so odd and narrow images need no exception. Images of at most 4x4 are not halved: their networks are
fully connected.
"""

from __future__ import annotations

import itertools
from typing import Literal

from torch import nn

from zoo_core.specs import ImageSpec
from zoo_gan.initialisation import LAYERS, he_normal_
from zoo_gan.strided_config import StridedConfig

Norm = Literal["batch", "layer", "none"]
BatchNorm = type[nn.BatchNorm1d] | type[nn.BatchNorm2d]

BOTTOM = 4  # the side at which halving ends
SLOPE = 0.2  # of LeakyReLU (section 4)


def generator(images: ImageSpec, config: StridedConfig) -> nn.Sequential:
    """From z `(N, latent)` to pixels in [-1, 1], `(N, C, H, W)`. Normalised everywhere but at the output."""
    sizes, channels, hidden = plan(images, config)
    plain = config.norm == "none"
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([config.latent, *hidden]):
        layers += [nn.Linear(before, after, bias=plain), *generator_norm(nn.BatchNorm1d, after, config), nn.ReLU()]
    bottom = (channels[-1], *sizes[-1])
    first = hidden[-1] if hidden else config.latent
    layers += [nn.Linear(first, area(bottom), bias=plain or len(sizes) == 1), nn.Unflatten(1, bottom)]
    for i in reversed(range(len(sizes) - 1)):
        odd = [n % 2 for n in sizes[i]]
        layers += [*generator_norm(nn.BatchNorm2d, channels[i + 1], config), nn.ReLU()]
        layers += [  # sizes[i + 1] -> sizes[i]
            nn.ConvTranspose2d(
                channels[i + 1], channels[i], 5, stride=2, padding=2,
                output_padding=(1 - odd[0], 1 - odd[1]), bias=plain or i == 0,
            )
        ]  # fmt: skip
    return nn.Sequential(*layers, nn.Tanh())


def discriminator(
    images: ImageSpec, config: StridedConfig, norm: Norm | None = None, *, last_bias: bool = True
) -> nn.Sequential:
    """From pixels `(N, C, H, W)` to one output, `(N,)`. Normalised everywhere but after its input.

    norm: the config's, unless given. last_bias: False where the loss does not depend on one, which then never learns.
    """
    sizes, channels, hidden = plan(images, config)
    norm = norm or config.norm
    plain = norm == "none"
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(channels)):
        layers += [nn.Conv2d(before, after, 5, stride=2, padding=2, bias=plain or i == 0)]
        layers += discriminator_norm(nn.BatchNorm2d, after, norm) if i else []
        layers += [nn.LeakyReLU(SLOPE), *dropout(config)]
    layers += [nn.Flatten()]
    features = area((channels[-1], *sizes[-1]))
    for i, (before, after) in enumerate(itertools.pairwise([features, *hidden]), start=len(sizes) - 1):
        layers += [nn.Linear(before, after, bias=plain or i == 0)]
        layers += discriminator_norm(nn.BatchNorm1d, after, norm) if i else []
        layers += [nn.LeakyReLU(SLOPE), *dropout(config)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1] if hidden else features, 1, bias=last_bias), nn.Flatten(0))


def plan(images: ImageSpec, config: StridedConfig) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Sizes `(H, W)` and channels from the image to the bottom, then the widths of what is fully connected below."""
    sizes = [(images.height, images.width)]
    while max(sizes[-1]) > BOTTOM:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    halved = len(sizes) - 1
    channels = [images.channels, *(config.width << i for i in range(halved))]
    return sizes, channels, [config.width << halved] * (config.depth - halved)


def generator_norm(kind: BatchNorm, features: int, config: StridedConfig) -> list[nn.Module]:
    return [] if config.norm == "none" else [kind(features)]


def discriminator_norm(kind: BatchNorm, features: int, norm: Norm) -> list[nn.Module]:
    """Batch normalisation without averages, since it is never evaluated; or each image by itself; or nothing.

    Layer normalisation is over all channels and places of an image, with a scale and a shift for each channel.
    """
    if norm == "layer":
        return [nn.GroupNorm(1, features)]
    return [kind(features, track_running_stats=False)] if norm == "batch" else []


def dropout(config: StridedConfig) -> list[nn.Module]:
    return [nn.Dropout(config.dropout)] if config.dropout else []


def area(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1] * shape[2]


def initialise(network: nn.Module, norm: Norm) -> None:
    """Weights from N(0, 0.02^2) as in section 4; biases zero.

    Without normalisation nothing makes up for so small a scale, and signals die out layer by layer: there, the scale
    keeps a ReLU's variance.
    """
    for module in network.modules():
        if isinstance(module, LAYERS):
            if norm == "none":
                he_normal_(module)
            else:
                nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
