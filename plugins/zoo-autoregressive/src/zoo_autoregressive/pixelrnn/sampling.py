"""The layers of a PixelRNN pixel by pixel: all pixels at about the cost of one pass, not of D passes.

When a row is complete, what its states give to the next row is added up for the whole row at once; a pixel then adds
what it and its left neighbours give, in one product. In a pixel, the features and states of group c are computed once
the channels before c are drawn: what is not final yet is only ever multiplied by masked weights, which are 0. The
right-to-left LSTMs of all layers go over a row together, once it is complete.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_autoregressive.pixelrnn.layers import DiagonalBiLSTM, RecurrentLayer, RowLSTM


class Cells:
    """The gates and cells of one group of an LSTM's units at one pixel. sums, cell, h: where they stand, `(n, ...)`."""

    def __init__(self, sums: Tensor, cell: Tensor, h: Tensor) -> None:
        units = cell.shape[-1]
        self.sums, self.cell, self.h = sums, cell, h
        self.outer, self.content = sums[..., : 3 * units], sums[..., 3 * units :]  # o, f, i, and g
        self.o, self.f, self.i, _ = sums.split(units, -1)
        self.squashed = torch.empty_like(cell)

    def step(self) -> None:
        """Equation 3 from the gates' sums on: c and h change in place, and the sums become the gates."""
        self.outer.sigmoid_()
        self.content.tanh_()
        self.cell.mul_(self.f).addcmul_(self.i, self.content)
        torch.mul(self.o, torch.tanh(self.cell, out=self.squashed), out=self.h)


