"""Gradient penalties of discriminators whose gradient is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo_gan import penalties

SHAPE = (2, 3, 3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int, seed: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=rng(seed), dtype=torch.float64)


class Quadratic(nn.Module):
    """d(v) = scale ||v||^2 / 2, whose gradient is scale v."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, v: Tensor) -> Tensor:
        return self.scale * v.square().flatten(1).sum(1) / 2


def test_zero_centred_penalty_of_a_known_gradient() -> None:
    """E ||scale v||^2, and its derivative by the scale: the graph is kept."""
    d, v = Quadratic(0.7), penalties.watched(some(5, 1))
    value = penalties.zero_centred(d(v), v)
    size = v.detach().square().flatten(1).sum(1).mean()
    torch.testing.assert_close(value, 0.49 * size)
    (slope,) = torch.autograd.grad(value, d.scale)
    torch.testing.assert_close(slope, 2 * 0.7 * size)


def test_interpolated_penalty_of_a_known_gradient() -> None:
    d, real, generated = Quadratic(0.7), some(5, 1), some(5, 2)
    mix = torch.rand(5, generator=rng(3), dtype=torch.float64)
    value = penalties.interpolated(d, real, generated, mix)
    literal = []
    for x, g, m in zip(real, generated, mix):
        literal.append((0.7 * float((m * x + (1 - m) * g).norm()) - 1) ** 2)
    assert float(value.detach()) == pytest.approx(sum(literal) / 5, rel=1e-9)
    (slope,) = torch.autograd.grad(value, d.scale, retain_graph=True)
    step = 1e-6
    above = penalties.interpolated(Quadratic(0.7 + step), real, generated, mix)
    below = penalties.interpolated(Quadratic(0.7 - step), real, generated, mix)
    assert float(slope) == pytest.approx(float((above - below).detach()) / (2 * step), rel=1e-6)


def test_the_penalty_teaches_the_discriminator_alone() -> None:
    real, generated = some(5, 1), some(5, 2).requires_grad_()
    d = Quadratic(0.7)
    penalties.interpolated(d, real, generated, torch.rand(5, generator=rng(), dtype=torch.float64)).backward()
    assert generated.grad is None and d.scale.grad is not None


def test_a_critic_of_slope_one_pays_nothing_and_a_flat_one_has_a_finite_gradient() -> None:
    real, generated = some(5, 1), some(5, 2)
    mix = torch.rand(5, generator=rng(), dtype=torch.float64)
    direction = torch.nn.functional.normalize(some(1, 4).flatten(), dim=0)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = penalties.interpolated(lambda v: scale * (v.flatten(1) @ direction), real, generated, mix)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    flat = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = penalties.interpolated(lambda v: flat * v.flatten(1) @ direction, real, generated, mix)
    assert float(value.detach()) == pytest.approx(1, abs=1e-5)
    (slope,) = torch.autograd.grad(value, flat)
    assert slope.isfinite()


def test_operations_of_a_penalised_training_are_counted() -> None:
    """torch's counter hooks into every module; a gradient by a module's leaf input is more than it can follow."""
    d = nn.Sequential(nn.Flatten(), nn.Linear(18, 1), nn.Flatten(0)).double()
    with FlopCounterMode(display=False) as counter:
        penalties.interpolated(d, some(5, 1), some(5, 2), torch.full((5,), 0.5, dtype=torch.float64)).backward()
    assert counter.get_total_flops() >= 2 * 2 * 5 * 18  # forwards, and to the image
