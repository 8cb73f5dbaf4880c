"""The blocks of PixelSNAIL pixel by pixel: together, the pixels cost what one pass over the image costs.

The convolutions keep the rows that they still need (`streams.py`). The key and the value of a pixel are computed once,
when all its channels are drawn, and kept in caches made beforehand: n H W (keys + values) numbers for each block. The
attention of pixel i is computed once, before its first channel, and serves all of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_autoregressive.concat_elu import put_concat_elu
from zoo_autoregressive.pixelsnail.network import Attention, Block, GatedResidual
from zoo_autoregressive.streams import ConvStream


class BlockStream:
    """A `Block` that is given the features of one group of one pixel after the other."""

    def __init__(self, block: Block, n: int, width: int, places: Tensor, inputs: int) -> None:
        self.residuals = [GatedStream(residual, n, width) for residual in block.residuals]
        self.attention = AttentionStream(block.attention, block.merge.sizes, n, places, inputs)
        self.merge = GatedStream(block.merge, n, width)
        self.streams = [stream for gated in (*self.residuals, self.merge) for stream in (gated.first, gated.second)]
        assert block.merge.side is not None
        self.side = block.merge.side.masked()[..., 0, 0].t().contiguous()  # (2 values, F)
        self.elu = places.new_zeros(n, len(self.side))
        self.sides: list[Tensor] = []

    def advance(self, h: Tensor, place: int, j: int, c: int) -> Tensor:
        """h: features of group c at pixel j of the row, the `place`-th of the image, `(n, F_c)`, changed in place."""
        for residual in self.residuals:
            h = residual.add_to(h, j, c)
        if c == 0:
            put_concat_elu(self.elu, self.attention.ask(h, place))
            self.sides = list(torch.mm(self.elu, self.side).split(self.merge.sizes, 1))
        self.attention.features[c].copy_(h)
        return self.merge.add_to(h, j, c, self.sides[c])


class GatedStream:
    """A `GatedResidual` over the rows of n images."""

    def __init__(self, residual: GatedResidual, n: int, width: int) -> None:
        self.sizes = residual.sizes
        self.first, self.second = ConvStream(residual.first, n, width), ConvStream(residual.second, n, width)

    def add_to(self, h: Tensor, j: int, c: int, side: Tensor | None = None) -> Tensor:
        """h + a * sigmoid(b), in place. h, side: of group c at pixel j, `(n, F_c)`."""
        put_concat_elu(self.first.slots[c][j], h)
        y = self.first.at(j, c)
        put_concat_elu(self.second.slots[c][j], y if side is None else y.add_(side))
        return h.add_(F.glu(self.second.at(j, c), 1))


class AttentionStream:
    """An `Attention` that remembers the key and the value of every pixel, and those of nothing, which are 0, first.

    features, pixel: for each channel, where its features `(n, F_c)` and its inputs `(n, E)` go.
    """

    def __init__(self, attention: Attention, sizes: list[int], n: int, places: Tensor, inputs: int) -> None:
        keys, values, count = attention.keys, attention.values, len(places)
        scale = keys**-0.5
        own, place = attention.query.weight.detach().split([attention.first, 2], 1)
        self.query_weight = own.t() * scale  # (F_1, keys)
        self.query_bias = (F.linear(places, place, attention.query.bias) * scale).unbind()  # H*W of (keys,)

        weight = attention.memory.weight.detach()
        own, place = weight.split([weight.shape[1] - 2, 2], 1)
        self.memory_weight = own.t().contiguous()  # (F + C E, keys + values)
        self.memory_bias = F.linear(places, place, attention.memory.bias).unbind()  # H*W of (keys + values,)
        self.seen = weight.new_zeros(n, own.shape[1])  # (n, F + C E)
        features = sum(sizes)
        self.features = self.seen[:, :features].split(sizes, 1)
        self.pixel = self.seen[:, features:].split(inputs, 1)

        cache = weight.new_zeros(n, count, keys + values)
        self.slots = cache.unbind(1)[1:]  # of (n, keys + values), for all pixels but the last, whom nobody asks
        self.keys = cache[..., :keys].transpose(1, 2)  # (n, keys, H*W)
        self.values = cache[..., keys:]  # (n, H*W, values)

    def ask(self, h: Tensor, place: int) -> Tensor:
        """The attention of a pixel. h: its features of the first group, `(n, F_1)`. Returns `(n, values)`."""
        query = torch.addmm(self.query_bias[place], h, self.query_weight).unsqueeze(1)  # (n, 1, keys)
        scores = torch.bmm(query, self.keys.narrow(2, 0, place + 1))  # (n, 1, place + 1)
        return torch.bmm(scores.softmax(2), self.values.narrow(1, 0, place + 1)).squeeze(1)

    def remember(self, place: int) -> None:
        """All channels of a pixel, and its features, are there: its key and value are final."""
        if place < len(self.slots):
            self.slots[place].copy_(torch.addmm(self.memory_bias[place], self.seen, self.memory_weight))
