"""What all autoregressive models share: the product rule, and one distribution for each pixel given those before it.

    log p(x) = sum_d log p(x_d | x_<d)

The D (sub)pixels stand in raster order, the channels of a pixel innermost (R, G, B). A model of the family says how all
conditionals follow from an image (`logits`); to be sampled in less than D passes, it also says how they follow from
each other (`pixel_by_pixel`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_autoregressive.ancestral import draw
from zoo_core import Batch, Config, GenerativeModel, ImageSpec, Step, ZooError
from zoo_core.chunks import rand
from zoo_core.images import Labels, to_unit
from zoo_core.labels import ClassFrequencies
from zoo_core.pixels import Bernoulli, Categorical


class PixelModel(GenerativeModel):
    """Pixels given other pixels: Bernoulli, one logit each (2 levels), or categorical, one logit a level (more).

    inputs: pixels as `to_inputs` gives them. weight_decay: AdamW's, on weights but not on biases. conditional: take
    labels, one for each image.
    """

    def __init__(
        self,
        images: ImageSpec,
        config: Config,
        *,
        inputs: Literal["scaled", "onehot"] = "scaled",
        weight_decay: float = 0.0,
        conditional: bool = False,
    ) -> None:
        super().__init__(images, config)
        if conditional and images.classes < 1:
            raise ZooError(f"{type(config).__name__}.conditional: expected images with classes, got {images}")
        self.conditioning = "class" if conditional else "none"
        self.frequencies = ClassFrequencies(images.classes) if conditional else None
        self.onehot = inputs == "onehot"
        self.inputs = images.levels if self.onehot else 1  # E, inputs of a pixel
        self.outputs = 1 if images.levels == 2 else images.levels  # P, logits of a pixel
        self.weight_decay = weight_decay

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        weights = [p for p in self.parameters() if p.dim() > 1]
        biases = [p for p in self.parameters() if p.dim() == 1]
        decayed = {"params": weights, "weight_decay": self.weight_decay}
        return {"model": AdamW([decayed, {"params": biases, "weight_decay": 0.0}], lr=lr, fused=True)}

    def check(self, x: Tensor, labels: Labels = None, text: Sequence[str] | None = None) -> Tensor:
        """As for all models; images of another size are told whether the same weights can take them."""
        if isinstance(x, Tensor) and x.dim() == 4 and x.shape[1] == self.images.channels:
            height, width = x.shape[2:]
            if (height, width) != (self.images.height, self.images.width):
                able = f"its weights work at any size: model.resized({height}, {width})"
                bound = "its weights belong to the pixels of that size: train a model for the other one"
                raise ZooError(
                    f"{type(self).__name__}: expected images of {self.images.height} x {self.images.width} pixels, got "
                    f"{height} x {width}; {able if hasattr(self, 'resized') else bound}"
                )
        return super().check(x, labels, text)

    def to_inputs(self, s: Tensor) -> Tensor:
        """Pixels `(...)` as inputs `(..., E)`: one-hot, or a number in [0, 1]."""
        dtype = next(self.parameters()).dtype
        if self.onehot:
            return F.one_hot(s.long(), self.images.levels).to(dtype)
        return to_unit(s, self.images).to(dtype).unsqueeze(-1)

    def log_levels(self, logits: Tensor, s: Tensor) -> Tensor:
        """log p of the levels s `(..., D)` under logits `(..., D, P)`. nats, `(..., D)`."""
        return (Bernoulli(logits.squeeze(-1)) if self.images.levels == 2 else Categorical(logits)).log_prob(s)

    def _uniform(self, n: int, generator: torch.Generator | None) -> Tensor:
        like = next(self.parameters())
        return rand(n, self.images.dims, generator=generator, device=like.device, dtype=like.dtype)


class Autoregressive(PixelModel):
    """One order: raster over pixels, channels innermost. `logits` is all that a model must have."""

    @abstractmethod
    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        """The parameters of all conditionals. s: uint8 `(N, D)` in sampling order. Returns `(N, D, P)`.

        labels: int64 `(N,)`, for conditional models, which always get them; None for all others.
        """

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """Yields the logits of one pixel after the other, `(n, P)`; is sent the levels drawn for it, uint8 `(n,)`.

        This is the definition, which takes D passes. A model overrides it by what it can save of them.
        """
        s = torch.zeros(n, self.images.dims, dtype=torch.uint8, device=self.device)
        for d in range(self.images.dims):
            s[:, d] = yield self.logits(s, labels)[:, d]

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact log P of integer images in one pass. nats, `(N,)`."""
        return self.log_conditionals(x, labels=labels, text=text).sum(1)

    def log_conditionals(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """log p(x_d | x_<d) in raster order, channels innermost. nats, `(N, D)`."""
        return self.log_pixels(to_sequence(self.check(x, labels, text)), labels)

    def loss(self, batch: Batch) -> Tensor:
        """-log p(x), averaged over the batch. nats."""
        labels = batch.labels if self.frequencies is not None else None
        return -self.log_pixels(to_sequence(batch.x), labels).sum(1).mean()

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if self.frequencies is not None:
            if batch.labels is None:
                raise ZooError(f"{type(self).__name__} is conditional: give Batch(x, labels=…) to train it")
            self.frequencies.count(batch, step)
        return {"loss": step.minimize(self.loss, batch)}

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`n` images, uint8 `(n, C, H, W)`; logits are divided by `temperature`.

        Without labels a conditional model draws them with their training frequencies.
        """
        self.check_request(n, labels, text)
        labels = self._drawn(labels, n, generator)
        return to_images(self.generate(self._uniform(n, generator), temperature, labels=labels), self.images)

    def complete(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`x` with every pixel where `mask` is False drawn anew, given the pixels before it.

        mask: bool, of x's shape, True = known. Where all known pixels come before the others in the order, this is
        a draw from P(unknown | known). A pixel that comes before a known one is drawn without a look at that one.
        labels: as for `sample`.
        """
        if not isinstance(x, Tensor) or x.dim() != 4 or not len(x):
            given = f"the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ZooError(f"complete: expected images uint8 (N, C, H, W), one at least, got {given}")
        labels = self._drawn(labels, len(x), generator)
        self.check(x, labels)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        s = self.generate(self._uniform(len(x), generator), temperature, to_sequence(x), to_sequence(mask), labels)
        return to_images(s, self.images)

    @torch.no_grad()
    def generate(
        self,
        u: Tensor,
        temperature: float = 1.0,
        s: Tensor | None = None,
        known: Tensor | None = None,
        labels: Labels = None,
    ) -> Tensor:
        """Images from given noise: x_d = F_d^{-1}(u_d), where F_d is the distribution function of p(x_d | x_<d).

        All in sampling order; arguments as for `ancestral.draw`. labels: of a conditional model, int64 `(N,)`.
        """
        return draw(self.pixel_by_pixel(len(u), labels), self.images.levels, u, temperature, s, known)

    def log_pixels(self, s: Tensor, labels: Labels = None) -> Tensor:
        """`log_conditionals` of images that are in sampling order already, and were checked."""
        return self.log_levels(self.logits(s, labels), s)

    def _drawn(self, labels: Labels, n: int, generator: torch.Generator | None) -> Labels:
        """The labels given or, for a conditional model without any, some drawn as often as training met them."""
        return self.frequencies.draw(n, generator) if self.frequencies is not None and labels is None else labels


def to_sequence(x: Tensor) -> Tensor:
    """Images `(N, C, H, W)` in sampling order, `(N, D)`: raster over pixels, channels innermost."""
    return x.permute(0, 2, 3, 1).flatten(1)


def to_images(s: Tensor, images: ImageSpec) -> Tensor:
    """The inverse of `to_sequence`."""
    return s.view(-1, images.height, images.width, images.channels).permute(0, 3, 1, 2).contiguous()
