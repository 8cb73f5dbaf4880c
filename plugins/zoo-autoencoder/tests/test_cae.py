"""CAE: the Jacobian's norm in closed form, by autograd, and entry by entry; and that it falls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.cae.config import CAEConfig
from zoo_autoencoder.cae.model import CAE, jacobian_norm
from zoo_bench.datasets import load as data

from zoo_core import Batch, ImageSpec, LocalStep

IMAGES = ImageSpec(channels=3, height=5, width=3, levels=6)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(**changes: object) -> CAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CAE(IMAGES, CAEConfig(latent=4).override(changes)).double()


def some(n: int) -> Tensor:
    return torch.randint(6, (n, *IMAGES.shape), generator=rng(), dtype=torch.uint8)


@pytest.mark.parametrize("code", ["sigmoid", "tanh", "relu", "linear"])
def test_the_closed_form_of_one_layer_is_autograds(code: str) -> None:
    model = make(code=code)
    v = model.unit(some(5))
    h, norm = model.one_layer(v)
    other, by_autograd = jacobian_norm(model.codes, v)
    torch.testing.assert_close(h, other)
    torch.testing.assert_close(norm, by_autograd)
    parameters = list(model.encoder.parameters())
    one, two = (torch.autograd.grad(n.sum(), parameters, materialize_grads=True) for n in (norm, by_autograd))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("changes", [{"hidden": [6]}, {"network": "conv", "widths": [4], "activation": "silu"}])
def test_autograds_is_the_jacobians_entry_by_entry(changes: dict[str, object]) -> None:
    model = make(tied=False, weight_decay=0.1, **changes)
    v = model.unit(some(3))
    h, norm = jacobian_norm(model.codes, v)
    assert h.shape == (3, 4)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda one: model.codes(one[None])[0], v[i])  # (4, C, H, W)
        torch.testing.assert_close(norm[i].detach(), jacobian.square().sum())


@pytest.mark.parametrize("hidden", [[], [6]])
def test_the_gradient_of_the_loss_is_that_of_finite_differences(hidden: list[int]) -> None:
    model, batch = make(hidden=hidden, contraction=0.7), Batch(some(5))
    model.loss(batch)["loss"].backward()
    for parameter in model.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.flatten()
        for i in range(0, len(flat), 1 + len(flat) // 5):
            losses = []
            for shift in (1e-6, -2e-6):
                flat[i] += shift
                losses.append(float(model.loss(batch)["loss"].detach()))
            flat[i] += 1e-6
            assert float(gradient[i]) == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_the_penalty_contracts_the_code_and_costs_reconstruction() -> None:
    digits, found = data.load("digits", "train"), []
    for contraction in (0.0, 1.0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = CAE(digits.images, CAEConfig(latent=30, contraction=contraction))
        step = LocalStep(model, lr=1e-2)
        for _ in range(150):
            metrics = step.run(digits.pinned)
        found.append(metrics)
    assert float(found[1]["contraction"]) < 0.5 * float(found[0]["contraction"])
    assert float(found[1]["mse"]) > float(found[0]["mse"])
