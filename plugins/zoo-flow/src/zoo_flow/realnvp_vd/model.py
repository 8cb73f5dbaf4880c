"""RealNVP with variational dequantisation: the noise that makes an image real is learned, and depends on it.

Ho, Chen, Srinivas, Duan, Abbeel, "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and
Architecture Design", 2019, https://arxiv.org/abs/1902.00275, section 3.1. An image x is a cell of volume K^-D, and

    log P(x) >= E_q[log p((x + u) / K) - log q(u|x)] - D log K,    u ~ q(u|x) on [0, 1)^D

With uniform q it is the bound that every flow here is trained on. By several draws u_i, it is an importance-weighted
one, which rises with their number (Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015,
https://arxiv.org/abs/1509.00519, equation 8):

    log P(x) >= E[log 1/n sum_i w_i],    w_i = K^-D p((x + u_i) / K) / q(u_i|x)

The density p is a `realnvp` and not the paper's own Flow++.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, Rng, Text, dequantise
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.realnvp.model import RealNVP
from zoo_flow.realnvp_vd.config import RealNVPVDConfig
from zoo_flow.realnvp_vd.dequantiser import Dequantiser

NUMBERS = 2**19  # pixels that one pass of an evaluation holds


class RealNVPVD(GenerativeModel):
    """density: p, whose own likelihood is that of real images; this model's is that of integers, a bound."""

    config: RealNVPVDConfig

    def __init__(self, images: ImageSpec, config: RealNVPVDConfig) -> None:
        super().__init__(images, config)
        self.density = RealNVP(images, config.flow)
        self.dequantiser = Dequantiser(images, config.dequantiser)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The bound, by one draw. "loss": nats per image."""
        self.density.start(batch, step)
        loss = step.minimize(self.loss, batch.with_(eps=step.randn(batch, *self.images.shape)))
        assert isinstance(loss, Tensor)
        return {"loss": loss, "bits_per_dim": loss / (self.images.dims * math.log(2))}

    def loss(self, batch: Batch) -> Tensor:
        return -self.log_weight(batch.x, batch.extra["eps"]).mean()

    def log_weight(self, x: Tensor, eps: Tensor) -> Tensor:
        """log w = log p((x + u) / K) - log q(u|x) - D log K at u = q_x(eps). nats, `(N,)`."""
        u, log_q = self.dequantiser(x, eps)
        v, log_volume = dequantise(x, self.images, u=u)
        return self.density.log_density(v) - log_q + log_volume

    @torch.no_grad()
    def elbo(
        self, x: Tensor, *, labels: Labels = None, text: Text = None, draws: int = 1, generator: Rng = None
    ) -> Tensor:
        """E_q[log w] by the mean of `draws`. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        self._check_count("elbo", "draws", draws)
        return torch.cat([sum(w.sum(0) for w in passes) / draws for passes in self.passes(x, draws, generator)])

    @torch.no_grad()
    def iwae(self, x: Tensor, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None) -> Tensor:
        """log 1/n sum_i w_i, streamed through a running log-sum-exp. nats, float64 `(N,)`."""
        self.check(x, labels, text)
        self._check_count("iwae", "n", n)
        bounds = []
        for passes in self.passes(x, n, generator):
            total = next(passes).logsumexp(0)
            for w in passes:
                total = torch.logaddexp(total, w.logsumexp(0))
            bounds.append(total - math.log(n))
        return torch.cat(bounds)

    def passes(self, x: Tensor, n: int, generator: Rng) -> Iterator[Iterator[Tensor]]:
        """For one part of the images after another, log weights of n draws, `(draws, images)` in each pass."""
        rows = max(1, NUMBERS // self.images.dims)
        for part in x.split(rows):
            yield self._weights(part, n, max(1, rows // len(part)), generator)

    def _weights(self, x: Tensor, n: int, size: int, generator: Rng) -> Iterator[Tensor]:
        for start in range(0, n, size):
            count = min(size, n - start)
            shape = (count * len(x), *self.images.shape)
            eps = torch.randn(shape, generator=generator, device=x.device, dtype=self.density.dtype)
            yield self.log_weight(x.repeat(count, 1, 1, 1), eps).double().view(count, len(x))

    def sample(
        self, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None, temperature: float = 1.0
    ) -> Tensor:
        """A draw of the density, in its cell. temperature: a factor on its noise. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        return self.density.sample(n, generator=generator, temperature=temperature)

    def encode(self, x: Tensor) -> Tensor:
        """The density's noise of the centre of each image's cell, `(N, D)`."""
        return self.density.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """The images of noise z `(N, D)`, uint8 `(N, C, H, W)`."""
        return self.density.decode(z)

    def interpolate(self, a: Tensor, b: Tensor, n: int) -> Tensor:
        """`n` images along the straight line between the noise of `a` and of `b`; see `Flow.interpolate`."""
        return self.density.interpolate(a, b, n)

    def _check_count(self, method: str, name: str, n: int) -> None:
        if type(n) is not int or n < 1:
            raise ZooError(f"RealNVPVD.{method}: expected {name} >= 1, a whole number, got {n!r}")
