"""PixelRNN: layers of two-dimensional LSTMs, with the Row LSTM or the Diagonal BiLSTM.

van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, https://arxiv.org/abs/1601.06759,
sections 3.1 to 3.4 and table 1.

    p(x) = prod_i p(x_i,R | x_<i) p(x_i,G | x_<i, x_i,R) p(x_i,B | x_<i, x_i,R, x_i,G)                        (eq. 2)

A 7x7 convolution under mask A, LSTM layers with residual connections, and two 1x1 layers with ReLU under mask B.
Dropout is on the connections from layer to layer, not on those of the recurrence: Zaremba, Sutskever, Vinyals,
"Recurrent Neural Network Regularization", 2014, https://arxiv.org/abs/1409.2329.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.pixelrnn.config import PixelRNNConfig, RowLSTMConfig
from zoo_autoregressive.pixelrnn.layers import DiagonalBiLSTM, RecurrentLayer, RowLSTM, pointwise
from zoo_autoregressive.pixelrnn.sampling import DiagonalStream, LayerStream, RightToLeft, RowStream
from zoo_autoregressive.streams import ConvStream, put_relu
from zoo_core import ImageSpec
from zoo_core.images import Labels


class PixelRNN(Convolutional):
    """h = `width` units in each LSTM, 2h features between the layers. beyond: columns right of the image, see below."""

    config: PixelRNNConfig
    beyond = 0

    def __init__(self, images: ImageSpec, config: PixelRNNConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        wide, top = self.groups(2 * config.width, "2 width"), self.groups(config.head, "head")
        hidden = self.groups(config.width)
        reach = config.input_kernel // 2
        self.input = MaskedConv(self.input_groups, wide, above=reach, left=reach, right=reach, own=False)
        self.layers = nn.ModuleList(self.layer(wide, hidden) for _ in range(config.layers))
        self.head = nn.ModuleList([MaskedConv(wide, top), MaskedConv(top, self.output_groups)])
        nn.init.zeros_(self.head[1].weight)  # all images equally likely

    @abstractmethod
    def layer(self, wide: Tensor, hidden: Tensor) -> RecurrentLayer:
        """One of the layers. wide, hidden: the groups of its 2h inputs and outputs, and of its h units."""

    @abstractmethod
    def streams(self, n: int, width: int) -> tuple[list[LayerStream], list[RightToLeft]]:
        """The layers pixel by pixel, for rows of that width, and what goes over the rows once they are complete."""

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        x = self.input(F.pad(self.to_maps(s), (0, self.beyond)))  # (N, C E, H, W) -> (N, 2h, H, W + beyond)
        x = x.permute(2, 3, 0, 1).contiguous()  # -> (H, W + beyond, N, 2h)
        for layer in self.layers:
            x = x + layer(self._drop(x))
        x = self._drop(x[:, : self.images.width])
        for conv in self.head:
            x = pointwise(conv, F.relu(x))
        return x.permute(2, 0, 1, 3).reshape(len(s), -1, self.outputs)  # (H, W, N, C P) -> (N, D, P)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at about the cost of one pass; see `sampling.py`."""
        channels, height, width = self.images.shape
        columns = width + self.beyond
        first = ConvStream(self.input, n, columns)
        layers, halves = self.streams(n, columns)
        head = [ConvStream(conv, n, width) for conv in self.head]
        codes = self.codes()
        for i in range(height):
            first.next_row()
            for half in halves if i else []:
                half.next_row()
            for layer in layers:
                layer.next_row()
            for j, c in itertools.product(range(columns), range(channels)):
                x = first.at(j, c)  # (n, features of group c)
                for layer in layers:
                    x = layer.at(j, c, x)
                if j >= width:  # beyond the image nothing is drawn
                    continue
                for stream in head:
                    x = put_relu(stream, j, c, x)
                level = yield x
                first.slots[c][j].copy_(codes.index_select(0, level.int()))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)


class RowPixelRNN(PixelRNN):
    """With Row LSTMs. They see a triangle above each pixel, and not the rest: see `seen`."""

    config: RowLSTMConfig

    def layer(self, wide: Tensor, hidden: Tensor) -> RecurrentLayer:
        return RowLSTM(wide, hidden, self.config.kernel)

    def streams(self, n: int, width: int) -> tuple[list[LayerStream], list[RightToLeft]]:
        return [RowStream(layer, n, width) for layer in self.layers], []

    def seen(self, row: int, column: int) -> Tensor:
        """The pixels that the conditional of pixel (row, column) depends on, bool `(H, W)`.

        A row up, a state sees kernel // 2 columns further to either side; the first convolution sees another
        input_kernel // 2. In its own row a pixel sees kernel // 2 to the left for each layer, beside these.
        """
        side, reach = self.config.kernel // 2, self.config.input_kernel // 2
        up = row - torch.arange(self.images.height)[:, None]  # (H, 1)
        right = torch.arange(self.images.width) - column  # (W,)
        earlier = (up > 0) | ((up == 0) & (right < 0))
        return earlier & (right <= reach + side * (up - 1)) & (-right <= reach + side * (up + self.config.layers))


class DiagonalPixelRNN(PixelRNN):
    """With Diagonal BiLSTMs, which see every earlier pixel.

    Feature maps have a column right of the image. The features at a pixel never see that pixel (mask A), so without it
    nothing that the right-to-left LSTM goes over would have seen the last pixel of a row, and the pixels of the next
    row, but for the last few, would have missed it.
    """

    beyond = 1

    def layer(self, wide: Tensor, hidden: Tensor) -> RecurrentLayer:
        return DiagonalBiLSTM(wide, hidden)

    def streams(self, n: int, width: int) -> tuple[list[LayerStream], list[RightToLeft]]:
        like = self.layers[0].up.weight  # (2h, h, 1, 1)
        rows = like.new_zeros(len(self.layers), n, 1 + width, sum(like.shape[:2]))  # x and h of each layer
        back = RightToLeft(list(self.layers), rows)
        above = back.h.unbind(1)  # L of (W + 1, n, h)
        return [DiagonalStream(*each) for each in zip(self.layers, rows, above)], [back]
