"""The exponential moving average of a model's weights, whose horizon counts images, not steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo_core.step import Trainable


class Average:
    """An exponential moving average of a model's weights, with a half-life in images.

    It starts as a copy, averages parameters that require gradients, and copies every other entry of the state.

    ramp: after `seen` images the half-life is at most `ramp * seen`; else the first weights, which are noise, would be
    most of the average in a training of less than a few half-lives. 0: the same half-life from the first image on.
    Karras, Aittala, Aila, Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
    https://arxiv.org/abs/2206.00364; the paper doesn't tell, their reference implementation does (`ema_rampup_ratio`).
    """

    def __init__(self, model: Trainable, half_life: float, ramp: float = 0.0) -> None:
        self.half_life, self.ramp = half_life, ramp
        named = dict(model.named_parameters(remove_duplicate=False))
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        # Parameters stay the objects they are; a buffer may be replaced by another tensor, so its owner is asked.
        learned = {name: value for name, value in named.items() if value.requires_grad}
        self.averaged = [self.state[name] for name in learned]
        self.learned: list[Tensor] = list(learned.values())
        self.copied = [(self.state[name], *_owner(model, name)) for name in self.state if name not in learned]

    @torch.no_grad()
    def update(self, model: Trainable, images: int, *, seen: int) -> None:
        """After a step on `images`, before which the training had seen `seen`."""
        decay = 0.5 ** (images / (min(self.half_life, self.ramp * seen) if self.ramp else self.half_life))
        if self.learned:
            torch._foreach_lerp_(self.averaged, self.learned, 1 - decay)
        for mine, owner, attribute in self.copied:
            mine.copy_(getattr(owner, attribute))

    def state_dict(self) -> dict[str, Tensor]:
        return self.state

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        for name, value in saved.items():
            self.state[name].copy_(value)


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds the tensor `name` of a state, and what it calls it."""
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute
