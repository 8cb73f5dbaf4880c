"""Annealed importance sampling: the paper's weights, an integral by quadrature, errors that are what they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_energy import annealing
from zoo_energy.annealing import Schedule
from zoo_energy.cube import TruncatedNormal
from zoo_energy.hmc import Path

DIMS = (1, 1, 2)
CENTRES = torch.tensor([[0.25, 0.3], [0.7, 0.75], [0.0, 1.0]], dtype=torch.float64)


def three_hills(v: Tensor) -> Tensor:
    """-log of three unequal hills, one of them in a corner: no constant of its own is 1."""
    distance = (v.flatten(1)[:, None].double() - CENTRES).square().sum(2)
    hills = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64).log() - distance / (2 * 0.07**2)
    return -hills.logsumexp(1) - 4.0


def base(mean: float = 0.5, std: float = 0.3) -> TruncatedNormal:
    return TruncatedNormal(torch.full(DIMS, mean, dtype=torch.float64), torch.full(DIMS, std, dtype=torch.float64))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadrature() -> float:
    axis = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    v = torch.cartesian_prod(axis, axis).view(-1, *DIMS)
    return float((-three_hills(v)).logsumexp(0) - math.log(len(v)))


def test_weights_are_the_papers() -> None:
    """w = prod_t f_t(v_{t-1}) / f_{t-1}(v_{t-1}), f_t = f_0^(1-b_t) f^b_t, along one and the same run."""
    path, n = Path(base(), three_hills), 50
    schedule = Schedule(torch.tensor([0.1, 0.4, 1.0]).double(), torch.tensor([0.3, 0.2, 0.1]).double())
    log_w, _ = annealing.run(path, schedule, n, 2, rng(0))

    generator, literal, before = rng(0), torch.zeros(n, dtype=torch.float64), 0.0
    state = path.start(n, generator)
    for b, step in zip(schedule.b, schedule.step):
        log_f0, log_f = path.base.log_density(state.v), -three_hills(state.v)
        literal += (1 - b) * log_f0 + b * log_f - ((1 - before) * log_f0 + before * log_f)
        state, _ = path.transition(state, b, step, 2, generator)
        before = float(b)
    torch.testing.assert_close(log_w, literal, atol=1e-9, rtol=0)


def test_log_z_is_the_integral_by_quadrature() -> None:
    found = annealing.estimate(Path(base(), three_hills), chains=2000, distributions=100, leapfrog=2, generator=rng(0))
    assert float(found.standard_error) < 0.04
    assert float(found.log_z) == pytest.approx(quadrature(), abs=4 * float(found.standard_error))
    assert 0.4 < float(found.acceptance) < 0.95, "steps follow the acceptance"


@pytest.mark.slow
def test_the_estimate_of_z_is_unbiased_and_its_error_is_that_of_repeated_runs() -> None:
    """With few chains, where an error would show; a pilot that let steps adapt on the way would bias it."""
    runs = [
        annealing.estimate(Path(base(), three_hills), chains=100, distributions=30, leapfrog=1, generator=rng(k))
        for k in range(60)
    ]
    ratio = (torch.stack([run.log_z for run in runs]) - quadrature()).exp()
    error = float(ratio.std()) / len(runs) ** 0.5
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * error)
    claimed = float(torch.stack([run.standard_error for run in runs]).square().mean().sqrt())
    assert 0.7 < claimed / float(ratio.std()) < 1.4


def test_an_energy_that_is_the_base_has_weights_without_any_spread() -> None:
    known = base(0.3, 0.2)
    path = Path(known, lambda v: 1.25 - known.log_density(v))
    found = annealing.estimate(path, chains=20, distributions=20, leapfrog=1, generator=rng(0))
    assert float(found.log_z) == pytest.approx(-1.25, abs=1e-9)
    assert float(found.effective) == pytest.approx(20, abs=1e-6)


def test_one_chain_with_all_the_weight_is_a_sample_of_one() -> None:
    log_w = torch.tensor([0.0, 100.0, 0.0, 0.0], dtype=torch.float64)
    found = annealing.summary(log_w, torch.ones(()))
    assert float(found.effective) == pytest.approx(1, abs=1e-9)
    assert float(found.log_z) == pytest.approx(100 - math.log(4))
    assert float(found.standard_error) == pytest.approx(1, abs=1e-6)
    even = annealing.summary(torch.full((4,), 5.0, dtype=torch.float64), torch.ones(()))
    assert (float(even.effective), float(even.standard_error)) == (pytest.approx(4), pytest.approx(0, abs=1e-9))


def test_distributions_lie_densely_where_the_weights_spread() -> None:
    """A spread of 9 over the first half of the path and of 1 over the second: nine times as many there."""
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    spread = torch.where(grid < 0.5, 9.0, 1.0).double()
    schedule = annealing.refined(annealing.Pilot(grid, grid + 1, spread), 1001)
    assert len(schedule.b) == 1000
    assert float(schedule.b[-1]) == 1
    assert (schedule.b.diff() > 0).all()
    share = float((schedule.b < 0.5).double().mean())
    assert share == pytest.approx(0.9 * 0.9 + 0.1 * 0.5, abs=0.01)
    torch.testing.assert_close(schedule.step, schedule.b + 1)
