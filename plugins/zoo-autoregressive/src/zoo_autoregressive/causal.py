"""Convolutions that see no later pixel: masks A and B over the colours of a pixel, and rows above without masks.

van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, https://arxiv.org/abs/1601.06759,
section 3.4 and figure 2 (right): features are split into one group for each channel of the image. A feature of group c
sees all features of earlier pixels and, of its own pixel, those of the groups before c and, under mask B, of c itself.
Under mask A, for a network's first layer, its own channel stays hidden.

What lies below or to the right is not masked but left out of the kernels. `streams.py` runs the same layers pixel by
pixel.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import ZooError


class MaskedConv(nn.Module):
    """A kernel of `above` rows above the pixel, `left` pixels to its left, and the pixel itself.

    inputs, outputs: the groups of the features, int64 `(I,)` and `(O,)`, ascending. own: mask B, else mask A.
    right: how far the rows above reach to the right. stride: of the outputs, which see what comes before (stride i,
    stride j). x `(N, I, H, W)` -> `(N, O, H / stride, W / stride)`, rounded up.
    """

    mask: Tensor

    def __init__(
        self,
        inputs: Tensor,
        outputs: Tensor,
        *,
        above: int = 0,
        left: int = 0,
        right: int = 0,
        own: bool = True,
        bias: bool = True,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.above, self.left, self.right = above, left, right if above else 0
        self.sizes = torch.bincount(inputs).tolist(), torch.bincount(outputs).tolist()  # of the groups
        size = (len(outputs), len(inputs), above + 1, left + 1 + self.right)
        mask = torch.ones(size)
        mask[:, :, -1, left + 1 :] = 0
        mask[:, :, -1, left] = (inputs <= outputs[:, None]) if own else (inputs < outputs[:, None])
        bound = 1 / math.sqrt(max(float(mask[0].sum()), 1))
        self.weight = nn.Parameter(torch.empty(size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(len(outputs))) if bias else None
        self.register_buffer("mask", mask, persistent=False)

    def masked(self) -> Tensor:
        """The weights that are used, `(O, I, above + 1, left + 1 + right)`."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        if self.left or self.above:
            x = F.pad(x, (self.left, self.right, self.above, 0))
        return F.conv2d(x, self.masked(), self.bias, self.stride)


class RowConv(nn.Module):
    """A kernel of the pixel's own row, all of it, and `above` rows above it: for features that whole rows share.

    side: pixels to the left and to the right. x `(N, I, H, W)` -> `(N, O, H / stride, W / stride)`, rounded up.
    """

    def __init__(self, inputs: int, outputs: int, *, above: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.above, self.side, self.stride = above, side, stride
        size = (outputs, inputs, above + 1, 2 * side + 1)
        bound = 1 / math.sqrt(inputs * size[2] * size[3])
        self.weight = nn.Parameter(torch.empty(size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (self.side, self.side, self.above, 0)), self.weight, self.bias, self.stride)


def shifted_down(x: Tensor) -> Tensor:
    """Each row moved to the next, zeros in the first: what is known of a row before it begins. `(N, C, H, W)`."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def channel_groups(width: int, channels: int, what: str = "width") -> Tensor:
    """The channel that each of `width` features belongs to, as even as can be, ascending, int64 `(width,)`."""
    if width < channels:
        raise ZooError(f"{what}: expected at least {channels} features, one for each channel, got {width}")
    return torch.arange(width) * channels // width
