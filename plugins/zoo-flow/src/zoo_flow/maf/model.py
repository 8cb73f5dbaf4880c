"""MAF: autoregressive models with Gaussian conditionals, each a model of the noise of the one before it.

Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
https://arxiv.org/abs/1705.07057, section 3:

    p(x_d | x_1 .. x_{d-1}) = N(x_d | mu_d, exp(alpha_d)^2),    (mu_d, alpha_d) = MADE(x_1 .. x_{d-1})_d
    u_d = (x_d - mu_d) exp(-alpha_d),    log |det du/dx| = -sum_d alpha_d,    back: x_d = u_d exp(alpha_d) + mu_d

The u of a block, in reverse order, are the x of the next. Density takes one pass of each block; samples take about as
much, since each hidden unit is computed when all that it sees is known, and once (`masked.py`); the paper's take D.

Departures: without the paper's batch normalisation between blocks, in whose place one activation normalisation comes
before the first (a block's own biases are already a scale and a shift). alpha is cut off at -LIMIT and LIMIT.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo_core.specs import ImageSpec
from zoo_flow.maf.config import MAFConfig
from zoo_flow.masked import MADE
from zoo_flow.vector_flow import ActivationNorm, Reversal, VectorFlow

LIMIT = math.log(1000)  # no conditional is a thousand times narrower or wider than the average


class MAF(VectorFlow):
    """Blocks of masked networks, every other one in reverse order."""

    config: MAFConfig

    def __init__(self, images: ImageSpec, config: MAFConfig) -> None:
        super().__init__(images, config)
        self.layers.append(ActivationNorm(images.dims))
        for block in range(config.blocks):
            if block:
                self.layers.append(Reversal())
            self.layers.append(GaussianMADE(images.dims, config.hidden, config.activation))


class GaussianMADE(nn.Module):
    """u = (x - mu(x)) exp(-alpha(x)), the identity at first."""

    def __init__(self, dims: int, hidden: tuple[int, ...], activation: str) -> None:
        super().__init__()
        self.made = MADE(dims, hidden, 2, activation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, alpha = self.made(x).to(x.dtype).unbind(1)
        alpha = alpha.clamp(-LIMIT, LIMIT)
        return (x - mu) * (-alpha).exp(), -alpha.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return self.made.solve(z, one_dimension)


def one_dimension(u: Tensor, parameters: Tensor) -> Tensor:
    """x = u exp(alpha) + mu of one dimension: u `(N,)`, parameters `(2, N)`, which are overwritten."""
    mu, alpha = parameters.unbind()
    return torch.addcmul(mu, u, alpha.clamp_(-LIMIT, LIMIT).exp_())
