"""The networks of couplings of images: known pixels or channels in, a log scale and a shift for each unknown one out.

All end in a layer that starts at zero, so that every coupling starts as the identity, and all have the two methods of
`Network`. They may run in half precision; what a coupling makes of their outputs does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(Protocol):
    """`(N, inputs, H, W)` to `(N, outputs, H, W)`, log scales in the first half of the channels, shifts behind."""

    def __call__(self, known: Tensor) -> Tensor: ...

    def start_at(self, shift: Tensor) -> None:
        """Let the shifts begin at a number for each channel, `(outputs / 2,)`."""


class Convolutional(nn.Module):
    """What networks that end in a convolution `out` share."""

    out: nn.Conv2d

    def start_at(self, shift: Tensor) -> None:
        with torch.no_grad():
            self.out.bias[len(shift) :] = shift  # type: ignore[index]


class ResNet(Convolutional):
    """Residual blocks of two 3 x 3 convolutions between two more; of `realnvp`.

    The paper's have weight normalisation and batch normalisation; these have neither.
    """

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Conv2d(inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), _square(width), nn.ReLU(inplace=True), _square(width)) for _ in range(blocks)
        )
        self.out = _zero(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, known: Tensor) -> Tensor:
        hidden = self.into(laid_out(known))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.out(F.relu(hidden))


class ThreeLayers(Convolutional):
    """Convolutions of 3 x 3, 1 x 1 and 3 x 3 with rectifiers between them; of `glow`, section 5 of its paper."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(True), nn.Conv2d(width, width, 1), nn.ReLU(True)
        )
        self.out = _zero(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, known: Tensor) -> Tensor:
        return self.out(self.hidden(laid_out(known)))


class OneLayer(Convolutional):
    """A single 3 x 3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.out = _zero(nn.Conv2d(inputs, outputs, 3, padding=1))

    def forward(self, known: Tensor) -> Tensor:
        return self.out(laid_out(known))


class FullyConnected(nn.Module):
    """Linear layers over all pixels of an image at once, for images of few."""

    def __init__(self, inputs: int, outputs: int, height: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        places = height * width
        widths = (inputs * places, *hidden)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.out = _zero(nn.Linear(widths[-1], outputs * places))
        self.shape = (outputs, height, width)

    def forward(self, known: Tensor) -> Tensor:
        return self.out(self.hidden(known.flatten(1))).unflatten(1, self.shape)

    def start_at(self, shift: Tensor) -> None:
        with torch.no_grad():
            self.out.bias.view(self.shape)[len(shift) :] = shift.view(-1, 1, 1)


def laid_out(known: Tensor) -> Tensor:
    """The same numbers with channels last in memory: a third to a half faster on a CPU."""
    return known.contiguous(memory_format=torch.channels_last)


def _square(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1)


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
