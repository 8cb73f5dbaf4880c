"""The variational mixture of Gaussians, on points of R^D; images come in through `model.py`.

H. Attias, "A Variational Bayesian Framework for Graphical Models", NIPS 1999 (proceedings of 2000),
https://papers.nips.cc/paper/1726-a-variational-baysian-framework-for-graphical-models; in the symbols and with the
equations of C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 10.2.

    p(pi) = Dir(pi | alpha_0),    p(mu_k, Lambda_k) = N(mu_k | m_0, (beta_0 Lambda_k)^-1) W(Lambda_k | W_0, nu_0)
    q(pi) = Dir(pi | alpha),      q(mu_k, Lambda_k) = N(mu_k | m_k, (beta_k Lambda_k)^-1) W(Lambda_k | W_k, nu_k)

Coordinate ascent on the bound L of the evidence ln p(v_1, ..., v_N), in turn over q(z) and over q(pi, mu, Lambda):

    ln rho_nk = E[ln pi_k] + 1/2 E[ln |Lambda_k|] - D/2 ln 2 pi - D / (2 beta_k)
                - nu_k/2 (v_n - m_k)^T W_k (v_n - m_k)                             (eqs. 10.46, 10.64 to 10.66)
    r_nk      = rho_nk / sum_j rho_nj                                              (eq. 10.49)
    alpha_k   = alpha_0 + N_k,    beta_k = beta_0 + N_k,    nu_k = nu_0 + N_k      (eqs. 10.58, 10.60, 10.63)
    m_k       = (beta_0 m_0 + N_k mean_k) / beta_k                                 (eq. 10.61)
    W_k^-1    = W_0^-1 + N_k S_k + beta_0 N_k / beta_k (mean_k - m_0)(mean_k - m_0)^T          (eq. 10.62)

With r_nk as the best for the other factors, all of eqs. 10.70 to 10.77 add up to

    L = sum_n ln sum_k rho_nk - KL(q(pi, mu, Lambda) || p(pi, mu, Lambda))

which never falls. Points may carry noise that is integrated, as in `gmm/em.py`: S_k grows by `noise` * I and ln rho_nk
falls by nu_k/2 noise tr(W_k).

The E step is that of a mixture of Gaussians of precisions nu_k W_k, so `Mixture` does it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.chunks import per_image, rand, randn
from zoo_mixture.gmm.em import Mixture, Statistics, precision_factors


@dataclass(frozen=True)
class Prior:
    """concentration: alpha_0. mean: m_0, `(D,)`. mean_precision: beta_0. degrees: nu_0, above D - 1.
    inverse_scale: W_0^-1, `(D, D)`."""

    concentration: float
    mean: Tensor
    mean_precision: float
    degrees: float
    inverse_scale: Tensor

    def posterior(self, weight: Tensor, mean: Tensor, scatter: Tensor, images: Tensor | float) -> Posterior:
        """q(pi, mu, Lambda) for N_k = `images` * weight `(K,)` points of means `(K, D)`, covariances S_k `(K, D, D)`;
        scatter: weight * S_k. The mean of a component without points is any number."""
        counts = images * weight
        beta, nu = self.mean_precision + counts, self.degrees + counts
        shift = mean - self.mean
        pull = (self.mean_precision * counts / beta)[:, None, None] * shift[:, :, None] * shift[:, None, :]
        return Posterior(
            concentration=self.concentration + counts,
            means=self.mean + (counts / beta)[:, None] * shift,
            mean_precision=beta,
            degrees=nu,
            factors=precision_factors(self.inverse_scale + images * scatter + pull),
        )


@dataclass(frozen=True)
class Posterior:
    """q(pi, mu, Lambda). concentration: alpha, `(K,)`. means: m, `(K, D)`. mean_precision: beta, `(K,)`. degrees: nu,
    `(K,)`. factors: U, upper triangular `(K, D, D)`, where W_k = U U^T."""

    concentration: Tensor
    means: Tensor
    mean_precision: Tensor
    degrees: Tensor
    factors: Tensor

    @property
    def dims(self) -> int:
        return self.means.shape[1]

    @property
    def covariances(self) -> Tensor:
        """The inverse of E[Lambda_k] = nu_k W_k, `(K, D, D)`."""
        return self.in_expectation[0].covariances

    @property
    def in_expectation(self) -> tuple[Mixture, Tensor]:
        """The mixture whose `log_joint`, with a constant (0-d) added, is ln rho_nk."""
        dims, nu = self.dims, self.degrees
        spread = _digammas(nu, dims) + dims * (math.log(2) - nu.log())  # E[ln |Lambda_k|] - ln |nu_k W_k|, eq. 10.65
        log_weights = self.concentration.digamma() - self.concentration.sum().digamma()  # E[ln pi_k], eq. 10.66
        log_weights = log_weights + spread / 2 - dims / (2 * self.mean_precision)
        mixture = Mixture(log_weights.softmax(0), self.means, self.factors * nu.sqrt()[:, None, None])
        return mixture, log_weights.logsumexp(0)

    def expectation(self, v: Tensor, noise: float = 0.0) -> Statistics:
        """The sufficient statistics of `Mixture.expectation`; its "objective" is the mean of ln sum_k rho_nk."""
        mixture, constant = self.in_expectation
        statistics = mixture.expectation(v, noise)
        return {**statistics, "objective": statistics["objective"] + constant}

    def responsibilities(self, v: Tensor, noise: float = 0.0) -> Tensor:
        """r_nk, eq. 10.49, of points `(N, D)`. Rows sum to 1, `(N, K)`."""
        return self.in_expectation[0].responsibilities(v, noise)

    def maximization(
        self, statistics: Statistics, prior: Prior, images: Tensor | float, noise: float = 0.0
    ) -> Posterior:
        """The best q(pi, mu, Lambda) for the statistics of `images` points, which are moments about a centre."""
        weight = statistics["weight"]
        shift = statistics["first"] / weight.clamp_min(torch.finfo(weight.dtype).tiny)[:, None]
        scatter = statistics["second"] - weight[:, None, None] * shift[:, :, None] * shift[:, None, :]
        scatter = scatter + noise * weight[:, None, None] * torch.eye(self.dims).to(weight)
        return prior.posterior(weight, shift + self.in_expectation[0].centre, scatter, images)

    def divergence(self, prior: Prior) -> Tensor:
        """KL(q(pi, mu, Lambda) || p(pi, mu, Lambda)), nats, 0-d."""
        alpha, beta, nu, dims = self.concentration, self.mean_precision, self.degrees, self.dims
        total, a = alpha.sum(), torch.full_like(alpha, prior.concentration)
        dirichlet = _log_dirichlet(alpha) - _log_dirichlet(a) + (alpha - a) @ (alpha.digamma() - total.digamma())
        whitened = ((self.means - prior.mean)[:, None] @ self.factors).squeeze(1)  # (K, D)
        ratio = prior.mean_precision / beta
        gauss = dims * (ratio - 1 - ratio.log()) + prior.mean_precision * nu * whitened.square().sum(1)
        log_scale = 2 * self.factors.diagonal(dim1=1, dim2=2).log().sum(1)  # ln |W_k|
        log_precision = _digammas(nu, dims) + dims * math.log(2) + log_scale  # E[ln |Lambda_k|]
        trace = (prior.inverse_scale @ self.factors * self.factors).sum((1, 2))  # tr(W_0^-1 W_k)
        nu_0 = torch.tensor(prior.degrees).to(nu)
        wishart = _log_wishart(log_scale, nu, dims) - _log_wishart(-torch.logdet(prior.inverse_scale), nu_0, dims)
        wishart = wishart + (nu - nu_0) / 2 * log_precision + nu / 2 * (trace - dims)
        return dirichlet + (gauss / 2 + wishart).sum()

    def log_predictive(self, v: Tensor) -> Tensor:
        """ln of alpha_k / sum(alpha) St(v | m_k, L_k, nu_k + 1 - D), nats, of points `(N, D)`: eq. 10.81. `(N, K)`.

        L_k = (nu_k + 1 - D) beta_k / (1 + beta_k) W_k (eq. 10.82); St is eq. 2.162.
        """
        dims, freedom = self.dims, self._freedom
        whitened = (((v - mean) @ u).square_().sum(1) for u, mean in zip(self.factors, self.means))
        distance = torch.stack(list(whitened), 1) * (self._ratio / freedom)  # Delta^2 / (nu_k + 1 - D), (N, K)
        log_root = self.factors.diagonal(dim1=1, dim2=2).log().sum(1) + dims / 2 * self._ratio.log()  # ln |L|^(1/2)
        constant = torch.lgamma((freedom + dims) / 2) - torch.lgamma(freedom / 2)
        constant = constant + log_root - dims / 2 * (freedom * math.pi).log()
        log_weights = (self.concentration / self.concentration.sum()).log()
        return log_weights + constant - (freedom + dims) / 2 * distance.log1p()

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` points of the predictive density, `(n, D)`: a Student-t is a Gaussian of precision L times chi^2 / nu."""
        options = {"generator": generator, "device": self.means.device, "dtype": self.means.dtype}
        eps, u = randn(n, self.dims, **options), rand(n, **options)
        component = per_image(
            n, lambda rows: torch.multinomial(self.concentration.expand(rows, -1), 1, generator=generator).squeeze(1)
        )
        freedom = self._freedom[component]
        scale = (freedom / (2 * gamma_quantile(freedom / 2, u)) / self._ratio[component]).sqrt()
        v = torch.empty_like(eps)
        for k in component.unique():
            rows = component == k
            v[rows] = torch.linalg.solve_triangular(self.factors[k].T, eps[rows].T, upper=False).T
        return self.means[component] + scale[:, None] * v

    @property
    def _freedom(self) -> Tensor:
        """Degrees of freedom of the predictive's components, `(K,)`."""
        return self.degrees + 1 - self.dims

    @property
    def _ratio(self) -> Tensor:
        """L_k / W_k, `(K,)`."""
        return self._freedom * self.mean_precision / (1 + self.mean_precision)


