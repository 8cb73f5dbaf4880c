"""Noise schedules against the papers' own words for them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_diffusion.schedule import Schedule, cosine, linear


def abar(beta: Tensor) -> Tensor:
    return (1 - beta).cumprod(0)


def test_linear_is_the_papers_at_a_thousand_steps() -> None:
    torch.testing.assert_close(linear(1000), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


@pytest.mark.parametrize("steps", [2, 7, 8, 50, 999, 1000, 4000])
def test_linear_keeps_the_papers_curve_for_any_number_of_steps(steps: int) -> None:
    paper, ours = abar(linear(1000)), abar(linear(steps))
    assert float(ours[-1]) == pytest.approx(float(paper[-1]), rel=1e-9) and float(paper[-1]) < 5e-5
    for t in range(1, steps + 1):
        if (1000 * t) % steps == 0:  # where both have a point
            assert float(ours[t - 1]) == pytest.approx(float(paper[1000 * t // steps - 1]), rel=1e-9)
    assert bool(((linear(steps) > 0) & (linear(steps) < 1)).all())


@pytest.mark.parametrize("steps", [8, 50, 1000])
def test_cosine_is_equation_17(steps: int) -> None:
    found = abar(cosine(steps))

    def f(t: int) -> float:
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(1, steps):  # the last beta is cut off at 0.999
        assert float(found[t - 1]) == pytest.approx(f(t) / f(0), rel=1e-9)
    assert float(cosine(steps)[-1]) == 0.999 and float(found[-1]) < 2e-3 / steps


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_way_back_is_bayes_rule(kind: str) -> None:
    """q(x_{t-1} | x_t, x_0) from the joint Gaussian of x_{t-1} and x_t given x_0, without equations 6 and 7."""
    steps = 10
    schedule = Schedule(kind, steps).double()
    beta = (linear if kind == "linear" else cosine)(steps)
    for t in range(2, steps + 1):
        a, before = 1 - beta[t - 1], abar(beta)[t - 2]
        variance = 1 - before  # of x_{t-1} given x_0
        covariance, total = a.sqrt() * variance, a * variance + beta[t - 1]
        gain = covariance / total
        close = {"rtol": 1e-5, "atol": 1e-8}
        torch.testing.assert_close(schedule.from_noisy[t], gain, **close)
        torch.testing.assert_close(schedule.from_image[t], before.sqrt() - gain * (a * before).sqrt(), **close)
        torch.testing.assert_close(schedule.beta_tilde[t], variance - gain * covariance, **close)
    assert float(schedule.from_image[1]) == 1 and float(schedule.from_noisy[1]) == 0
    assert float(schedule.signal[0]) == 1 and float(schedule.noise[0]) == 0
    torch.testing.assert_close(schedule.signal.square() + schedule.noise.square(), torch.ones(steps + 1).double())
