"""The two streams of PixelCNN++: gated residual blocks at falling and then at rising resolutions.

Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and
Other Modifications", 2017, https://arxiv.org/abs/1701.05517, sections 2.3 to 2.5 and figure 2. Why it is causal: see
`model.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.concat_elu import concat_elu
from zoo_core.images import Labels

Conv = Callable[..., nn.Module]  # (inputs, outputs, stride=1)


class Stream(nn.Module):
    """Residual blocks at falling and then at rising resolutions (sections 2.3 and 2.4, figure 2).

    conv: what a layer of this stream sees. above: whether each block is also given the other stream's block.
    """

    def __init__(
        self, conv: Conv, *, width: int, stages: int, blocks: int, dropout: float, classes: int, above: bool
    ) -> None:
        super().__init__()

        def stage(sides: int) -> nn.ModuleList:
            return nn.ModuleList(Block(conv, width, sides, dropout, classes) for _ in range(blocks))

        self.down = nn.ModuleList(stage(int(above)) for _ in range(stages))
        self.halve = nn.ModuleList(conv(width, width, stride=2) for _ in range(stages - 1))
        self.up = nn.ModuleList(stage(int(above) + 1) for _ in range(stages))
        self.enlarge = nn.ModuleList(Enlarge(width) for _ in range(stages - 1))

    def forward(self, x: Tensor, above: Sequence[Tensor] | None, labels: Labels) -> list[Tensor]:
        """What each block gives, in turn, `(N, F, H / f, W / f)`. x: `(N, F, H, W)`.

        above: what the other stream gave. On the way up, a block also sees its mirror image on the way down.
        """
        outputs: list[Tensor] = []
        shortcuts: list[Tensor] = []

        def run(block: nn.Module, x: Tensor, *shortcut: Tensor) -> Tensor:
            sides = shortcut if above is None else (above[len(outputs)], *shortcut)
            outputs.append(block(x, sides, labels))
            return outputs[-1]

        for stage, blocks in enumerate(self.down):
            x = self.halve[stage - 1](x) if stage else x
            for block in blocks:
                x = run(block, x)
                shortcuts.append(x)
        for stage, blocks in reversed(list(enumerate(self.up))):
            for block in blocks:
                x = run(block, x, shortcuts.pop())
            x = self.enlarge[stage - 1](x, shortcuts[-1].shape[2:]) if stage else x
        return outputs


class Block(nn.Module):
    """x + a * sigmoid(b), with a and b from two convolutions; the class is a bias of a and b (section 3, conditional).

    sides: how many more maps the first convolution is given, each through a 1x1 layer. `(N, F, H, W)`.
    """

    def __init__(self, conv: Conv, width: int, sides: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.enter = conv(2 * width, width)
        self.sides = nn.ModuleList(nn.Conv2d(2 * width, width, 1, bias=False) for _ in range(sides))
        self.dropout = nn.Dropout(dropout)
        self.leave = conv(2 * width, 2 * width)
        self.label = nn.Embedding(classes, 2 * width) if classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)

    def forward(self, x: Tensor, sides: Sequence[Tensor], labels: Labels) -> Tensor:
        h = self.enter(concat_elu(x))  # (N, 2F, H, W) -> (N, F, H, W)
        for layer, side in zip(self.sides, sides):
            h = h + layer(concat_elu(side))
        h = self.leave(self.dropout(concat_elu(h)))  # (N, 2F, H, W)
        if self.label is not None:
            h = h + self.label(labels)[:, :, None, None]
        return x + F.glu(h, 1)


class Enlarge(nn.Module):
    """Twice as high and wide, by a 2x2 transposed convolution; of an odd size, the last row or column is cut off."""

    def __init__(self, width: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(width, width, 2, 2).uniform_(-bound, bound))  # (in, out, rows, columns)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, 2)[:, :, : size[0], : size[1]]


def left_conv(inputs: int, outputs: int, stride: int = 1) -> MaskedConv:
    """2x2: the pixel itself, the one to its left, and the two above them. No channel is masked: a pixel is one unit."""
    pixels = (torch.zeros(features, dtype=torch.int64) for features in (inputs, outputs))
    return MaskedConv(*pixels, above=1, left=1, stride=stride)
