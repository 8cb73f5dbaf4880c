"""The cube [0, 1]^D on which these densities live: its mirrors, and a distribution on it that is known.

Dequantised images fill the cube and nothing else, so a density of them that has all its mass there needs no edge
cells. A step that leaves the cube comes back mirrored at its faces. That is dynamics in R^D under the energy that is
continued by mirrors, an even function of period 2 in every coordinate: reversible and volume preserving where the
dynamics is, so the law on the cube is right where it was right there. A clamp instead piles mass up on the faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def fold(u: Tensor) -> Tensor:
    """Mirrored into [0, 1]: the distance to the nearest even number."""
    return torch.add(u, torch.round(u / 2), alpha=-2).abs_()


def clip(u: Tensor) -> Tensor:
    """The nearest point of [0, 1]."""
    return u.clamp(0, 1)


def bounce(u: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """`fold(u)`, and the velocity `r` as the mirrors leave it."""
    w = u - 2 * torch.round(u / 2)
    return w.abs(), torch.where(w < 0, -r, r)


@dataclass(frozen=True)
class TruncatedNormal:
    """Independent pixels, each a normal distribution restricted to [0, 1]. mean, std: of each before that, `(C, H, W)`.

    float64 within: the normal's quantiles far out are of no use in float32.
    """

    mean: Tensor
    std: Tensor

    def sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """`n` real images, `(n, C, H, W)`."""
        u = torch.rand(n, *self.mean.shape, generator=generator, device=self.mean.device, dtype=torch.float64)
        low, high = self._edges()
        z = torch.special.ndtri(low + u * (high - low))
        return (self.mean + self.std * z).clamp(0, 1).to(self.mean.dtype)

    def log_density(self, v: Tensor) -> Tensor:
        """nats, float64 `(N,)`."""
        low, high = self._edges()
        z = (v.double() - self.mean) / self.std
        constant = (self.std.double() * (high - low)).log() + 0.5 * math.log(2 * math.pi)
        return -(0.5 * z.square() + constant).flatten(1).sum(1)

    def score(self, v: Tensor) -> Tensor:
        """The gradient of `log_density` in v."""
        return (self.mean - v) / self.std.square()

    def _edges(self) -> tuple[Tensor, Tensor]:
        mean, std = self.mean.double(), self.std.double()
        return torch.special.ndtr(-mean / std), torch.special.ndtr((1 - mean) / std)
