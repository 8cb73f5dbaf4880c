"""beta, free bits, warm-up and the score function: against literal sums, quadrature, and what stays as it was."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from zoo_autoencoder.gaussian import reparameterise
from zoo_autoencoder.vae import objective
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError, spec
from zoo_core.testing import LAWS
from zoo_core.testing.cases import accepted

IMAGES = ImageSpec(channels=1, height=3, width=3, levels=2)
SMALL = VAEConfig(hidden=(8,), latent=2)


def make(gain: float = 1.5, **changes: object) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(IMAGES, dataclasses.replace(SMALL, **changes)).double().eval()
        for parameter in model.parameters():
            parameter.data = gain * parameter.data + 0.1 * torch.randn_like(parameter)
    return model


def some(n: int) -> Tensor:
    return torch.randint(2, (n, *IMAGES.shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def nodes(order: int = 16) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite: eps `(order^2, 2)` and weights such that sum_i w_i f(eps_i) is E[f(eps)], eps ~ N(0, I)."""
    axis, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(order))
    return torch.cartesian_prod(axis, axis), torch.cartesian_prod(weight, weight).prod(1) / (2 * math.pi)


@pytest.mark.parametrize(("beta", "free"), [(1.0, 0.0), (4.0, 0.0), (0.0, 0.0), (1.0, 3.0), (0.5, 9.0)])
def test_the_loss_is_the_papers_formula_written_out(beta: float, free: float) -> None:
    model, x = make(beta=beta, free_bits=free, samples=3), some(6)
    eps = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean, log_var = model.posterior(x)
    fit = 0.0
    divergence = torch.zeros(2, dtype=torch.float64)
    for i in range(6):
        for j in range(2):
            q = Normal(mean[i, j], (log_var[i, j] / 2).exp())
            divergence[j] += kl_divergence(q, Normal(0.0, 1.0)) / 6
        for s in range(3):
            z = mean[i] + (log_var[i] / 2).exp() * eps[i, s]
            fit += Bernoulli(logits=model.decoder(z[None])[0]).log_prob(x[i].flatten().double()).sum() / 18
    price = sum(max(torch.tensor(free), divergence[j]) if free else divergence[j] for j in range(2))
    batch = Batch(x).with_(eps=eps, above=(model.information(Batch(x)) > free).expand(6, -1))
    torch.testing.assert_close(model.loss(batch)["loss"], -(fit - beta * price))
    if free == 3.0:
        above = divergence > free
        assert above.any() and not above.all(), "a test of neither case alone"


def test_latents_below_their_free_bits_have_no_gradient_from_the_divergence() -> None:
    divergence = torch.tensor([[0.1, 3.0], [0.5, 2.0]], requires_grad=True)  # means 0.3 and 2.5
    price = objective.free_bits(divergence, (divergence.mean(0) > 1).expand(2, -1), 1.0).mean()
    assert price.item() == 3.5
    price.backward()
    assert divergence.grad is not None
    assert divergence.grad.tolist() == [[0, 0.5], [0, 0.5]]


@pytest.mark.parametrize(
    "changes",
    [
        {"free_bits": 0.2, "warmup": 0.5, "beta": 2.0},
        {"gradient": "score_function", "samples": 2},
        {"network": "conv", "widths": (4,), "hidden": ()},
    ],
    ids=["free-bits", "score-function", "conv"],
)
def test_the_laws_of_training_hold_for_every_objective(changes: dict) -> None:
    """Parameters learn, micro-batches are the whole batch, and a resumed training is the one that was not stopped."""
    found = spec("vae")
    found = dataclasses.replace(found, tiny=dataclasses.replace(found.tiny, **changes))
    for law in LAWS:
        if law.number in (1, 2, 9, 12):
            case = next(case for images in law.sizes if (case := accepted(found, images)))
            law.function(case)


def test_warm_up_weighs_the_divergence_by_the_share_of_the_training() -> None:
    model = make(warmup=0.5, beta=2.0).float()
    step = LocalStep(model, lr=0.0, steps=8)
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0):
        out = step.run(Batch(some(5)))
        torch.testing.assert_close(out["loss"], -(out["elbo"] + out["kl"]) + weight * out["kl"])


