"""The variational autoencoder: an amortised Gaussian posterior, a Gaussian prior, a network on either side.

Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114 ("AEVB" below):

    p(z) = N(0, I),   p(x|z) = a product of pixel distributions,   q(z|x) = N(mu(x), sigma(x)^2 I)
    ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z))  <=  log P(x)                                 (equations 3 and 10)

Training may maximise something else (`objective.py`); `elbo` and `iwae` (`gaussian_vae.py`) are always the bounds.
"""

from __future__ import annotations

import functools

from torch import Tensor

from zoo_autoencoder import importance, networks
from zoo_autoencoder.gaussian import kl, kl_per_latent, reparameterise
from zoo_autoencoder.gaussian_vae import GaussianVAE
from zoo_autoencoder.vae import objective
from zoo_autoencoder.vae.config import VAEConfig
from zoo_core.images import Batch
from zoo_core.specs import ImageSpec
from zoo_core.step import Step


class VAE(GaussianVAE):
    """AEVB with MLPs (its appendix C) or convolutions; pixels are scaled to [0, 1] for the encoder."""

    config: VAEConfig

    def __init__(self, images: ImageSpec, config: VAEConfig, planes: int = 0, told: int = 0) -> None:
        super().__init__(images, config, planes, told)
        if config.gradient == "score_function":
            self.baseline = networks.encoder(images, config, 1, images.channels + planes)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """AEVB, algorithm 1."""
        self.start(batch, step)
        config = self.config
        batch = batch.with_(eps=step.randn(batch, config.samples, config.latent))  # (N, S, latent)
        if config.free_bits:
            information = step.mean(self.information, batch)  # (latent,)
            batch = batch.with_(above=(information > config.free_bits).expand(len(batch), -1))
        if config.gradient == "score_function":
            if "centre" not in step.state:  # by other noise than the step's: a control variate must not know it
                other = batch.with_(eps=step.randn(batch, config.samples, config.latent))
                step.state["centre"] = step.mean(self.fitted, other)
            batch = batch.with_(centre=step.state["centre"].expand(len(batch)))
        loss = functools.partial(self.loss, weight=objective.weight(config, step.progress))
        metrics: dict[str, Tensor] = step.minimize(loss, batch)  # type: ignore[assignment]
        if config.gradient == "score_function":
            step.state["centre"] = 0.9 * step.state["centre"] + 0.1 * metrics["fit"]
        return metrics

    def information(self, batch: Batch) -> Tensor:
        """KL(q(z_j|x) || p(z_j)), mean over a batch's images. nats, `(latent,)`."""
        return kl_per_latent(*self.posterior(batch.x, batch.labels)).mean(0)

    def fitted(self, batch: Batch) -> Tensor:
        """E_q[log p(x|z)] with a batch's noise, mean over its images. nats, 0-d."""
        return self.fit(batch.x, *self.posterior(batch.x, batch.labels), batch.extra["eps"], batch.labels).mean()

    def loss(self, batch: Batch, weight: float | None = None) -> dict[str, Tensor]:
        """Minus what `config` says is maximised, nats per image; the KL divergence beside it.

        weight: of the divergence now; `config.beta` if not given.
        """
        x, labels, eps, config = batch.x, batch.labels, batch.extra["eps"], self.config
        mean, log_var = self.posterior(x, labels)
        divergence = kl(mean, log_var)
        metrics = {"kl": divergence.mean().detach()}
        if config.objective == "iwae":
            return {"loss": -importance.bound(self.log_weight(x, mean, log_var, eps, labels)).mean(), **metrics}
        if config.gradient == "score_function":
            z = reparameterise(mean, log_var, eps).detach()
            guess = batch.extra["centre"] + self.baseline(self.encoder_input(x, labels)).squeeze(1)  # (N,)
            fit, maximised = objective.score_function(self.log_likelihood(x, z, labels), z, mean, log_var, guess)
            metrics["fit"] = fit.mean().detach()
        else:
            fit = maximised = self.fit(x, mean, log_var, eps, labels).mean(1)
        if config.altered:
            metrics["elbo"] = (fit - divergence).mean().detach()
        if config.free_bits:
            divergence = objective.free_bits(kl_per_latent(mean, log_var), batch.extra["above"], config.free_bits)
        weight = config.beta if weight is None else weight
        return {"loss": -(maximised - weight * divergence).mean(), **metrics}
