"""PixelCNN: masked convolutions, all conditionals of an image in one pass.

van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, https://arxiv.org/abs/1601.06759,
sections 3.3 to 3.5 and table 1.

    p(x) = prod_i p(x_i,R | x_<i) p(x_i,G | x_<i, x_i,R) p(x_i,B | x_<i, x_i,R, x_i,G)                        (eq. 2)

A first convolution under mask A, residual blocks of 1x1, kxk, 1x1 convolutions under mask B (figure 5, left), and two
1x1 layers with ReLU before the outputs. A masked kernel goes to the right only by going up, so some earlier pixels,
above and to the right, are never seen, however many layers there are: `blind_spot`.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.configs import PixelCNNConfig
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.streams import ConvStream, put_relu
from zoo_core import ImageSpec
from zoo_core.images import Labels


class PixelCNN(Convolutional):
    """h = `width` features inside the blocks, 2h between them (figure 5, left)."""

    config: PixelCNNConfig

    def __init__(self, images: ImageSpec, config: PixelCNNConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        wide, top = self.groups(2 * config.width, "2 width"), self.groups(config.head, "head")
        reach = config.input_kernel // 2
        self.input = MaskedConv(self.input_groups, wide, above=reach, left=reach, right=reach, own=False)
        self.blocks = nn.ModuleList(
            Block(wide, self.groups(config.width), config.kernel // 2) for _ in range(config.blocks)
        )
        self.head = nn.ModuleList([MaskedConv(wide, top), MaskedConv(top, self.output_groups)])
        nn.init.zeros_(self.head[1].weight)  # all images equally likely

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        x = self.input(self.to_maps(s))  # (N, C E, H, W) -> (N, 2h, H, W)
        for block in self.blocks:
            x = block(x)
        for layer in self.head:
            x = layer(F.relu(x))
        return self.from_maps(x)  # (N, C P, H, W) -> (N, D, P)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at the cost of one pass; see `streams.py`."""
        channels, height, width = self.images.shape
        first = ConvStream(self.input, n, width)
        blocks = [[ConvStream(layer, n, width) for layer in block.layers] for block in self.blocks]
        head = [ConvStream(layer, n, width) for layer in self.head]
        streams = [first, *(stream for block in blocks for stream in block)]
        codes = self.codes()
        for _ in range(height):
            for stream in streams:
                stream.next_row()
            for j, c in itertools.product(range(width), range(channels)):
                x = first.at(j, c)  # (n, features of group c)
                for block in blocks:
                    h = x
                    for stream in block:
                        h = put_relu(stream, j, c, h)
                    x = h.add_(x)
                for stream in head:
                    x = put_relu(stream, j, c, x)
                level = yield x
                first.slots[c][j].copy_(codes.index_select(0, level.int()))


class Block(nn.Module):
    """x + layers(x): ReLU and 1x1, ReLU and kxk, ReLU and 1x1, under mask B. `(N, 2h, H, W)`."""

    def __init__(self, wide: Tensor, hidden: Tensor, reach: int) -> None:
        super().__init__()
        masked = MaskedConv(hidden, hidden, above=reach, left=reach, right=reach)
        self.layers = nn.ModuleList([MaskedConv(wide, hidden), masked, MaskedConv(hidden, wide)])

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.layers:
            h = layer(F.relu(h))
        return x + h


def blind_spot(images: ImageSpec, config: PixelCNNConfig, row: int, column: int) -> Tensor:
    """Which earlier pixels the pixel (row, column) can never see, however many blocks there are: bool `(H, W)`.

    To go to the right a layer must go up, by a row at least: so a pixel `up` rows above is seen at most
    `input_kernel // 2` columns to the right by the first layer, and `kernel // 2` more for each further row.
    """
    up = row - torch.arange(images.height)[:, None]  # (H, 1)
    right = torch.arange(images.width) - column  # (W,)
    return (up > 0) & (right > config.input_kernel // 2 + (up - 1) * (config.kernel // 2))