def test_bounds_are_bounds_whatever_was_trained() -> None:
    plain, altered = make(), make(beta=7.0, free_bits=2.0, warmup=0.3)
    for method, options in (("elbo", {"draws": 5}), ("iwae", {"n": 5})):
        one, two = (
            getattr(model, method)(some(3), generator=torch.Generator().manual_seed(0), **options)
            for model in (plain, altered)
        )
        assert torch.equal(one, two)


def gradients(model: VAE, estimator: str, x: Tensor, eps: Tensor, guess: float) -> Tensor:
    """Each row: one estimate, by one eps, of grad E_q[log p(x|z)] in the encoder's parameters. `(R, P)`."""
    parameters = list(model.encoder.parameters())
    rows = []
    for e in eps:
        mean, log_var = model.posterior(x)
        if estimator == "reparameterization":
            value = model.fit(x, mean, log_var, e.view(1, 1, -1)).mean(1)
        else:
            z = reparameterise(mean, log_var, e.view(1, 1, -1)).detach()
            _, value = objective.score_function(
                model.log_likelihood(x, z), z, mean, log_var, torch.full((1,), guess, dtype=torch.float64)
            )
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value.sum(), parameters)]))
    return torch.stack(rows)


@pytest.mark.parametrize("guess", [0.0, -6.0])
def test_both_estimators_are_unbiased_and_the_control_variate_lowers_the_variance(guess: float) -> None:
    """Their expectations by quadrature are the gradient, which is that of an expectation by quadrature."""
    model, x = make(gain=0.3), some(1)  # so smooth that the quadrature is exact
    eps, weight = nodes()
    mean, log_var = model.posterior(x)
    exact = (weight * model.fit(x, mean, log_var, eps.unsqueeze(0))[0]).sum()
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(exact, list(model.encoder.parameters()))])
    spread = {}
    for name in ("reparameterization", "score_function"):
        estimates = gradients(model, name, x, eps, guess)
        torch.testing.assert_close(weight @ estimates, truth, atol=1e-7, rtol=1e-6)
        spread[name] = float((weight @ (estimates - truth).square()).sum())
    assert spread["reparameterization"] < spread["score_function"]
    without = gradients(model, "score_function", x, eps, 0.0)
    if guess:
        assert spread["score_function"] < 0.5 * float((weight @ (without - truth).square()).sum())


def test_the_score_functions_loss_has_the_bounds_value_and_the_decoders_gradient() -> None:
    one, two = make(samples=4), make(samples=4, gradient="score_function")
    two.load_state_dict(one.state_dict(), strict=False)
    x, eps = some(5), torch.randn(5, 4, 2, dtype=torch.float64)
    batch = Batch(x).with_(eps=eps, centre=torch.full((5,), -5.0, dtype=torch.float64))
    losses = [model.loss(batch)["loss"] for model in (one, two)]
    torch.testing.assert_close(losses[0], losses[1])
    grads = [torch.autograd.grad(v, list(m.decoder.parameters())) for v, m in zip(losses, (one, two))]
    torch.testing.assert_close(grads[0], grads[1])


def test_a_policy_gradient_learns() -> None:
    x = some(4)
    model = make(gradient="score_function", samples=4).float()
    step = LocalStep(model, lr=1e-2, steps=600)
    before = model.elbo(x, draws=200, generator=torch.Generator().manual_seed(0)).mean()
    for _ in range(600):
        step.run(Batch(x))
    after = model.elbo(x, draws=200, generator=torch.Generator().manual_seed(0)).mean()
    assert after > before + 2
    assert after > 9 * math.log(0.5), "better than pixels without a code at 1/2"
    assert float(step.state["centre"]) > float(before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": -0.1}, "VAEConfig.beta: expected 0 or more"),
        ({"free_bits": -1.0}, "VAEConfig.free_bits"),
        ({"warmup": 1.5}, "VAEConfig.warmup"),
        ({"objective": "iwae", "beta": 2.0}, "VAEConfig.beta: expected 1 with objective = 'iwae'"),
        ({"objective": "iwae", "gradient": "score_function"}, "VAEConfig.gradient"),
    ],
)
def test_bad_objectives_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        dataclasses.replace(SMALL, **changes)
