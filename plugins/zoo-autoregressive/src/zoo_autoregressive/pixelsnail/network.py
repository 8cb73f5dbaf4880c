"""A block of PixelSNAIL: gated residual convolutions, then attention over all earlier pixels.

Chen, Mishra, Rohaninejad, Abbeel, "PixelSNAIL: An Improved Autoregressive Generative Model", 2017,
https://arxiv.org/abs/1712.09763, sections 3 and 4; what sees what is told in `model.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.concat_elu import concat_elu
from zoo_autoregressive.pixelsnail.config import PixelSNAILConfig


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
