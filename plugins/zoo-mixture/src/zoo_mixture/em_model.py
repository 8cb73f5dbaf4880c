"""What mixtures by EM have in common: a training step is a pass over the training set, from one start or from several.

The likelihood that EM reaches depends on where it starts. With `n_init` starts all are trained side by side: a pass
computes the E step of each, and the model's buffers are those of the start whose objective was the best in the latest
pass. The best of several numbers that never fall never falls. The others are in `step.state`: in checkpoints, not in
weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec
from zoo_core.model import GenerativeModel
from zoo_core.step import Step
from zoo_mixture.kmeans import Clusters, starts
from zoo_mixture.start_config import StartConfig

Parameters = dict[str, Tensor]  # buffers of a model, by name
Statistics = dict[str, Tensor]


class EMModel(GenerativeModel):
    """A subclass registers what EM estimates as buffers, names them in `estimated`, and says what a start, an E step
    and an M step are. Float64 throughout: the objective would otherwise fall by rounding.
    """

    estimated: ClassVar[tuple[str, ...]]
    config: StartConfig
    started: Tensor

    def __init__(self, images: ImageSpec, config: StartConfig) -> None:
        super().__init__(images, config)
        if config.means and len(config.means[0]) != images.dims:
            raise ZooError(
                f"{type(config).__name__}.means: expected rows of {images.dims} numbers, a pixel each, "
                f"got {len(config.means[0])}"
            )
        self.register_buffer("started", torch.tensor(False))

    @property
    def parameters_now(self) -> Parameters:
        """What EM estimates, by name."""
        return {name: getattr(self, name) for name in self.estimated}

    @abstractmethod
    def points(self, x: Tensor) -> Tensor:
        """Images as points for k-means, float64 `(N, D)`."""

    @abstractmethod
    def start(self, clusters: Clusters, step: Step) -> Parameters:
        """The parameters from which EM starts."""

    @abstractmethod
    def expectation(self, parameters: Parameters) -> Callable[[Batch], Statistics]:
        """The E step: the sufficient statistics of a batch, means over its images; "objective", nats per image."""

    @abstractmethod
    def maximization(self, parameters: Parameters, statistics: Statistics) -> Parameters:
        """The M step."""

    def rescue(self, parameters: Parameters, step: Step) -> Parameters:
        """What is done after the M step for components without images; default: nothing."""
        return parameters

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """None: EM has no learning rate."""
        return {}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The first call starts, each later one is an EM iteration. "loss": minus the objective, nats per image, at
        the start or before the iteration. The batch only brings the noise of the start."""
        starting = not bool(self.started)
        if starting:
            candidates = [self.start(found, step) for found in starts(batch, step, self.config, self.points)]
            self.started.fill_(True)
        else:
            candidates = self._candidates(step)
        e_steps = [self.expectation(parameters) for parameters in candidates]
        statistics = step.mean(lambda part: [e_step(part) for e_step in e_steps])
        if not starting:
            candidates = [
                self.rescue(self.maximization(parameters, found), step)
                for parameters, found in zip(candidates, statistics, strict=True)
            ]
        objectives = torch.stack([found["objective"] for found in statistics])
        self._keep(candidates, int(objectives.argmax()), step)
        return {"loss": -objectives.max()}

    def _candidates(self, step: Step) -> list[Parameters]:
        """The parameters of every start; of loaded weights, which have no others, their own."""
        own = self.parameters_now
        if f"starts.{self.estimated[0]}" not in step.state:
            return [own]
        stacked = {name: step.state[f"starts.{name}"].to(own[name]) for name in self.estimated}
        return [dict(zip(stacked, values, strict=True)) for values in zip(*stacked.values(), strict=True)]

    def _keep(self, candidates: list[Parameters], best: int, step: Step) -> None:
        for name, value in candidates[best].items():
            getattr(self, name).copy_(value)
        if len(candidates) > 1:
            for name in self.estimated:
                step.state[f"starts.{name}"] = torch.stack([parameters[name] for parameters in candidates])
