"""Vector fields f(t, z) that push tangents along: one pass gives f and J e, J = df/dz, for any number of directions e.

Written as forward-mode differentiation by hand, so that the trace of J needs no second backward pass: it trains under
`torch.compile` and autocast like any network, and the exact trace is D directions at once.

Layers know the time by a gate per unit (Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary Differential
Equations", 2018, https://arxiv.org/abs/1806.07366, section 4) and by a shift:

    y = (W x) sigmoid(g t + c) + s t + b,          dy = (W dx) sigmoid(g t + c)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.specs import ImageSpec

Dual = tuple[Tensor, Tensor | None]  # x `(N, ...)`, and tangents `(K, N, ...)` if there are any


class TimedLayer(nn.Module):
    """A linear map or a convolution, gated and shifted by time."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, width: int) -> None:
        super().__init__()
        self.layer = layer  # without a bias, which tangents must not see
        self.time = nn.Linear(1, 2 * width)

    def forward(self, t: Tensor, x: Tensor, dx: Tensor | None) -> Dual:
        gate, shift = self.time(t.view(1)).view(2, -1, *(1,) * (x.dim() - 2)).unbind()  # (width, 1, 1)
        gate = gate.sigmoid()
        return self.layer(x) * gate + shift, None if dx is None else pushed(self.layer, dx) * gate


class Activation(nn.Module):
    """An elementwise function with its derivative."""

    def __init__(self, kind: Literal["tanh", "softplus"]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor, dx: Tensor | None) -> Dual:
        if self.kind == "tanh":
            y = x.tanh()
            return y, None if dx is None else dx * (1 - y.square())
        return F.softplus(x), None if dx is None else dx * x.sigmoid()


class DenseField(nn.Module):
    """Fully connected: D -> hidden -> D."""

    def __init__(self, images: ImageSpec, hidden: tuple[int, ...], activation: Literal["tanh", "softplus"]) -> None:
        super().__init__()
        widths = (images.dims, *hidden, images.dims)
        self.layers = nn.ModuleList(TimedLayer(nn.Linear(a, b, bias=False), b) for a, b in itertools.pairwise(widths))
        self.activation = Activation(activation)
        silence(self.layers[-1])

    def forward(self, t: Tensor, z: Tensor, e: Tensor | None = None) -> Dual:
        """f `(N, D)`, and J e `(K, N, D)` for directions e `(K, N, D)`. t: 0-d."""
        x, dx = z, e
        for layer in self.layers[:-1]:
            x, dx = self.activation(*layer(t, x, dx))
        return self.layers[-1](t, x, dx)


class ConvField(nn.Module):
    """3x3 convolutions: hidden[0] channels at full resolution, each further width at half of the one before, and up
    again, what was seen on the way down added."""

    def __init__(self, images: ImageSpec, hidden: tuple[int, ...], activation: Literal["tanh", "softplus"]) -> None:
        super().__init__()
        self.shape = images.shape

        def layer(a: int, b: int, stride: int = 1) -> TimedLayer:
            return TimedLayer(nn.Conv2d(a, b, 3, stride, padding=1, bias=False), b)

        pairs = list(itertools.pairwise(hidden))
        self.first = layer(images.channels, hidden[0])
        self.down = nn.ModuleList(layer(a, b, 2) for a, b in pairs)
        self.up = nn.ModuleList(layer(b, a) for a, b in reversed(pairs))
        self.last = layer(hidden[0], images.channels)
        self.activation = Activation(activation)
        silence(self.last)

    def forward(self, t: Tensor, z: Tensor, e: Tensor | None = None) -> Dual:
        """f `(N, D)`, and J e `(K, N, D)` for directions e `(K, N, D)`. t: 0-d."""
        x, dx = z.view(-1, *self.shape), None if e is None else e.view(*e.shape[:2], *self.shape)
        x, dx = self.activation(*self.first(t, x, dx))
        seen = []
        for layer in self.down:
            seen.append((x, dx))
            x, dx = self.activation(*layer(t, x, dx))
        for layer in self.up:
            skip, d_skip = seen.pop()
            x, dx = layer(t, *resized(x, dx, (skip.shape[-2], skip.shape[-1])))
            x, dx = self.activation(x + skip, None if dx is None or d_skip is None else dx + d_skip)
        x, dx = self.last(t, x, dx)
        return x.flatten(1), None if dx is None else dx.flatten(2)


def silence(layer: TimedLayer) -> None:
    """The field is 0 at first: the flow begins as the identity."""
    nn.init.zeros_(layer.layer.weight)
    with torch.no_grad():
        for part in (layer.time.weight, layer.time.bias):
            part.chunk(2)[1].zero_()


def pushed(function: Callable[[Tensor], Tensor], dx: Tensor) -> Tensor:
    """A linear function of tangents `(K, N, ...)`, each like an image of its own."""
    return function(dx.flatten(0, 1)).unflatten(0, dx.shape[:2])


def resized(x: Tensor, dx: Tensor | None, size: tuple[int, int]) -> Dual:
    """To the size of the level above, by nearest neighbours."""

    def resize(part: Tensor) -> Tensor:
        return F.interpolate(part, size=size, mode="nearest")

    return resize(x), None if dx is None else pushed(resize, dx)
