"""The mixture of Gaussians that is fitted to codes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from zoo_autoencoder.code_density import CodeDensity
from zoo_autoencoder.deterministic_config import DensityConfig
from zoo_mixture.gmm.em import Mixture


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes(n: int = 4000) -> Tensor:
    """Two Gaussians of very different scales in the two latents."""
    eps, left = torch.randn(n, 2, generator=rng()).double(), torch.rand(n, generator=rng(1)) < 0.3
    mixing = torch.tensor([[100.0, 0.0], [0.004, 0.003]]).double()
    return eps @ mixing.T + torch.where(left[:, None], torch.tensor([-500.0, 0.05]), torch.tensor([500.0, 0.0]))


def log_density(density: CodeDensity, z: Tensor) -> Tensor:
    buffers = (density.weights.double(), density.means.double(), density.factors.double())
    return Mixture(*buffers).log_joint(z).logsumexp(1)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_density_in_the_buffers_is_the_one_that_em_climbed(covariance: str) -> None:
    """Scales put in and taken out again; but for the floor, a jitter of the standardised codes."""
    density = CodeDensity(2, DensityConfig(components=2, covariance=covariance, floor=1e-6))
    climbed = density.fit(codes())
    assert (climbed.diff() > -1e-9).all()
    assert float(log_density(density, codes()).mean()) == pytest.approx(float(climbed[-1]), abs=1e-3)


def test_the_mixture_that_made_the_codes_is_found() -> None:
    density = CodeDensity(2, DensityConfig(components=2))
    z = codes()
    density.fit(z)
    truth = torch.stack(
        [
            math.log(share) + MultivariateNormal(torch.tensor(mean).double(), scale_tril=tril).log_prob(z)
            for share, mean, tril in (
                (0.3, [-500.0, 0.05], torch.tensor([[100.0, 0.0], [0.004, 0.003]]).double()),
                (0.7, [500.0, 0.0], torch.tensor([[100.0, 0.0], [0.004, 0.003]]).double()),
            )
        ],
        1,
    ).logsumexp(1)
    assert float((truth - log_density(density, z)).mean()) == pytest.approx(0, abs=0.02)
    drawn = density.draw(20_000, rng(2)).double()
    scale = z.std(0)
    torch.testing.assert_close(drawn.mean(0) / scale, z.mean(0) / scale, atol=0.05, rtol=0)
    torch.testing.assert_close((drawn / scale).T.cov(), (z / scale).T.cov(), atol=0.05, rtol=0)


def test_the_order_of_the_codes_does_not_matter() -> None:
    one, two = (CodeDensity(2, DensityConfig(components=3)) for _ in range(2))
    z = codes(500)
    one.fit(z)
    two.fit(z[torch.randperm(500, generator=rng())])
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])


def test_a_latent_that_never_changes_and_codes_that_repeat_do_no_harm() -> None:
    z = torch.cat([codes(100), torch.full((100, 1), 7.0).double()], 1).repeat(3, 1)
    density = CodeDensity(3, DensityConfig(components=3))
    density.fit(z)
    drawn = density.draw(200, rng())
    assert drawn.isfinite().all()
    assert ((drawn[:, 2] - 7).abs() < 0.2).all()


def test_more_components_than_different_codes_leave_some_without_weight() -> None:
    """A long training of few images, or of equal ones, ends with weights that draw."""
    for different in (1, 4):
        density = CodeDensity(2, DensityConfig(components=5))
        z = codes(different).repeat(10, 1)
        density.fit(z)
        assert int((density.weights > 0).sum()) == different
        assert density.weights.sum().item() == pytest.approx(1)
        scale = z.std(0) if different > 1 else torch.ones(2)
        drawn = density.draw(100, rng()).double()
        assert (torch.cdist(drawn / scale, z / scale).amin(1) < 0.2).all()
