"""SAE: the mean of penalties whose gradient is that of a penalty on means; activations that reach their target."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.sae.config import SAEConfig
from zoo_autoencoder.sae.model import SAE, divergence, divergence_slope
from zoo_bench.datasets import load as data

from zoo_core import Batch, ImageSpec, LocalStep

IMAGES = ImageSpec(channels=1, height=3, width=3, levels=5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int) -> Tensor:
    return torch.randint(5, (n, *IMAGES.shape), generator=rng(), dtype=torch.uint8)


def make(**changes: object) -> SAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SAE(IMAGES, SAEConfig(hidden=(), latent=7).override(changes)).double()


def test_the_divergence_is_that_of_two_coins_and_its_slope_its_derivative() -> None:
    mean = torch.linspace(0.01, 0.99, 50).double().requires_grad_()
    p, q = (torch.distributions.Bernoulli(r) for r in (torch.tensor(0.2).double(), mean))
    torch.testing.assert_close(divergence(0.2, mean), torch.distributions.kl_divergence(p, q))
    (slope,) = torch.autograd.grad(divergence(0.2, mean).sum(), mean)
    torch.testing.assert_close(divergence_slope(0.2, mean).detach(), slope)
    assert divergence_slope(0.2, torch.tensor([0.0, 1.0])).isfinite().all()  # units that are always off, or on


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_a_step_descends_the_penalty_on_the_batchs_mean_activation(micro_batch: int | None) -> None:
    model, x = make(rho=0.1, beta=2.0), some(10)
    v = model.unit(x)
    a = model.codes(v)
    objective = model.reconstruction(v, model.output(a))["loss"] + 2.0 / 9 * divergence(0.1, a.mean(0)).sum()
    expected = torch.autograd.grad(objective, list(model.parameters()))
    metrics = LocalStep(model, lr=0.0, micro_batch=micro_batch).run(Batch(x))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    torch.testing.assert_close(metrics["loss"], objective.detach())  # and reports that, not what has its gradient
    torch.testing.assert_close(metrics["activation"], a.mean().detach())
    assert set(metrics) == {"loss", "mse", "activation", "kl"}


def test_every_units_mean_activation_reaches_its_target() -> None:
    digits, rho = data.load("digits", "train"), 0.1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SAE(digits.images, SAEConfig(hidden=(), latent=40, rho=rho, beta=20.0))
    before = model.encode(digits.pinned.x).mean(0)
    step = LocalStep(model, lr=2e-2)
    for _ in range(150):
        step.run(digits.pinned)
    after = model.encode(digits.pinned.x).mean(0)
    assert float((before - rho).abs().min()) > 0.1
    assert float((after - rho).abs().max()) < 0.02


def test_l1_switches_units_off() -> None:
    digits = data.load("digits", "train")
    shares = []
    for beta in (0.0, 1.0):
        config = SAEConfig(hidden=(), latent=40, code="relu", sparsity="l1", tied=True, loss="squared", beta=beta)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = SAE(digits.images, config)
        step = LocalStep(model, lr=1e-2)
        for _ in range(150):
            metrics = step.run(digits.pinned)
        a = model.encode(digits.pinned.x)
        assert float(metrics["l1"]) > 0
        shares.append(float((a > 0).double().mean()))
    assert shares[1] < 0.5 * shares[0]


def test_l1_is_the_sum_of_the_units_sizes() -> None:
    model, x = make(sparsity="l1", code="tanh", weight_decay=0.1, beta=1.5), some(6)
    with torch.no_grad():
        v = model.unit(x)
        a = model.codes(v)
        expected = float(model.reconstruction(v, model.output(a))["loss"])
        expected += 1.5 / 9 * sum(math.fabs(value) for value in a.flatten().tolist()) / 6
    assert float(model.loss(Batch(x))["loss"].detach()) == pytest.approx(expected, rel=1e-9)
