"""Where log p(x) is known: two latents by quadrature, a linear-Gaussian model in closed form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal
from zoo_autoencoder.gaussian import kl_between
from zoo_autoencoder.iwae.config import IWAEConfig
from zoo_autoencoder.iwae.model import IWAE
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import Labels, to_unit

BINARY = ImageSpec(channels=1, height=3, width=3, levels=2)
GREY = ImageSpec(channels=1, height=2, width=3, levels=16)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid() -> tuple[Tensor, float]:
    """Codes `(G, 2)`, and the log of the area that each stands for."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log(float(axis[1] - axis[0]))


@torch.no_grad()
def divergence_from_posterior(model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x), and KL(q(z|x) || p(z|x)) with p(z|x) = p(x, z) / p(x), by sums over a grid. nats, `(N,)` each."""
    z, area = grid()
    joint = model.log_likelihood(x, z.expand(len(x), -1, -1)) + Normal(0.0, 1.0).log_prob(z).sum(1)  # (N, G)
    evidence = (joint + area).logsumexp(1)
    mean, log_var = model.posterior(x)
    log_q = Normal(mean[:, None], (log_var / 2).exp()[:, None]).log_prob(z).sum(2)
    weight = (log_q + area).exp()
    torch.testing.assert_close(weight.sum(1), torch.ones_like(evidence), atol=1e-6, rtol=0)  # the grid is wide enough
    return evidence, (weight * (log_q - (joint - evidence[:, None]))).sum(1)


def test_what_the_bound_misses_is_the_divergence_of_the_posterior() -> None:
    torch.manual_seed(0)
    model = VAE(BINARY, VAEConfig(hidden=(16,), latent=2)).double()
    x = torch.randint(2, (4, *BINARY.shape), generator=rng(), dtype=torch.uint8)
    step = LocalStep(model, lr=1e-2, steps=300)
    for _ in range(60):
        step.run(Batch(x))
    evidence, divergence = divergence_from_posterior(model, x)
    gap = evidence - model.elbo(x, draws=100_000, generator=rng(1))
    assert float(divergence.min()) > 0.01
    torch.testing.assert_close(gap, divergence, atol=0.02, rtol=0)


class Linear(VAE):
    """p(v|z) = N(W z + b, s^2 I), with orthogonal columns of W, so that p(z|v) is a diagonal Gaussian.

    wide: by how much the variance of q is too large; 1 is the posterior.
    """

    noise = 0.3

    def __init__(self, wide: float = 1.0) -> None:
        super().__init__(GREY, VAEConfig(hidden=(1,), latent=2))
        dims = GREY.dims
        basis = torch.linalg.qr(torch.randn(dims, 2, generator=rng(3), dtype=torch.float64))[0]
        weight = basis * torch.tensor([0.8, 0.4], dtype=torch.float64)
        self.decoder = nn.Linear(2, dims)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(dims, 4))
        self.double()
        self.decoder.weight.data, self.decoder.bias.data = weight, torch.full((dims,), 0.5, dtype=torch.float64)
        precision = 1 + weight.square().sum(0) / self.noise**2
        head = self.encoder[1]
        head.weight.data = torch.cat([(weight / precision).T / self.noise**2, torch.zeros(2, dims)])
        head.bias.data = torch.cat([-head.weight.data[:2] @ self.decoder.bias.data, (wide / precision).log()])

    def log_likelihood(self, x: Tensor, z: Tensor, labels: Labels = None) -> Tensor:
        v = to_unit(x, GREY).double().flatten(1).unsqueeze(1)
        return Normal(self.decoder(z), self.noise).log_prob(v).sum(-1)

    def evidence(self, x: Tensor) -> Tensor:
        w = self.decoder.weight
        covariance = w @ w.T + self.noise**2 * torch.eye(GREY.dims)
        return MultivariateNormal(self.decoder.bias, covariance).log_prob(to_unit(x, GREY).double().flatten(1)).detach()


def grey(n: int) -> Tensor:
    return torch.randint(GREY.levels, (n, *GREY.shape), generator=rng(1), dtype=torch.uint8)


def test_with_the_posterior_itself_every_bound_is_the_likelihood() -> None:
    """Every weight is p(x), so one sample is enough, whatever its noise; and the ELBO is tight."""
    model, x = Linear(), grey(20)
    mean, log_var = model.posterior(x)
    weights = model.log_weight(x, mean, log_var, 3 * torch.randn(20, 7, 2, dtype=torch.float64))
    truth = model.evidence(x)
    torch.testing.assert_close(weights, truth[:, None].expand(-1, 7))
    torch.testing.assert_close(model.iwae(x, 1, generator=rng()), truth)
    torch.testing.assert_close(model.elbo(x, draws=50_000, generator=rng()), truth, atol=0.05, rtol=0)


@pytest.mark.parametrize("wide", [0.5, 2.0])
def test_with_another_posterior_the_bounds_are_their_closed_forms_and_rise(wide: float) -> None:
    model, x = Linear(wide), grey(2000)
    truth, q, exact = model.evidence(x), model.posterior(x), Linear().posterior(x)
    closed = truth - kl_between(*q, *exact)
    torch.testing.assert_close(model.elbo(x[:100], draws=10_000, generator=rng()), closed[:100], atol=0.15, rtol=0)
    ladder = [closed.mean(), *(model.iwae(x, n, generator=rng(n)).mean() for n in (4, 32, 256))]
    assert all(low < high for low, high in itertools.pairwise(ladder)), ladder
    if wide > 1:  # weights of bounded variance
        assert float(ladder[-1]) == pytest.approx(float(truth.mean()), abs=2e-3)


def test_the_doubly_reparameterised_gradient_of_the_posterior_is_zero() -> None:
    """log w does not depend on z there: no noise is left, where the paper's first estimator has some."""
    linear, x = Linear(), grey(5)
    spread = {}
    for gradient in ("reparameterization", "doubly_reparameterized"):
        model = IWAE(GREY, IWAEConfig(hidden=(1,), latent=2, samples=3, gradient=gradient))
        model.encoder, model.decoder, model.log_likelihood = linear.encoder, linear.decoder, linear.log_likelihood
        batch = Batch(x).with_(eps=torch.randn(5, 3, 2, generator=rng(), dtype=torch.float64))
        grads = torch.autograd.grad(model.loss(batch)["loss"], list(linear.encoder.parameters()))
        spread[gradient] = max(float(g.abs().max()) for g in grads)
    assert spread["doubly_reparameterized"] < 1e-12
    assert spread["reparameterization"] > 1e-3
