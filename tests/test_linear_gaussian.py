"""A linear-Gaussian VAE's likelihood is known in closed form; the engine's importance-weighted bounds rise to it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zoo_core import Config, GenerativeModel, ImageSpec
from zoo_core.images import to_unit
from zoo_core.likelihood import scores

IMAGES = ImageSpec(channels=1, height=2, width=2, levels=16)


class LinearGaussian(GenerativeModel):
    """z ~ N(0, I), v = W z + b + s eps: log p(v) = log N(v; b, W W' + s^2 I). The posterior is a little too wide."""

    noise, wide = 0.2, 1.5

    def __init__(self) -> None:
        super().__init__(IMAGES, Config())
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(0.3 * torch.randn(4, 2, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.full((4,), 0.5, dtype=torch.float64))

    def posterior(self, v):
        """Mean `(N, 2)` and a factor of the covariance `(2, 2)` of p(z | v), the covariance `wide` times too large."""
        precision = torch.eye(2, dtype=torch.float64) + self.weight.T @ self.weight / self.noise**2
        covariance = torch.linalg.inv(precision)
        return (v - self.bias) @ self.weight @ covariance / self.noise**2, torch.linalg.cholesky(self.wide * covariance)

    def weights(self, x, n, generator):
        """ln p(v, z) - ln q(z | v) for n draws of z, `(N, n)`."""
        v = to_unit(x, IMAGES).double().flatten(1)
        mean, root = self.posterior(v)
        eps = torch.randn(len(v), n, 2, generator=generator, dtype=torch.float64)
        z = mean[:, None] + eps @ root.T
        log_q = -eps.square().sum(2) / 2 - root.diagonal().log().sum() - math.log(2 * math.pi)
        log_z = -z.square().sum(2) / 2 - math.log(2 * math.pi)
        error = (v[:, None] - z @ self.weight.T - self.bias) / self.noise
        log_v = -error.square().sum(2) / 2 - 4 * math.log(self.noise) - 2 * math.log(2 * math.pi)
        return log_v + log_z - log_q

    def iwae(self, x, n, *, labels=None, text=None, generator=None):
        self.check(x, labels, text)
        return self.weights(x, n, generator).logsumexp(1) - math.log(n)

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        self.check(x, labels, text)
        return self.weights(x, draws, generator).mean(1)

    def sample(self, n, *, labels=None, text=None, generator=None):
        raise AssertionError

    def train_step(self, batch, step):
        raise AssertionError

    def closed_form(self, x):
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(4, dtype=torch.float64)
        normal = torch.distributions.MultivariateNormal(self.bias, covariance)
        return normal.log_prob(to_unit(x, IMAGES).double().flatten(1))


def test_importance_weighted_bounds_rise_to_the_closed_form() -> None:
    model = LinearGaussian()
    x = torch.randint(16, (2_000, *IMAGES.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    truth = float(model.closed_form(x).mean().detach())
    bounds = []
    for n in (1, 4, 16, 64, 1024):
        by_method = {result.method: result for result in scores(model, x, n=n, draws=4)}
        assert by_method[f"iwae-{n}"].relation == "≤"
        bounds.append(float(by_method[f"iwae-{n}"].nats.mean()))
    elbo = float(by_method["elbo-4"].nats.mean())
    assert bounds == sorted(bounds), "tighter with every n"
    assert elbo == pytest.approx(bounds[0], abs=0.05), "one importance sample is the ELBO"
    assert elbo < truth - 0.05
    assert bounds[-1] == pytest.approx(truth, abs=1e-3)
