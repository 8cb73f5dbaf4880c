"""Where the knots of splines come from: half of the dimensions, or all earlier ones. And what mixes dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_flow.masked import MADE
from zoo_flow.nsf.splines import Knots, inverse, knots, parameters, spline
from zoo_flow.vector_flow import halves


class SplineCoupling(nn.Module):
    """Each dimension of one half through a spline whose knots a network makes of the other half; the identity at first.

    swap: the first half given the second.
    """

    def __init__(self, dims: int, bins: int, bound: float, hidden: int, blocks: int, *, swap: bool) -> None:
        super().__init__()
        self.sizes, self.bins, self.bound, self.swap = halves(dims), bins, bound, swap
        given, moved = reversed(self.sizes) if swap else self.sizes
        self.network = ResidualNetwork(given, hidden, blocks, moved * parameters(bins))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given, moved = self._split(x)
        moved, log_slopes = spline(moved, self._knots(given))
        return self._join(given, moved), log_slopes.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        given, moved = self._split(z)
        return self._join(given, inverse(moved, self._knots(given)))

    def _knots(self, given: Tensor) -> Knots:
        theta = self.network(given).to(given.dtype).unflatten(1, (-1, parameters(self.bins)))
        return knots(theta, self.bound)  # of (N, D/2) splines

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = x.split(self.sizes, 1)
        return (two, one) if self.swap else (one, two)

    def _join(self, given: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, given] if self.swap else [given, moved], 1)


class ResidualNetwork(nn.Module):
    """h <- h + B relu(A relu(h)) for each block, between a linear layer and one that starts at 0."""

    def __init__(self, inputs: int, hidden: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.last = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class SplineMADE(nn.Module):
    """Each dimension through a spline whose knots a masked network makes of those before it; the identity at first."""

    def __init__(self, dims: int, bins: int, bound: float, hidden: int, blocks: int) -> None:
        super().__init__()
        self.bound = bound
        self.made = MADE(dims, (hidden,) * blocks, parameters(bins), "relu")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        theta = self.made(x).to(x.dtype).transpose(1, 2)  # (N, P, D) -> (N, D, P)
        z, log_slopes = spline(x, knots(theta, self.bound))
        return z, log_slopes.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return self.made.solve(z, lambda z_d, theta: inverse(z_d, knots(theta.t(), self.bound)))


class LULinear(nn.Module):
    """z = L U x + b, with a lower triangle L of diagonal 1 and an upper one U of diagonal exp(s): log |det| = sum s.

    Invertible whatever the parameters are, and the identity at first. In float32 under autocast: half precision would
    round z itself, not only what moves it.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.triangles = nn.Parameter(torch.zeros(dims, dims))  # L below its diagonal, U above; the diagonal is log U's
        self.bias = nn.Parameter(torch.zeros(dims))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(F.linear(x, upper), lower, self.bias), self.triangles.diagonal().sum()

    def inverse(self, z: Tensor) -> Tensor:
        lower, upper = self._factors()
        inner = torch.linalg.solve_triangular(lower, (z - self.bias).t(), upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, inner, upper=True).t()

    def _factors(self) -> tuple[Tensor, Tensor]:
        diagonal = self.triangles.diagonal()
        lower = self.triangles.tril(-1) + torch.eye(len(diagonal), dtype=diagonal.dtype, device=diagonal.device)
        return lower, self.triangles.triu(1) + diagonal.exp().diag()
