"""Neural spline flows: what a network predicts of each pixel is a whole monotone function, not a shift and a scale.

Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032.

    z_d = g(x_d; theta_d),  theta_d = NN(the other half of x)        couplings, RQ-NSF (C)
                            theta_d = MADE(x_1 .. x_{d-1})_d         autoregressive, RQ-NSF (AR)
    log |det dz/dx| = sum_d log g'(x_d; theta_d)

with the splines g of section 3.1 (`splines.py`), and between steps a permutation and a linear map by its LU factors
(section 3.2).

Departures: a step is two couplings, one for either half, and the first one has the pixels themselves, neighbours in
different halves, before any linear map: the edges of [0, 1] are edges of its splines. The permutation is drawn from a
pinned seed; autoregressive layers reverse the order instead. Splines start at the identity. The residual and masked
networks have no batch normalisation and no dropout.
"""

from __future__ import annotations

import torch
from torch import nn

from zoo_core.specs import ImageSpec
from zoo_flow.nsf.config import NSFConfig
from zoo_flow.nsf.layers import LULinear, SplineCoupling, SplineMADE
from zoo_flow.vector_flow import Permutation, Reversal, VectorFlow, odd_after_even


class NSF(VectorFlow):
    """Steps of splines, mixed in between."""

    config: NSFConfig

    def __init__(self, images: ImageSpec, config: NSFConfig) -> None:
        super().__init__(images, config)
        generator = torch.Generator().manual_seed(0)
        for step in range(config.steps):
            if step:
                if config.kind == "coupling":
                    self.layers.append(Permutation(torch.randperm(images.dims, generator=generator)))
                else:
                    self.layers.append(Reversal())
                if config.mixing == "lu":
                    self.layers.append(LULinear(images.dims))
            elif config.kind == "coupling":
                self.layers.append(odd_after_even(images.dims))
            self.layers.extend(splines(images.dims, config))


def splines(dims: int, config: NSFConfig) -> list[nn.Module]:
    """The splines of one step."""
    options = (dims, config.bins, config.bound, config.hidden, config.blocks)
    if config.kind == "autoregressive":
        return [SplineMADE(*options)]
    return [SplineCoupling(*options, swap=swap) for swap in (False, True)]
