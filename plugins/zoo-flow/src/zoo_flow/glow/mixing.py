"""Activation normalisation and the invertible 1x1 convolution behind it, as one convolution.

Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018, https://arxiv.org/abs/1807.03039,
sections 3.1 and 3.2, at each of H W places:

    y = W (s x + b),    W = P L (U + diag(d))                                                              (equation 10)
    log |det dy/dx| = H W (sum log |s| + sum log |d|)                                                      (equation 11)

P is a fixed permutation, L lower triangular with ones on its diagonal, U strictly upper triangular. The signs of d are
fixed; `lu` holds L below its diagonal, log |d| on it, and U above. Two linear maps in a row are one: the weight of the
convolution is W diag(s), its bias W b.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mixing(nn.Module):
    """`(N, C, H, W)` to the same shape; W begins as a random rotation, s as 1 and b as 0 until `normalise`."""

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.lu = nn.Parameter(lower.tril(-1) + upper.triu(1) + diagonal.abs().log().diag())
        self.register_buffer("sign", diagonal.sign())
        self.register_buffer("order", permutation.argmax(1))  # row i of P M is row order[i] of M

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and the log-determinant, which is that of every image: of no dimension."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would be another map than its inverse
            weight = self.matrix()
            y = convolve(x, weight * self.log_scale.exp(), weight @ self.shift)
        places = x.shape[2] * x.shape[3]
        return y, places * (self.log_scale.sum() + self.lu.diagonal().sum())

    def inverse(self, y: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            lower, upper = self.triangles()
            back = torch.eye(len(self.order), dtype=y.dtype, device=y.device)[self.order.argsort()]  # P^-1
            back = torch.linalg.solve_triangular(lower, back, upper=False, unitriangular=True)
            back = torch.linalg.solve_triangular(upper, back, upper=True)
            scale = self.log_scale.neg().exp()
            return convolve(y, scale.unsqueeze(1) * back, -scale * self.shift)

    def matrix(self) -> Tensor:
        """W, `(C, C)`."""
        lower, upper = self.triangles()
        return (lower @ upper)[self.order]

    def triangles(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(d)."""
        one = torch.eye(len(self.order), dtype=self.lu.dtype, device=self.lu.device)
        return self.lu.tril(-1) + one, self.lu.triu(1) + (self.sign * self.lu.diagonal().exp()).diag()

    @torch.no_grad()
    def normalise(self, mean: Tensor, deviation: Tensor) -> None:
        """Let s x + b begin with mean 0 and variance 1 where x has these."""
        self.log_scale.copy_(deviation.log().neg())
        self.shift.copy_(-mean / deviation)

    @torch.no_grad()
    def flaw(self) -> str:
        """Why this cannot be inverted, or nothing."""
        triangles = (self.lu.tril(-1), self.lu.triu(1))
        if not all(bool(values.isfinite().all()) for values in (self.log_scale, self.shift, *triangles)):
            return "a weight is not finite"
        diagonal, scale = self.sign.abs() * self.lu.diagonal().exp(), self.log_scale.exp()
        if not bool(diagonal.isfinite().all()):
            return "a diagonal entry of U is not finite"
        if not bool(scale.isfinite().all()):
            return "a scale s is not finite"
        for what, values in (("its diagonal entry {} of U", diagonal), ("the scale s of its channel {}", scale)):
            zero = values.reciprocal().isinf().nonzero()  # of the smallest numbers too
            if len(zero):
                place = int(zero[0])
                return f"{what.format(place)} is {float(values[place]):g}, so it is singular"
        return ""


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)
