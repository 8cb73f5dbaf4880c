"""Hamiltonian Monte Carlo on the cube, between a known distribution and the model's: exact by Metropolis' correction.

    E_b(v) = (1 - b) E_0(v) + b E(v),    H(v, r) = E_b(v) + |r|^2 / 2,    accept with probability min(1, exp(-dH))

R. Neal, "MCMC using Hamiltonian dynamics", 2011, https://arxiv.org/abs/1206.1901, sections 2.3, 3.2, and 4.1 for
scales of their own for the coordinates. One leapfrog step is the Metropolis-adjusted Langevin algorithm (section 5.2).
At the faces of the cube position and velocity are mirrored (`cube.py`), which is reversible and keeps volumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_energy.cube import TruncatedNormal, bounce
from zoo_energy.langevin import Energy, with_gradient


@dataclass(frozen=True)
class State:
    """Chains at v `(N, C, H, W)`, with both energies, float64 `(N,)`, and their gradients there."""

    v: Tensor
    base: Tensor
    model: Tensor
    base_slope: Tensor
    model_slope: Tensor

    def energy(self, b: Tensor) -> Tensor:
        """E_b, `(N,)`."""
        return torch.lerp(self.base, self.model, b.double())

    def slope(self, b: Tensor) -> Tensor:
        return torch.lerp(self.base_slope, self.model_slope, b.to(self.v.dtype))

    def where(self, accepted: Tensor, other: State) -> State:
        """`other`'s chains where not accepted."""
        wide = accepted.view(-1, 1, 1, 1)
        return State(
            torch.where(wide, self.v, other.v),
            torch.where(accepted, self.base, other.base),
            torch.where(accepted, self.model, other.model),
            torch.where(wide, self.base_slope, other.base_slope),
            torch.where(wide, self.model_slope, other.model_slope),
        )


@dataclass(frozen=True)
class Path:
    """From `base` to exp(-energy)."""

    base: TruncatedNormal
    energy: Energy

    def start(self, n: int, generator: torch.Generator) -> State:
        """`n` chains at draws of the base."""
        return self.at(self.base.sample(n, generator))

    def at(self, v: Tensor) -> State:
        e, slope = with_gradient(self.energy, v)
        return State(v, -self.base.log_density(v), e.double(), -self.base.score(v), slope.to(v.dtype))

    def transition(
        self, now: State, b: Tensor, step: Tensor, leapfrog: int, generator: torch.Generator
    ) -> tuple[State, Tensor]:
        """The chains after one transition that leaves exp(-E_b) as it is; whether each was accepted, bool `(N,)`.

        step: of a leapfrog step, in units of each pixel's standard deviation under the base.
        """
        options = {"generator": generator, "device": now.v.device}
        r = torch.randn(now.v.shape, dtype=now.v.dtype, **options)
        size = step.to(now.v.dtype) * self.base.std
        before = now.energy(b) + kinetic(r)
        new, r = now, r - 0.5 * size * now.slope(b)
        for i in range(leapfrog):
            v, r = bounce(new.v + size * r, r)
            new = self.at(v)
            r = r - (0.5 if i == leapfrog - 1 else 1.0) * size * new.slope(b)
        u = torch.rand(len(r), dtype=torch.float64, **options)
        accepted = u.log() < before - new.energy(b) - kinetic(r)  # never where that is NaN
        return new.where(accepted, now), accepted


def kinetic(r: Tensor) -> Tensor:
    return 0.5 * r.double().square().flatten(1).sum(1)
