"""The papers' own settings, `MODEL.DATA_long`: their networks, counted layer by layer from what the papers say."""

from __future__ import annotations

import itertools
import tomllib
from importlib.resources import files

import pytest
import torch

import zoo_core as zoo
from zoo_core import ImageSpec

MNIST = ImageSpec(channels=1, height=28, width=28)
CIFAR10 = ImageSpec(channels=3, height=32, width=32)


def parameters(name: str, images: ImageSpec) -> int:
    """Of a packaged recipe's model, built without memory."""
    recipe = tomllib.loads((files("zoo_flow") / "recipes" / f"{name}.toml").read_text())
    assert recipe["unrun"] is True
    model = zoo.spec(recipe["model"])
    with torch.device("meta"):
        built = model.load_class()(images, model.config.override(recipe["config"]))
    return sum(parameter.numel() for parameter in built.parameters())


def linear(*widths: int) -> int:
    return sum(a * b + b for a, b in itertools.pairwise(widths))


def conv(inputs: int, outputs: int, side: int = 3) -> int:
    return side * side * inputs * outputs + outputs


def glow() -> int:
    """L = 3, K = 32, 512 channels: about 44 million."""
    total = 0
    for scale, channels in enumerate((12, 24, 48)):
        half = channels // 2
        matrix, norm = channels**2, 2 * channels
        network = conv(half, 512) + conv(512, 512, 1) + conv(512, channels)
        total += 32 * (matrix + norm + network + channels)  # a scale and a log scale for each channel that is changed
        total += conv(half, channels) + channels if scale < 2 else 0  # the learned prior
    return total


def realnvp() -> int:
    """One squeeze, 8 residual blocks of 64 feature maps: three couplings of either mask, then four by checkerboard."""

    def coupling(known: int, changed: int) -> int:
        return conv(known, 64) + 16 * conv(64, 64) + conv(64, 2 * changed) + 2 * changed

    return 6 * coupling(6, 6) + 4 * coupling(12, 12)


@pytest.mark.parametrize(
    ("name", "images", "expected"),
    [
        ("nice.mnist_long", MNIST, 4 * linear(392, *[1000] * 5, 392) + 2 * 784),
        ("maf.mnist_long", MNIST, 5 * linear(784, 1024, 2 * 784) + 2 * 784),
        ("glow.cifar10_long", CIFAR10, glow()),
        ("realnvp.cifar10_long", CIFAR10, realnvp()),
    ],
)
def test_networks_are_of_the_papers_size(name: str, images: ImageSpec, expected: int) -> None:
    assert parameters(name, images) == expected
    if name.startswith("glow"):
        assert round(expected / 1e6) == 44
