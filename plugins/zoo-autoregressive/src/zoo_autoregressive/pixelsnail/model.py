"""PixelSNAIL: gated causal convolutions for what is near, self-attention over all earlier pixels for what is far.

Chen, Mishra, Rohaninejad, Abbeel, "PixelSNAIL: An Improved Autoregressive Generative Model", 2017,
https://arxiv.org/abs/1712.09763, sections 3 and 4. A block is some gated residual convolutions, then

    a_i = sum_{j<i} softmax_j(q_i . k_j / sqrt(d)) v_j,    h_i <- h_i + gate(h_i, a_i)

k_j and v_j are linear in pixel j itself, its features and its place; q_i in what is known of pixel i before any of its
channels is, and in its place. So the attention reaches strictly earlier pixels, all their channels included, and is the
same for all channels of pixel i; its own earlier channels come through the masks of the convolutions.

Before the first pixel stands a "nothing" whose key and value are 0: the softmax always has a place to go, the first
pixel gets a_1 = 0, and what is in the image may be ignored.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator

import torch
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.concat_elu import concat_elu, put_concat_elu
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.pixelsnail.config import PixelSNAILConfig
from zoo_autoregressive.pixelsnail.network import Block, twice
from zoo_autoregressive.pixelsnail.sampling import BlockStream
from zoo_autoregressive.streams import ConvStream
from zoo_core import ImageSpec
from zoo_core.images import Labels


class PixelSNAIL(Convolutional):
    """Nothing is down-sampled: all features stay at the image's own resolution."""

    config: PixelSNAILConfig

    def __init__(self, images: ImageSpec, config: PixelSNAILConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        groups = self.groups(config.width)
        self.input = MaskedConv(self.input_groups, groups, above=1, left=1, right=1, own=False)
        self.blocks = nn.ModuleList(Block(groups, len(self.input_groups), config) for _ in range(config.blocks))
        self.head = MaskedConv(twice(groups), self.output_groups)
        nn.init.zeros_(self.head.weight)  # all images equally likely

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        x, places = self.to_maps(s), self.places()
        h = self.input(x)  # (N, C E, H, W) -> (N, F, H, W)
        for block in self.blocks:
            h = block(h, x, places)
        return self.from_maps(self.head(concat_elu(h, self.input.sizes[1])))  # (N, C P, H, W) -> (N, D, P)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at the cost of one pass: rows of features and all keys and values are kept."""
        channels, height, width = self.images.shape
        first, head = ConvStream(self.input, n, width), ConvStream(self.head, n, width)
        blocks = [BlockStream(block, n, width, self.places(), self.inputs) for block in self.blocks]
        streams = [first, *(stream for block in blocks for stream in block.streams)]
        codes = self.codes()
        for i in range(height):
            for stream in streams:
                stream.next_row()
            for j, c in itertools.product(range(width), range(channels)):
                h = first.at(j, c)  # (n, features of group c)
                for block in blocks:
                    h = block.advance(h, i * width + j, j, c)
                put_concat_elu(head.slots[c][j], h)
                level = yield head.at(j, c)
                code = codes.index_select(0, level.int())  # (n, E)
                first.slots[c][j].copy_(code)
                for block in blocks:
                    block.attention.pixel[c].copy_(code)
                if c == channels - 1:
                    for block in blocks:
                        block.attention.remember(i * width + j)

    def places(self) -> Tensor:
        """Row and column of each pixel, from -1 at the first to 1 at the last (0 where there is only one), `(H*W, 2)`.

        They are relative to the image, so that the weights work at any size.
        """
        like = self.input.weight
        axes = [
            torch.linspace(-1, 1, size, device=like.device, dtype=like.dtype) if size > 1 else like.new_zeros(1)
            for size in (self.images.height, self.images.width)
        ]
        return torch.cartesian_prod(*axes)
