"""Where weights begin: at a scale that keeps the signal's variance.

He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852, section 2.2: weights from
N(0, 2 / ((1 + a^2) n)), n the inputs that an output sees and a the slope of a LeakyReLU below 0.
"""

from __future__ import annotations

import math

from torch import nn

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def he_normal_(layer: Layer, slope: float = 0.0) -> None:
    """In place. A pixel of a transposed convolution sees every `stride`-th entry of its kernel, of all channels that go
    in; torch's own `kaiming_normal_` counts the whole kernel, of all channels that come out."""
    seen = float(layer.weight[0].numel())  # (out, in, h, w), or (out, in)
    if isinstance(layer, nn.ConvTranspose2d):
        seen = layer.in_channels / layer.groups * math.prod(layer.kernel_size) / math.prod(layer.stride)
    nn.init.normal_(layer.weight, std=nn.init.calculate_gain("leaky_relu", slope) / math.sqrt(seen))
