"""Distributions of codes z: how they are drawn, truncated, kept in range and joined by a path."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from zoo_core.chunks import rand, randn
from zoo_core.images import Batch, Rng
from zoo_core.step import Step


class Prior(ABC):
    """Coordinates of z are independent and equally distributed, symmetric around 0."""

    @abstractmethod
    def noise(self, step: Step, batch: Batch, latent: int) -> Tensor:
        """A training step's codes, `(len(batch), latent)`."""

    @abstractmethod
    def draw(self, n: int, latent: int, *, generator: Rng = None, device: torch.device | None = None) -> Tensor:
        """A sampler's codes, `(n, latent)`; code i is the same for every n up to a chunk."""

    @abstractmethod
    def truncated(self, z: Tensor, share: float) -> Tensor:
        """Each coordinate moved monotonically into the central `share` of its probability, 0 < share <= 1.

        With F the distribution function: F(new) - 1/2 = share (F(z) - 1/2), so that a z drawn from the prior becomes
        one of the prior between its quantiles (1 - share) / 2 and (1 + share) / 2. A share of 1 changes nothing.
        """

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """The nearest code that the prior can draw."""

    @abstractmethod
    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """The path from code a (t = 0) to code b (t = 1): a, b `(1, latent)`, t `(n, 1)` -> `(n, latent)`."""


class Uniform(Prior):
    """Uniform on [-1, 1]; codes are joined by straight lines, on which all are possible."""

    def noise(self, step: Step, batch: Batch, latent: int) -> Tensor:
        return 2 * step.rand(batch, latent) - 1

    def draw(self, n: int, latent: int, *, generator: Rng = None, device: torch.device | None = None) -> Tensor:
        return 2 * rand(n, latent, generator=generator, device=device) - 1

    def truncated(self, z: Tensor, share: float) -> Tensor:
        return z * share

    def project(self, z: Tensor) -> Tensor:
        return z.clamp(-1, 1)

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(a, b, t)


class Normal(Prior):
    """N(0, I); codes are joined by great circles.

    A straight line would pass near the origin, nearer than nearly all codes of the prior are (White, "Sampling
    Generative Networks", 2016, https://arxiv.org/abs/1609.04468).
    """

    def noise(self, step: Step, batch: Batch, latent: int) -> Tensor:
        return step.randn(batch, latent)

    def draw(self, n: int, latent: int, *, generator: Rng = None, device: torch.device | None = None) -> Tensor:
        return randn(n, latent, generator=generator, device=device)

    def truncated(self, z: Tensor, share: float) -> Tensor:
        """The truncated normal of Brock, Donahue, Simonyan, "Large Scale GAN Training", 2018, section 3.1.

        https://arxiv.org/abs/1809.11096. Their threshold is the quantile (1 + share) / 2; they draw again what exceeds
        it, here the same noise is moved, so that an image changes gradually with `share`.
        """
        return z if share == 1 else math.sqrt(2) * torch.erfinv(share * torch.erf(z / math.sqrt(2)))

    def project(self, z: Tensor) -> Tensor:
        return z

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """On the great circle of their directions, the length changing evenly."""
        lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
        one, two = (code / length.clamp_min(1e-12) for code, length in zip((a, b), lengths))
        angle = torch.atan2((one - two).norm(dim=1, keepdim=True), (one + two).norm(dim=1, keepdim=True)) * 2
        if not 1e-4 < float(angle) < math.pi - 1e-4:  # one direction, or opposite ones: no circle is the one
            return torch.lerp(a, b, t)
        direction = (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * two) / torch.sin(angle)
        return torch.lerp(*lengths, t) * direction
