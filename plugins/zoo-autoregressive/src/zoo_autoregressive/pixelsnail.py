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

from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.concat_elu import concat_elu
from zoo_autoregressive.configs.pixelsnail import PixelSNAILConfig
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.pixelsnail_sampling import pixel_by_pixel
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
        return pixel_by_pixel(self, n)

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


class Block(nn.Module):
    """Gated residual convolutions, then attention, merged into the features by a gate of its own."""

    def __init__(self, groups: Tensor, inputs: int, config: PixelSNAILConfig) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(
            GatedResidual(groups, kernel=config.kernel, dropout=config.dropout) for _ in range(config.residuals)
        )
        self.attention = Attention(groups, inputs, config.keys, config.values)
        self.merge = GatedResidual(groups, kernel=1, dropout=config.dropout, side=config.values)

    def forward(self, h: Tensor, x: Tensor, places: Tensor) -> Tensor:
        for residual in self.residuals:
            h = residual(h)
        merged: Tensor = self.merge(h, self.attention(h, x, places))
        return merged


class GatedResidual(nn.Module):
    """h + a * sigmoid(b) with (a, b) = conv(elu(conv(elu(h)) + linear(elu(side)))), ELU always of (x, -x).

    Two causal convolutions, as in PixelCNN++ (https://arxiv.org/abs/1701.05517, section 2) and the paper's figure of a
    residual block. h `(N, F, H, W)`, side `(N, S, H, W)`: features that every group may see.
    """

    def __init__(self, groups: Tensor, *, kernel: int, dropout: float, side: int = 0) -> None:
        super().__init__()
        reach = kernel - 1
        self.first = MaskedConv(twice(groups), groups, above=reach, left=reach)
        self.side = MaskedConv(torch.zeros(2 * side).long(), groups, bias=False) if side else None
        self.dropout = nn.Dropout(dropout)
        self.second = MaskedConv(twice(groups), twice(groups), above=reach, left=reach)
        self.sizes = self.first.sizes[1]

    def forward(self, h: Tensor, side: Tensor | None = None) -> Tensor:
        y = self.first(concat_elu(h, self.sizes))
        if self.side is not None and side is not None:
            y = y + self.side(concat_elu(side))
        y = self.second(self.dropout(concat_elu(y, self.sizes)))  # (N, 2F, H, W)
        return h + torch.cat([F.glu(part, 1) for part in y.split(self.second.sizes[1], 1)], 1)


class Attention(nn.Module):
    """a_i = sum over j < i, and over nothing, of softmax_j(q_i . k_j / sqrt(d)) v_j. Never holds an (HW, HW) matrix."""

    def __init__(self, groups: Tensor, inputs: int, keys: int, values: int) -> None:
        super().__init__()
        self.first = int((groups == 0).sum())  # features of the first channel: they see no channel of the pixel itself
        self.keys, self.values = keys, values
        self.query = nn.Linear(self.first + 2, keys)
        self.memory = nn.Linear(len(groups) + inputs + 2, keys + values)

    def forward(self, h: Tensor, x: Tensor, places: Tensor) -> Tensor:
        """h: features, `(N, F, H, W)`. x: pixels, `(N, C E, H, W)`. places: `(H*W, 2)`. Returns `(N, values, H, W)`."""
        height, width = h.shape[2:]
        h, x = (maps.permute(0, 2, 3, 1).flatten(1, 2) for maps in (h, x))  # (N, C, H, W) -> (N, H*W, C)
        places = places.expand(len(h), -1, -1)
        query = self.query(torch.cat([h[..., : self.first], places], 2))  # (N, H*W, keys)
        memory = self.memory(torch.cat([h, x, places], 2)[:, :-1])  # nobody comes after the last pixel
        memory = F.pad(memory, (0, 0, 1, 0))  # (N, H*W, keys + values): what is at i is of pixel i-1 or, first, nothing
        key, value = memory.split([self.keys, self.values], 2)
        mean = attend(query, key, value)  # (N, H*W, values)
        return mean.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention, the own position included. query, key: `(N, T, d)`, value: `(N, T, e)`; returns `(N, T, e)`.

    The kernels that never hold the (T, T) weights want d = e; zeros change neither a product nor what is cut off.
    """
    scale, size, most = query.shape[2] ** -0.5, value.shape[2], max(query.shape[2], value.shape[2])
    q, k, v = (F.pad(part, (0, most - part.shape[2])).unsqueeze(1) for part in (query, key, value))  # one head
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).squeeze(1)[..., :size]


def twice(groups: Tensor) -> Tensor:
    """The groups of features that come in pairs, `(F,)` -> `(2F,)`: (x, -x), or a value and its gate."""
    return groups.repeat_interleave(2)
