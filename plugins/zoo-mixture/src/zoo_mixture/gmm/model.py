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
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec, quantise
from zoo_core.step import Step
from zoo_mixture.codes import check_codes
from zoo_mixture.em_model import EMModel, Parameters
from zoo_mixture.gmm.config import GMMConfig
from zoo_mixture.gmm.em import Mixture, Statistics, precision_factors
from zoo_mixture.kmeans import Clusters
from zoo_mixture.rescue import rescued


class GMM(EMModel):
    """A. Dempster, N. Laird, D. Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977,
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x, from a start of `kmeans.py`; empty components by `rescue.py`.

    `weights`, `means`, `factors`: see `Mixture`.
    """

    estimated = ("weights", "means", "factors")
    config: GMMConfig
    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, images: ImageSpec, config: GMMConfig) -> None:
        super().__init__(images, config)
        k, dims = config.components, images.dims
        self.dequantisation = 1 / (12 * images.levels**2)  # the variance of u / levels
        self.register_buffer("weights", torch.full((k,), 1 / k, dtype=torch.float64))
        self.register_buffer("means", torch.full((k, dims), 0.5, dtype=torch.float64))
        self.register_buffer("factors", precision_factors(self._spherical(torch.tensor(1 / 12, dtype=torch.float64))))

    @property
    def mixture(self) -> Mixture:
        """The parameters, as a mixture on R^D."""
        return Mixture(**self.parameters_now)

    def log_density(self, v: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact ln p(v) of real images v `(N, C, H, W)`, pixels at [0, 1]. nats, float64 `(N,)`."""
        self.check_real(v, labels, text)
        return self.mixture.log_joint(v.flatten(1).to(self.means.dtype)).logsumexp(dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities gamma(z_nk) of the E step, PRML eq. 9.23: which component an image is from. `(N, K)`."""
        return self.mixture.responsibilities(self.points(self.check(x)), self.dequantisation)

    def decode(self, z: Tensor) -> Tensor:
        """The images expected of components mixed by responsibilities z `(N, K)`. uint8 `(N, C, H, W)`."""
        z = check_codes(self, z, len(self.means))
        return quantise((z @ self.means).view(-1, *self.images.shape), self.images)

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

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """As any `EMModel`'s. "nats": "loss" as a bound on -ln P(x) of the integer images, nats per image."""
        metrics = super().train_step(batch, step)
        return {**metrics, "nats": metrics["loss"] + self.images.dims * math.log(self.images.levels)}

    def points(self, x: Tensor) -> Tensor:
        """The centres of the images' cells, `(N, D)`."""
        return (x.flatten(1).to(self.means.dtype) + 0.5) / self.images.levels

    def start(self, clusters: Clusters, step: Step) -> Parameters:
        """Equal weights, and one variance for all: the points' about their nearest centres."""
        means, distance, _ = clusters
        variance = distance / self.images.dims + self._noise
        weights = torch.full_like(self.weights, 1 / len(self.weights))
        return {"weights": weights, "means": means, "factors": precision_factors(self._spherical(variance))}

    def expectation(self, parameters: Parameters) -> Callable[[Batch], Statistics]:
        mixture = Mixture(**parameters)
        return lambda batch: mixture.expectation(self.points(batch.x), self._noise)

    def maximization(self, parameters: Parameters, statistics: Statistics) -> Parameters:
        return vars(Mixture(**parameters).maximization(statistics, self._noise))

    def rescue(self, parameters: Parameters, step: Step) -> Parameters:
        """A component without images starts again on the image of the worst F, with the components' mean covariance."""

        def log_joint(parameters: Parameters, x: Tensor) -> Tensor:
            return Mixture(**parameters).log_joint(self.points(x), self._noise)

        def restart(parameters: Parameters, k: int, x: Tensor) -> Parameters:
            covariance = torch.tensordot(parameters["weights"], Mixture(**parameters).covariances, 1)
            means, factors = parameters["means"].clone(), parameters["factors"].clone()
            means[k] = self.points(x)[0]
            factors[k] = precision_factors(covariance[None])[0]
            return {"means": means, "factors": factors}

        return rescued(parameters, step, log_joint, restart)

    @property
    def _noise(self) -> float:
        return self.dequantisation + self.config.floor

    def _spherical(self, variance: Tensor) -> Tensor:
        """K equal covariances, variance * I, in the shape that this model stores."""
        k, dims = self.config.components, self.images.dims
        if self.config.covariance == "full":
            return (variance * torch.eye(dims).to(variance)).repeat(k, 1, 1)
        return variance.repeat(k, dims if self.config.covariance == "diagonal" else 1)