class LayerStream:
    """A recurrent layer over the rows of n images, from left to right.

    inputs: where the layer's x go, `(n, W, 2h)`. windows: for each pixel what is multiplied there: its x and what lies
    to its left. weight: by what, `(window, 4h)`. state: K^ss of the row above, `(taps, h, 4h)`, each tap a column
    further to the right. h: with a margin for these taps, `(n, W + taps - 1, h)`. cell: `(n, W, h)`, may be expanded.
    """

    def __init__(
        self,
        layer: RecurrentLayer,
        *,
        inputs: Tensor,
        windows: list[Tensor],
        weight: Tensor,
        state: Tensor,
        bias: Tensor,
        h: Tensor,
        cell: Tensor,
    ) -> None:
        (n, width, _), order, (hidden, wide) = inputs.shape, layer.order, layer.up.sizes
        self.windows, self.state, self.bias, self.margin, self.cell = windows, state[..., order], bias[order], h, cell
        self.h = h[:, len(state) // 2 :][:, :width]
        self.base = h.new_empty(n, width, 4 * layer.hidden)
        sizes = [4 * size for size in hidden]
        self.weights = [part.contiguous() for part in weight[:, order].split(sizes, 1)]
        self.up = [part.contiguous() for part in layer.up.masked()[:, :, 0, 0].t().split(wide, 1)]
        self.slots, self.bases = by_group(inputs, wide), by_group(self.base, sizes)
        self.sums = [h.new_empty(n, size) for size in sizes]
        units = zip(self.sums, by_group(cell, hidden), by_group(self.h, hidden))
        self.cells = [[Cells(sums, c, h) for c, h in zip(cs, hs)] for sums, cs, hs in units]
        self.outputs = list(self.h.unbind(1))

    def next_row(self) -> None:
        """The row is complete, or the first one begins: add up what the row above gives to the next."""
        width = self.base.shape[1]
        self.base.copy_(self.bias)
        for k, weight in enumerate(self.state):
            self.base += self.margin[:, k : k + width] @ weight

    def at(self, j: int, c: int, x: Tensor) -> Tensor:
        """The features that come out for group c at pixel j, `(n, features of c)`, where x of that group goes in."""
        self.slots[c][j].copy_(x)
        torch.addmm(self.bases[c][j], self.windows[j], self.weights[c], out=self.sums[c])
        self.cells[c][j].step()
        return torch.addmm(x, self.output(j), self.up[c])

    def output(self, j: int) -> Tensor:
        return self.outputs[j]


class RowStream(LayerStream):
    """Of a `RowLSTM`."""

    def __init__(self, layer: RowLSTM, n: int, width: int) -> None:
        ((state, weight, bias),) = layer.parts()
        (_, kernel, taps), wide = layer.shape, layer.up.mask.shape[0]
        row = weight.new_zeros(n, taps - 1 + width, wide)
        super().__init__(
            layer,
            inputs=row[:, taps - 1 :],
            windows=[row[:, j : j + taps].view(n, taps * wide) for j in range(width)],
            weight=weight.t(),
            state=state,
            bias=bias,
            h=weight.new_zeros(n, width + kernel - 1, layer.hidden),
            cell=weight.new_zeros(n, width, layer.hidden),
        )


class DiagonalStream(LayerStream):
    """The left-to-right half of a `DiagonalBiLSTM`.

    row: x and h of the pixels after each other, `(n, 1 + W, 2h + h)`, the first pixel left of the image. above: h of
    the right-to-left half in the row above, `(W, n, h)`.
    """

    def __init__(self, layer: DiagonalBiLSTM, row: Tensor, above: Tensor) -> None:
        (state, weight, bias), _ = layer.parts()
        n, width, size = row.shape
        wide = size - layer.hidden
        super().__init__(
            layer,
            inputs=row[:, 1:, :wide],
            windows=[row.view(n, -1)[:, j * size + wide :][:, :size] for j in range(width - 1)],
            weight=torch.cat([state[1], weight.t()]),
            state=state[:1],
            bias=bias,
            h=row[:, 1:, wide:],
            cell=row.new_zeros(n, 1, layer.hidden).expand(n, width - 1, layer.hidden),
        )
        self.above = list(above.unbind())
        self.sum = row.new_empty(n, layer.hidden)

    def next_row(self) -> None:
        super().next_row()
        self.cell[:, :1].zero_()

    def output(self, j: int) -> Tensor:
        return torch.add(self.outputs[j], self.above[j], out=self.sum)


class RightToLeft:
    """The right-to-left halves of all L `DiagonalBiLSTM`s, over rows that are complete.

    rows: x and h of each layer, `(L, n, 1 + W, 2h + h)`, as in `DiagonalStream`. h: `(W + 1, L, n, h)`.
    """

    def __init__(self, layers: list[DiagonalBiLSTM], rows: Tensor) -> None:
        states, weights, biases = (torch.stack(each) for each in zip(*(layer.parts()[1] for layer in layers)))
        count, n, width, _ = rows.shape
        self.inputs = rows[:, :, 1:, : weights.shape[2]].permute(2, 0, 1, 3)  # (W, L, n, 2h)
        self.h = rows.new_zeros(width, count, n, layers[0].hidden)  # the last one stays 0
        self.beside = states[:, 1]  # (L, h, 4h)
        self.weight = torch.cat([states[:, 0], weights.transpose(1, 2)], 1)  # (L, h + 2h, 4h)
        self.bias = biases[:, None]
        self.sums = rows.new_empty(width - 1, count, n, biases.shape[1])
        self.cell = rows.new_empty(count, n, layers[0].hidden)
        self.cells = [Cells(sums, self.cell, h) for sums, h in zip(self.sums, self.h)]

    def next_row(self) -> None:
        """The row is complete: go over it, starting from what the row above gives."""
        self.sums.copy_(torch.cat([self.h[:-1], self.inputs], -1) @ self.weight).add_(self.bias)
        self.cell.zero_()
        for j in reversed(range(len(self.cells))):
            self.sums[j].baddbmm_(self.h[j + 1], self.beside)
            self.cells[j].step()


def by_group(row: Tensor, sizes: list[int]) -> list[list[Tensor]]:
    """For each group of features and each pixel of a row `(n, W, features)`, where they stand, `(n, size)`."""
    return [list(part.unbind(1)) for part in row.split(sizes, 2)]
