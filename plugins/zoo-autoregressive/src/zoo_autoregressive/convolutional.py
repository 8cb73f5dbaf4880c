"""What the convolutional and recurrent models of the family share: feature maps, and any size of image."""

from __future__ import annotations

import copy
import dataclasses
from typing import Self

import torch
from torch import Tensor

from zoo_autoregressive.autoregressive import Autoregressive
from zoo_autoregressive.causal import channel_groups


class Convolutional(Autoregressive):
    """Weights are shared by all pixels, so that a trained model also takes images of another size."""

    def resized(self, height: int, width: int) -> Self:
        """The same model for images of another height and width. It shares this one's parameters and buffers.

        To save it, save the model that it comes from: one made anew for the other size may have other layers.
        """
        shared = [*self.parameters(), *self.buffers()]
        other = copy.deepcopy(self, {id(tensor): tensor for tensor in shared})
        other.images = dataclasses.replace(self.images, height=height, width=width)
        return other

    @property
    def input_groups(self) -> Tensor:
        """The channel of each of the C E input features, int64 `(C*E,)`."""
        return torch.arange(self.images.channels).repeat_interleave(self.inputs)

    @property
    def output_groups(self) -> Tensor:
        """The channel of each of the C P outputs, int64 `(C*P,)`."""
        return torch.arange(self.images.channels).repeat_interleave(self.outputs)

    def groups(self, width: int, what: str = "width") -> Tensor:
        """The channel of each of `width` hidden features, int64 `(width,)`."""
        return channel_groups(width, self.images.channels, what)

    def to_maps(self, s: Tensor) -> Tensor:
        """Images in sampling order `(N, D)` as input features `(N, C*E, H, W)`, channels last in memory.

        That is the order of `s` already; and a CPU's convolutions of a few features are several times as fast in it.
        """
        v = self.to_inputs(s).view(len(s), self.images.height, self.images.width, -1)  # (N, D, E) -> (N, H, W, C*E)
        return v.permute(0, 3, 1, 2)

    def from_maps(self, y: Tensor) -> Tensor:
        """Outputs `(N, C*P, H, W)` in sampling order, `(N, D, P)`."""
        return y.permute(0, 2, 3, 1).reshape(len(y), -1, self.outputs)

    def codes(self) -> Tensor:
        """The input features of each level, `(K, E)`."""
        return self.to_inputs(torch.arange(self.images.levels, device=self.device))
