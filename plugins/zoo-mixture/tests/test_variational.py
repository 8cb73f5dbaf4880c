"""Variational Bayes for Gaussian mixtures: the equations written out, quadrature, and scikit-learn as a witness."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import digamma, gammaln
from sklearn.datasets import load_digits
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor
from zoo_mixture.vbgmm.variational import Posterior, Prior, gamma_quantile


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def three_clusters(n: int = 60, dims: int = 3) -> Tensor:
    return torch.cat([normal(n // 3, dims, seed=i) * (0.3 + 0.3 * i) + 3 * normal(dims, seed=10 + i) for i in range(3)])


def prior_of(v: Tensor, concentration: float = 0.3) -> Prior:
    dims = v.shape[1]
    return Prior(concentration, v.mean(0), 0.7, dims + 1.5, 0.5 * torch.eye(dims, dtype=torch.float64))


def from_responsibilities(prior: Prior, v: Tensor, r: Tensor) -> Posterior:
    """q(pi, mu, Lambda) by loops over eqs. 10.51 to 10.53 and 10.58 to 10.63. r: `(N, K)`."""
    fields: list[list[Tensor]] = [[], [], [], [], []]
    for k in range(r.shape[1]):
        count = r[:, k].sum()
        mean = sum(r[n, k] * v[n] for n in range(len(v))) / count
        s = sum(r[n, k] * torch.outer(v[n] - mean, v[n] - mean) for n in range(len(v))) / count
        beta, shift = prior.mean_precision + count, mean - prior.mean
        inverse = (
            prior.inverse_scale + count * s + prior.mean_precision * count / beta * torch.outer(shift, shift)
        )  # W_k^-1
        factor = torch.linalg.inv(torch.linalg.cholesky(inverse)).T
        values = (
            prior.concentration + count,
            (prior.mean_precision * prior.mean + count * mean) / beta,
            beta,
            prior.degrees + count,
            factor,
        )
        for field, value in zip(fields, values):
            field.append(value)
    return Posterior(*map(torch.stack, fields))


def soft(n: int, k: int) -> Tensor:
    return (2 * normal(n, k, seed=5)).softmax(1)


def log_b(w: np.ndarray, nu: float) -> float:
    """ln B(W, nu), eq. B.79."""
    d = len(w)
    i = np.arange(1, d + 1)
    log_gammas = gammaln((nu + 1 - i) / 2).sum() + d * (d - 1) / 4 * math.log(math.pi)
    return float(-nu / 2 * np.linalg.slogdet(w)[1] - nu * d / 2 * math.log(2) - log_gammas)


def literal_bound(q: Posterior, prior: Prior, v: Tensor, r: Tensor) -> float:
    """Eqs. 10.70 to 10.77, term by term."""
    alpha, beta, nu, m = (x.numpy() for x in (q.concentration, q.mean_precision, q.degrees, q.means))
    w, points, r_ = (q.factors @ q.factors.mT).numpy(), v.numpy(), r.numpy()
    (n, k), d, i = r_.shape, v.shape[1], np.arange(1, v.shape[1] + 1)
    log_pi = digamma(alpha) - digamma(alpha.sum())
    log_lambda = np.array(
        [digamma((nu[j] + 1 - i) / 2).sum() + d * math.log(2) + np.linalg.slogdet(w[j])[1] for j in range(k)]
    )
    total, m_0, b_0 = 0.0, prior.mean.numpy(), prior.mean_precision
    for a, j in itertools.product(range(n), range(k)):
        x = points[a] - m[j]
        density = (log_lambda[j] - d / beta[j] - nu[j] * x @ w[j] @ x - d * math.log(2 * math.pi)) / 2
        total += r_[a, j] * (density + log_pi[j] - math.log(r_[a, j]))  # 10.71, 10.72, 10.75
    a_0 = np.full(k, prior.concentration)
    log_c = [gammaln(a.sum()) - gammaln(a).sum() for a in (a_0, alpha)]
    total += log_c[0] + ((a_0 - 1) * log_pi).sum() - log_c[1] - ((alpha - 1) * log_pi).sum()  # 10.73, 10.76
    w_0 = np.linalg.inv(prior.inverse_scale.numpy())
    for j in range(k):
        x = m[j] - m_0
        total += (d * math.log(b_0 / (2 * math.pi)) + log_lambda[j] - d * b_0 / beta[j]) / 2 - b_0 * nu[j] / 2 * (
            x @ w[j] @ x
        )
        total += log_b(w_0, prior.degrees) + (prior.degrees - d - 1) / 2 * log_lambda[j]
        total -= nu[j] / 2 * np.trace(np.linalg.inv(w_0) @ w[j])  # 10.74
        entropy = -log_b(w[j], nu[j]) - (nu[j] - d - 1) / 2 * log_lambda[j] + nu[j] * d / 2  # eq. B.82
        total -= log_lambda[j] / 2 + d / 2 * math.log(beta[j] / (2 * math.pi)) - d / 2 - entropy  # 10.77
    return float(total)


def bound(q: Posterior, prior: Prior, v: Tensor, noise: float = 0.0) -> float:
    return float(len(v) * q.expectation(v, noise)["objective"] - q.divergence(prior))


def test_m_step_is_that_of_the_equations() -> None:
    v = three_clusters()
    prior, r = prior_of(v), soft(60, 4)
    q = from_responsibilities(prior, v, r)
    new = q.maximization(q.expectation(v), prior, len(v))
    literal = from_responsibilities(prior, v, q.responsibilities(v))
    for name, value in vars(literal).items():
        assert torch.allclose(getattr(new, name), value, rtol=1e-9, atol=1e-10), name


def test_the_bound_is_that_of_the_equations() -> None:
    v = three_clusters()
    prior = prior_of(v)
    q = from_responsibilities(prior, v, soft(60, 4))
    r = q.responsibilities(v)
    assert bound(q, prior, v) == pytest.approx(literal_bound(q, prior, v, r), abs=1e-8)
    worse = literal_bound(q, prior, v, soft(60, 4))
    assert worse < bound(q, prior, v)  # other responsibilities than eq. 10.49


def test_nothing_seen_is_nothing_learnt() -> None:
    v = three_clusters()
    prior = prior_of(v)
    q = prior.posterior(torch.zeros(3).double(), normal(3, 3), torch.zeros(3, 3, 3).double(), 0)
    assert float(q.divergence(prior)) == pytest.approx(0, abs=1e-10)
    assert torch.equal(q.means, prior.mean.expand(3, -1))


def test_with_one_component_the_bound_is_the_evidence() -> None:
    """q is the exact posterior then, and ln p(V) follows from the normalisers of prior and posterior (K. Murphy,
    "Conjugate Bayesian analysis of the Gaussian distribution", 2007,
    https://www.cs.ubc.ca/~murphyk/Papers/bayesGauss.pdf, section 8)."""
    v = three_clusters()
    prior, (n, d) = prior_of(v), v.shape
    q = from_responsibilities(prior, v, torch.ones(n, 1, dtype=torch.float64))
    w, w_0 = (q.factors[0] @ q.factors[0].T).numpy(), np.linalg.inv(prior.inverse_scale.numpy())
    evidence = -n * d / 2 * math.log(2 * math.pi) + d / 2 * math.log(prior.mean_precision / float(q.mean_precision))
    evidence += log_b(w_0, prior.degrees) - log_b(w, float(q.degrees))
    assert bound(q, prior, v) == pytest.approx(evidence, abs=1e-8)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_bound_never_falls(noise: float) -> None:
    v = three_clusters(150)
    prior = prior_of(v, concentration=0.01)
    q, bounds = from_responsibilities(prior, v, soft(150, 8)), []
    for _ in range(60):
        bounds.append(bound(q, prior, v, noise))
        q = q.maximization(q.expectation(v, noise), prior, len(v), noise)
    assert all(b >= a - 1e-8 for a, b in itertools.pairwise(bounds)), bounds
    assert bounds[-1] > bounds[0] + 10
    assert float(q.concentration.sum()) == pytest.approx(150 + 8 * 0.01)


def test_a_small_concentration_empties_what_is_not_needed() -> None:
    v = three_clusters(300, dims=2)
    used = {}
    for concentration in (1e-3, 30.0):
        prior = prior_of(v, concentration)
        q = from_responsibilities(prior, v, soft(300, 8))
        for _ in range(200):
            q = q.maximization(q.expectation(v), prior, len(v))
        used[concentration] = int((q.concentration > concentration + 1).sum())
    assert used[1e-3] == 3 < used[30.0]


def test_the_predictive_is_a_mixture_of_student_t() -> None:
    v = three_clusters()
    q = from_responsibilities(prior_of(v), v, soft(60, 3))
    at = 3 * normal(20, 3, seed=8)
    density = np.zeros(20)
    for k in range(3):
        freedom = float(q.degrees[k]) + 1 - 3
        precision = freedom * q.mean_precision[k] / (1 + q.mean_precision[k]) * q.factors[k] @ q.factors[k].T
        student = stats.multivariate_t(q.means[k].numpy(), torch.linalg.inv(precision).numpy(), df=freedom)
        density += float(q.concentration[k] / q.concentration.sum()) * student.pdf(at.numpy())
    assert torch.allclose(q.log_predictive(at).logsumexp(1), torch.from_numpy(density).log(), rtol=1e-9)


def test_the_predictive_is_the_density_averaged_over_the_posterior() -> None:
    """With one component: parameters drawn from q, N(v | mu, Lambda^-1) averaged."""
    v = three_clusters(30, dims=2)
    q = from_responsibilities(prior_of(v), v, torch.ones(30, 1, dtype=torch.float64))
    rng = np.random.default_rng(0)
    w = (q.factors[0] @ q.factors[0].T).numpy()
    precisions = stats.wishart(df=float(q.degrees), scale=w).rvs(20_000, random_state=rng)
    roots = np.linalg.cholesky(np.linalg.inv(precisions * float(q.mean_precision)))
    means = q.means[0].numpy() + (roots @ rng.standard_normal((20_000, 2, 1)))[..., 0]
    for at in (q.means[0].numpy(), q.means[0].numpy() + 2.0):
        shift = at - means
        squares = np.einsum("ni,nij,nj->n", shift, precisions, shift)
        density = np.exp((np.linalg.slogdet(precisions)[1] - squares) / 2) / (2 * math.pi)
        ours = float(q.log_predictive(torch.from_numpy(at)[None]).exp())
        assert ours == pytest.approx(density.mean(), abs=4 * density.std() / math.sqrt(20_000))


def test_draws_are_of_the_predictive() -> None:
    """Of one component, the squared distances follow an F distribution; of three, each has its share."""
    v = three_clusters(30, dims=2)
    q = from_responsibilities(prior_of(v), v, torch.ones(30, 1, dtype=torch.float64))
    freedom = float(q.degrees) - 1
    draws = q.draw(20_000, torch.Generator().manual_seed(0))
    precision = freedom * q.mean_precision / (1 + q.mean_precision) * q.factors[0] @ q.factors[0].T
    shift = draws - q.means[0]
    distance = torch.einsum("ni,ij,nj->n", shift, precision, shift) / 2
    assert stats.kstest(distance.numpy(), stats.f(2, freedom).cdf).pvalue > 1e-3
    few = q.draw(7, torch.Generator().manual_seed(1))
    assert torch.allclose(few, q.draw(50, torch.Generator().manual_seed(1))[:7], rtol=1e-12)


def test_gamma_quantiles() -> None:
    shape = torch.tensor([0.5, 0.5, 1.0, 30.0, 700.0, 25_000.0], dtype=torch.float64)
    u = torch.tensor([1e-12, 0.3, 0.999999, 0.5, 1e-6, 0.97], dtype=torch.float64)
    assert torch.allclose(
        gamma_quantile(shape, u), torch.from_numpy(stats.gamma(shape.numpy()).ppf(u.numpy())), rtol=1e-9
    )
    assert bool(gamma_quantile(shape, u * 0).isfinite().all())


def witness(v: np.ndarray, k: int, iterations: int, concentration: float) -> BayesianGaussianMixture:
    """scikit-learn with its default priors but for alpha_0, from the labels of its k-means."""
    return BayesianGaussianMixture(
        n_components=k,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=concentration,
        reg_covar=0.0,
        tol=0.0,
        max_iter=iterations,
        random_state=0,
    ).fit(v)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("points", ["clusters", "digits"])
def test_agrees_with_scikit_learn(points: str) -> None:
    """Weights, means and covariances after 50 iterations; the bounds differ by what scikit-learn's leaves out of the
    priors' constants, which is the same after 10 iterations and after 50."""
    from sklearn.cluster import KMeans

    if points == "clusters":
        v, k = three_clusters(300), 6
    else:  # 16 pixels in the middle: the covariance of the data, which is the default prior, must not be singular
        v, k = torch.from_numpy(load_digits().images[:, 2:6, 2:6].reshape(-1, 16)) / 16 + 0.02 * normal(1797, 16), 10
    dims, gaps = v.shape[1], []
    prior = Prior(0.05, v.mean(0), 1.0, float(dims), torch.from_numpy(np.cov(v.numpy().T)))
    labels = KMeans(n_clusters=k, n_init=1, random_state=np.random.RandomState(0)).fit(v.numpy()).labels_
    q = from_responsibilities(prior, v, torch.nn.functional.one_hot(torch.from_numpy(labels).long(), k).double())
    for i in range(1, 51):
        r = q.responsibilities(v)
        q = q.maximization(q.expectation(v), prior, len(v))
        if i in (10, 50):
            theirs = witness(v.numpy(), k, i, 0.05)
            # Theirs is of the M step's parameters with the responsibilities before it.
            ours = float((r * (q.in_expectation[0].log_joint(v) + q.in_expectation[1])).sum() - (r.xlogy(r)).sum())
            gaps.append(ours - float(q.divergence(prior)) - theirs.lower_bound_)
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)
    weights = q.concentration / q.concentration.sum()
    assert torch.allclose(weights, torch.from_numpy(theirs.weights_), atol=1e-6, rtol=0)
    assert torch.allclose(q.means, torch.from_numpy(theirs.means_), atol=1e-6, rtol=0)
    assert torch.allclose(q.covariances, torch.from_numpy(theirs.covariances_), atol=1e-6, rtol=0)
