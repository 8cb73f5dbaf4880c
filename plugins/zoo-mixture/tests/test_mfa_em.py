"""The formulas of EM for mixtures of factor analysers, on points of R^D, beside literal ones with D x D matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis
from torch import Tensor
from torch.distributions import MultivariateNormal
from zoo_mixture.gmm.em import Mixture, precision_factors
from zoo_mixture.mfa.em import Analysers

NOISES = {"diagonal": (3, 6), "isotropic": (3, 1), "shared": (1, 6)}
D, Q = 6, 2


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_analysers(kind: str = "diagonal", apart: float = 2.0) -> Analysers:
    psi = 0.1 + normal(*NOISES[kind], seed=1).square()
    return Analysers(normal(3, seed=2).softmax(0), apart * normal(3, D, seed=3), normal(3, D, Q, seed=4), psi)


def dense(mixture: Analysers) -> Tensor:
    """Sigma_k = Lambda_k Lambda_k^T + Psi_k, `(K, D, D)`."""
    return mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise.expand(mixture.means.shape))


def as_gmm(mixture: Analysers) -> Mixture:
    return Mixture(mixture.weights, mixture.means, precision_factors(dense(mixture)))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("kind", NOISES)
def test_is_the_gaussian_mixture_of_its_covariances(kind: str, noise: float) -> None:
    mixture, v = random_analysers(kind), 3 * normal(600, D, seed=5)
    assert torch.allclose(mixture.log_joint(v, noise), as_gmm(mixture).log_joint(v, noise), rtol=0, atol=1e-8)
    h, z = mixture.encode(v, noise)
    assert torch.allclose(h, as_gmm(mixture).responsibilities(v, noise), atol=1e-9)
    for k in range(3):
        beta = mixture.loadings[k].T @ torch.linalg.inv(dense(mixture)[k])
        assert torch.allclose(z[:, k], (v - mixture.means[k]) @ beta.T, atol=1e-9)


def literal_m_step(mixture: Analysers, c: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's M step, with Lambda~ = [Lambda mu], z~ = [z 1]: means, loadings and each component's own Psi.

    Noise is a sum over points c +- sqrt(D noise) e_d, which have its mean and covariance, each with c's
    responsibilities.
    """
    h = as_gmm(mixture).responsibilities(c, noise)
    offsets = math.sqrt(D * noise) * torch.cat([torch.eye(D), -torch.eye(D)]).double()
    means, loadings, variances = [], [], []
    for k, sigma in enumerate(dense(mixture)):
        lam = mixture.loadings[k]
        beta = lam.T @ torch.linalg.inv(sigma)
        xz, zz, xx = (torch.zeros(shape, dtype=torch.float64) for shape in ((D, Q + 1), (Q + 1, Q + 1), (D,)))
        total = 0.0
        for n in range(len(c)):
            for x in c[n] + offsets:
                weight = h[n, k] / len(offsets)
                z = beta @ (x - mixture.means[k])
                second = torch.eye(Q) - beta @ lam + torch.outer(z, z)  # E[z z^T | x, k]
                augmented = torch.cat([z, torch.ones(1)])
                corner = torch.cat([torch.cat([second, z[:, None]], 1), augmented[None]])
                xz += weight * torch.outer(x, augmented)
                zz += weight * corner
                xx += weight * x.square()
                total += float(weight)
        lam = xz @ torch.linalg.inv(zz)
        means.append(lam[:, -1])
        loadings.append(lam[:, :-1])
        variances.append((xx - (lam * xz).sum(1)) / total)
    return torch.stack(means), torch.stack(loadings), torch.stack(variances)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("kind", NOISES)
