"""Gated PixelCNN: a vertical stack for the rows above, a horizontal stack for the row itself, and no blind spot.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, "Conditional Image Generation with PixelCNN
Decoders", 2016, https://arxiv.org/abs/1606.05328.

    y = tanh(W_f * x) . sigma(W_g * x)                                                                        (eq. 2)
    y = tanh(W_f * x + V_f^T h) . sigma(W_g * x + V_g^T h),    h: the class, one-hot                          (eq. 4)

Layers are those of figure 2: v' = (n x n) v, and h' = (1 x n) h + (1 x 1) v' of the row above; both are gated, and
h + (1 x 1) of the gated h' goes on. What is below or to the right is left out of the kernels, so that the vertical one
is (n + 1) / 2 rows high. It sees whole rows, so it needs no groups of channels; the horizontal stack has masks A and B.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv, RowConv, shifted_down
from zoo_autoregressive.configs import GatedPixelCNNConfig
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.streams import ConvStream, RowStream, put_relu
from zoo_core import ImageSpec, ZooError
from zoo_core.images import Labels


class GatedPixelCNN(Convolutional):
    """p = `width` features a stack; with `conditional`, every gate knows the label."""

    config: GatedPixelCNNConfig

    def __init__(self, images: ImageSpec, config: GatedPixelCNNConfig) -> None:
        super().__init__(
            images, config, inputs=config.inputs, weight_decay=config.weight_decay, conditional=config.conditional
        )
        hidden, top = self.groups(config.width), self.groups(config.head, "head")
        classes, sides = images.classes if config.conditional else 0, [config.input_kernel // 2]
        sides += [config.kernel // 2] * (config.layers - 1)
        inputs = [self.input_groups] + [hidden] * (config.layers - 1)
        # Images of one row have nothing above them: no vertical stack.
        self.layers = nn.ModuleList(
            GatedLayer(group, hidden, side, classes, first=i == 0, vertical=images.height > 1)
            for i, (group, side) in enumerate(zip(inputs, sides))
        )
        self.head = nn.ModuleList([MaskedConv(hidden, top), MaskedConv(top, self.output_groups)])
        nn.init.zeros_(self.head[1].weight)  # all images equally likely

    def resized(self, height: int, width: int) -> Self:
        if self.images.height == 1 < height:
            raise ZooError("GatedPixelCNN: this one was made for images of one row and has no vertical stack for more")
        return super().resized(height, width)

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        v = h = self.to_maps(s)  # (N, C E, H, W)
        for layer in self.layers:
            v, h = layer(v, h, labels)  # (N, p, H, W)
        for layer in self.head:
            h = layer(F.relu(h))
        return self.from_maps(h)  # (N, C P, H, W) -> (N, D, P)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at the cost of one pass: the vertical stack goes on by rows, the horizontal one by pixels."""
        channels, height, width = self.images.shape
        layers = [LayerStream(layer, n, width, labels) for layer in self.layers]
        head = [ConvStream(layer, n, width) for layer in self.head]
        codes, row = self.codes(), layers[0].across.row[:, -width:]  # (n, W, C E), filled by the slots
        for i in range(height):
            v = row.transpose(1, 2)  # (n, C E, W)
            for layer in layers:
                v = layer.next_row(v if i else None)
            for j, c in itertools.product(range(width), range(channels)):
                x = layers[0].at(j, c)
                for layer in layers[1:]:
                    layer.across.slots[c][j].copy_(x)
                    x = layer.at(j, c).add_(x)
                for stream in head:
                    x = put_relu(stream, j, c, x)
                level = yield x
                layers[0].across.slots[c][j].copy_(codes.index_select(0, level.int()))


class GatedLayer(nn.Module):
    """Figure 2. v, h `(N, I, H, W)` -> `(N, p, H, W)` each; the first layer has mask A and no residual connection."""

    def __init__(self, inputs: Tensor, hidden: Tensor, side: int, classes: int, *, first: bool, vertical: bool) -> None:
        super().__init__()
        self.first = first
        gates = hidden.repeat_interleave(2)  # of each group, first what goes into tanh, then what goes into sigma
        self.down = RowConv(len(inputs), len(gates), above=side, side=side) if vertical else None
        self.link = RowConv(len(gates), len(gates), above=0, side=0) if vertical else None
        self.across = MaskedConv(inputs, gates, left=side, own=not first)
        self.out = MaskedConv(hidden, hidden)
        self.labels = nn.Embedding(classes, (1 + vertical) * len(gates)) if classes else None  # V of both stacks

    def forward(self, v: Tensor, h: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        below = self.across(h)
        told = [t[:, :, None, None] for t in self.told(labels)]  # (N, 2p, 1, 1), of h' and of v'
        if told:
            below = below + told[0]
        if self.down is not None and self.link is not None:
            above = self.down(v)
            if told:
                above = above + told[1]
            v, below = gate(above, [above.shape[1]]), below + shifted_down(self.link(above))
        out = self.out(gate(below, self.across.sizes[1]))
        return v, out if self.first else h + out

    def told(self, labels: Labels) -> tuple[Tensor, ...]:
        """What the labels add to h' and to v', `(N, 2p)` each; nothing in an unconditional model."""
        return () if self.labels is None or labels is None else self.labels(labels).split(sum(self.across.sizes[1]), 1)


class LayerStream:
    """A layer fed pixel by pixel: `next_row` takes v of the row above, `at` gives the layer's addition to h."""

    def __init__(self, layer: GatedLayer, n: int, width: int, labels: Labels) -> None:
        self.layer = layer
        self.told = layer.told(labels)
        self.across, self.out = ConvStream(layer.across, n, width), ConvStream(layer.out, n, width)
        self.down = None if layer.down is None else RowStream(layer.down, n, width)
        self.link = None if layer.link is None else RowStream(layer.link, n, width)

    def next_row(self, v: Tensor | None) -> Tensor | None:
        """v: `(n, I, W)`, None above the first row; returns that of the next layer."""
        more = self.told[0][:, None] if self.told else None  # (n, 1, 2p)
        if v is not None and self.down is not None and self.link is not None:
            above = self.down.next(v)  # (n, 2p, W)
            if self.told:
                above = above + self.told[1][:, :, None]
            linked = self.link.next(above).transpose(1, 2)  # (n, W, 2p)
            more = linked if more is None else linked + more
            v = gate(above, [above.shape[1]])
        self.across.next_row(more)
        return v

    def at(self, j: int, c: int) -> Tensor:
        a, b = self.across.at(j, c).chunk(2, 1)
        torch.mul(a.tanh_(), b.sigmoid_(), out=self.out.slots[c][j])
        return self.out.at(j, c)


def gate(x: Tensor, sizes: list[int]) -> Tensor:
    """tanh . sigma, of each group's first half and second half. sizes: of the groups, twice what comes out of them."""
    parts = [part.chunk(2, 1) for part in x.split(sizes, 1)]
    gated = [a.tanh() * b.sigmoid() for a, b in parts]
    return gated[0] if len(gated) == 1 else torch.cat(gated, 1)
