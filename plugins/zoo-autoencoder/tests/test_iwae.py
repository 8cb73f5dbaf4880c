"""The importance-weighted autoencoder: its loss is its bound, and both of its gradients are that bound's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_autoencoder.iwae.config import IWAEConfig
from zoo_autoencoder.iwae.model import IWAE
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec, ZooError

IMAGES = ImageSpec(channels=1, height=3, width=3, levels=2)


def make(gain: float = 2.0, **changes: object) -> IWAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IWAE(IMAGES, IWAEConfig(hidden=(6,), **changes)).double().eval()
        for parameter in model.parameters():
            parameter.data = gain * parameter.data + 0.1 * torch.randn_like(parameter)
    return model


def some(n: int) -> Tensor:
    return torch.randint(2, (n, *IMAGES.shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("gradient", ["reparameterization", "doubly_reparameterized"])
def test_training_maximises_the_bound_that_evaluation_reports(gradient: str) -> None:
    model, x = make(latent=2, samples=8, gradient=gradient), some(4)
    many = Batch(x.repeat(1000, 1, 1, 1))
    with torch.no_grad():
        loss = model.loss(many.with_(eps=torch.randn(4000, 8, 2, generator=rng(0), dtype=torch.float64)))["loss"]
    bound = torch.stack([model.iwae(x, 8, generator=rng(k)).mean() for k in range(500)]).mean()
    assert -float(loss) == pytest.approx(float(bound), abs=3e-2)


def test_it_is_a_vae_trained_on_the_same_bound() -> None:
    ours, x = make(latent=2, samples=5), some(3)
    vae = VAE(IMAGES, VAEConfig(hidden=(6,), latent=2, samples=5, objective="iwae")).double()
    vae.load_state_dict(ours.state_dict())
    batch = Batch(x).with_(eps=torch.randn(3, 5, 2, generator=rng(0), dtype=torch.float64))
    torch.testing.assert_close(ours.loss(batch)["loss"], vae.loss(batch)["loss"])


def test_the_gradient_is_equation_14_written_out() -> None:
    """sum_i w~_i grad log w_i, one sample after the other."""
    model, x = make(latent=2, samples=4), some(1)
    eps = torch.randn(1, 4, 2, generator=rng(0), dtype=torch.float64)
    parameters = list(model.parameters())
    each, log_w = [], []
    for i in range(4):
        value = model.log_weight(x, *model.posterior(x), eps[:, i : i + 1]).sum()
        each.append(torch.autograd.grad(value, parameters))
        log_w.append(float(value.detach()))
    share = torch.tensor(log_w).softmax(0).tolist()
    grads = torch.autograd.grad(-model.loss(Batch(x).with_(eps=eps))["loss"], parameters)
    for p, gradient in enumerate(grads):
        literal = sum(share[i] * each[i][p] for i in range(4))
        torch.testing.assert_close(gradient, literal, atol=1e-6, rtol=1e-5)


def test_the_gradient_reparameterised_twice_is_unbiased_and_less_noisy() -> None:
    """k = 2 samples of one latent: expectations over both are sums over 16 x 16 nodes of a Gauss-Hermite rule."""
    axis, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(16))
    eps = torch.cartesian_prod(axis, axis).view(-1, 1, 2, 1)
    weight = torch.cartesian_prod(weight, weight).prod(1) / (2 * math.pi)
    x, means, spread = some(1), {}, {}
    for gradient in ("reparameterization", "doubly_reparameterized"):
        model = make(gain=0.3, latent=1, samples=2, gradient=gradient)
        rows: dict[str, list[Tensor]] = {"encoder": [], "decoder": []}
        for e in eps:
            loss = model.loss(Batch(x).with_(eps=e))["loss"]
            for part, row in rows.items():
                found = torch.autograd.grad(loss, list(getattr(model, part).parameters()), retain_graph=True)
                row.append(torch.cat([g.flatten() for g in found]))
        grads = {part: torch.stack(row) for part, row in rows.items()}
        means[gradient] = {part: weight @ g for part, g in grads.items()}
        centred = (grads["encoder"] - means[gradient]["encoder"]).square()
        spread[gradient] = float((weight @ centred).sum())
        means[gradient]["decoder"] = grads["decoder"]  # equal for each noise, not only on average
    for part in ("encoder", "decoder"):
        one, two = (means[name][part] for name in ("reparameterization", "doubly_reparameterized"))
        torch.testing.assert_close(one, two, atol=1e-7, rtol=1e-6)
    assert spread["doubly_reparameterized"] < spread["reparameterization"]


def test_bad_configs_are_refused_by_name() -> None:
    with pytest.raises(ZooError, match=r"IWAEConfig.samples: expected at least 1"):
        IWAEConfig(samples=0)
    with pytest.raises(ZooError, match=r"IWAE.iwae: expected n >= 1"):
        make(latent=2).iwae(some(1), 0)
