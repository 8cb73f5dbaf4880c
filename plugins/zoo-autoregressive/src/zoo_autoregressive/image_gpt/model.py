"""ImageGPT: a decoder-only transformer over the sequence of (sub)pixels.

Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020,
https://proceedings.mlr.press/v119/chen20s.html, section 2.3:

    n^l = layer_norm(h^l),   a^l = h^l + attention(n^l),   h^{l+1} = a^l + mlp(layer_norm(a^l))

Token d holds the pixel before the d-th, a learned start token holds none; it sees the tokens up to itself and predicts
the d-th pixel. The objective is -log p(x), equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import Autoregressive
from zoo_autoregressive.image_gpt.config import ImageGPTConfig
from zoo_autoregressive.image_gpt.network import Block
from zoo_autoregressive.image_gpt.sampling import CachedBlock, after_norm
from zoo_core import ImageSpec
from zoo_core.images import Labels


class ImageGPT(Autoregressive):
    """h^0 = (start, embed(x_1) + position_2, ..., embed(x_{D-1}) + position_D); logits are linear in layer_norm(h^L).

    The start token needs no position, since it is always first. A position tells the channel of its subpixel too.
    A position has its own vector, so the model is tied to the size of its images.
    """

    config: ImageGPTConfig

    def __init__(self, images: ImageSpec, config: ImageGPTConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        width = config.width
        self.start = nn.Parameter(torch.randn(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.outputs)
        nn.init.zeros_(self.head.weight)  # all images are equally likely
        nn.init.zeros_(self.head.bias)
        self.blocks = nn.ModuleList()
        self.embedding: nn.Parameter | None = None
        if images.dims > 1:  # a lone pixel is predicted by the start token: there is nothing to embed or to attend to
            self.embedding = nn.Parameter(torch.randn(self.inputs, width))  # (E, width)
            at = waves(images, width)[1:] if config.positions == "grid" else 0.02 * torch.randn(images.dims - 1, width)
            self.positions = nn.Parameter(at)  # (D-1, width)
            self.blocks.extend(Block(config) for _ in range(config.blocks))
        self.dropout = nn.Dropout(config.dropout)

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        h = self.start.expand(len(s), 1, -1)  # (N, 1, width)
        if self.embedding is not None:
            h = torch.cat([h, self.embed(s[:, :-1]) + self.positions], 1)  # (N, D, width)
        h = self.dropout(h)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(self.norm(h))  # (N, D, P)
        return logits

    def embed(self, s: Tensor) -> Tensor:
        """Levels `(...)` as vectors `(..., width)`, without their positions."""
        assert self.embedding is not None
        if self.onehot:
            return F.embedding(s.int(), self.embedding)
        return self.to_inputs(s) * self.embedding[0]

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """One token's pass for each pixel: the keys and values of all tokens before it are kept."""
        dims, width = self.images.dims, self.config.width
        blocks = [CachedBlock(block, n, dims) for block in self.blocks]
        head_bias, head = after_norm(self.norm, self.head)
        h = self.start.repeat(n, 1)  # (n, width)
        if self.embedding is not None:
            table = self.embed(torch.arange(self.images.levels, device=h.device))  # (K, width)
            positions = self.positions.unbind()
        for d in range(dims):
            for block in blocks:
                block.advance(h, d)
            level = yield torch.addmm(head_bias, F.layer_norm(h, (width,)), head)  # (n, P)
            if d + 1 < dims:
                torch.add(table.index_select(0, level.int()), positions[d], out=h)


def waves(images: ImageSpec, width: int) -> Tensor:
    """Sines and cosines of a subpixel's row, column and channel, `(D, width)`, in sampling order.

    Wave lengths from 2 subpixels to twice the axis, spread as powers. A shift along an axis is then a linear map, so
    that "the pixel above" is a thing one attention head can say at once.
    """
    sizes = [images.height, images.width, images.channels]
    axes = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).to(torch.get_default_dtype())  # (D, 3)
    long = [axis for axis, size in enumerate(sizes) if size > 1]
    columns = []
    pairs = (width + 1) // 2
    for i, axis in enumerate(long):
        count = len(range(i, pairs, len(long)))
        share = torch.arange(count) / max(count - 1, 1)
        phase = math.pi * axes[:, axis : axis + 1] * sizes[axis] ** -share
        columns += [phase.sin(), phase.cos()]
    return torch.cat(columns, 1)[:, :width]
