"""log Z of an energy by annealed importance sampling, from a distribution on the cube that is known.

R. Neal, "Annealed Importance Sampling", Statistics and Computing, 2001, https://arxiv.org/abs/physics/9803008:

    Z / Z_0 = E[w],    log w = -sum_t (b_t - b_{t-1}) (E(v_{t-1}) - E_0(v_{t-1})),    0 = b_0 < ... < b_T = 1

where v_0 is a draw of the base exp(-E_0), of Z_0 = 1, and v_t comes from v_{t-1} by a transition that leaves
exp(-E_{b_t}), E_b = (1 - b) E_0 + b E, as it is (`hmc.py`). The mean of w is an unbiased estimate of Z, and so its
logarithm too small in expectation; likelihoods, which it is taken off, come out too large. How far it can be trusted,
the effective sample size (sum w)^2 / sum w^2 says: at 1 a single chain has all the weight.

Where the b_t lie, and how large the transitions' steps are, a pilot run of fewer chains finds out, and the run that
counts leaves it so: adapted on the way, w would not be unbiased. The b_t are dense where E - E_0 has a large spread,
by which each log w grows alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_energy.hmc import Path

PILOT, WANTED, SPEED = 5, 0.7, 0.3  # a pilot is so many times shorter; acceptance; how fast steps follow it


@dataclass(frozen=True)
class Estimate:
    """log_z, nats; standard_error: of it; effective: sample size, of `chains`. acceptance: share. 0-d tensors."""

    log_z: Tensor
    standard_error: Tensor
    effective: Tensor
    acceptance: Tensor


@dataclass(frozen=True)
class Schedule:
    """b_1 .. b_T, and the step size of the transition at each, `(T,)`."""

    b: Tensor
    step: Tensor


@torch.no_grad()
def estimate(path: Path, *, chains: int, distributions: int, leapfrog: int, generator: torch.Generator) -> Estimate:
    """log Z, by a pilot run and one that counts."""
    found = pilot(path, max(16, chains // 4), max(20, distributions // PILOT), leapfrog, generator)
    schedule = refined(found, distributions)
    log_w, acceptance = run(path, schedule, chains, leapfrog, generator)
    return summary(log_w, acceptance)


def summary(log_w: Tensor, acceptance: Tensor) -> Estimate:
    """log mean w; its standard error by the delta method; (sum w)^2 / sum w^2."""
    n = len(log_w)
    log_z = log_w.logsumexp(0) - math.log(n)
    share = (log_w - log_z).exp()  # of mean 1
    effective = share.sum().square() / share.square().sum()
    return Estimate(log_z, share.std() / math.sqrt(n), effective, acceptance)


def run(
    path: Path, schedule: Schedule, chains: int, leapfrog: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """log w of each chain, float64 `(chains,)`, and the share of accepted transitions."""
    state = path.start(chains, generator)
    log_w, accepted, before = (
        torch.zeros_like(state.base),
        torch.zeros_like(state.base),
        torch.zeros_like(schedule.b[0]),
    )
    for b, step in zip(schedule.b, schedule.step):
        log_w -= (b - before) * (state.model - state.base)
        state, moved = path.transition(state, b, step, leapfrog, generator)
        accepted += moved
        before = b
    return log_w, accepted.mean() / len(schedule.b)


@dataclass(frozen=True)
class Pilot:
    """At each of some b `(P,)`: the step size of the wanted acceptance, and the spread of E - E_0 over the chains."""

    b: Tensor
    step: Tensor
    spread: Tensor


def pilot(path: Path, chains: int, distributions: int, leapfrog: int, generator: torch.Generator) -> Pilot:
    """A short run in which steps follow the acceptance."""
    state = path.start(chains, generator)
    options = {"device": state.v.device, "dtype": torch.float64}
    grid = torch.linspace(0, 1, distributions, **options).square()  # the first steps away from the base are the largest
    log_step = torch.full((), -0.25 * math.log(state.v[0].numel()), **options)
    steps, spreads = [], []
    for b in grid:
        state, moved = path.transition(state, b, log_step.exp(), leapfrog, generator)
        steps.append(log_step)
        spreads.append((state.model - state.base).std())
        log_step = (log_step + SPEED * (moved.double().mean() - WANTED)).clamp(max=math.log(2.0))
    return Pilot(grid, torch.stack(steps).exp(), torch.stack(spreads))


def refined(found: Pilot, distributions: int) -> Schedule:
    """b_t at equal distances in the length that the spread gives; a tenth of them evenly over the pilot's grid."""
    length = found.b.diff() * 0.5 * (found.spread[1:] + found.spread[:-1])
    share = 0.9 * length / length.sum().clamp_min(torch.finfo(length.dtype).tiny) + 0.1 / len(length)
    total = torch.cat([share.new_zeros(1), share.cumsum(0)])
    place = torch.linspace(0, 1, distributions, device=share.device, dtype=share.dtype)[1:] * total[-1]
    b = interpolated(place, total, found.b)
    b[-1] = 1.0
    return Schedule(b, interpolated(b, found.b, found.step))


def interpolated(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """The piecewise linear function through (knots, values), at `x` between the first knot and the last."""
    right = torch.searchsorted(knots, x).clamp(1, len(knots) - 1)
    width = (knots[right] - knots[right - 1]).clamp_min(torch.finfo(knots.dtype).tiny)
    return torch.lerp(values[right - 1], values[right], ((x - knots[right - 1]) / width).clamp(0, 1))
