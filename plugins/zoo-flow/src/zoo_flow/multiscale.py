"""Flows of images at several scales, whose layers are initialised from the first batch.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803, section 3.6:
after each scale half of the channels is finished and becomes part of z, the others go on; z = (z_1, …, z_L).
Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018, https://arxiv.org/abs/1807.03039,
section 3.1: layers begin such that their outputs on the first batch have mean 0 and variance 1 in each channel.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Batch, dequantise
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.flow import Flow
from zoo_flow.flow_config import FlowConfig
from zoo_flow.image_coupling import Moments


class MultiScaleFlow(Flow):
    """z_1, …, z_L flat, one after the other. A subclass says what its scales do, and the shapes of their parts of z."""

    initialised: Tensor

    def __init__(self, images: ImageSpec, config: FlowConfig) -> None:
        super().__init__(images, config)
        self.register_buffer("initialised", torch.tensor(False))
        self._started = False  # so that a step on a GPU need not wait for `initialised`

    @abstractmethod
    def parts(self, y: Tensor, moments: Moments | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """The parts of z, and log-determinants whose sum is that of the whole: `(N,)` or of no dimension.

        moments: initialise each layer on the way by what they say of its input.
        """

    @abstractmethod
    def join(self, parts: list[Tensor]) -> Tensor:
        """The inverse of `parts`."""

    @property
    @abstractmethod
    def shapes(self) -> list[tuple[int, int, int]]:
        """Of the parts of z, without the number of images."""

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        parts, log_dets = self.parts(y)
        return torch.cat([part.flatten(1) for part in parts], 1), sum(log_dets, y.new_zeros(()))

    def untransform(self, z: Tensor) -> Tensor:
        sizes = [c * h * w for c, h, w in self.shapes]
        return self.join([part.unflatten(1, shape) for part, shape in zip(z.split(sizes, 1), self.shapes)])

    def start(self, batch: Batch, step: Step) -> None:
        """Before the first training step, one pass through all layers that initialises each on what reaches it.

        Statistics are means over the whole batch, of all micro-batches and processes, by `step.mean`.
        """
        if not self._started and not self.initialised:
            if (count := len(step.gather(lambda part: part.x.new_zeros(len(part)), batch))) < 2:
                raise ZooError(
                    f"{self._name}: activation normalisation begins with the mean and the variance of the first batch: "
                    f"expected at least 2 images, got {count}; train with a larger batch"
                )
            with torch.no_grad():
                u = step.rand(batch, *self.images.shape)
                y, _ = self.pixels(dequantise(batch.x, self.images, u=u)[0])
                self.parts(y, self._moments(batch, step))
                self.initialised.fill_(True)
        self._started = True

    def _moments(self, batch: Batch, step: Step) -> Moments:
        def moments(h: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
            weight = torch.ones_like(h[:1, :1]) if where is None else where
            weight = weight / weight.sum()

            def mean_of(values: Tensor) -> Tensor:
                attached = batch.with_(values=values)
                return step.mean(lambda part: (weight * part.extra["values"]).sum((2, 3)).mean(0), attached)

            mean = mean_of(h)
            deviation = mean_of((h - mean.view(-1, 1, 1)).square()).sqrt()
            if not bool((deviation > 0).all() & deviation.isfinite().all()):
                raise ZooError(
                    f"{self._name}: a channel has the standard deviation {float(deviation.min())} over the first "
                    f"batch of {len(batch)} images, so it cannot be normalised; train with a larger batch"
                )
            return mean, deviation

        return moments


def refuse_scales(name: str, images: ImageSpec, scales: int, most: int, why: str) -> None:
    """`ZooError` unless images can be squeezed `scales` times, as they can `most` times."""
    if scales > most:
        fits = "scales=0 fits" if most == 0 else f"at most scales={most} fits"
        raise ZooError(
            f"{name}: images {images.channels}x{images.height}x{images.width} cannot be squeezed scales={scales} times "
            f"({why}); {fits}"
        )
