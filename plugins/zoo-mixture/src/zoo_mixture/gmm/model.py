"""GMM: a mixture of Gaussians over dequantised images, fitted by expectation maximisation.

    p(v) = sum_k pi_k N(v | mu_k, Sigma_k)                                        (Bishop 2006, PRML eq. 9.7)

EM needs the likelihood of one fixed thing. An image x stands for its whole cell, v = (x + u) / levels with uniform u,
so instead of pinning a draw of u the noise is integrated: v is the cell's centre plus noise of variance
1 / (12 levels^2) a pixel, which `em.py` handles in closed form. The objective never falls. Without a floor it is a
lower bound on what the model is scored by, E_u[ln p((x + u) / levels)]; the gap is that one cell's points share their
responsibilities, so it closes as the cells get small against the components. With 4 levels a last fraction of a nat
may go into closing the gap rather than into the likelihood. The covariance floor joins this noise: it is EM on images
that are jittered a little more, and so the floor doesn't make the objective fall either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec, quantise
from zoo_core.model import GenerativeModel
from zoo_core.step import Step
from zoo_mixture.gmm.config import GMMConfig
from zoo_mixture.gmm.em import Mixture, Statistics, precision_factors
from zoo_mixture.kmeans import cluster


class GMM(GenerativeModel):
    """A. Dempster, N. Laird, D. Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977,
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x, with the start of `kmeans.py`.

    A `train_step` is a pass over the whole training set; its batch only brings the noise of the start.
    Float64 throughout: the objective would otherwise fall by rounding. `weights`, `means`, `factors`: see `Mixture`.
    """

    config: GMMConfig
    weights: Tensor
    means: Tensor
    factors: Tensor
    started: Tensor

    def __init__(self, images: ImageSpec, config: GMMConfig) -> None:
        super().__init__(images, config)
        k, dims = config.components, images.dims
        self.dequantisation = 1 / (12 * images.levels**2)  # the variance of u / levels
        self.register_buffer("weights", torch.full((k,), 1 / k, dtype=torch.float64))
        self.register_buffer("means", torch.full((k, dims), 0.5, dtype=torch.float64))
        self.register_buffer("factors", precision_factors(self._spherical(torch.tensor(1 / 12, dtype=torch.float64))))
        self.register_buffer("started", torch.tensor(False))

    @property
    def mixture(self) -> Mixture:
        """The parameters, as a mixture on R^D."""
        return Mixture(self.weights, self.means, self.factors)

    def log_density(self, v: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact ln p(v) of real images v `(N, C, H, W)`, pixels at [0, 1]. nats, float64 `(N,)`."""
        self.check_real(v, labels, text)
        return self.mixture.log_joint(v.flatten(1).to(self.means.dtype)).logsumexp(dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities gamma(z_nk) of the E step, PRML eq. 9.23: which component an image is from. `(N, K)`."""
        return self.mixture.responsibilities(self._centres(self.check(x)), self.dequantisation)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Tensor:
        """`n` images: a component, a point from its Gaussian, the cell the point is in. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        if options:
            raise ZooError(f"GMM.sample has no option {', '.join(options)}; call it without")
        return quantise(self.mixture.draw(n, generator).view(n, *self.images.shape), self.images)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """None: EM has no learning rate."""
        return {}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The first call starts, each later one is an EM iteration. "loss": minus the objective, nats per image, at the
        start or before the iteration; "nats": the same as a bound on -ln P(x) of the integer images."""
        starts = not bool(self.started)
        if starts:
            self._start(batch, step)
        statistics = step.mean(self.expectation)
        if not starts:
            self.maximization(statistics)
        loss = -statistics["objective"]
        return {"loss": loss, "nats": loss + self.images.dims * math.log(self.images.levels)}

    def expectation(self, batch: Batch) -> Statistics:
        """The E step's sufficient statistics, means over the batch's images."""
        return self.mixture.expectation(self._centres(batch.x), self._noise)

    def maximization(self, statistics: Statistics) -> None:
        """The M step."""
        self._assign(self.mixture.maximization(statistics, self._noise))

    def _start(self, batch: Batch, step: Step) -> None:
        """k-means; then equal weights, and one variance for all: the points' about their centres."""
        means, distance, _ = cluster(batch, step, self.config.components, self.config.lloyd, self._centres)
        variance = distance / self.images.dims + self._noise
        weights = torch.full_like(self.weights, 1 / len(self.weights))
        self._assign(Mixture(weights, means, precision_factors(self._spherical(variance))))
        self.started.fill_(True)

    @property
    def _noise(self) -> float:
        return self.dequantisation + self.config.floor

    def _centres(self, x: Tensor) -> Tensor:
        """The centres of the images' cells, `(N, D)`."""
        return (x.flatten(1).to(self.means.dtype) + 0.5) / self.images.levels

    def _spherical(self, variance: Tensor) -> Tensor:
        """K equal covariances, variance * I, in the shape that this model stores."""
        k, dims = self.config.components, self.images.dims
        if self.config.covariance == "full":
            return (variance * torch.eye(dims).to(variance)).repeat(k, 1, 1)
        return variance.repeat(k, dims if self.config.covariance == "diagonal" else 1)

    def _assign(self, mixture: Mixture) -> None:
        for name in ("weights", "means", "factors"):
            getattr(self, name).copy_(getattr(mixture, name))
