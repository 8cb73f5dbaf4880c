"""Causal convolutions fed pixel by pixel: together, the pixels of an image cost what one pass over it costs.

Each layer keeps the rows of its input that it still needs. What the rows above give to a whole row is computed at once,
by one convolution, when that row begins; a pixel then adds what its left neighbours and it itself give, in one product.
In a pixel, the features of group c are computed once the channels before c are drawn. What is not final yet needs no
hiding: where it could be seen, the masked weights are 0.

Memory of a layer: (above + 2) rows of inputs and one of outputs, for each of n images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_autoregressive.causal import MaskedConv, RowConv


class ConvStream:
    """A `MaskedConv` over the rows of n images, from left to right.

    slots: for each group of inputs and each pixel of the row, where its features go, `(n, I_c)`; a layer of one pixel
    has the same slot for all. `at(j, c)`: the outputs of group c at pixel j, `(n, O_c)`, once the inputs are there; of
    a layer with a stride, they are its outputs where i and j are multiples of it.
    """

    def __init__(self, conv: MaskedConv, n: int, width: int) -> None:
        weight = conv.masked().detach()  # (O, I, above + 1, left + 1 + right)
        outputs, features, left = len(weight), weight.shape[1], conv.left
        inputs, groups = conv.sizes
        places = width if left or conv.above else 1
        self.row = weight.new_zeros(n, left + places, features)  # what is left of the image is 0
        self.base = weight.new_zeros(n, places, outputs)
        if conv.bias is not None:
            self.base += conv.bias
        self.bias = conv.bias
        self.above = weight[:, :, :-1] if conv.above else None
        self.rows = weight.new_zeros(n, features, conv.above, left + width + conv.right)
        self.begun = False

        def each(tensors: list[Tensor]) -> list[Tensor]:
            return tensors if len(tensors) == width else tensors * width

        here = self.row[:, left:].unbind(1)  # of (n, I), one per pixel
        self.slots = [each(list(part)) for part in zip(*(slot.split(inputs, 1) for slot in here))]
        window = (left + 1) * features
        self.taps = each([self.row[:, j : j + left + 1].view(n, window) for j in range(places)])
        columns = weight[:, :, -1, : left + 1].permute(2, 1, 0).reshape(window, outputs)
        self.weights = [part.contiguous() for part in columns.split(groups, 1)]
        self.bases = [each(list(part)) for part in zip(*(b.split(groups, 1) for b in self.base.unbind(1)))]

    def next_row(self, more: Tensor | None = None) -> None:
        """The row is complete, or the first one begins: add up what the rows above give to the next.

        more: what else its outputs get, `(n, W, O)` or `(n, 1, O)`.
        """
        if self.above is not None and self.begun:
            left, width = self.row.shape[1] - self.base.shape[1], self.base.shape[1]
            self.rows = torch.roll(self.rows, -1, 2)
            self.rows[:, :, -1, left : left + width] = self.row[:, left:].transpose(1, 2)
            above = F.conv2d(self.rows, self.above, self.bias).squeeze(2).transpose(1, 2)  # (n, O, 1, W) -> (n, W, O)
            self.base.copy_(above if more is None else above + more)
        elif more is not None:
            self.base.copy_(more if self.bias is None else more + self.bias)
        self.begun = True

    def at(self, j: int, c: int) -> Tensor:
        return torch.addmm(self.bases[c][j], self.taps[j], self.weights[c])


class RowStream:
    """A `RowConv` over the rows of n images, from top to bottom: row `(n, I, W)` in, row `(n, O, W / stride)` out.

    A layer with a stride has an output only at each stride-th row; the others are kept by `push`.
    """

    def __init__(self, conv: RowConv, n: int, width: int) -> None:
        self.conv = conv
        self.rows = conv.weight.new_zeros(n, conv.weight.shape[1], conv.above + 1, width + 2 * conv.side)

    def push(self, row: Tensor) -> None:
        side = self.conv.side
        self.rows = torch.roll(self.rows, -1, 2)
        self.rows[:, :, -1, side : side + row.shape[2]] = row

    def next(self, row: Tensor) -> Tensor:
        self.push(row)
        return F.conv2d(self.rows, self.conv.weight, self.conv.bias, self.conv.stride).squeeze(2)


def put_relu(stream: ConvStream, j: int, c: int, x: Tensor) -> Tensor:
    """relu(x) becomes the stream's input of group c at pixel j; returns the stream's output there."""
    torch.clamp_min(x, 0, out=stream.slots[c][j])
    return stream.at(j, c)
