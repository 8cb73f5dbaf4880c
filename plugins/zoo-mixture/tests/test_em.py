"""The formulas of EM for Gaussian mixtures, on points of R^D."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from zoo_mixture.gmm.em import Mixture, Statistics, precision_factors

COVARIANCES = ("full", "diagonal", "spherical")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def random_mixture(covariance: str, k: int = 3, dims: int = 4) -> Mixture:
    root = normal(k, dims, dims, seed=1)
    sigma = {
        "full": root @ root.mT + 0.3 * torch.eye(dims),
        "diagonal": 0.2 + normal(k, dims, seed=2).square(),
        "spherical": 0.2 + normal(k, 1, seed=3).square(),
    }[covariance]
    return Mixture(normal(k, seed=4).softmax(0), 2 * normal(k, dims, seed=5), precision_factors(sigma))


def as_full(mixture: Mixture) -> Tensor:
    """Sigma as matrices `(K, D, D)`."""
    if mixture.full:
        return mixture.covariances
    return torch.diag_embed(mixture.covariances.expand_as(mixture.means))


def reference(mixture: Mixture) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(mixture.weights), MultivariateNormal(mixture.means, as_full(mixture)))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_density_is_that_of_torch_distributions(covariance: str) -> None:
    mixture, v = random_mixture(covariance), 3 * normal(50, 4, seed=6)
    assert torch.allclose(mixture.log_joint(v).logsumexp(1), reference(mixture).log_prob(v), rtol=1e-10)
    shifted = Mixture(mixture.weights, mixture.means + 1e4, mixture.factors)
    assert torch.allclose(shifted.log_joint(v + 1e4), mixture.log_joint(v), atol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_integrated_noise_is_the_mean_over_drawn_noise(covariance: str) -> None:
    mixture, v, noise = random_mixture(covariance), normal(3, 4, seed=7), 0.05
    e = math.sqrt(12 * noise) * (torch.rand(200_000, 4, generator=rng(8), dtype=torch.float64) - 0.5)
    drawn = torch.stack([mixture.log_joint(point + e).mean(0) for point in v])
    assert torch.allclose(mixture.log_joint(v, noise), drawn, atol=0.02)
    expected = torch.stack([reference(mixture).log_prob(point + e).mean() for point in v])
    assert bool((mixture.log_joint(v, noise).logsumexp(1) <= expected + 0.02).all())  # F is a lower bound


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_m_step_is_the_weighted_mean_and_covariance(covariance: str) -> None:
    mixture, v, noise = random_mixture(covariance), normal(40, 4, seed=9), 0.01
    new = mixture.maximization(mixture.expectation(v, noise), noise)
    gamma = mixture.responsibilities(v, noise)  # (N, K)
    n_k = gamma.sum(0)
    for k in range(3):
        mean = sum(gamma[n, k] * v[n] for n in range(40)) / n_k[k]
        sigma = sum(gamma[n, k] * torch.outer(v[n] - mean, v[n] - mean) for n in range(40)) / n_k[k]
        sigma = sigma + noise * torch.eye(4)
        if covariance != "full":
            sigma = torch.diag(sigma.diagonal() if covariance == "diagonal" else sigma.diagonal().mean().expand(4))
        assert torch.allclose(new.weights[k], n_k[k] / 40)
        assert torch.allclose(new.means[k], mean)
        assert torch.allclose(as_full(new)[k], sigma, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_never_lowers_the_objective(covariance: str, noise: float) -> None:
    v = torch.cat([normal(100, 4, seed=10), 0.3 * normal(100, 4, seed=11) + 2])
    start = random_mixture(covariance)
    mixture = Mixture(start.weights, v[::80], start.factors)  # on points, so that no component falls for a single one
    objectives = []
    for _ in range(40):
        statistics = mixture.expectation(v, noise)
        objectives.append(float(statistics["objective"]))
        mixture = mixture.maximization(statistics, noise)
    assert all(b >= a - 1e-10 for a, b in itertools.pairwise(objectives)), objectives
    assert objectives[-1] > objectives[0] + 0.1


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_statistics_of_chunks_average_to_those_of_the_whole(covariance: str) -> None:
    mixture, v = random_mixture(covariance), normal(100, 4, seed=12)
    parts = [(mixture.expectation(part, 0.01), len(part) / 100) for part in v.split(30)]  # 30, 30, 30, 10
    whole: Statistics = mixture.expectation(v, 0.01)
    for name, value in whole.items():
        assert torch.allclose(sum(part[name] * share for part, share in parts), value, rtol=1e-10, atol=1e-12), name


def test_recovers_a_known_mixture() -> None:
    sigma = [[[1.0, 0.6], [0.6, 1.0]], [[0.3, 0.0], [0.0, 1.0]], [[1.0, -0.4], [-0.4, 0.5]]]
    truth = Mixture(
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64),
        precision_factors(torch.tensor(sigma, dtype=torch.float64)),
    )
    v = truth.draw(20_000, rng(13))
    mixture = Mixture(
        torch.full_like(truth.weights, 1 / 3), truth.means + normal(3, 2, seed=14), truth.factors * 0 + torch.eye(2)
    )
    for _ in range(100):
        mixture = mixture.maximization(mixture.expectation(v))
    assert torch.allclose(mixture.weights, truth.weights, atol=0.02)
    assert torch.allclose(mixture.means, truth.means, atol=0.06)
    assert torch.allclose(mixture.covariances, truth.covariances, atol=0.06)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_draws_have_the_moments_of_the_mixture(covariance: str) -> None:
    mixture = random_mixture(covariance)
    v = mixture.draw(200_000, rng(15))
    mean = mixture.weights @ mixture.means
    second = as_full(mixture) + mixture.means[:, :, None] * mixture.means[:, None, :]
    sigma = (mixture.weights[:, None, None] * second).sum(0) - torch.outer(mean, mean)
    assert torch.allclose(v.mean(0), mean, atol=0.05)
    assert torch.allclose(v.T.cov(), sigma, atol=0.02 * float(sigma.abs().max()))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_noise_keeps_covariances_positive_definite(covariance: str) -> None:
    mixture, v = random_mixture(covariance), normal(2, 4, seed=16).repeat(20, 1)  # two different points
    for _ in range(20):
        mixture = mixture.maximization(mixture.expectation(v, 1e-6), 1e-6)
    assert bool(torch.linalg.eigvalsh(as_full(mixture)).min() > 0.99e-6)
    assert bool(mixture.log_joint(v).logsumexp(1).isfinite().all())


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_component_without_points_stays_where_it_is(covariance: str) -> None:
    mixture = random_mixture(covariance)
    far = Mixture(mixture.weights, mixture.means + 1e3 * torch.eye(3, 4), mixture.factors)
    new = far.maximization(
        far.expectation(mixture.means[2] + normal(30, 4, seed=17) + 1e3 * torch.eye(3, 4)[2], 0.1), 0.1
    )
    assert new.weights.tolist() == [0, 0, 1]
    assert torch.equal(new.means[:2], far.means[:2])
    assert torch.equal(new.factors[:2], far.factors[:2])
    assert bool(new.log_joint(far.means).logsumexp(1).isfinite().all())
