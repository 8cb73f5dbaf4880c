"""Expectation maximisation for mixtures of factor analysers, on points of R^D; images come in through `model.py`.

Z. Ghahramani, G. Hinton, "The EM Algorithm for Mixtures of Factor Analyzers", 1996,
https://www.cs.toronto.edu/~hinton/absps/tr-96-1.pdf, in its symbols (j there is k here):

    p(v) = sum_k pi_k integral p(v | z, k) N(z | 0, I) dz,    p(v | z, k) = N(v | mu_k + Lambda_k z, Psi)   (section 3)
         = sum_k pi_k N(v | mu_k, Sigma_k),                   Sigma_k = Lambda_k Lambda_k^T + Psi
    E[z | v, k] = beta_k (v - mu_k),                          beta_k = Lambda_k^T Sigma_k^-1                (section 2)

The paper's Psi is one for all components; here each may have its own, psi_k I included: the mixture of probabilistic
PCAs of M. Tipping, C. Bishop, "Mixtures of Probabilistic Principal Component Analysers", 1999,
https://www.miketipping.com/papers/met-mppca.pdf. No D x D matrix is ever made (E. Richardson, Y. Weiss, "On GANs and
GMMs", 2018, https://arxiv.org/abs/1805.12462, did that for images): with M = I + Lambda^T Psi^-1 Lambda = L L^T, Q x Q,
and B = Psi^-1 Lambda L^-T, D x Q, Woodbury's identity and the determinant lemma are

    Sigma^-1 = Psi^-1 - B B^T,    |Sigma| = |Psi| |M|,    beta = L^-T B^T,    Cov[z | v, k] = M^-1

**The M step** is the regression of v - mu on z, which the paper's eqs. for Lambda~ = [Lambda mu] and Psi are a form of.
In the whitened code y = B^T (v - mu), so that E[z | v] = L^-T y, and with C the covariances under responsibilities,

    R R^T = I + C_yy,    W = C_vy R^-T:    Lambda = W R^-1 L^T,    Psi = diag(C_vv - W W^T)

where I + C_yy, whatever the data, is well conditioned.

Points may carry noise, v = c + e with e of mean 0 and covariance `noise` * I, which is integrated as in `gmm/em.py`:
F = E_e[...] has - noise/2 tr(Sigma^-1) in each component's log density, and C_vv + noise * I takes the place of C_vv,
so C_vy gains noise * B. Psi is held at or above that noise, which is independent over dimensions as Psi is: without,
a factor may take over one dimension whole and leave it a Psi of 0 (a Heywood case). For fixed Lambda the M step's
objective in a variance has one maximum and falls to both sides, so the clamped one is exact under the constraint: F
never falls.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.chunks import per_image, randn

Statistics = dict[str, Tensor]
ROWS = 256  # points at a time where each needs numbers for every component: that bounds the memory


@dataclass(frozen=True)
class Analysers:
    """K factor analysers of Q factors in R^D.

    weights: `(K,)`, pi. means: `(K, D)`, mu. loadings: `(K, D, Q)`, Lambda. noise: Psi, `(K, D)`; `(K, 1)` if
    isotropic; `(1, D)` if shared.
    """

    weights: Tensor
    means: Tensor
    loadings: Tensor
    noise: Tensor

    def log_joint(self, v: Tensor, noise: float = 0.0) -> Tensor:
        """`ln pi_k + E_e[ln N(v + e | mu_k, Sigma_k)]`, nats. v: `(N, D)`. Returns `(N, K)`."""
        return torch.cat([self._whitened(part - self._mean, noise)[0] for part in v.split(ROWS)])

    def encode(self, v: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """h = E[w_k | v], `(N, K)`, and E[z | v, k], `(N, K, Q)`: the paper's h_ij and its factors. v: `(N, D)`."""
        parts = []
        for part in v.split(ROWS):
            log_joint, y = self._whitened(part - self._mean, noise)
            parts.append((log_joint.softmax(1), self._factors(y)))
        h, z = zip(*parts)
        return torch.cat(h), torch.cat(z)

    def expectation(self, v: Tensor, noise: float = 0.0) -> Statistics:
        """The E step: sufficient statistics, means over the points v `(N, D)`, so that chunks can be averaged.

        "weight" `(K,)`: of h. "first" and "square" `(K, D)`, "cross" `(K, D, Q)`: of h times v, v^2 and v y^T, where v
        is about mu_k. "objective", F in nats a point, at the parameters before the step.
        """
        v = v - self._mean
        log_joint, y = self._whitened(v, noise)
        objective = log_joint.logsumexp(1, keepdim=True)
        h = (log_joint - objective).exp()  # (N, K)
        # What cannot change a sum that holds a 1 is dropped: most would be subnormal numbers, ten times as slow.
        h = torch.where(h > torch.finfo(h.dtype).eps, h, 0) / len(v)
        moments = self._sparse_moments if v.device.type == "cpu" and self.loadings[0].numel() > 1000 else self._moments
        first, square, cross = moments(v, h, y)
        return {"weight": h.sum(0), "first": first, "square": square, "cross": cross, "objective": objective.mean()}

    def _moments(self, v: Tensor, h: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of h times v, v^2 and v y^T, where v `(N, D)` comes about the mixture's mean and goes in about mu_k."""
        weight, means = h.sum(0)[:, None], self.means - self._mean
        first, square = h.T @ v, h.T @ v.square()
        moment = (h.unsqueeze(2) * y).flatten(1)  # (N, K Q)
        cross = (v.T @ moment).unflatten(1, y.shape[1:]).transpose(0, 1)  # (K, D, Q)
        cross = cross - means[:, :, None] * moment.sum(0).view(len(means), 1, -1)
        return first - weight * means, square - 2 * means * first + weight * means.square(), cross

    def _sparse_moments(self, v: Tensor, h: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, of the points that count: in many dimensions nearly every point belongs to one component alone."""
        first, square = torch.empty_like(self.means), torch.empty_like(self.means)
        cross = torch.empty_like(self.loadings)
        for k, mean in enumerate(self.means - self._mean):
            rows = h[:, k].nonzero().squeeze(1)
            share, u = h[rows, k], v[rows] - mean
            first[k], square[k] = share @ u, share @ u.square()
            cross[k] = u.T @ (share[:, None] * y[rows, k])
        return first, square, cross

    def maximization(self, statistics: Statistics, noise: float = 0.0) -> Analysers:
        """The M step. A component that has lost all its points keeps its place, with weight 0.

        F no longer depends on such a component.
        """
        weight = statistics["weight"]
        alive = weight > torch.finfo(weight.dtype).eps
        share = torch.where(alive, weight, 1)[:, None]
        shift = statistics["first"] / share  # (K, D)
        variance = statistics["square"] / share - shift.square() + noise
        y = torch.einsum("kdq,kd->kq", self._code, shift)
        cross = statistics["cross"] / share[..., None] + noise * self._code - shift[:, :, None] * y[:, None]  # C_vy
        covariance = self._code.mT @ cross
        root = torch.linalg.cholesky(identity(covariance) + (covariance + covariance.mT) / 2)  # R
        explained = torch.linalg.solve_triangular(root.mT, cross, upper=True, left=False)  # W
        back = torch.linalg.solve_triangular(root, explained, upper=False, left=False)  # W R^-1
        residual = (variance - explained.square().sum(2)).clamp_min(noise)
        weights = torch.where(alive, weight, 0)
        return Analysers(
            weights=weights / weights.sum(),
            means=torch.where(alive[:, None], self.means + shift - torch.einsum("kdq,kq->kd", back, y), self.means),
            loadings=torch.where(alive[:, None, None], back @ self._root.mT, self.loadings),
            noise=self._pool(residual, weights, alive),
        )

    def _pool(self, residual: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
        """Psi, in the shape of `noise`, from each component's own `(K, D)`."""
        if len(self.noise) < len(residual):
            return (weights / weights.sum() @ residual)[None]
        own = residual.mean(1, keepdim=True) if self.noise.shape[1] < residual.shape[1] else residual
        return torch.where(alive[:, None], own, self.noise)

    def draw(self, n: int, generator: torch.Generator | None = None, noise: bool = True) -> Tensor:
        """`n` points, `(n, D)`: a component, factors, then mu + Lambda z, and with `noise` + Psi^(1/2) eps."""
        options = {"generator": generator, "device": self.means.device, "dtype": self.means.dtype}
        z, eps = randn(n, self.loadings.shape[2], **options), randn(n, self.means.shape[1], **options)
        component = per_image(
            n, lambda rows: torch.multinomial(self.weights, rows, replacement=True, generator=generator)
        )
        return self.emit(component, z, eps if noise else None)

    def emit(self, component: Tensor, z: Tensor, eps: Tensor | None = None) -> Tensor:
        """`mu_k + Lambda_k z`, and Psi_k^(1/2) eps on top. component: `(n,)`. z: `(n, Q)`. eps, result: `(n, D)`."""
        parts = [
            torch.baddbmm(self.means[k, :, None], self.loadings[k], factors[:, :, None]).squeeze(2)
            for k, factors in zip(component.split(ROWS), z.split(ROWS))
        ]
        v = torch.cat(parts)
        return v if eps is None else v + self._noise.sqrt()[component] * eps

    def condition(self, v: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the known dimensions of points say of component and factors; exact.

        v: `(N, D)`; known: bool `(N, D)`. Returns `ln p(k, known v)` `(N, K)`; E[z | known v, k] `(N, K, Q)`; and L
        of the precision of these, Cov[z | known v, k] = (L L^T)^-1, `(N, K, Q, Q)`.

        A dimension that is not known is one of infinite noise: M = I + sum over known d of Lambda_d Lambda_d^T / Psi_d.
        """
        m = known.to(self.means)
        log_joints, factors, roots = [], [], []
        for pi, mean, loadings, noise in zip(self.weights, self.means, self.loadings, self._noise):
            u = (v - mean) * m
            outer = (loadings / noise[:, None]).unsqueeze(2) * loadings.unsqueeze(1)  # (D, Q, Q)
            precision = (m @ outer.flatten(1)).unflatten(1, outer.shape[1:])  # (N, Q, Q)
            root = torch.linalg.cholesky(precision + identity(precision))
            b = (u @ (loadings / noise[:, None])).unsqueeze(2)  # (N, Q, 1)
            y = torch.linalg.solve_triangular(root, b, upper=False)
            factors.append(torch.linalg.solve_triangular(root.mT, y, upper=True).squeeze(2))
            square = u.square() @ noise.reciprocal() - y.square().sum((1, 2))
            log_det = m @ noise.log() + 2 * log_diagonal(root)
            log_joints.append(pi.log() - (m.sum(1) * math.log(2 * math.pi) + log_det + square) / 2)
            roots.append(root)
        return torch.stack(log_joints, 1), torch.stack(factors, 1), torch.stack(roots, 1)

    def canonical(self) -> Analysers:
        """The same density with factors in order: Lambda^T Psi^-1 Lambda diagonal, the largest first.

        Lambda is determined up to a rotation; this one makes each factor's signal-to-noise ratio as unequal as they
        can be. The sign makes a factor brighten more than it darkens.
        """
        signal = self.loadings.mT @ (self.loadings / self._noise[:, :, None])
        loadings = (self.loadings @ torch.linalg.eigh(signal).eigenvectors).flip(2)
        sign = torch.where(loadings.sum(1, keepdim=True) < 0, -1, 1)
        return Analysers(self.weights, self.means, sign * loadings, self.noise)

    @property
    def _noise(self) -> Tensor:
        """Psi, `(K, D)`."""
        return self.noise.expand(self.means.shape)

    @property
    def _mean(self) -> Tensor:
        """The mixture's mean; after an EM iteration, the data's. Moments about it don't cancel catastrophically."""
        return self.weights @ self.means

    @functools.cached_property
    def _root(self) -> Tensor:
        """L, `(K, Q, Q)`."""
        m = self.loadings.mT @ (self.loadings / self._noise[:, :, None])
        return torch.linalg.cholesky(identity(m) + (m + m.mT) / 2)

    @functools.cached_property
    def _code(self) -> Tensor:
        """B, `(K, D, Q)`: the code of a point is y = B^T (v - mu)."""
        scaled = self.loadings / self._noise[:, :, None]
        return torch.linalg.solve_triangular(self._root.mT, scaled, upper=True, left=False)

    @functools.cached_property
    def _maps(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `_whitened` multiplies points about the mixture's mean by: their code's map and its offset, and the
        linear and the constant part of the log density's share that Psi has."""
        means, precision = self.means - self._mean, self._noise.reciprocal()
        code = self._code.transpose(0, 1).flatten(1)  # (D, K Q)
        offset = torch.einsum("kdq,kd->kq", self._code, means)
        constant = (precision * means.square()).sum(1)
        constant = constant + self._noise.log().sum(1) + means.shape[1] * math.log(2 * math.pi)
        return code, offset, (precision * means).T, constant + 2 * log_diagonal(self._root)

    def _whitened(self, v: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """`log_joint` `(N, K)` and the codes y `(N, K, Q)` of points about the mixture's mean, v `(N, D)`."""
        code, offset, linear, constant = self._maps
        precision = self._noise.reciprocal()
        y = (v @ code).unflatten(1, offset.shape) - offset
        square = v.square() @ precision.T - 2 * (v @ linear) - y.square().sum(2)
        trace = precision.sum(1) - self._code.square().sum((1, 2))  # of Sigma^-1
        return self.weights.log() - (square + constant + noise * trace) / 2, y

    def _factors(self, y: Tensor) -> Tensor:
        """E[z | v, k] = L^-T y of codes `(N, K, Q)`."""
        z = torch.linalg.solve_triangular(self._root.mT, y.permute(1, 2, 0), upper=True)  # (K, Q, N)
        return z.permute(2, 0, 1)


def log_diagonal(root: Tensor) -> Tensor:
    """Half the log determinant of L L^T, from L `(..., Q, Q)`."""
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