def gamma_quantile(shape: Tensor, u: Tensor) -> Tensor:
    """The numbers below which a gamma distribution of that shape (and scale 1) has the mass u, elementwise.

    By bisection of the logarithm: as many uniform numbers for every draw, where a rejection sampler would need more for
    some; so image i has the same noise for every n.
    """
    low, high = torch.full_like(u, -745.0), (shape + 40 * (shape.sqrt() + 1)).log()
    for _ in range(64):
        middle = (low + high) / 2
        below = torch.special.gammainc(shape, middle.exp()) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).exp()


def _digammas(degrees: Tensor, dims: int) -> Tensor:
    """sum_i psi((nu + 1 - i) / 2) over i = 1 .. D, in the shape of nu."""
    return ((degrees[..., None] - torch.arange(dims).to(degrees)) / 2).digamma().sum(-1)


def _log_dirichlet(alpha: Tensor) -> Tensor:
    """ln C(alpha), the normaliser of eq. B.23."""
    return alpha.sum().lgamma() - alpha.lgamma().sum()


def _log_wishart(log_scale: Tensor, degrees: Tensor, dims: int) -> Tensor:
    """ln B(W, nu), the normaliser of eq. B.79, of ln |W|."""
    halves = (degrees[..., None] - torch.arange(dims).to(degrees)) / 2
    constant = dims * (dims - 1) / 4 * math.log(math.pi)
    return -degrees / 2 * (log_scale + dims * math.log(2)) - constant - halves.lgamma().sum(-1)
