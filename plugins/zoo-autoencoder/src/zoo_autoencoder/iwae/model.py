"""The importance-weighted autoencoder: a VAE's networks, trained on a tighter bound by k samples of the posterior.

Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519:

    L_k(x) = E[log 1/k sum_i w_i],  w_i = p(x, z_i) / q(z_i|x),  z_i = mu(x) + sigma(x) eps_i           (equation 8)
    grad L_k = E[sum_i w~_i grad log w_i],  w~_i = w_i / sum_j w_j                                (equations 13 and 14)

Of the encoder's parameters that estimator's signal fades beside its noise as k grows. It can be reparameterised once
more, without a bias: G. Tucker, D. Lawson, S. Gu, C. Maddison, "Doubly Reparameterized Gradient Estimators for Monte
Carlo Objectives", 2018, https://arxiv.org/abs/1810.04152, section 3:

    grad_phi L_k = E[sum_i w~_i^2 (d log w_i / d z_i) (d z_i / d phi)]
"""

from __future__ import annotations

from torch import Tensor

from zoo_autoencoder import importance
from zoo_autoencoder.gaussian import kl, log_density, reparameterise
from zoo_autoencoder.gaussian_vae import GaussianVAE
from zoo_autoencoder.iwae.config import IWAEConfig
from zoo_core.images import Batch
from zoo_core.step import Step


class IWAE(GaussianVAE):
    """One stochastic layer; `elbo` and `iwae` as of a VAE."""

    config: IWAEConfig

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Equation 14, by k = `config.samples`."""
        self.start(batch, step)
        batch = batch.with_(eps=step.randn(batch, self.config.samples, self.config.latent))  # (N, k, latent)
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        return metrics

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """-L_k, nats per image; the KL divergence of the posterior beside it."""
        x, eps = batch.x, batch.extra["eps"]
        mean, log_var = self.posterior(x)
        if self.config.gradient == "reparameterization":
            bound = importance.bound(self.log_weight(x, mean, log_var, eps))
        else:
            bound = self.doubly(x, mean, log_var, eps)
        return {"loss": -bound.mean(), "kl": kl(mean, log_var).mean().detach()}

    def doubly(self, x: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """L_k with the gradient that is reparameterised twice. nats, `(N,)`.

        q's own parameters are held fixed where its density is taken, so that a gradient reaches the encoder through z
        alone; on its way there it is multiplied by w~ once more, while the decoder gets equation 14.
        """
        z = reparameterise(mean, log_var, eps)
        q = log_density(z, mean.detach().unsqueeze(1), log_var.detach().unsqueeze(1))
        log_w = self.log_likelihood(x, z) + log_density(z, z.new_zeros(()), z.new_zeros(())) - q  # (N, k)
        share = log_w.detach().softmax(1)  # w~
        if z.requires_grad:
            z.register_hook(lambda gradient: gradient * share.unsqueeze(2))
        return importance.bound(log_w.detach()) + (share * (log_w - log_w.detach())).sum(1)
