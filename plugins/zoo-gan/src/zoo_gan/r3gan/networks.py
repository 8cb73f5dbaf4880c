"""The two networks of an R3GAN, for images of any size: residual, without normalisation, mirror images of each other.

Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024,
https://arxiv.org/abs/2501.05441, section 4 (configuration E):

    stage       a change of resolution by bilinear interpolation, a 1x1 convolution to its width, then blocks
    block       h + 1x1( act( 3x3 in groups( act( 1x1( act(h) ) ) ) ) ), LeakyReLU, wider inside

Fix-up initialisation (Zhang, Dauphin, Ma, "Fixup Initialization: Residual Learning Without Normalization", 2019,
https://arxiv.org/abs/1901.09321): the last layer of a block begins as zero, and those before it are scaled by
L^(-1 / (2 m - 2)), with L blocks of m layers. Everything here is twice differentiable with respect to pixels, as the
gradient penalties need it.

Departures: a block begins with an activation, and so do the last layers, where the paper's blocks begin with the 1x1
convolution itself; between the image and half its resolution is one convolution, of stride 2 or after interpolation,
where the paper has blocks at every resolution; the 4x4 pixels at the bottom begin and end in a full linear
layer; the generator ends in tanh, since most pixels of drawn digits and clothes are exactly black, which a linear layer
hits badly (on the digits an FD of 0.27 instead of 0.52 after 77,000 and 160,000 images).
Images of at most 4x4 are vectors: their networks are fully connected, in the same blocks.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec
from zoo_gan.initialisation import LAYERS, he_normal_
from zoo_gan.r3gan.config import R3GANConfig

BOTTOM = 4  # the side at which halving ends
SLOPE = 0.2  # of LeakyReLU


class Generator(nn.Module):
    """From codes z `(N, latent)` to pixels in [-1, 1], `(N, C, H, W)`."""

    def __init__(self, images: ImageSpec, config: R3GANConfig) -> None:
        super().__init__()
        sizes, widths = plan(images, config)
        self.shape = images.shape
        if not sizes:
            layers: list[nn.Module] = [nn.Linear(config.latent, widths[-1]), *blocks(config, widths[-1], flat=True)]
            layers += [nn.LeakyReLU(SLOPE), nn.Linear(widths[-1], images.dims)]
        else:
            bottom = (widths[-1], *sizes[-1])
            layers = [nn.Linear(config.latent, area(bottom)), nn.Unflatten(1, bottom), *blocks(config, widths[-1])]
            for i in reversed(range(len(widths) - 1)):
                layers += [nn.Conv2d(widths[i + 1], widths[i], 1, bias=False), Resample(sizes[i + 1], sizes[i])]
                layers += blocks(config, widths[i])
            layers += [nn.LeakyReLU(SLOPE), Resample(sizes[0], (images.height, images.width))]
            layers += [nn.Conv2d(widths[0], images.channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).view(-1, *self.shape)


class Discriminator(nn.Module):
    """From pixels `(N, C, H, W)` to D(v), `(N,)`.

    Losses know D by its differences only, which a bias of the last layer would not change: it has none.
    """

    def __init__(self, images: ImageSpec, config: R3GANConfig) -> None:
        super().__init__()
        sizes, widths = plan(images, config)
        if not sizes:
            layers: list[nn.Module] = [nn.Flatten(), nn.Linear(images.dims, widths[0])]
            layers += blocks(config, widths[0], flat=True)
        else:
            layers = [nn.Conv2d(images.channels, widths[0], 5, stride=2, padding=2), *blocks(config, widths[0])]
            for i, (before, after) in enumerate(itertools.pairwise(widths)):
                layers += [Resample(sizes[i], sizes[i + 1]), nn.Conv2d(before, after, 1, bias=False)]
                layers += blocks(config, after)
            layers += [nn.Flatten()]
        last = nn.Linear(area((widths[-1], *(sizes[-1] if sizes else (1, 1)))), 1, bias=False)
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(SLOPE), last, nn.Flatten(0))
        initialise(self)

    def forward(self, v: Tensor) -> Tensor:
        return self.layers(v)


class Block(nn.Module):
    """h + f(h), the bottleneck turned inside out: narrow, wide, wide, narrow."""

    def __init__(self, width: int, config: R3GANConfig, *, flat: bool) -> None:
        super().__init__()
        inside = config.expansion * width
        if flat:
            layers: list[nn.Module] = [nn.Linear(width, inside), nn.Linear(inside, inside), nn.Linear(inside, width)]
        else:
            groups = max(inside // config.group, 1) if config.group else 1
            if inside % groups:
                raise ZooError(
                    f"R3GANConfig.group: expected a divisor of width * expansion at every resolution, {inside} at one, "
                    f"or 0 for one group of all, got {config.group}"
                )
            middle = nn.Conv2d(inside, inside, 3, padding=1, groups=groups)
            layers = [nn.Conv2d(width, inside, 1), middle, nn.Conv2d(inside, width, 1)]
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Tensor) -> Tensor:
        branch = h
        for layer in self.layers:
            branch = layer(F.leaky_relu(branch, SLOPE))
        return h + branch


class Resample(nn.Module):
    """Bilinear interpolation from one size to the other, one of them half of the other, rounded up.

    A fixed [1, 2, 1] filter of stride 2, or its transpose; at the edge, the mean over the pixels that are there. By
    convolutions, whose gradients repeat themselves bit for bit on a GPU, where those of `interpolate` do not.
    """

    kernel: Tensor
    scale: Tensor

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        super().__init__()
        large, small = max(before, after), min(before, after)
        if small != tuple((n + 1) // 2 for n in large):
            raise ValueError(f"expected one of the sizes to be half of the other, rounded up, got {before} and {after}")
        self.up = after == large
        self.even = [1 - n % 2 for n in large]
        taps = torch.tensor([1.0, 2.0, 1.0], device="cpu")
        self.register_buffer("kernel", torch.outer(taps, taps).view(1, 1, 3, 3), persistent=False)
        scale = 1 / self._filtered(torch.ones(1, 1, *before, device="cpu"))
        self.register_buffer("scale", scale, persistent=False)  # (1, 1, H, W)

    def forward(self, h: Tensor) -> Tensor:
        return self._filtered(h) * self.scale

    def _filtered(self, h: Tensor) -> Tensor:
        channels = h.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        if self.up:
            even = self.even
            return F.conv_transpose2d(h, kernel, stride=2, padding=1, output_padding=even, groups=channels)
        return F.conv2d(h, kernel, stride=2, padding=1, groups=channels)


def plan(images: ImageSpec, config: R3GANConfig) -> tuple[list[tuple[int, int]], list[int]]:
    """Sizes `(H, W)` below the image's own and their widths, to the bottom; of a vector, no sizes and one width."""
    sizes = [(images.height, images.width)]
    while max(sizes[-1]) > BOTTOM:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes[1:], [config.width << i for i in range(max(len(sizes) - 1, 1))]


def blocks(config: R3GANConfig, width: int, *, flat: bool = False) -> list[nn.Module]:
    return [Block(width, config, flat=flat) for _ in range(config.blocks)]


def area(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1] * shape[2]


def initialise(network: nn.Module) -> None:
    """He's variance for LeakyReLU, biases zero; in blocks as fix-up says."""
    for module in network.modules():
        if isinstance(module, LAYERS):
            he_normal_(module, SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    found = [module for module in network.modules() if isinstance(module, Block)]
    for block in found:
        *before, last = block.layers
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            for layer in before:
                layer.weight *= len(found) ** (-1 / (2 * len(block.layers) - 2))
