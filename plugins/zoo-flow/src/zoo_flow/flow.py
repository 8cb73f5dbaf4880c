"""What every flow shares: training on dequantised images, samples, codes; how y becomes noise is a subclass's.

Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015, https://arxiv.org/abs/1505.05770, equation 5;
Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, "Normalizing Flows for Probabilistic Modeling and
Inference", 2021, https://arxiv.org/abs/1912.02762, equation 3:

    log p(v) = log p_z(z) + log |det dz/dv|,   z = f(y),  y = the pixel map of v (`pixel_maps.py`)

An integer image x is a cell of volume K^-D, so log P(x) >= E_u[log p((x + u) / K)] - D log K with uniform u.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Real

import torch
from torch import Tensor

from zoo_core.chunks import randn
from zoo_core.errors import ZooError
from zoo_core.images import Batch, Labels, Rng, Text, check, dequantise, quantise
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.flow_config import FlowConfig
from zoo_flow.pixel_maps import pixel_map


class Invertible(GenerativeModel):
    """An invertible map between images and noise. z is flat, `(N, D)`, whatever shapes it had on the way.

    Where log |det dz/dy| is exact, the model is a `Flow`; where a solver estimates it, as an integral, it is not:
    a `log_density` is taken at its word.
    """

    config: FlowConfig

    def __init__(self, images: ImageSpec, config: FlowConfig) -> None:
        super().__init__(images, config)
        self.pixels = pixel_map(config)

    @abstractmethod
    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y `(N, C, H, W)`, real without bounds, to noise z `(N, D)` and log |det dz/dy| `(N,)`."""

    @abstractmethod
    def untransform(self, z: Tensor) -> Tensor:
        """The inverse: z `(N, D)` to y `(N, C, H, W)`."""

    def log_base(self, z: Tensor) -> Tensor:
        """log p_z of noise `(N, D)`: a standard normal unless a model has another. nats, `(N,)`."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def draw_base(self, n: int, generator: Rng) -> Tensor:
        """Noise from p_z, `(n, D)`."""
        return randn(n, self.images.dims, generator=generator, device=self.device, dtype=self.dtype)

    def start(self, batch: Batch, step: Step) -> None:
        """What precedes the first training step: data-dependent initialisation. Default: nothing."""

    def flow(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Real images v `(N, C, H, W)` to noise z `(N, D)`, and log |det dz/dv| `(N,)`; -inf outside the domain."""
        y, of_pixels = self.pixels(v)
        z, log_det = self.transform(y)
        return z, of_pixels + log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Noise z `(N, D)` to real images `(N, C, H, W)`."""
        return self.pixels.inverse(self.untransform(z))

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Maximum likelihood of images dequantised anew. "loss": the bound on -log P(x), nats per image."""
        self.start(batch, step)
        loss = step.minimize(self.loss, batch.with_(u=step.rand(batch, *self.images.shape)))
        assert isinstance(loss, Tensor)
        return {"loss": loss, "bits_per_dim": loss / (self.images.dims * math.log(2))}

    def loss(self, batch: Batch) -> Tensor:
        """-E_u[log p((x + u) / K)] + D log K, nats per image."""
        v, log_volume = dequantise(batch.x, self.images, u=batch.extra["u"])
        z, log_det = self.flow(v)
        return -(self.log_base(z) + log_det).mean() - log_volume

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None, temperature: float = 1.0
    ) -> Tensor:
        """z ~ p_z scaled by `temperature`, through the inverse, in its cell. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        self.check_temperature(temperature)
        return quantise(self.inverse(temperature * self.draw_base(n, generator)), self.images)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The noise of the centre of each image's cell, `(N, D)`: `decode` gives the image back."""
        return self.flow((check(x, self.images).to(self.dtype) + 0.5) / self.images.levels)[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The images of noise z `(N, D)`, uint8 `(N, C, H, W)`."""
        return quantise(self.inverse(self.check_noise("decode", z)), self.images)

    def check_temperature(self, temperature: float) -> None:
        """`ZooError` unless it is a number that noise can be scaled by."""
        if not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
            raise ZooError(
                f"{self._name}.sample: expected temperature >= 0, a finite factor on the noise, got {temperature!r}"
            )

    def check_noise(self, where: str, z: Tensor) -> Tensor:
        """`z` in the model's precision, if it is noise `(N, D)`, finite; `ZooError` otherwise."""
        if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != self.images.dims or not z.is_floating_point():
            given = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
            raise ZooError(f"{self._name}.{where}: expected noise (N, {self.images.dims}), real numbers, got {given}")
        if not bool(z.isfinite().all()):
            count = int((~z.isfinite()).any(1).sum())
            raise ZooError(
                f"{self._name}.{where}: expected finite noise, got NaN or infinity in {count} of {len(z)} rows"
            )
        return z.to(self.dtype)

    def interpolate(self, a: Tensor, b: Tensor, n: int) -> Tensor:
        """`n` images along the straight line between the noise of `a` and of `b`, both ends included.

        a, b: one image each, uint8 `(C, H, W)` or `(1, C, H, W)`. Returns uint8 `(n, C, H, W)`.
        """
        if type(n) is not int or n < 2:
            raise ZooError(f"{self._name}.interpolate: expected n >= 2, both ends included, a whole number, got {n!r}")
        single = (image[None] if isinstance(image, Tensor) and image.dim() == 3 else image for image in (a, b))
        ends = [self.encode(image) for image in single]
        if any(len(end) != 1 for end in ends):
            counts = " and ".join(str(len(end)) for end in ends)
            raise ZooError(f"{self._name}.interpolate: expected one image at each end, got {counts}")
        t = torch.linspace(0, 1, n, device=ends[0].device, dtype=ends[0].dtype).unsqueeze(1)
        return self.decode(torch.lerp(ends[0], ends[1], t))

    @property
    def dtype(self) -> torch.dtype:
        """That of the parameters."""
        return next(self.parameters()).dtype

    @property
    def _name(self) -> str:
        return type(self).__name__


class Flow(Invertible):
    """A map whose Jacobian is known: an exact density."""

    def log_density(self, v: Tensor, *, labels: Labels = None, text: Text = None) -> Tensor:
        """Exact log p(v) of real images v `(N, C, H, W)`, pixels at [0, 1]. nats, `(N,)`."""
        self.check_real(v, labels, text)
        z, log_det = self.flow(v.to(self.dtype))
        return self.log_base(z) + log_det
