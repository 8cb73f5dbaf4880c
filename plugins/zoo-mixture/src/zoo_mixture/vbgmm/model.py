"""VBGMM: a Gaussian mixture over dequantised images whose parameters are integrated, not estimated.

H. Attias, "A Variational Bayesian Framework for Graphical Models", 1999; Bishop, PRML, 2006, section 10.2; equations in
`variational.py`. Of K components, those that the images do not need fall back to the prior, and their weights to about
alpha_0 / N: K is an upper limit.

An image is its whole cell, as for `gmm`: the centre plus noise of variance 1 / (12 levels^2) a pixel, in closed form.
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
from zoo_mixture.em_model import EMModel, Parameters, Statistics
from zoo_mixture.kmeans import Clusters
from zoo_mixture.vbgmm.config import VBGMMConfig
from zoo_mixture.vbgmm.variational import Posterior, Prior


class VBGMM(EMModel):
    """Coordinate ascent by full passes: the bound of the evidence never falls.

    Before training, the posterior is the prior. No component is rescued: emptying them is what the prior is for.
    Buffers: the fields of `Posterior`, and m_0 `(D,)`, the training images' mean.
    """

    estimated = ("concentration", "means", "mean_precision", "degrees", "factors")
    config: VBGMMConfig
    concentration: Tensor
    means: Tensor
    mean_precision: Tensor
    degrees: Tensor
    factors: Tensor
    prior_mean: Tensor

    def __init__(self, images: ImageSpec, config: VBGMMConfig) -> None:
        super().__init__(images, config)
        k, dims = config.components, images.dims
        self.dequantisation = 1 / (12 * images.levels**2)  # the variance of u / levels
        self.register_buffer("prior_mean", torch.full((dims,), 0.5, dtype=torch.float64))
        none = torch.zeros(k, dtype=torch.float64)
        zeros = torch.zeros(k, dims, dims, dtype=torch.float64)
        for name, value in vars(self.prior.posterior(none, self.prior_mean.repeat(k, 1), zeros, 0)).items():
            self.register_buffer(name, value)

    @property
    def prior(self) -> Prior:
        """What the config says of the parameters, about m_0."""
        config, dims = self.config, self.images.dims
        degrees = dims - 1 + config.degrees
        return Prior(
            concentration=config.concentration,
            mean=self.prior_mean,
            mean_precision=config.mean_precision,
            degrees=degrees,
            inverse_scale=degrees * config.variance * torch.eye(dims).to(self.prior_mean),
        )

    @property
    def posterior(self) -> Posterior:
        """q(pi, mu, Lambda)."""
        return Posterior(**self.parameters_now)

    def log_density(self, v: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """ln of the predictive density, a mixture of Student-t, of real images v `(N, C, H, W)`, pixels at [0, 1].
        PRML eq. 10.81, exact under q. nats, float64 `(N,)`."""
        self.check_real(v, labels, text)
        return self.posterior.log_predictive(v.flatten(1).to(self.means.dtype)).logsumexp(1)

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities r_nk, PRML eq. 10.49: which component an image is from. `(N, K)`."""
        return self.posterior.responsibilities(self.points(self.check(x)), self.dequantisation)

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
        """`n` images: the cells of points of the predictive density. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        if options:
            raise ZooError(f"VBGMM.sample has no option {', '.join(options)}; call it without")
        return quantise(self.posterior.draw(n, generator).view(n, *self.images.shape), self.images)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """As any `EMModel`'s; "loss" is -L/N, "nats" the same as a bound on -ln P(x) of the integer images, prior and
        all, and "used" counts the components of at least one image."""
        metrics = super().train_step(batch, step)
        used = (self.concentration >= self.config.concentration + 1).sum()
        return {**metrics, "nats": metrics["loss"] + self.images.dims * math.log(self.images.levels), "used": used}

    def points(self, x: Tensor) -> Tensor:
        """The centres of the images' cells, `(N, D)`."""
        return (x.flatten(1).to(self.means.dtype) + 0.5) / self.images.levels

    def start(self, clusters: Clusters, step: Step) -> Parameters:
        """The posterior for equal weights and one variance for all: the points' about their nearest centres."""
        means, distance, images = clusters
        self.prior_mean.copy_(step.mean(lambda part: self.points(part.x).mean(0)))
        weight = torch.full_like(self.concentration, 1 / len(means))
        dims = self.images.dims
        variance = distance / dims + self.dequantisation
        scatter = (variance / len(means) * torch.eye(dims).to(means)).expand(len(means), -1, -1)
        return vars(self.prior.posterior(weight, means, scatter, images))

    def expectation(self, parameters: Parameters) -> Callable[[Batch], Statistics]:
        posterior = Posterior(**parameters)
        penalty = posterior.divergence(self.prior) / self._images(posterior)

        def statistics(batch: Batch) -> Statistics:
            found = posterior.expectation(self.points(batch.x), self.dequantisation)
            return {**found, "objective": found["objective"] - penalty}

        return statistics

    def maximization(self, parameters: Parameters, statistics: Statistics) -> Parameters:
        posterior = Posterior(**parameters)
        images = self._images(posterior)
        return vars(posterior.maximization(statistics, self.prior, images, self.dequantisation))

    def _images(self, posterior: Posterior) -> Tensor:
        """N, which sum_k alpha_k - alpha_0 counts; 0-d."""
        return (posterior.concentration - self.config.concentration).sum().round()
