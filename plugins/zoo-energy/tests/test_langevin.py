"""Langevin dynamics on the cube: the law it comes to, its bias, Metropolis' correction of that, and the mirrors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_energy import langevin
from zoo_energy.cube import TruncatedNormal, bounce, fold
from zoo_energy.hmc import Path

MEAN, STD = 0.5, 0.04  # of a Gaussian that doesn't feel the faces


def gaussian(v: Tensor) -> Tensor:
    return ((v - MEAN) / STD).square().flatten(1).sum(1) / 2


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=rng(1), dtype=torch.float64)


def test_steps_are_the_equation() -> None:
    """One coordinate at a time, mirrored by hand."""
    v, schedule = uniform(3, 1, 2, 2), [(1e-3, 0.3), (2e-4, 0.1)]
    noise = [torch.randn(3, 1, 2, 2, generator=rng(k), dtype=torch.float64) for k in range(2)]
    draws = iter(noise)
    found = langevin.walk(gaussian, v, lambda: next(draws), schedule)
    for n, (rate, spread) in zip(noise, schedule):
        flat = []
        for x, z in zip(v.flatten().tolist(), n.flatten().tolist()):
            x = x - rate * (x - MEAN) / STD**2 + spread * z
            while not 0 <= x <= 1:
                x = -x if x < 0 else 2 - x
            flat.append(x)
        v = torch.tensor(flat, dtype=torch.float64).view_as(v)
    torch.testing.assert_close(found, v, atol=1e-12, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_without_correction_the_variance_has_the_bias_of_the_step_size(temperature: float) -> None:
    """Under E = v^2 / (2 s^2): T s^2 / (1 - rate / (2 s^2)), here twice T s^2 for rate = s^2."""
    generator, rate = rng(), STD**2
    spread = (2 * rate * temperature) ** 0.5
    v = langevin.walk(
        gaussian,
        torch.full((4000, 1, 2, 2), MEAN, dtype=torch.float64),
        lambda: torch.randn(4000, 1, 2, 2, generator=generator, dtype=torch.float64),
        [(rate, spread)] * 30,
    )
    assert float(v.mean()) == pytest.approx(MEAN, abs=5 * STD * 1.5 / 16000**0.5)
    assert float((v - MEAN).square().mean()) == pytest.approx(2 * temperature * STD**2, rel=5 * (2 / 16000) ** 0.5)


@pytest.mark.parametrize("leapfrog", [1, 3], ids=["mala", "hmc"])
def test_with_correction_it_has_none_at_the_same_step_size(leapfrog: int) -> None:
    """MALA of step size e is Langevin dynamics of rate e^2 / 2 and Metropolis: here the one above, of bias 2."""
    base = TruncatedNormal(*(torch.full((1, 2, 2), value, dtype=torch.float64) for value in (0.5, 0.1)))
    path, generator, one = Path(base, gaussian), rng(), torch.ones((), dtype=torch.float64)
    state = path.at(torch.full((4000, 1, 2, 2), MEAN, dtype=torch.float64))
    step = one * 2**0.5 * STD / 0.1 / (1 if leapfrog == 1 else 2)  # in units of the base's standard deviation
    shares = []
    for _ in range(40):
        state, accepted = path.transition(state, one, step, leapfrog, generator)
        shares.append(float(accepted.double().mean()))
    assert 0.2 < min(shares) < 0.95, "the correction had something to do"
    assert float(state.v.mean()) == pytest.approx(MEAN, abs=5 * STD / 16000**0.5)
    assert float((state.v - MEAN).square().mean()) == pytest.approx(STD**2, rel=5 * (2 / 16000) ** 0.5)


def test_a_transition_leaves_a_law_that_leans_on_the_faces_as_it_is() -> None:
    """p(v) ~ exp(-4 v) on [0, 1], most of it near a face: its mean is 1/4 - 1 / (e^4 - 1)."""
    base = TruncatedNormal(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.3))
    path, generator = Path(base, lambda v: 4 * v.flatten(1).sum(1)), rng()
    one, exact = torch.ones((), dtype=torch.float64), 1 / 4 - 1 / (torch.tensor(4.0).exp() - 1)
    state = path.start(20_000, generator)
    for _ in range(30):
        state, _ = path.transition(state, one, 1.5 * one, 3, generator)
    assert float(state.v.mean()) == pytest.approx(float(exact), abs=5 * 0.21 / 20_000**0.5)


def test_mirrors_keep_inside_and_turn_velocities() -> None:
    u = torch.tensor([-0.25, 0.25, 1.25, 2.25, -1.25, 5.5])
    v, r = bounce(u, torch.ones(6))
    assert v.tolist() == fold(u).tolist() == [0.25, 0.25, 0.75, 0.25, 0.75, 0.5]
    assert r.tolist() == [-1, 1, -1, 1, 1, -1]


def test_pixels_that_are_not_free_stay_as_they_are_to_the_bit() -> None:
    v, free = uniform(5, 1, 3, 3), uniform(5, 1, 3, 3) < 0.5
    found = langevin.walk(gaussian, v, lambda: torch.randn_like(v), [(1e-3, 0.1)] * 5, free)
    assert torch.equal(found[~free], v[~free])
    assert (found[free] != v[free]).all()


def test_the_base_is_normalised_and_draws_its_own_density() -> None:
    mean, std = torch.tensor([0.02, 0.6]).view(1, 1, 2), torch.tensor([0.05, 0.4]).view(1, 1, 2)
    base = TruncatedNormal(mean.double(), std.double())
    axis = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    v = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    density = base.log_density(v).exp() / len(v)
    assert float(density.sum()) == pytest.approx(1, abs=1e-4)
    drawn = base.sample(20_000, rng())
    exact = (density.view(-1, 1, 1, 1) * v).sum(0)
    torch.testing.assert_close(drawn.mean(0), exact, atol=5 * 0.3 / 20_000**0.5, rtol=0)
    probe = v[::100_003].requires_grad_()
    (slope,) = torch.autograd.grad(base.log_density(probe).sum(), probe)
    torch.testing.assert_close(base.score(probe), slope)
