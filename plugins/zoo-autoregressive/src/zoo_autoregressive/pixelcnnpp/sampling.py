"""The two streams of PixelCNN++ pixel by pixel: all pixels together cost about one pass of the network.

The stream of rows above goes on row by row, the other one pixel by pixel. A stage at resolution 1/f has something to do
only at pixels (i, j) where f divides i and j: its unit (i/f, j/f) sees what comes before that pixel, and its output is
kept for the f x f pixels from there on.

Memory for each of n images and W pixels a row: see `streams.py` for a 2x2 or 2x3 layer at its resolution; an enlarging
layer keeps the 2 rows that it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.concat_elu import concat_elu
from zoo_autoregressive.pixelcnnpp.network import Block, Enlarge, Stream
from zoo_autoregressive.streams import ConvStream, RowStream
from zoo_core.images import Labels


class AboveStream:
    """The stream of rows above. `outputs`: what the block of the same place in the other stream is given."""

    def __init__(self, stream: Stream, n: int, width: int, labels: Labels) -> None:
        self.widths = widths_of(stream, width)
        self.down, self.up = (each(RowBlock, stage, n, self.widths, labels) for stage in (stream.down, stream.up))
        self.halve = [RowStream(layer, n, w) for layer, w in zip(stream.halve, self.widths)]
        self.enlarge = stream.enlarge
        self.enlarged: list[Sequence[Tensor]] = [()] * len(self.enlarge)  # 2 rows (n, F, W / f), of each

    def next_row(self, i: int, x: Tensor) -> None:
        """x: the row `(n, F, W)`. Runs all stages that have a row at i."""
        stages = depth(i, len(self.down))
        for stage in range(stages):
            if stage:
                x = self.halve[stage - 1].next(x)
            for block in self.down[stage]:
                x = block.next(x)
        if stages < len(self.down):
            self.halve[stages - 1].push(x)
            x = self.enlarged[stages - 1][(i >> stages - 1) % 2]
        for stage in reversed(range(stages)):
            for block, mirror in zip(self.up[stage], reversed(self.down[stage])):
                x = block.next(x, mirror.output)
            if stage:
                rows = self.enlarge[stage - 1](x.unsqueeze(2), (2, self.widths[stage - 1]))
                self.enlarged[stage - 1] = rows.unbind(2)
                x = self.enlarged[stage - 1][0]


class PixelStream:
    """The stream that also sees the pixels to the left."""

    def __init__(self, stream: Stream, n: int, width: int, labels: Labels) -> None:
        widths = widths_of(stream, width)
        self.down, self.up = (each(PixelBlock, stage, n, widths, labels) for stage in (stream.down, stream.up))
        self.halve = [ConvStream(layer, n, w) for layer, w in zip(stream.halve, widths)]
        self.enlarge = [EnlargeStream(layer, n, w) for layer, w in zip(stream.enlarge, widths[1:])]

    def next_row(self, i: int, above: AboveStream | None) -> None:
        """Before the first pixel of row i, when the other stream has been there."""
        stages = depth(i, len(self.down))
        for stage in range(stages):
            for part in ("down", "up"):
                blocks = getattr(self, part)[stage]
                others = getattr(above, part)[stage] if above is not None else [None] * len(blocks)
                for block, other in zip(blocks, others):
                    block.next_row(None if other is None else other.output)
        for layer in self.halve[:stages]:
            layer.next_row()

    def at(self, i: int, j: int, x: Tensor) -> Tensor:
        """The last block's output at pixel (i, j), `(n, F)`. x: the first layer's."""
        stages = min(depth(i, len(self.down)), depth(j, len(self.down)))
        for stage in range(stages):
            if stage:
                x = self.halve[stage - 1].at(j >> stage - 1, 0)
            for block in self.down[stage]:
                x = block.at(j >> stage, x)
            if stage < len(self.halve):
                self.halve[stage].slots[0][j >> stage].copy_(x)
        if stages < len(self.down):
            x = self.enlarge[stages - 1].at(i >> stages - 1, j >> stages - 1)
        for stage in reversed(range(stages)):
            for block, mirror in zip(self.up[stage], reversed(self.down[stage])):
                x = block.at(j >> stage, x, mirror.output)
            if stage:
                self.enlarge[stage - 1].put(j >> stage, x)
                x = self.enlarge[stage - 1].at(i >> stage - 1, j >> stage - 1)
        return x


class RowBlock:
    """A block of the rows above: a row `(n, F, W)` after the other."""

    def __init__(self, block: Block, n: int, width: int, labels: Labels) -> None:
        self.enter, self.leave = (RowStream(layer, n, width) for layer in (block.enter, block.leave))
        self.sides = [layer.weight.squeeze(3) for layer in block.sides]  # (F, 2F, 1)
        self.told = None if block.label is None else block.label(labels).unsqueeze(2)  # (n, 2F, 1)
        self.output = torch.empty(0)

    def next(self, x: Tensor, *sides: Tensor) -> Tensor:
        h = self.enter.next(concat_elu(x))
        for weight, side in zip(self.sides, sides):
            h = h + F.conv1d(concat_elu(side), weight)
        h = self.leave.next(concat_elu(h))
        self.output = x + F.glu(h if self.told is None else h + self.told, 1)
        return self.output


class PixelBlock:
    """A block of the other stream: once per row what the rows above give, then a pixel `(n, F)` after the other."""

    def __init__(self, block: Block, n: int, width: int, labels: Labels) -> None:
        self.enter, self.leave = (ConvStream(layer, n, width) for layer in (block.enter, block.leave))
        self.sides = [layer.weight.squeeze(3) for layer in block.sides]  # (F, 2F, 1)
        self.shortcut = self.sides[-1].squeeze(2).t().contiguous() if self.sides else None  # (2F, F)
        self.told = None if block.label is None else block.label(labels).unsqueeze(1)  # (n, 1, 2F)
        self.output = torch.empty(0)

    def next_row(self, above: Tensor | None) -> None:
        """above: the other stream's block, `(n, F, W)`."""
        more = None if above is None else F.conv1d(concat_elu(above), self.sides[0]).transpose(1, 2)  # (n, W, F)
        self.enter.next_row(more)
        self.leave.next_row(self.told)

    def at(self, j: int, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        h = put_concat_elu(self.enter, j, x)
        if shortcut is not None and self.shortcut is not None:
            h.addmm_(concat_elu(shortcut), self.shortcut)
        self.output = F.glu(put_concat_elu(self.leave, j, h), 1).add_(x)
        return self.output


class EnlargeStream:
    """An `Enlarge` layer: a unit `(n, F)` in, the 2x2 units below it out."""

    def __init__(self, layer: Enlarge, n: int, width: int) -> None:
        self.weight = layer.weight.permute(0, 2, 3, 1).flatten(1).contiguous()  # (F, 2 2 F)
        self.bias = layer.bias.repeat(4)
        self.kept = [self.bias.new_zeros(n, len(self.bias)) for _ in range(width)]  # one for each unit of the row
        units = [unit.view(n, 2, 2, -1) for unit in self.kept]
        self.rows = [[units[j // 2][:, i, j % 2] for j in range(2 * width)] for i in range(2)]  # of (n, F)

    def put(self, j: int, x: Tensor) -> None:
        torch.addmm(self.bias, x, self.weight, out=self.kept[j])

    def at(self, i: int, j: int) -> Tensor:
        return self.rows[i % 2][j]


def depth(index: int, stages: int) -> int:
    """How many stages, from full resolution on, have a unit at this row or column."""
    return next((stage for stage in range(1, stages) if index % 2**stage), stages)


def widths_of(stream: Stream, width: int) -> list[int]:
    """How many units a row has at each stage."""
    return [-(-width // 2**stage) for stage in range(len(stream.down))]


def each(kind: Callable[..., Any], stages: nn.ModuleList, n: int, widths: list[int], labels: Labels) -> list[list[Any]]:
    """The blocks of all stages, to be fed row by row or pixel by pixel."""
    return [[kind(block, n, width, labels) for block in stage] for stage, width in zip(stages, widths)]


def put_concat_elu(stream: ConvStream, j: int, x: Tensor) -> Tensor:
    """[elu(x), elu(-x)] becomes the stream's input at pixel j; returns the stream's output there."""
    slot = stream.slots[0][j]
    torch.cat((x, -x), 1, out=slot)
    F.elu_(slot)
    return stream.at(j, 0)
