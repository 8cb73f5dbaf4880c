"""The exponential moving average of a model's weights, whose horizon counts images, not steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core.model import GenerativeModel


class Average:
    """An exponential moving average of a model's weights, with a half-life in images.

    It starts as a copy, averages parameters that require gradients, and copies every other entry of the state.
    """

    def __init__(self, model: GenerativeModel, half_life: int) -> None:
        self.half_life = half_life
        learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.averaged = [name for name in self.state if name in learned]
        self.copied = [name for name in self.state if name not in learned]

    @torch.no_grad()
    def update(self, model: GenerativeModel, images: int) -> None:
        decay = 0.5 ** (images / self.half_life)
        now = model.state_dict()
        mine = [self.state[name] for name in self.averaged]
        if mine:
            torch._foreach_lerp_(mine, [now[name] for name in self.averaged], 1 - decay)
        for name in self.copied:
            self.state[name].copy_(now[name])

    def state_dict(self) -> dict[str, Tensor]:
        return self.state

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        for name, value in saved.items():
            self.state[name].copy_(value)
