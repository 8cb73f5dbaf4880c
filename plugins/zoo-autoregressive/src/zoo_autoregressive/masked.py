"""Linear layers whose weights are masked, so that an output sees nothing of the pixels from its own on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import ZooError

MOST_WEIGHTS = 2**28  # of a layer: 1 GB, and five times that in training
MOST_IN_MASKS = 2**31  # in all masks of a layer together: 2 GB


class MaskedLinear(nn.Module):
    """x -> b + (W * M) x, with one mask M or a choice of several.

    masks: bool `(out, in)` each, True where a weight is used. They follow from the config and are not saved.
    """

    masks: Tensor

    def __init__(self, *masks: Tensor, bias: bool = True) -> None:
        super().__init__()
        shape = masks[0].shape
        bound = max(shape[1], 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(len(masks[0]))) if bias else None
        # A lone mask is kept as numbers, which multiply several times faster; many at a byte a weight.
        stack = torch.stack(masks) if len(masks) > 1 else masks[0].to(self.weight.dtype)[None]
        self.register_buffer("masks", stack, persistent=False)  # (M, out, in)

    def masked(self, which: int = 0) -> Tensor:
        """W * M."""
        return self.weight * self.masks[which].to(self.weight.dtype)

    def forward(self, x: Tensor, which: int = 0) -> Tensor:
        return F.linear(x, self.masked(which), self.bias)


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


def each_earlier(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """`earlier` under each of several masks; `ZooError`, too, where all of them together would take all memory."""
    rows, columns = len(outputs[0]), len(inputs[0])
    if len(outputs) > 1 and len(outputs) * rows * columns > MOST_IN_MASKS:
        raise ZooError(
            f"{len(outputs)} masks of {rows:,} x {columns:,} weights take more than 2 GB; take fewer masks or units"
        )
    return [earlier(*pair) for pair in zip(outputs, inputs)]
