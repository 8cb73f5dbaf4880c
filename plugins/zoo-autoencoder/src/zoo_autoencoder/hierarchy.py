"""Several layers of latents: their bounds, their samples, and what their codes are.

A model of T layers draws from the top, z_T, down to z_1, and infers all of them from an image:

    p(x, z) = p(x | z) p(z_T) prod_{t<T} p(z_t | z_{>t}),   p(z_T) = N(0, I),   every factor a diagonal Gaussian
    ELBO(x)   = E_q[log p(x | z)] - sum_t D_t,   D_t = E_q[log q(z_t | ...) - log p(z_t | z_{>t})]
    IWAE_n(x) = E[log 1/n sum_i w_i],  w_i = p(x, z_i) / q(z_i | x),  one weight for the latents of all layers

The bounds: Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114, equation 3;
Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519, equation 8.
Of each D_t as much as can be is in closed form, given the layers that its distributions depend on.

A code is all latents in their prior's own coordinates, the top layer first:

    z_t = mu_p(z_{>t}) + sigma_p(z_{>t}) u_t,   u = (u_T, ..., u_1),   u ~ N(0, I) under the prior

which is the non-centred form of Kingma, Welling, "Efficient Gradient-Based Inference through Transformations between
Bayes Nets and Neural Nets", 2014, https://arxiv.org/abs/1402.0480, section 4. So a straight line between two codes
moves the top layers and takes the lower ones along, a code that keeps its beginning keeps its upper layers, and with
one layer a code is a VAE's z.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_autoencoder import checks, importance
from zoo_autoencoder.codes import ModelWithCodes
from zoo_autoencoder.gaussian import kl_between
from zoo_autoencoder.hierarchy_config import HierarchyConfig
from zoo_autoencoder.observation import Observation
from zoo_core.chunks import randn
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, Rng, Text, from_unit, to_unit
from zoo_core.specs import ImageSpec
from zoo_core.step import Step

Gaussian = tuple[Tensor, Tensor]  # mean and log variance
Seen = Any  # what a model computes of images before it draws latents: tensors of N rows


class Layer(NamedTuple):
    """S draws of one layer's latents for N images; each tensor is `(N, S, size)`, or broadcasts to that.

    z = mean + exp(log_var / 2) eps is drawn from q, N(mean, e^log_var); p is N(prior_mean, e^prior_log_var).
    """

    z: Tensor
    eps: Tensor
    mean: Tensor
    log_var: Tensor
    prior_mean: Tensor
    prior_log_var: Tensor

    def code(self) -> Tensor:
        """u = (z - mu_p) / sigma_p."""
        return (self.z - self.prior_mean) * (-0.5 * self.prior_log_var).exp()

    def log_ratio(self) -> Tensor:
        """log p(z_t | ...) - log q(z_t | ...); the factors of 2 pi cancel. nats, `(N, S)`."""
        return 0.5 * (self.eps.square() - self.code().square() + self.log_var - self.prior_log_var).sum(-1)

    def divergence(self) -> Tensor:
        """KL(q || p), where neither depends on this layer's draw. nats, `(N, S)`."""
        return kl_between(self.mean, self.log_var, self.prior_mean, self.prior_log_var)

    def cross_entropy_gap(self) -> Tensor:
        """-log p(z_t | ...) at the draw, minus q's entropy in closed form, where p depends on this draw. `(N, S)`."""
        return 0.5 * (self.code().square() + self.prior_log_var - self.log_var - 1).sum(-1)


class Draws(NamedTuple):
    """S draws of all latents of N images, `layers` from the top, and `params` `(N, S, outputs)` of p(x|z)."""

    layers: list[Layer]
    params: Tensor

    def code(self) -> Tensor:
        """`(N, S, latent)`, the top layer first."""
        return torch.cat([layer.code() for layer in self.layers], -1)

    def log_ratio(self) -> Tensor:
        """log p(z) - log q(z | x). nats, `(N, S)`."""
        return across([layer.log_ratio() for layer in self.layers], 0).sum(0)


