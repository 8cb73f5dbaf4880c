"""From pixels at [0, 1] to the space that a flow works in, and back, with the log-determinant of the way there.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803, section 4.1:
logit(alpha + (1 - alpha) v). As others since, we scale by 1 - 2 alpha, so that both ends keep alpha from the poles.
Kingma, Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039, centre pixels instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_flow.flow_config import FlowConfig


class Logit:
    """y = logit(alpha + (1 - 2 alpha) v): all of R^D is the image of a cube slightly larger than [0, 1]^D."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v `(N, C, H, W)` to y, and log |dy/dv| `(N,)`, -inf outside the cube."""
        p = self.alpha + (1 - 2 * self.alpha) * v
        edge = torch.finfo(p.dtype).eps
        outside = ((p <= 0) | (p >= 1)).flatten(1).any(1)
        p = p.clamp(edge, 1 - edge)
        one, other = p.log(), (1 - p).log()  # y = log p - log(1 - p), dy/dp = 1 / (p (1 - p))
        log_det = (math.log(1 - 2 * self.alpha) - (one + other)).flatten(1).sum(1)
        return one - other, log_det.masked_fill(outside, -math.inf)

    def inverse(self, y: Tensor) -> Tensor:
        return (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha)


class Centre:
    """y = v - 1/2."""

    def __call__(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return v - 0.5, v.new_zeros(len(v))

    def inverse(self, y: Tensor) -> Tensor:
        return y + 0.5


def pixel_map(config: FlowConfig) -> Logit | Centre:
    """The map that a config asks for."""
    return Logit(config.alpha) if config.pixels == "logit" else Centre()
