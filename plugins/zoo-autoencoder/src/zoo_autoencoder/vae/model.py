"""The variational autoencoder: an amortised Gaussian posterior, a Gaussian prior, an MLP on either side.

Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114 ("AEVB" below);
Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519 ("IWAE").

    p(z) = N(0, I),   p(x|z) = a product of pixel distributions,   q(z|x) = N(mu(x), sigma(x)^2 I)
    ELBO(x)   = E_q[log p(x|z)] - KL(q(z|x) || p(z))  <=  log P(x)                           (AEVB, equations 3 and 10)
    IWAE_n(x) = E[log 1/n sum_i w_i],  w_i = p(x|z_i) p(z_i) / q(z_i|x),  z_i ~ q(z|x)       (IWAE, equation 8)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_autoencoder import importance, networks
from zoo_autoencoder.codes import ModelWithCodes
from zoo_autoencoder.gaussian import kl, reparameterise
from zoo_autoencoder.observation import Observation
from zoo_autoencoder.vae.config import VAEConfig
from zoo_core.chunks import randn
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Rng, from_unit, to_unit
from zoo_core.pixels import PixelDistribution
from zoo_core.specs import ImageSpec
from zoo_core.step import Step

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # x, mean, log_var, eps -> (N, S)


class VAE(ModelWithCodes):
    """AEVB with MLPs (its appendix C); pixels are scaled to [0, 1] for the encoder."""

    config: VAEConfig
    initialised: Tensor

    def __init__(self, images: ImageSpec, config: VAEConfig) -> None:
        super().__init__(images, config)
        self.observation = Observation(images, config.pixels, config.components)
        self.encoder = networks.encoder(images, config, 2 * config.latent)
        self.decoder = networks.decoder(images, config, config.latent, self.observation.per_place)
        self.register_buffer("initialised", torch.tensor(self.observation.kind != "bernoulli"))

    @property
    def latent(self) -> int:
        return self.config.latent

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """AdamW; its decay stands for the Gaussian prior on the parameters of AEVB, section 5.

        Fused, because updating the parameters one operation at a time is a fifth of a training step on a CPU.
        """
        return {"model": AdamW(self.parameters(), lr=lr, weight_decay=self.config.weight_decay, fused=True)}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """AEVB, algorithm 1."""
        if not self.initialised:
            self.initialise(step.mean(lambda part: to_unit(part.x, self.images).mean(0), batch))
        eps = step.randn(batch, self.config.samples, self.config.latent)  # (N, S, latent)
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch.with_(eps=eps))  # type: ignore[assignment]
        return metrics

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Start binary pixels at the frequencies of the first batch, `(C, H, W)`, instead of at 1/2.

        Otherwise a thousand steps on binarised MNIST go by before the code is used at all: after two epochs the ELBO is
        at -182 nats without this and at -130 with it.
        """
        networks.start_at(self.decoder, mean.clamp(0.01, 0.99).logit())
        self.initialised.fill_(True)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Minus the bound that `config.objective` names, nats per image; the KL divergence beside it."""
        mean, log_var = self.posterior(batch.x)
        eps = batch.extra["eps"]
        divergence = kl(mean, log_var)
        if self.config.objective == "iwae":
            bound = self.log_weight(batch.x, mean, log_var, eps).logsumexp(1) - math.log(eps.shape[1])
        else:
            bound = self.log_likelihood(batch.x, reparameterise(mean, log_var, eps)).mean(1) - divergence
        return {"loss": -bound.mean(), "kl": divergence.mean().detach()}

    @torch.no_grad()
    def elbo(
        self,
        x: Tensor,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        draws: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """AEVB, equation 10, with `draws` samples: the divergence in closed form. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        if draws < 1:
            raise ZooError(f"VAE.elbo: expected draws >= 1, got {draws}")
        parts = []
        for part in x.split(importance.images_per_pass(self.numbers)):
            mean, log_var = self.posterior(part)
            score = functools.partial(self._score, self._reconstruction, part, mean, log_var, generator)
            fit = importance.averaged(draws, importance.samples_per_pass(len(part), self.numbers), score)
            parts.append(fit - kl(mean, log_var).double())
        return torch.cat(parts)

    @torch.no_grad()
    def iwae(
        self,
        x: Tensor,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """IWAE, equation 8, with `n` samples, streamed through a running log-sum-exp. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        if n < 1:
            raise ZooError(f"VAE.iwae: expected n >= 1 importance samples, got {n}")
        parts = []
        for part in x.split(importance.images_per_pass(self.numbers)):
            mean, log_var = self.posterior(part)
            score = functools.partial(self._score, self.log_weight, part, mean, log_var, generator)
            parts.append(importance.streamed(n, importance.samples_per_pass(len(part), self.numbers), score))
        return torch.cat(parts)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """z ~ N(0, temperature^2 I), then pixels from p(x|z). uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        if temperature < 0:
            raise ZooError(f"VAE.sample: expected temperature >= 0, the prior's standard deviation, got {temperature}")
        z = temperature * randn(n, self.config.latent, generator=generator, device=self.device)
        return torch.cat([self.distribution(part).sample(generator) for part in z.split(importance.rows(self.numbers))])

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean, `(N, latent)`."""
        return self.posterior(self.check(x))[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), rounded to the nearest level. z: `(N, latent)`. uint8 `(N, C, H, W)`."""
        self.check_codes(z)
        top = self.images.levels - 1
        parts = z.split(importance.rows(self.numbers))
        return torch.cat([from_unit(self.distribution(part).mean() / top, self.images) for part in parts])

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """q(z|x): mean and log variance, both `(N, latent)`."""
        hidden = self.encoder(to_unit(x, self.images).to(self.dtype))  # (N, C, H, W) -> (N, 2 latent)
        mean, log_var = hidden.chunk(2, dim=1)
        return mean, log_var

    def distribution(self, z: Tensor) -> PixelDistribution:
        """p(x|z) for codes `(N, latent)`."""
        return self.observation.distribution(self.decoder(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z). x: `(N, C, H, W)`. z: `(N, S, latent)`. Returns nats, `(N, S)`."""
        params = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])  # (N S, outputs) -> (N, S, outputs)
        return self.observation.log_likelihood(x, params)

    def log_weight(self, x: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + sigma eps; the factors of 2 pi cancel. `(N, S)`."""
        z = reparameterise(mean, log_var, eps)
        return self.log_likelihood(x, z) + 0.5 * (eps.square() - z.square() + log_var.unsqueeze(1)).sum(-1)

    def _reconstruction(self, x: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """log p(x|z) at z = mu + sigma eps. `(N, S)`."""
        return self.log_likelihood(x, reparameterise(mean, log_var, eps))

    @staticmethod
    def _score(of: Formula, x: Tensor, mean: Tensor, log_var: Tensor, generator: Rng, s: int) -> Tensor:
        """`of` at `s` fresh draws of the posterior of each image. `(N, s)`."""
        return of(x, mean, log_var, importance.noise(mean, s, generator))

    @property
    def numbers(self) -> int:
        """What the decoder holds of one code where it is widest: an evaluation's passes are cut by it."""
        return self.observation.outputs
