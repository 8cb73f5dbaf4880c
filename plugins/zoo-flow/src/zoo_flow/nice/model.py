"""NICE: additive couplings, whose Jacobian is constant, and a diagonal scaling.

Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014, https://arxiv.org/abs/1410.8516.

A coupling moves one half of the dimensions by what a network m makes of the other (section 3.2); a diagonal matrix ends
the chain (section 3.3); the noise has independent dimensions, logistic or Gaussian (section 3.4):

    y_1 = x_1,  y_2 = x_2 + m(x_1)         |det| = 1, and back: x_2 = y_2 - m(y_1)
    z = exp(s) h                           log |det| = sum_i s_i, the same for all images
    log p(z_i) = -log(1 + exp(z_i)) - log(1 + exp(-z_i))     or     -(z_i^2 + log 2 pi) / 2

Departures: the scaling also shifts, and starts from the first batch (`ActivationNorm`), where the paper's is learned
from the start; m starts at 0. Pixels are centred, v - 1/2, where the paper's are v: a bias of m.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.chunks import rand
from zoo_core.images import Rng
from zoo_core.specs import ImageSpec
from zoo_flow.nice.config import NICEConfig
from zoo_flow.vector_flow import ActivationNorm, VectorFlow, halves, odd_after_even


class NICE(VectorFlow):
    """With centred pixels its density varies between images by the prior alone: no region of space is stretched more
    than another. A logit's slope varies."""

    config: NICEConfig

    def __init__(self, images: ImageSpec, config: NICEConfig) -> None:
        super().__init__(images, config)
        couplings = (AdditiveCoupling(images.dims, config.hidden, i % 2 == 1) for i in range(config.couplings))
        self.layers.extend([odd_after_even(images.dims), *couplings, ActivationNorm(images.dims)])

    def log_base(self, z: Tensor) -> Tensor:
        if self.config.prior == "gaussian":
            return super().log_base(z)
        return -(F.softplus(z) + F.softplus(-z)).sum(1)

    def draw_base(self, n: int, generator: Rng) -> Tensor:
        if self.config.prior == "gaussian":
            return super().draw_base(n, generator)
        u = rand(n, self.images.dims, generator=generator, device=self.device, dtype=self.dtype)
        return u.clamp_min(2.0**-25).logit()  # half of the step between two float32 draws, instead of 0


class AdditiveCoupling(nn.Module):
    """y_2 = x_2 + m(x_1), or with `swap` y_1 = x_1 + m(x_2)."""

    def __init__(self, dims: int, hidden: tuple[int, ...], swap: bool) -> None:
        super().__init__()
        self.sizes, self.swap = halves(dims), swap
        given, moved = reversed(self.sizes) if swap else self.sizes
        self.m = perceptron(given, hidden, moved)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._moved(x, 1), x.new_zeros(())

    def inverse(self, z: Tensor) -> Tensor:
        return self._moved(z, -1)

    def _moved(self, x: Tensor, sign: int) -> Tensor:
        one, two = x.split(self.sizes, 1)
        if self.swap:
            return torch.cat([one + sign * self.m(two).to(x.dtype), two], 1)
        return torch.cat([one, two + sign * self.m(one).to(x.dtype)], 1)


def perceptron(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Rectified linear layers and a linear one, which starts at 0."""
    layers: list[nn.Module] = []
    for below, above in itertools.pairwise([inputs, *hidden]):
        layers += [nn.Linear(below, above), nn.ReLU(inplace=True)]
    last = nn.Linear(hidden[-1], outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