def test_m_step_is_the_papers(kind: str, noise: float) -> None:
    mixture, c = random_analysers(kind), normal(25, D, seed=6)
    new = mixture.maximization(mixture.expectation(c, noise), noise)
    means, loadings, own = literal_m_step(mixture, c, noise)
    h = as_gmm(mixture).responsibilities(c, noise).mean(0)
    pooled = {"diagonal": own, "isotropic": own.mean(1, keepdim=True), "shared": (h @ own)[None]}[kind]
    assert torch.allclose(new.weights, h)
    assert torch.allclose(new.means, means, atol=1e-9)
    assert torch.allclose(new.loadings, loadings, atol=1e-9)
    assert torch.allclose(new.noise, pooled.clamp_min(noise), atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("kind", NOISES)
def test_em_never_lowers_the_objective(kind: str, noise: float) -> None:
    v = torch.cat([normal(100, D, seed=7) @ normal(D, D, seed=8), 0.3 * normal(100, D, seed=9) + 2])
    start = random_analysers(kind)
    mixture = Analysers(start.weights, v[::80], start.loadings, start.noise)
    objectives = []
    for _ in range(60):
        statistics = mixture.expectation(v, noise)
        objectives.append(float(statistics["objective"]))
        mixture = mixture.maximization(statistics, noise)
    assert all(b >= a - 1e-10 for a, b in itertools.pairwise(objectives)), objectives
    assert objectives[-1] > objectives[0] + 0.1


def test_statistics_of_chunks_average_to_those_of_the_whole() -> None:
    mixture, v = random_analysers(), normal(100, D, seed=10)
    parts = [(mixture.expectation(part, 0.01), len(part) / 100) for part in v.split(30)]
    for name, value in mixture.expectation(v, 0.01).items():
        assert torch.allclose(sum(part[name] * share for part, share in parts), value, rtol=1e-10, atol=1e-12), name


def test_points_that_do_not_count_may_be_left_out() -> None:
    mixture, v = random_analysers(), normal(50, D, seed=10) - random_analysers()._mean
    log_joint, y = mixture._whitened(v, 0.0)
    h = log_joint.softmax(1)
    h = torch.where(h > 0.2, h, 0)
    for dense_sum, sparse_sum in zip(mixture._moments(v, h, y), mixture._sparse_moments(v, h, y), strict=True):
        assert torch.allclose(dense_sum, sparse_sum, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_one_isotropic_component_ends_at_probabilistic_pca(noise: float) -> None:
    """Tipping, Bishop 1999, "Probabilistic Principal Component Analysis", eqs. 7 and 8, of the covariance S + noise."""
    v = (
        normal(400, D, seed=11)
        * torch.tensor([3.0, 2.0, 0.7, 0.6, 0.5, 0.4])
        @ torch.linalg.qr(normal(D, D, seed=12))[0]
    )
    mixture = Analysers(torch.ones(1).double(), normal(1, D), normal(1, D, Q, seed=13), torch.ones(1, 1).double())
    for _ in range(600):
        mixture = mixture.maximization(mixture.expectation(v, noise), noise)
    values, vectors = torch.linalg.eigh(v.T.cov(correction=0) + noise * torch.eye(D))
    sigma2 = values[:-Q].mean()  # eq. 8
    w = vectors[:, -Q:] * (values[-Q:] - sigma2).sqrt()  # eq. 7, up to a rotation
    assert float(mixture.noise) == pytest.approx(float(sigma2), rel=1e-8)
    assert torch.allclose(mixture.loadings[0] @ mixture.loadings[0].T, w @ w.T, atol=1e-7)
    assert torch.allclose(mixture.means[0], v.mean(0), atol=1e-9)


def test_one_component_is_scikit_learns_factor_analysis() -> None:
    v = normal(500, Q, seed=14) @ normal(Q, D, seed=15) + normal(500, D, seed=16) * torch.linspace(0.3, 1, D)
    theirs = FactorAnalysis(Q, tol=1e-10, max_iter=5000, svd_method="lapack").fit(v.numpy())
    mixture = Analysers(torch.ones(1).double(), normal(1, D), normal(1, D, Q, seed=17), torch.ones(1, D).double())
    for _ in range(2000):
        mixture = mixture.maximization(mixture.expectation(v))
    assert np.allclose(dense(mixture)[0].numpy(), theirs.get_covariance(), atol=1e-4)
    assert float(mixture.log_joint(v).mean()) == pytest.approx(theirs.score(v.numpy()), abs=1e-6)


def test_what_is_not_known_follows_the_conditional_gaussian() -> None:
    """Against PRML eqs. 2.81 and 2.82, dense, for a different mask of each point; nothing and everything known too."""
    mixture, v = random_analysers(apart=0.5), normal(6, D, seed=18)
    known = torch.rand(6, D, generator=torch.Generator().manual_seed(19)) < 0.5
    known[0], known[1] = False, True
    log_joint, z, root = mixture.condition(v, known)
    for n, k in itertools.product(range(6), range(3)):
        o, u = known[n].nonzero().squeeze(1), (~known[n]).nonzero().squeeze(1)
        sigma, mu, lam = dense(mixture)[k], mixture.means[k], mixture.loadings[k]
        marginal = MultivariateNormal(mu[o], sigma[o][:, o]).log_prob(v[n, o]) if len(o) else torch.zeros(())
        assert float(log_joint[n, k]) == pytest.approx(float(mixture.weights[k].log() + marginal), abs=1e-9)
        gain = sigma[u][:, o] @ torch.linalg.inv(sigma[o][:, o])
        assert torch.allclose(mu[u] + lam[u] @ z[n, k], mu[u] + gain @ (v[n, o] - mu[o]), atol=1e-9)
        cov = lam @ torch.cholesky_inverse(root[n, k]) @ lam.T + torch.diag(mixture.noise[k])
        assert torch.allclose(cov[u][:, u], sigma[u][:, u] - gain @ sigma[o][:, u], atol=1e-9)


def test_draws_have_the_moments_of_the_mixture() -> None:
    mixture = random_analysers()
    v = mixture.draw(200_000, torch.Generator().manual_seed(20))
    mean = mixture.weights @ mixture.means
    second = dense(mixture) + mixture.means[:, :, None] * mixture.means[:, None, :]
    sigma = (mixture.weights[:, None, None] * second).sum(0) - torch.outer(mean, mean)
    assert torch.allclose(v.mean(0), mean, atol=0.05)
    assert torch.allclose(v.T.cov(), sigma, atol=0.02 * float(sigma.abs().max()))


def test_data_of_known_entropy_cost_their_entropy() -> None:
    """Fitted to draws of a mixture, it finds held-out draws as likely as that mixture does."""
    truth = random_analysers()
    generator = torch.Generator().manual_seed(21)
    v, held_out = truth.draw(20_000, generator), truth.draw(20_000, generator)
    mixture = Analysers(
        torch.full((3,), 1 / 3).double(), truth.means + normal(3, D, seed=22), normal(3, D, Q), truth.noise * 0 + 1
    )
    for _ in range(200):
        mixture = mixture.maximization(mixture.expectation(v))
    lost = truth.log_joint(held_out).logsumexp(1) - mixture.log_joint(held_out).logsumexp(1)
    assert abs(float(lost.mean())) < 0.01


def test_constant_dimensions_and_copies_of_points_keep_everything_finite() -> None:
    v = normal(2, D, seed=23).repeat(20, 1)  # two different points
    v[:, 3] = 0.25  # and a dimension that is constant
    mixture = random_analysers()
    for _ in range(200):
        mixture = mixture.maximization(mixture.expectation(v, 1e-6), 1e-6)
    assert bool(mixture.noise.min() >= 1e-6)
    assert torch.allclose(mixture.noise[mixture.weights > 0.1][:, 3], torch.tensor(1e-6).double(), rtol=1e-3)
    for tensor in (mixture.log_joint(v).logsumexp(1), mixture.loadings, mixture.noise, *mixture.encode(v)):
        assert bool(tensor.isfinite().all())


def test_a_component_without_points_stays_where_it_is() -> None:
    mixture = random_analysers()
    far = Analysers(mixture.weights, mixture.means + 1e4 * torch.eye(3, D), mixture.loadings, mixture.noise)
    new = far.maximization(far.expectation(far.means[2] + normal(30, D, seed=24), 0.1), 0.1)
    assert new.weights.tolist() == [0, 0, 1]
    for name in ("means", "loadings", "noise"):
        assert torch.equal(getattr(new, name)[:2], getattr(far, name)[:2])
    assert bool(new.log_joint(far.means).logsumexp(1).isfinite().all())


def test_canonical_factors_are_another_name_of_the_same_density() -> None:
    mixture, v = random_analysers(), normal(20, D, seed=25)
    same = mixture.canonical()
    assert torch.allclose(same.log_joint(v), mixture.log_joint(v), atol=1e-10)
    signal = same.loadings.mT @ (same.loadings / same.noise[:, :, None])
    assert torch.allclose(signal, torch.diag_embed(signal.diagonal(dim1=1, dim2=2)), atol=1e-9)
    assert bool((signal[:, 0, 0] >= signal[:, 1, 1]).all())
