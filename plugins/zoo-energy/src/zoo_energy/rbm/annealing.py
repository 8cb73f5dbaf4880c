"""From independent units to the machine in small steps: samples of it, and its log Z by annealed importance sampling.

R. Neal, "Annealed Importance Sampling", 1998, https://arxiv.org/abs/physics/9803008; for these machines R.
Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008,
https://doi.org/10.1145/1390156.1390266. With 0 = beta_0 < ... < beta_K = 1, v_1 from the base, and v_(k+1)
from v_k by a Gibbs step that leaves p_(beta_k) invariant:

    w = prod_k exp(F_(beta_(k-1))(v_k) - F_(beta_k)(v_k)),      E[w] = Z_1 / Z_0

The mean of w over M chains is unbiased; its logarithm is too small on average (Jensen), the more so the fewer
distributions there are: log P(x) then comes out too large.

Departure: the base's hidden units have biases too, by which they are on as often as for training images. Without these
all are on half of the time for small beta. Then binarised digits are driven out of the chains, of whose pixels 13 % are
on at the base and 0.1 % on the way, and have to be found again near beta = 1: it takes about five times as many steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_energy.rbm.machine import Base, Machine

Noise = Callable[[int], Tensor]  # uniform numbers of every chain, (chains, that many)

# Salakhutdinov and Murray's spacing: 500 steps to 0.5, 4,000 to 0.9, 10,000 to 1; here in these shares of any number.
KNOTS = ((0.0, 0.0), (500 / 14500, 0.5), (4500 / 14500, 0.9), (1.0, 1.0))


class LogPartition(NamedTuple):
    """log_z: the estimate, nats. standard_error: its own, by the delta method. effective_sample_size: of the chains,
    (sum w)^2 / sum w^2: near 1, one chain decides, and neither number before it means much."""

    log_z: float
    standard_error: float
    effective_sample_size: float
    distributions: int
    chains: int


def path(steps: int) -> list[float]:
    """`steps` betas after 0, rising to 1."""
    betas = []
    for share in (i / steps for i in range(1, steps + 1)):
        (x0, y0), (x1, y1) = next(pair for pair in itertools.pairwise(KNOTS) if share <= pair[1][0])
        betas.append(y0 + (y1 - y0) * (share - x0) / (x1 - x0))
    return betas


def chain(machine: Machine, base: Base, v: Tensor, betas: list[float], noise: Noise, known: Tensor | None) -> Tensor:
    """A Gibbs step at each of `betas` from v, `(N, V)`; units where the bool `known` is True stay what they are."""
    for beta in betas:
        new = machine.gibbs(machine.inputs(v), noise(machine.noise), beta, base)
        v = new if known is None else torch.where(known, v, new)
    return v


def log_partition(machine: Machine, base: Base, noise: Noise, distributions: int) -> LogPartition:
    """log Z by as many distributions after `base`, and as many chains as noise has rows."""
    # Hundreds of thousands of small numbers are added up; Apple's MPS has no float64.
    exact = torch.float32 if base.visible.device.type == "mps" else torch.float64
    v = machine.pick(base.visible, noise(machine.images.dims))
    slope = machine.visible_bias - base.visible
    log_w, before = torch.zeros(len(v), dtype=exact, device=v.device), 0.0
    for beta in path(distributions):
        inputs = machine.inputs(v)
        # Differences unit by unit are small; those of the sums would lose digits.
        low, high = (F.softplus(torch.lerp(base.hidden, inputs, share)) for share in (before, beta))
        log_w += (high - low).sum(1) + (beta - before) * (v @ slope)
        if beta < 1:
            v = machine.gibbs(inputs, noise(machine.noise), beta, base)
        before = beta
    return summary(log_w, machine.log_partition_of(base), distributions)


def summary(log_w: Tensor, log_z_0: Tensor, distributions: int) -> LogPartition:
    """What importance weights `(M,)` say."""
    m = len(log_w)
    mean = log_w.logsumexp(0) - math.log(m)
    w = (log_w - mean).exp()  # of mean 1
    size = m * m / w.square().sum()
    return LogPartition(float(log_z_0 + mean), float(w.std() / math.sqrt(m)), float(size), distributions, m)
