"""A generator of images from codes z, and all that can be done with codes.

sample       G(z), z from the prior, or from the central part of it (truncation)
encode       argmin_z ||G(z) - x||^2                                             (inversion.py)
interpolate  G along the prior's path between two codes
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.images import Labels, Rng, check, check_labels, from_signed, to_signed
from zoo_core.labels import ClassFrequencies
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_gan.adversarial_config import AdversarialConfig
from zoo_gan.inversion import invert
from zoo_gan.priors import Prior, Uniform

PASS = 256  # most images in one pass through the generator, when nothing is learned


class LatentGenerator(GenerativeModel):
    """generator: from codes `(N, latent)` to pixels in about [-1, 1], `(N, C, H, W)`, as `generate` calls it.

    conditional: it is told the class, and `frequencies` has each class's share of the training images.
    """

    config: AdversarialConfig
    prior: Prior = Uniform()

    def __init__(
        self, images: ImageSpec, config: AdversarialConfig, generator: nn.Module, *, conditional: bool = False
    ) -> None:
        super().__init__(images, config)
        self.generator = generator
        if conditional:
            if not images.classes:
                raise ZooError(f"{type(self).__name__} is told the class: it takes images with classes, got {images}")
            self.conditioning = "class"
            self.frequencies = ClassFrequencies(images.classes)

    def generate(self, z: Tensor, labels: Labels = None) -> Tensor:
        """G(z), about [-1, 1], `(N, C, H, W)`. labels: where the model is conditional, `(N,)`."""
        v: Tensor = self.generator(z)
        return v

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """G(z), rounded to the nearest level. uint8 `(n, C, H, W)`.

        truncation: the central share of the prior's probability that each coordinate of z is drawn from, in (0, 1].
        Less of it makes images less diverse, and more typical while it is not small: near 0 there are hardly any codes
        of the prior. The uniform prior's range is scaled by it; the normal prior is cut off at its quantiles.
        """
        self.check_request(n, labels, text)
        if isinstance(truncation, bool) or not isinstance(truncation, (int, float)) or not 0 < truncation <= 1:
            raise ZooError(
                f"{type(self).__name__}.sample: expected truncation in (0, 1], the share of the prior's probability to "
                f"draw from, got {truncation!r}; 1 draws from all of it"
            )
        z = self.prior.draw(n, self.config.latent, generator=generator, device=self.device)
        if self.conditioning == "class" and labels is None:
            labels = self.frequencies.draw(n, generator)
        return self.decode(self.prior.truncated(z, truncation), labels=labels)

    @torch.no_grad()
    def decode(self, z: Tensor, *, labels: Labels = None) -> Tensor:
        """The images of codes z `(N, latent)`. uint8 `(N, C, H, W)`."""
        latent = self.config.latent
        if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != latent or not z.is_floating_point():
            given = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
            raise ZooError(f"{type(self).__name__}.decode: expected codes (N, {latent}), real numbers, got {given}")
        if not len(z):
            raise ZooError(f"{type(self).__name__}.decode: expected at least one code, got none")
        self._check_told("decode", len(z), labels)
        told = [None] * len(z) if labels is None else labels.split(PASS)
        parts = zip(z.to(self.dtype).split(PASS), told)
        return torch.cat([from_signed(self.generate(part, label), self.images) for part, label in parts])

    def encode(
        self,
        x: Tensor,
        *,
        labels: Labels = None,
        steps: int = 100,
        lr: float = 0.1,
        starts: int = 2,
        generator: Rng = None,
    ) -> Tensor:
        """The codes whose images are nearest to x, by descent (`inversion.py`), `(N, latent)`.

        x: uint8 `(N, C, H, W)`. steps, lr: of the descent. starts: descents for each image, from codes of the prior
        that are the same for all images; the best is taken. More of both come nearer, and take as much longer: an image
        costs `starts` * `steps` passes through the generator and back. generator: of the starts; without one they are
        fixed ones.
        """
        check(x, self.images)
        self._check_told("encode", len(x), labels)
        for name, value in (("steps", steps), ("starts", starts)):
            if type(value) is not int or value < 1:
                raise ZooError(
                    f"{type(self).__name__}.encode: expected {name} of at least 1, a whole number, got {value!r}; "
                    "there is no encoder, only a descent to the nearest code"
                )
        if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
            raise ZooError(f"{type(self).__name__}.encode: expected lr above 0, a finite number, got {lr!r}")
        latent, size = self.config.latent, max(PASS // starts, 1)
        if generator is None:
            generator = torch.Generator(self.device).manual_seed(0)
        z = self.prior.draw(starts, latent, generator=generator, device=self.device).to(self.dtype)
        codes = [z.new_empty(0, latent)]
        with evaluating(self):
            for start in range(0, len(x), size):
                v = to_signed(x[start : start + size], self.images).to(z)
                told = None if labels is None else labels[start : start + size].repeat_interleave(starts)
                begin = z.expand(len(v), starts, latent)
                codes.append(
                    invert(lambda z, told=told: self.generate(z, told), v, begin, self.prior.project, steps, lr)
                )
        return torch.cat(codes)

    def reconstruct(self, x: Tensor, *, labels: Labels = None, **options: int | float | Rng) -> Tensor:
        """`decode(encode(x))`, uint8 `(N, C, H, W)`. options: those of `encode`."""
        return self.decode(self.encode(x, labels=labels, **options), labels=labels)

    def interpolate(self, a: Tensor, b: Tensor, n: int, *, labels: Labels = None) -> Tensor:
        """`n` images along the prior's path between two codes, both ends included; uint8 `(n, C, H, W)`.

        a, b: a code, `(latent,)` or `(1, latent)`; or an image, uint8 `(C, H, W)` or `(1, C, H, W)`, which is encoded.
        labels: the class of all, `(1,)`, where the model is conditional.
        """
        if type(n) is not int or n < 2:
            raise ZooError(f"interpolate: expected n of at least 2, a whole number, got {n!r}: both ends are included")
        self._check_told("interpolate", 1, labels)  # one label, of the whole path
        ends = [self._code(end, labels) for end in (a, b)]
        t = torch.linspace(0, 1, n, device=self.device, dtype=self.dtype).unsqueeze(1)
        return self.decode(self.prior.between(*ends, t), labels=None if labels is None else labels.expand(n))

    def _code(self, end: Tensor, labels: Labels) -> Tensor:
        """A code or an image as a code, `(1, latent)`."""
        if isinstance(end, Tensor) and end.is_floating_point() and end.numel() == self.config.latent and end.dim() < 3:
            return end.reshape(1, -1).to(self.device, self.dtype)
        if isinstance(end, Tensor) and end.dtype == torch.uint8 and tuple(end.shape[-3:]) == self.images.shape:
            image = end if end.dim() == 4 else end.unsqueeze(0)
            if len(image) == 1:
                return self.encode(image, labels=labels)
        given = f"{tuple(end.shape)} of {end.dtype}" if isinstance(end, Tensor) else type(end).__name__
        raise ZooError(
            f"interpolate: expected a code ({self.config.latent},), real numbers, or one uint8 image "
            f"{self.images.shape}, got {given}"
        )

    def _check_told(self, what: str, n: int, labels: Labels) -> None:
        """`ZooError` unless labels are there for `n` images where the model is conditional, and only there."""
        if self.conditioning == "class":
            if labels is None:
                raise ZooError(f"{type(self).__name__}.{what}: the model is conditional; pass labels=…")
            check_labels(labels, n, self.images)
        elif labels is not None:
            raise ZooError(f"{type(self).__name__} is unconditional: {what} takes no labels; call it without")

    @property
    def dtype(self) -> torch.dtype:
        """That of the parameters."""
        return next(self.parameters()).dtype
