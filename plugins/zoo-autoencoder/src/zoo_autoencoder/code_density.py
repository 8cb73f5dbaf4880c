"""The density of an autoencoder's codes, fitted after training: what lets a deterministic autoencoder generate.

P. Ghosh, M. Sajjadi, A. Vergari, M. Black, B. Schölkopf, "From Variational to Deterministic Autoencoders", 2020,
https://arxiv.org/abs/1903.12436, section 4, "Ex-post density estimation": a mixture of Gaussians with full covariances,
fitted to the codes of the training images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from zoo_mixture.gmm.em import Mixture, precision_factors
from zoo_mixture.kmeans import lloyd, seeds

from zoo_autoencoder.deterministic_config import DensityConfig
from zoo_core.step import seed_from

ROUNDS = 10  # of k-means before EM
ENOUGH = 1e-4  # nats per code: EM ends at an iteration that gains less


class CodeDensity(nn.Module):
    """`weights` `(K,)`, `means` and `factors`: see `Mixture`. They are in the saved weights; `fitted` says whether."""

    weights: Tensor
    means: Tensor
    factors: Tensor
    fitted: Tensor

    def __init__(self, latent: int, config: DensityConfig) -> None:
        super().__init__()
        self.config = config
        k, shape = config.components, (latent, latent) if config.covariance == "full" else (latent,)
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.zeros(k, latent))
        self.register_buffer("factors", torch.zeros(k, *shape))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, codes: Tensor) -> Tensor:
        """EM on `codes` `(N, latent)`, each latent at mean 0 and variance 1. A function of the set of codes alone, so
        equal on every process. Returns the log-likelihood that EM climbed, nats per code, one number an iteration.

        Of fewer different codes than components, each is one, and the components that are left have no weight.
        On the CPU, in float64, which not every device has; codes are few numbers, and this is done once.
        """
        # Sorted by this, so the order of the codes does not matter.
        different, counts = codes.cpu().double().unique(dim=0, return_counts=True)
        points = different.repeat_interleave(counts, 0)
        shift, scale = points.mean(0), points.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1)  # a latent that is the same for every image
        mixture = self._start((different - shift) / scale, counts.double())
        points, climbed = (points - shift) / scale, []
        for _ in range(self.config.iterations):
            statistics = mixture.expectation(points, self.config.floor)
            mixture = mixture.maximization(statistics, self.config.floor)
            climbed.append(statistics["objective"] - scale.log().sum())
            if len(climbed) > 1 and climbed[-1] - climbed[-2] < ENOUGH:
                break
        k = len(mixture.weights)
        self.weights.zero_()[:k] = mixture.weights
        self.means[:k] = mixture.means * scale + shift
        self.factors[:k] = mixture.factors / (scale[:, None] if mixture.full else scale)  # S^-1 U, still triangular
        self.fitted.fill_(True)
        return torch.stack(climbed)

    def _start(self, points: Tensor, counts: Tensor) -> Mixture:
        """k-means++ and k-means; equal weights, and for all components the points' variance about their centres."""
        generator = torch.Generator().manual_seed(seed_from("codes"))  # `finish` has no batch to draw noise for
        u = torch.rand(self.config.components, generator=generator, dtype=torch.float64)[: len(points)]
        centres, distance = lloyd(points, counts, seeds(points, counts, u), ROUNDS)
        variance = distance / points.shape[1] + self.config.floor
        covariances = variance * torch.ones_like(centres)
        if self.config.covariance == "full":
            covariances = covariances.diag_embed()
        return Mixture(torch.full_like(u, 1 / len(u)), centres, precision_factors(covariances))

    def draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        """`n` codes, `(n, latent)`."""
        return Mixture(self.weights, self.means, self.factors).draw(n, generator)
