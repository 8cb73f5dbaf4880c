"""Layers without normalisation begin where a signal keeps its variance, transposed convolutions among them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo_gan.configs import R3GANConfig
from zoo_gan.initialisation import Layer, he_normal_
from zoo_gan.r3gan.networks import Generator

from zoo_core import ImageSpec

LAYERS: list[tuple[Layer, tuple[int, ...]]] = [
    (nn.Linear(300, 100), (300,)),
    (nn.Conv2d(16, 32, 3), (16, 12, 12)),
    (nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1), (128, 12, 12)),
    (nn.ConvTranspose2d(8, 64, 4, stride=2, padding=1), (8, 12, 12)),
    (nn.ConvTranspose2d(32, 32, 3, stride=1, groups=4), (32, 12, 12)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_a_rectified_signal_keeps_its_second_moment(layer: Layer, shape: tuple[int, ...], slope: float) -> None:
    torch.manual_seed(0)
    he_normal_(layer, slope)
    nn.init.zeros_(layer.bias)
    x = torch.randn(50, *shape)
    y = layer(nn.functional.leaky_relu(x, slope))
    inside = y.detach()[..., 3:-3, 3:-3] if y.ndim == 4 else y.detach()  # beyond the edges there are zeros
    assert float(inside.square().mean()) == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("width", [16, 64])
def test_generated_pixels_begin_within_the_tanh_s_reach(width: int) -> None:
    torch.manual_seed(0)
    images = ImageSpec(channels=1, height=28, width=28)
    layers = Generator(images, R3GANConfig(width=width, blocks=1)).layers
    v = layers[:-1](torch.randn(50, 64))
    assert 0.4 < float(v.detach().std()) < 2.5