class Hierarchy(ModelWithCodes):
    """layers: how many latents each layer has, the top layer first. numbers: what one code's pass holds at most."""

    config: HierarchyConfig
    initialised: Tensor
    layers: tuple[int, ...]
    numbers: int

    def __init__(self, images: ImageSpec, config: HierarchyConfig) -> None:
        super().__init__(images, config)
        self.observation = Observation(images, config.pixels, config.components)
        self.register_buffer("initialised", torch.tensor(self.observation.kind != "bernoulli"))

    @abstractmethod
    def see(self, x: Tensor) -> Seen:
        """All that inference computes of images `(N, C, H, W)` once, however many latents are drawn of each."""

    @abstractmethod
    def infer(self, seen: Seen, eps: Tensor) -> Draws:
        """S draws of q(z|x) of each image. eps: standard normal, `(N, S, latent)`, the top layer first."""

    @abstractmethod
    def generate(self, u: Tensor) -> Tensor:
        """The numbers of p(x|z), `(M, outputs)`, for codes `(M, latent)`."""

    @abstractmethod
    def start_at(self, bias: Tensor) -> None:
        """Start the output's bias at `(outputs, H, W)`."""

    def divergences(self, draws: Draws) -> Tensor:
        """D_t of each layer, the top layer first, as far as possible in closed form. nats, `(N, S, T)`.

        Here KL(q(z_t | z_{>t}, x) || p(z_t | z_{>t})), for posteriors that run from the top down as priors do.
        """
        return across([layer.divergence() for layer in draws.layers], -1)

    def log_weight(self, x: Tensor, draws: Draws) -> Tensor:
        """log w = log p(x, z) - log q(z | x). nats, `(N, S)`."""
        return self.observation.log_likelihood(x, draws.params) + draws.log_ratio()

    def elbo_terms(self, x: Tensor, draws: Draws) -> Tensor:
        """log p(x | z) - sum_t D_t: the mean over draws is the ELBO. nats, `(N, S)`."""
        return self.observation.log_likelihood(x, draws.params) - self.divergences(draws).sum(-1)

    @property
    def latent(self) -> int:
        return sum(self.layers)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        return {"model": AdamW(self.parameters(), lr=lr, weight_decay=self.config.weight_decay, fused=True)}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The gradient of a bound by the reparameterisation of all layers, algorithm 1 of "AEVB"."""
        if step.index == 0 and not self.initialised:  # looked at once: reading a tensor would stall a GPU every step
            self.initialise(step.mean(lambda part: to_unit(part.x, self.images).to(self.dtype).mean(0), batch))
        warmup = self.config.warmup
        weight = min(1.0, step.progress / warmup) if warmup else 1.0
        batch = batch.with_(eps=step.randn(batch, self.config.samples, self.latent))
        return step.minimize(functools.partial(self.loss, weight=weight), batch)  # type: ignore[return-value]

    @torch.no_grad()
    def initialise(self, mean: Tensor) -> None:
        """Start binary pixels at the frequencies of the first batch, `(C, H, W)`, instead of at 1/2, as in `vae`."""
        self.start_at(mean.clamp(0.01, 0.99).logit())
        self.initialised.fill_(True)

    def loss(self, batch: Batch, weight: float = 1.0) -> dict[str, Tensor]:
        """Minus the bound that `config.objective` names, divergences by `weight`, and their sum. nats per image."""
        draws = self.infer(self.see(batch.x), batch.extra["eps"])
        divergence = self.divergences(draws).sum(-1)  # (N, S, T) -> (N, S)
        fit = self.observation.log_likelihood(batch.x, draws.params)
        if self.config.objective == "iwae":
            bound = importance.bound(fit + draws.log_ratio())
        else:
            bound = (fit - weight * divergence).mean(1)
        metrics = {"kl": divergence.mean().detach()}
        if self.config.warmup:
            metrics["elbo"] = (fit - divergence).mean().detach()
        return {"loss": -bound.mean(), **metrics}

    @torch.no_grad()
    def elbo(
        self, x: Tensor, *, labels: Labels = None, text: Text = None, draws: int = 1, generator: Rng = None
    ) -> Tensor:
        """The ELBO with `draws` samples of the latents. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        checks.count(f"{self._name}.elbo", "draws", draws)
        return self._bound(x, draws, self.elbo_terms, importance.averaged, generator)

    @torch.no_grad()
    def iwae(self, x: Tensor, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None) -> Tensor:
        """IWAE, equation 8, with `n` draws of the latents of all layers. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        checks.count(f"{self._name}.iwae", "n", n, why=" importance samples")
        return self._bound(x, n, self.log_weight, importance.streamed, generator)

    def _bound(
        self,
        x: Tensor,
        n: int,
        value: Callable[[Tensor, Draws], Tensor],
        total: Callable[[int, int, importance.Score], Tensor],
        generator: Rng,
    ) -> Tensor:
        """`total` of `value` over n draws of each image, in passes that hold little. float64 `(N,)`."""
        parts = []
        for part in x.split(importance.images_per_pass(self.numbers)):
            seen, like = self.see(part), torch.empty(len(part), self.latent, dtype=self.dtype, device=x.device)

            def score(s: int, part: Tensor = part, seen: Seen = seen, like: Tensor = like) -> Tensor:
                return value(part, self.infer(seen, importance.noise(like, s, generator)))

            parts.append(total(n, importance.samples_per_pass(len(part), self.numbers), score))
        return torch.cat(parts)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None, temperature: float = 1.0
    ) -> Tensor:
        """Latents from the top down, then pixels from p(x|z). uint8 `(n, C, H, W)`.

        temperature: factor on the standard deviation of every layer's prior.
        """
        self.check_request(n, labels, text)
        u = self.prior(n, generator, temperature)
        parts = u.split(importance.rows(self.numbers))
        return torch.cat([self.observation.distribution(self.generate(part)).sample(generator) for part in parts])

    def prior(self, n: int, generator: Rng, temperature: float) -> Tensor:
        """Codes from N(0, temperature^2 I), `(n, latent)`."""
        if temperature < 0:
            raise ZooError(
                f"{self._name}: expected temperature >= 0, a factor on standard deviations, got {temperature}"
            )
        return temperature * randn(n, self.latent, generator=generator, device=self.device, dtype=self.dtype)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The latents' posterior means, each given the means before it, as a code. `(N, latent)`."""
        parts = self.check(x).split(importance.rows(self.numbers))
        zero = torch.zeros(1, 1, self.latent, dtype=self.dtype, device=x.device)
        return torch.cat([self.infer(self.see(part), zero.expand(len(part), -1, -1)).code()[:, 0] for part in parts])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), rounded to the nearest level. z: codes `(N, latent)`. uint8 `(N, C, H, W)`."""
        top = self.images.levels - 1
        parts = self.check_codes(z).split(importance.rows(self.numbers))
        means = (self.observation.distribution(self.generate(part)).mean() for part in parts)
        return torch.cat([from_unit(mean / top, self.images) for mean in means])

    @torch.no_grad()
    def redraw(self, x: Tensor, keep: int, n: int, *, generator: Rng = None, temperature: float = 1.0) -> Tensor:
        """What the top layers know of images: their `keep` top layers stay, the others are drawn from the prior anew.

        keep: 0 (nothing of x) to T (its reconstruction). Returns `decode` of `n` such codes of each image, uint8
        `(N n, C, H, W)`, image by image.
        """
        if type(keep) is not int or not 0 <= keep <= len(self.layers):
            raise ZooError(f"{self._name}.redraw: expected to keep 0 to {len(self.layers)} layers, got {keep!r}")
        checks.count(f"{self._name}.redraw", "n", n)
        kept = self.encode(x)[:, : sum(self.layers[:keep])]
        codes = self.prior(len(x) * n, generator, temperature)
        codes[:, : kept.shape[1]] = kept.repeat_interleave(n, 0)
        return self.decode(codes)

    @torch.no_grad()
    def layer_divergences(self, x: Tensor, *, draws: int = 1, generator: Rng = None) -> Tensor:
        """How much each layer carries: the mean of D_t over images, the top layer first. nats, `(T,)`."""
        checks.count(f"{self._name}.layer_divergences", "draws", draws)
        self.check(x)
        total = torch.zeros(len(self.layers), dtype=torch.float64, device=x.device)
        for part in x.split(importance.images_per_pass(self.numbers * draws)):
            like = torch.empty(len(part), self.latent, dtype=self.dtype, device=x.device)
            drawn = self.infer(self.see(part), importance.noise(like, draws, generator))
            total += self.divergences(drawn).double().mean(1).sum(0)
        return total / len(x)


def gaussian(numbers: Tensor, dim: int = -1) -> Gaussian:
    """A network's output as mean and log variance: the halves of dimension `dim`, at least float32.

    Under autocast the output is half precision, in which a divergence has three digits.
    """
    mean, log_var = numbers.to(torch.promote_types(numbers.dtype, torch.float32)).chunk(2, dim)
    return mean, log_var


def across(terms: list[Tensor], dim: int) -> Tensor:
    """The layers' terms along a new dimension; what is the same for all draws of an image is `(N, 1)` before."""
    return torch.stack(torch.broadcast_tensors(*terms), dim)
