"""Flows of images as vectors, `(N, D)`: layers one after the other, and the few that several models share.

Activation normalisation: Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
https://arxiv.org/abs/1807.03039, section 3.1, there per channel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.images import Batch, dequantise
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.flow import Flow
from zoo_flow.flow_config import FlowConfig


class Layer(Protocol):
    """An invertible map of vectors, a module."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x `(N, D)` to z `(N, D)` and log |det dz/dx|, `(N,)` or the same for all images, `()`."""

    def inverse(self, z: Tensor) -> Tensor:
        """z `(N, D)` to x `(N, D)`."""


class VectorFlow(Flow):
    """f = layer_L o ... o layer_1, from the pixels of an image, a row of numbers, to noise."""

    def __init__(self, images: ImageSpec, config: FlowConfig) -> None:
        super().__init__(images, config)
        if images.dims < 2:
            raise ZooError(
                f"{self._name}: one part of an image is mapped given another: expected images of 2 pixels or more, "
                f"got {images}"
            )
        self.layers = nn.ModuleList()

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._through(y, self._ordered())

    def untransform(self, z: Tensor) -> Tensor:
        for layer in reversed(self._ordered()):
            z = layer.inverse(z)
        return z.unflatten(1, self.images.shape)

    def start(self, batch: Batch, step: Step) -> None:
        """Before the very first step: each activation normalisation from the first batch, one after the other."""
        if step.index:
            return
        layers = self._ordered()
        for i, layer in enumerate(layers):
            if isinstance(layer, ActivationNorm) and not bool(layer.started):
                noisy = batch.with_(u=step.rand(batch, *self.images.shape))
                layer.start(noisy, step, functools.partial(self._before, layers[:i]))

    def _before(self, layers: Sequence[Layer], batch: Batch) -> Tensor:
        """What the first `layers` make of a dequantised batch, `(N, D)`."""
        v, _ = dequantise(batch.x, self.images, u=batch.extra["u"])
        return self._through(self.pixels(v)[0], layers)[0]

    def _through(self, y: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
        x = y.flatten(1)  # (N, C, H, W) -> (N, D)
        log_det = x.new_zeros(len(x))
        for layer in layers:
            x, more = layer(x)
            log_det = log_det + more
        return x, log_det

    def _ordered(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))


class ActivationNorm(nn.Module):
    """z = exp(log_scale) (x - shift), which has mean 0 and variance 1 in each dimension of the first batch."""

    started: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(dims))
        self.log_scale = nn.Parameter(torch.zeros(dims))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.shift) * self.log_scale.exp(), self.log_scale.sum()

    def inverse(self, z: Tensor) -> Tensor:
        return z * (-self.log_scale).exp() + self.shift

    def start(self, batch: Batch, step: Step, inputs: Callable[[Batch], Tensor]) -> None:
        """From a batch, whose `inputs(part)` this layer will see; `ZooError` where it has but one image."""
        mean = step.mean(lambda part: inputs(part).mean(0), batch)
        variance = step.mean(lambda part: (inputs(part) - mean).square().mean(0), batch)
        if not bool((variance > 0).all()):
            raise ZooError(
                f"activation normalisation starts from the variance over the first batch: expected at least 2 images "
                f"in it, got {len(batch)}; take larger batches"
            )
        with torch.no_grad():
            self.shift.copy_(mean)
            self.log_scale.copy_(-0.5 * variance.log())
            self.started.fill_(True)


class Reversal(nn.Module):
    """z = x from back to front."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(())

    def inverse(self, z: Tensor) -> Tensor:
        return z.flip(1)


class Permutation(nn.Module):
    """z = x with its dimensions in another order, int64 `(D,)`, which follows from the config and is not saved."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), x.new_zeros(())

    def inverse(self, z: Tensor) -> Tensor:
        return z.index_select(1, self.back)


def odd_after_even(dims: int) -> Permutation:
    """Dimensions 0, 2, 4, ..., then 1, 3, 5, ...: the halves of a coupling are neighbours of each other."""
    return Permutation(torch.cat([torch.arange(0, dims, 2), torch.arange(1, dims, 2)]))


def halves(dims: int) -> tuple[int, int]:
    """How many of the dimensions are in either half; of an odd number the first has one more."""
    return dims - dims // 2, dims // 2
