"""Expectation maximisation for mixtures of Gaussians, on points of R^D; images come in through `model.py`.

A. Dempster, N. Laird, D. Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977,
https://doi.org/10.1111/j.2517-6161.1977.tb01600.x; in the symbols of C. Bishop, "Pattern Recognition and Machine
Learning", 2006, section 9.2: weights pi_k, means mu_k, covariances Sigma_k, responsibilities gamma(z_nk).

Points may carry noise: v = c + e, where c is known and e has mean 0 and covariance `noise` * I. The noise is
integrated, not drawn. For responsibilities gamma that depend on c alone, Jensen's inequality gives

    E_e[ln p(c + e)] >= F = sum_k gamma_k (ln pi_k + E_e[ln N(c + e | mu_k, Sigma_k)] - ln gamma_k)
    E_e[ln N(c + e | mu, Sigma)] = ln N(c | mu, Sigma) - noise/2 tr(Sigma^-1)

The E step maximises F over gamma and the M step over the parameters, each exactly: so F never falls. With noise = 0, F
is the log likelihood and this is EM as the textbook has it, singularities included: a component may shrink onto one
point until its numbers overflow (PRML section 9.2.1). Any noise above rounding prevents that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core.chunks import per_image, randn
from zoo_mixture.responsibilities import responsibilities_

Statistics = dict[str, Tensor]
_POINTS = 1000  # 512 kB of 64 dimensions


@dataclass(frozen=True)
class Mixture:
    """K Gaussians in R^D.

    weights: `(K,)`, pi. means: `(K, D)`, mu. factors: U, where Sigma^-1 = U U^T. Full: upper triangular `(K, D, D)`;
    diagonal: `(K, D)`; spherical: `(K, 1)`. The density multiplies by U; only a sample has to solve with it.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    @property
    def full(self) -> bool:
        return self.factors.dim() == 3

    @property
    def covariances(self) -> Tensor:
        """Sigma, in the shape of `factors`."""
        if not self.full:
            return self.factors.square().reciprocal()
        root = torch.linalg.solve_triangular(self.factors, _identity(self.factors), upper=True)  # U^-1
        return root.mT @ root

    def log_joint(self, v: Tensor, noise: float = 0.0) -> Tensor:
        """`ln pi_k + E_e[ln N(v + e | mu_k, Sigma_k)]`, nats. v: `(N, D)`. Returns `(N, K)`."""
        terms = self._terms(noise)
        return torch.cat([self._log_joint(points, self._squares(points), terms).T for points in self._parts(v)])

    def responsibilities(self, v: Tensor, noise: float = 0.0) -> Tensor:
        """gamma(z_nk), PRML eq. 9.23. v: `(N, D)`. Returns `(N, K)`; rows sum to 1."""
        return self.log_joint(v, noise).softmax(dim=1)

    def expectation(self, v: Tensor, noise: float = 0.0) -> Statistics:
        """The E step: sufficient statistics, means over the points v `(N, D)`, so that chunks can be averaged.

        "weight" `(K,)`; "first" `(K, D)` and "second" (full `(K, D, D)`, diagonal `(K, D)`, spherical `(K, 1)`),
        moments about the mixture's mean; "objective", F in nats per point, at the parameters before the step.
        """
        terms, sums = self._terms(noise), self._no_points()
        for points in self._parts(v):
            squares = self._squares(points)
            gamma, objective = responsibilities_(self._log_joint(points, squares, terms))  # (K, n), (n,)
            # What cannot change a sum that holds a 1 is dropped: in many dimensions, most of the second moments' work,
            # and numbers so small that a processor multiplies them slowly.
            F.threshold_(gamma, torch.finfo(gamma.dtype).eps, 0.0)
            sums["weight"] += gamma.sum(1)
            sums["first"].addmm_(gamma, points)
            if self.full:
                for total, row in zip(sums["second"], gamma):
                    total += _second_moment(points, row)
            else:
                sums["second"].addmm_(gamma, squares)
            sums["objective"] += objective.sum()
        return {name: total / len(v) for name, total in sums.items()}

    def maximization(self, statistics: Statistics, noise: float = 0.0) -> Mixture:
        """The M step, PRML eqs. 9.24 to 9.26, with `noise` on the diagonal of every covariance.

        A component that has lost all its points keeps its place, with weight 0: F no longer depends on it.
        """
        weight = statistics["weight"]
        alive = weight > torch.finfo(weight.dtype).eps
        share = torch.where(alive, weight, 1)[:, None]  # N_k / N, eq. 9.27
        shift = statistics["first"] / share  # eq. 9.24, about the old mixture's mean
        if self.full:
            covariances = statistics["second"] / share[..., None] - shift[:, :, None] * shift[:, None, :]  # eq. 9.25
            covariances = covariances + noise * _identity(covariances)
            covariances = torch.where(alive[:, None, None], covariances, _identity(covariances))
        else:
            square = shift.square().view(*self.factors.shape, -1).sum(2)
            covariances = (statistics["second"] / share - square) / self._repeats + noise
            covariances = torch.where(alive[:, None], covariances, 1)
        factors = precision_factors(covariances)
        return Mixture(
            weights=torch.where(alive, weight, 0) / torch.where(alive, weight, 0).sum(),  # eq. 9.26
            means=torch.where(alive[:, None], shift + self.centre, self.means),
            factors=torch.where(alive.view(-1, *[1] * (factors.dim() - 1)), factors, self.factors),
        )

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` points from the mixture, `(n, D)`: a component, then mu + U^-T eps."""
        eps = randn(n, self.means.shape[1], generator=generator, device=self.means.device, dtype=self.means.dtype)
        component = per_image(n, lambda rows: self._components(rows, generator))
        if not self.full:
            return self.means[component] + eps / self.factors[component]
        v = torch.empty_like(eps)
        for k in component.unique():
            rows = component == k
            v[rows] = self.means[k] + torch.linalg.solve_triangular(self.factors[k].T, eps[rows].T, upper=False).T
        return v

    def _components(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A component for each of n points, `(n,)`."""
        return torch.multinomial(self.weights.expand(n, -1), 1, generator=generator).squeeze(1)

    @property
    def centre(self) -> Tensor:
        """The mixture's mean; after an EM iteration, the data's. Moments about it don't cancel catastrophically."""
        return self.weights @ self.means

    @property
    def _repeats(self) -> int:
        """How many dimensions share one variance: D if spherical, else 1."""
        return self.means.shape[1] // self.factors.shape[-1]

    def _parts(self, v: Tensor) -> Iterator[Tensor]:
        """The points `(N, D)` about the mixture's mean, so many at once that they stay in a processor's cache."""
        mean = self.centre
        return (part - mean for part in v.split(_POINTS))

    def _squares(self, points: Tensor) -> Tensor:
        """What the variances see of points: v^2 `(n, D)` if diagonal, |v|^2 `(n, 1)` if spherical; else nothing."""
        if self.full:
            return points[:0]
        squares = points.square()
        return squares if self._repeats == 1 else squares.sum(1, keepdim=True)

    def _no_points(self) -> Statistics:
        """Sums over no points, in the shapes of `expectation`."""
        return {
            "weight": torch.zeros_like(self.weights),
            "first": torch.zeros_like(self.means),
            "second": torch.zeros_like(self.factors),
            "objective": torch.zeros_like(self.weights[0]),
        }

    def _terms(self, noise: float) -> tuple[Tensor, ...]:
        """What `_log_joint` needs of the parameters alone: a constant `(K, 1)`, and what to multiply points with."""
        means, dims = self.means - self.centre, self.means.shape[1]
        constant = self.weights.log() - dims / 2 * math.log(2 * math.pi)
        if self.full:
            constant = constant + self.factors.diagonal(dim1=1, dim2=2).log().sum(1)  # ln |Sigma|^(-1/2)
            constant = constant - noise / 2 * self.factors.square().sum((1, 2))  # tr(Sigma^-1)
            return constant[:, None], (means[:, None] @ self.factors).squeeze(1)
        precision = self.factors.square()
        linear = precision * means
        constant = constant + (self.factors.log() - noise / 2 * precision).sum(1) * self._repeats
        return (constant - (linear * means).sum(1) / 2)[:, None], linear, precision / -2

    def _log_joint(self, points: Tensor, squares: Tensor, terms: tuple[Tensor, ...]) -> Tensor:
        """`log_joint` of points about the mixture's mean `(n, D)`, with their `_squares` and the `_terms`. `(K, n)`."""
        if self.full:
            constant, whitened_means = terms
            whitened = ((points @ u).sub_(mean) for u, mean in zip(self.factors, whitened_means))  # (n, D) each
            return torch.stack([w.square_().sum(1) for w in whitened]).div_(-2).add_(constant)
        constant, linear, quadratic = terms
        return torch.addmm(constant, linear, points.T).addmm_(quadratic, squares.T)


def precision_factors(covariances: Tensor) -> Tensor:
    """U with Sigma^-1 = U U^T, of full `(K, D, D)`, diagonal `(K, D)` and spherical `(K, 1)` covariances."""
    if covariances.dim() == 2:
        return covariances.rsqrt()
    root = torch.linalg.cholesky(covariances)
    return torch.linalg.solve_triangular(root, _identity(root), upper=False).mT


def _second_moment(points: Tensor, gamma: Tensor) -> Tensor:
    """`sum_n gamma_n v_n v_n^T` over the points `(n, D)` that count. gamma: `(n,)`. Returns `(D, D)`."""
    counting = gamma.nonzero().squeeze(1)
    if len(counting) < len(gamma) / 2:  # copying the rest would cost more than it saves
        points, gamma = points[counting], gamma[counting]
    return points.T @ (points * gamma[:, None])


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)
