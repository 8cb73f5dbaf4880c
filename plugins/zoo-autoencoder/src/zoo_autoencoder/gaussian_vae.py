"""What the models with one Gaussian code share: encoder, decoder, bounds, samples; how one is trained is its own.

Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114 ("AEVB" below);
Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519 ("IWAE").

    p(z) = N(0, I),   p(x|z) = a product of pixel distributions,   q(z|x) = N(mu(x), sigma(x)^2 I)
    ELBO(x)   = E_q[log p(x|z)] - KL(q(z|x) || p(z))  <=  log P(x)                           (AEVB, equations 3 and 10)
    IWAE_n(x) = E[log 1/n sum_i w_i],  w_i = p(x|z_i) p(z_i) / q(z_i|x),  z_i ~ q(z|x)       (IWAE, equation 8)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_autoencoder import checks, importance, networks
from zoo_autoencoder.codes import ModelWithCodes
from zoo_autoencoder.gaussian import kl, reparameterise
from zoo_autoencoder.observation import Observation
from zoo_core.chunks import randn
from zoo_core.config import Config
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, Rng, Text, from_unit, to_unit
from zoo_core.pixels import PixelDistribution
from zoo_core.specs import ImageSpec
from zoo_core.step import Step

Formula = Callable[[Tensor, Tensor, Tensor, Tensor, Labels], Tensor]  # x, mean, log_var, eps, labels -> (N, S)


class GaussianVAE(ModelWithCodes):
    """Encoder, decoder, bounds, samples and codes; how it is trained is a subclass's.

    planes: channels that `encoder_input` adds to the image's own. told: numbers that `decoder_input` adds to the code.
    """

    initialised: Tensor

    def __init__(self, images: ImageSpec, config: Config, planes: int = 0, told: int = 0) -> None:
        super().__init__(images, config)
        self.observation = Observation(images, config.pixels, config.components)
        self.encoder = networks.encoder(images, config, 2 * config.latent, images.channels + planes)
        self.decoder = networks.decoder(images, config, config.latent + told, self.observation.per_place)
        self.numbers = networks.load(images, config, self.observation.per_place)
        self.register_buffer("initialised", torch.tensor(self.observation.kind != "bernoulli"))
        self._started = False  # so that a step on a GPU need not wait for `initialised`

    @property
    def latent(self) -> int:
        return self.config.latent  # type: ignore[no-any-return]

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """AdamW; its decay stands for the Gaussian prior on the parameters of AEVB, section 5.

        Fused, because updating the parameters one operation at a time is a fifth of a training step on a CPU.
        """
        return {"model": AdamW(self.parameters(), lr=lr, weight_decay=self.config.weight_decay, fused=True)}

    def start(self, batch: Batch, step: Step) -> None:
        """What precedes the first training step."""
        if not self._started and not self.initialised:
            self.initialise(step.mean(lambda part: to_unit(part.x, self.images).to(self.dtype).mean(0), batch))
        self._started = True

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Start binary pixels at the frequencies of the first batch, `(C, H, W)`, instead of at 1/2.

        Otherwise a thousand steps on binarised MNIST go by before the code is used at all: after two epochs the ELBO is
        at -182 nats without this and at -130 with it.
        """
        networks.start_at(self.decoder, mean.clamp(0.01, 0.99).logit())
        self.initialised.fill_(True)

    @torch.no_grad()
    def elbo(
        self, x: Tensor, *, labels: Labels = None, text: Text = None, draws: int = 1, generator: Rng = None
    ) -> Tensor:
        """AEVB, equation 10, with `draws` samples: the divergence in closed form. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        checks.count(f"{self._name}.elbo", "draws", draws)
        return torch.cat(
            [
                importance.averaged(draws, size, score) - kl(*q).double()
                for q, size, score in self.passes(Batch(x, labels), self.fit, generator)
            ]
        )

    @torch.no_grad()
    def iwae(self, x: Tensor, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None) -> Tensor:
        """IWAE, equation 8, with `n` samples, streamed through a running log-sum-exp. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        checks.count(f"{self._name}.iwae", "n", n, why=" importance samples")
        passes = self.passes(Batch(x, labels), self.log_weight, generator)
        return torch.cat([importance.streamed(n, size, score) for _, size, score in passes])

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None, temperature: float = 1.0
    ) -> Tensor:
        """z ~ N(0, temperature^2 I), then pixels from p(x|z). uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        if temperature < 0:
            raise ZooError(
                f"{self._name}.sample: expected temperature >= 0, the prior's standard deviation, got {temperature}"
            )
        z = temperature * randn(n, self.latent, generator=generator, device=self.device, dtype=self.dtype)
        given = self.drawn(n, labels, generator)
        return torch.cat([p.sample(generator) for p in self.distributions(z, given)])

    @torch.no_grad()
    def encode(self, x: Tensor, *, labels: Labels = None) -> Tensor:
        """The posterior's mean, `(N, latent)`."""
        parts = Batch(self.check(x, labels), labels).split(importance.rows(self.numbers))
        return torch.cat([self.posterior(part.x, part.labels)[0] for part in parts])

    @torch.no_grad()
    def decode(self, z: Tensor, *, labels: Labels = None) -> Tensor:
        """The mean of p(x|z), rounded to the nearest level. z: `(N, latent)`. uint8 `(N, C, H, W)`."""
        z = self.check_codes(z)
        self.check_decoded(len(z), labels)
        top = self.images.levels - 1
        return torch.cat([from_unit(p.mean() / top, self.images) for p in self.distributions(z, labels)])

    def encoder_input(self, x: Tensor, labels: Labels) -> Tensor:
        """What the encoder sees: pixels in [0, 1]."""
        return to_unit(x, self.images).to(self.dtype)

    def decoder_input(self, z: Tensor, labels: Labels) -> Tensor:
        """What the decoder is given: codes `(..., latent)`."""
        return z

    def drawn(self, n: int, labels: Labels, generator: Rng) -> Labels:
        """The labels of `n` samples: those that were asked for."""
        return labels

    def check_decoded(self, n: int, labels: Labels) -> None:
        """`ZooError` unless `n` codes can be decoded under this condition."""
        self._check_condition(n, labels, None)

    def posterior(self, x: Tensor, labels: Labels = None) -> tuple[Tensor, Tensor]:
        """q(z|x): mean and log variance, both `(N, latent)`."""
        hidden = self.encoder(self.encoder_input(x, labels))  # (N, C, H, W) -> (N, 2 latent)
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))  # half precision under autocast
        mean, log_var = hidden.chunk(2, dim=1)
        return mean, log_var

    def distribution(self, z: Tensor, labels: Labels = None) -> PixelDistribution:
        """p(x|z) for codes `(N, latent)`."""
        return self.observation.distribution(self.decoder(self.decoder_input(z, labels)))

    def distributions(self, z: Tensor, labels: Labels) -> Iterator[PixelDistribution]:
        """p(x|z) for codes `(N, latent)`, as many at a time as a pass may hold."""
        size = importance.rows(self.numbers)
        for start in range(0, len(z), size):
            rows = slice(start, start + size)
            yield self.distribution(z[rows], None if labels is None else labels[rows])

    def log_likelihood(self, x: Tensor, z: Tensor, labels: Labels = None) -> Tensor:
        """log p(x|z). x: `(N, C, H, W)`. z: `(N, S, latent)`. Returns nats, `(N, S)`."""
        given = self.decoder_input(z, labels)
        params = self.decoder(given.flatten(0, 1)).unflatten(0, z.shape[:2])  # (N S, outputs) -> (N, S, outputs)
        return self.observation.log_likelihood(x, params)

    def fit(self, x: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor, labels: Labels = None) -> Tensor:
        """log p(x|z) at z = mu + sigma eps. nats, `(N, S)`."""
        return self.log_likelihood(x, reparameterise(mean, log_var, eps), labels)

    def log_weight(self, x: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor, labels: Labels = None) -> Tensor:
        """log w = log p(x|z) + log p(z) - log q(z|x) at z = mu + sigma eps; the factors of 2 pi cancel. `(N, S)`."""
        z = reparameterise(mean, log_var, eps)
        likelihood = self.log_likelihood(x, z, labels)
        return likelihood + 0.5 * (eps.square() - z.square() + log_var.unsqueeze(1)).sum(-1)

    def passes(
        self, batch: Batch, formula: Formula, generator: Rng
    ) -> Iterator[tuple[tuple[Tensor, Tensor], int, importance.Score]]:
        """The images in parts, each encoded once: q(z|x), draws of a pass, and the function that scores them."""
        for part in batch.split(importance.images_per_pass(self.numbers)):
            q = self.posterior(part.x, part.labels)
            score = functools.partial(_scored, formula, part, q, generator)
            yield q, importance.samples_per_pass(len(part), self.numbers), score


def _scored(formula: Formula, part: Batch, q: tuple[Tensor, Tensor], generator: Rng, s: int) -> Tensor:
    """`formula` at `s` fresh draws of the posterior of each image. `(N, s)`."""
    return formula(part.x, *q, importance.noise(q[0], s, generator), part.labels)
