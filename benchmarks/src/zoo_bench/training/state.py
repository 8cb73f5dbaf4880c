"""What a training has come to: all that decides how it goes on, and that a checkpoint therefore holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo_bench.training.accelerated import AcceleratedStep
from zoo_bench.training.average import Average
from zoo_bench.training.recipe import Recipe
from zoo_core.step import Trainable


class State:
    """Model, optimisers (in `step`), average, images seen, seconds trained."""

    def __init__(self, model: Trainable, step: AcceleratedStep, recipe: Recipe) -> None:
        self.model, self.step, self.recipe = model, step, recipe
        self.average: Average | None = None
        self.seen = 0
        self.seconds = 0.0

    def count(self, images: int) -> None:
        """After a step on so many images. The average starts as a copy after the first step."""
        if self.average is not None:
            self.average.update(self.model, images, seen=self.seen)
        elif self.recipe.ema:
            self.average = self._average()
        self.seen += images

    def _average(self) -> Average:
        return Average(self.model, self.recipe.ema, self.recipe.ema_ramp)

    def broken(self) -> list[str]:
        """The names of the model's tensors that are no longer finite."""
        learned = dict(self.model.named_parameters())
        # A buffer may hold -inf (a mask, the logarithm of nothing), a parameter may not.
        return [
            name
            for name, tensor in self.model.state_dict().items()
            if bool((~tensor.isfinite() if name in learned else tensor.isnan()).any())
        ]

    def state_dict(self) -> dict[str, Any]:
        """Called on every process."""
        return {
            "model": self.model.state_dict(),
            "step": self.step.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "seen": self.seen,
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self.step.load_state_dict(saved["step"])
        self.seen, self.seconds = saved["seen"], saved["seconds"]
        if saved["average"] is not None:
            self.average = self._average()
            self.average.load_state_dict(saved["average"])
