"""PixelCNN++: whole pixels by mixtures of discretised logistics, features at several resolutions, shortcuts.

Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and
Other Modifications", 2017, https://arxiv.org/abs/1701.05517, sections 2.1 to 2.5.

    p(x) = prod_i p(x_i | x_<i),    p(x_i) = p(R) p(G | R) p(B | R, G) under a mixture of logistics      (eqs. 1 to 3)

A pixel with all its channels is one position of the network. One stream of features sees whole rows, those above; the
other sees these too, by way of the first, and the pixels to the left. Both go to lower resolutions and back.

Why that is causal. At resolution 1/f, f = 2^s, the unit (i', j') sees pixels before (f i', f j') in raster order, in
the first stream only rows above f i'. At f = 1 the first layers make it so. A strided convolution puts the units
(2i'-1 .. 2i', 2j'-1 .. 2j') into (i', j'), and (2i', 2j') is the last of them in raster order. A transposed one hands
(i', j') to the units (2i' .. 2i'+1, 2j' .. 2j'+1), and (2i', 2j') is the first of them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Generator, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive import pixelcnnpp_sampling
from zoo_autoregressive.autoregressive import to_images, to_sequence
from zoo_autoregressive.causal import MaskedConv, RowConv, shifted_down
from zoo_autoregressive.concat_elu import concat_elu
from zoo_autoregressive.configs.pixelcnnpp import PixelCNNPPConfig
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.mixture_levels import ChannelByChannel
from zoo_core import ImageSpec, ZooError
from zoo_core.images import Labels, to_signed
from zoo_core.pixels import DiscretizedLogisticMixture, from_parameters, parameters


class PixelCNNPP(Convolutional):
    """F = `width` features in either stream, M = `components`.

    Parameters don't depend on the image's size but in two things: an image of one row has no stream of rows above, and
    no stage is made that would see nothing of the image.
    """

    config: PixelCNNPPConfig

    def __init__(self, images: ImageSpec, config: PixelCNNPPConfig) -> None:
        super().__init__(images, config, weight_decay=config.weight_decay, conditional=config.conditional)
        inputs, width = images.channels + 1, config.width
        rows = images.height > 1
        stream = functools.partial(
            Stream,
            width=width,
            stages=min(config.stages, stages_of(images)),
            blocks=config.blocks,
            dropout=config.dropout,
            classes=images.classes if config.conditional else 0,
        )
        self.first_above = RowConv(inputs, width, above=1, side=1) if rows else None
        self.above = stream(functools.partial(RowConv, above=1, side=1), above=False) if rows else None
        pixel, feature = torch.zeros(inputs, dtype=torch.int64), torch.zeros(width, dtype=torch.int64)
        self.first_left = MaskedConv(pixel, feature, above=1, left=1, right=1, own=False)
        self.left = stream(left_conv, above=rows)
        self.head = nn.Conv2d(width, parameters("logistic", images, config.components), 1)
        self._start_uniform()

    def _start_uniform(self) -> None:
        """All levels about equally likely: components side by side, each as wide as its share of [-1, 1]."""
        channels, components = self.images.channels, self.config.components
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.zero_()
            first = components if components > 1 else 0  # after the mixture's logits
            means, log_scales = self.head.bias[first:].split(channels * components)[:2]  # (C M,)
            means.view(channels, components).copy_((2 * torch.arange(components) + 1) / components - 1)
            log_scales.fill_(-math.log(components))

    def resized(self, height: int, width: int) -> Self:
        if height > 1 and self.above is None:
            raise ZooError(
                f"resized: expected 1 row, got {height}; this model was made for images of one row, so it has no "
                "weights for rows above"
            )
        return super().resized(height, width)

    def mixture(self, s: Tensor, labels: Labels = None) -> DiscretizedLogisticMixture:
        """The distribution of each pixel given those before it. s: uint8 `(N, D)` in sampling order."""
        x = self.to_maps(s)  # (N, C + 1, H, W)
        above = None
        if self.above is not None and self.first_above is not None:
            above = self.above(self.first_above(shifted_down(x)), None, labels)
        y = self.left(self.first_left(x), above, labels)[-1]  # (N, F, H, W)
        return self.to_mixture(self.head(F.elu(y)))

    def to_mixture(self, y: Tensor) -> DiscretizedLogisticMixture:
        """The head's outputs `(N, P, H, W)` as a distribution."""
        mixture = from_parameters("logistic", y, self.images, self.config.components)
        assert isinstance(mixture, DiscretizedLogisticMixture)
        return mixture

    def log_pixels(self, s: Tensor, labels: Labels = None) -> Tensor:
        return to_sequence(self.mixture(s, labels).log_prob(to_images(s, self.images)))

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        """log p(x_d = k | x_<d) of all levels, `(N, D, K)`, for binary pixels one logit, `(N, D, 1)`.

        For the definition of sampling, and to look at: likelihoods need only the level that is there (`log_pixels`).
        """
        channels = ChannelByChannel(self.mixture(s, labels))
        logits = []
        for x in to_images(s, self.images).unbind(1):  # (N, H, W)
            logits.append(channels.logits())
            channels.put(x)
        return torch.stack(logits, 3).flatten(1, 3)  # (N, H, W, C, K) -> (N, D, K)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at the cost of one pass; see `pixelcnnpp_sampling.py`."""
        return pixelcnnpp_sampling.pixel_by_pixel(self, n, labels)

    def to_maps(self, s: Tensor) -> Tensor:
        """Pixels in [-1, 1] and a constant 1, which tells grey from the outside. `(N, D)` -> `(N, C + 1, H, W)`."""
        channels, height, width = self.images.shape
        v = to_signed(s, self.images).to(self.head.weight.dtype).view(len(s), height, width, channels)
        return F.pad(v, (0, 1), value=1.0).permute(0, 3, 1, 2)


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


def stages_of(images: ImageSpec) -> int:
    """How many stages have more than one unit, and at least one: a lone unit comes before all pixels."""
    size = max(images.height, images.width)
    return next(stages for stages in itertools.count(1) if 2**stages >= size)
