"""Linear layers whose weights are masked, so that an output sees nothing of the pixels from its own on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import ZooError

MOST_WEIGHTS = 2**28  # of a layer: 1 GB, and five times that in training


class MaskedLinear(nn.Module):
    """x -> b + (W * M) x.

    mask: M, bool `(out, in)`, True where a weight is used. It follows from the config and is not saved.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True) -> None:
        super().__init__()
        bound = max(mask.shape[1], 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(mask.shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(len(mask))) if bias else None
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def masked(self) -> Tensor:
        """W * M."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked(), self.bias)


def earlier(outputs: Tensor, inputs: Tensor) -> Tensor:
    """M, bool `(out, in)`: True where the number of an input is below that of an output. Both int64, 1-d.

    `ZooError` for a layer of a size that would take all memory, such as that of all pixels of a large colour image.
    """
    if len(outputs) * len(inputs) > MOST_WEIGHTS:
        raise ZooError(
            f"a layer from {len(inputs):,} inputs to {len(outputs):,} outputs has more than {MOST_WEIGHTS:,} weights; "
            'take smaller images, fewer levels, inputs="scaled", or a model without direct connections'
        )
    return outputs[:, None] > inputs
