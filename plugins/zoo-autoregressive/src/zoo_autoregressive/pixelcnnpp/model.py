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
from collections.abc import Generator
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import to_images, to_sequence
from zoo_autoregressive.causal import MaskedConv, RowConv, shifted_down
from zoo_autoregressive.convolutional import Convolutional
from zoo_autoregressive.pixelcnnpp.config import PixelCNNPPConfig
from zoo_autoregressive.pixelcnnpp.mixture_levels import ChannelByChannel
from zoo_autoregressive.pixelcnnpp.network import Stream, left_conv
from zoo_autoregressive.pixelcnnpp.sampling import AboveStream, PixelStream
from zoo_autoregressive.streams import ConvStream, RowStream
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
        """All pixels at the cost of one pass; see `sampling.py`. Yields log probabilities of all levels, `(n, K)`."""
        channels, height, width = self.images.shape
        first = ConvStream(self.first_left, n, width)
        row = first.row[:, -width:]  # (n, W, C + 1)
        row[..., channels] = 1  # the constant input
        drawn = [slot[:, :channels, None, None] for slot in first.slots[0]]  # W of (n, C, 1, 1)
        left = PixelStream(self.left, n, width, labels)
        above = None
        if self.above is not None and self.first_above is not None:
            first_above = RowStream(self.first_above, n, width)
            above = AboveStream(self.above, n, width, labels)
        weight, bias = self.head.weight.flatten(1).t().contiguous(), self.head.bias  # (F, P)
        for i in range(height):
            first.next_row()
            if above is not None:
                above.next_row(i, first_above.next(row.transpose(1, 2) if i else torch.zeros_like(row).transpose(1, 2)))
            left.next_row(i, above)
            for j in range(width):
                y = left.at(i, j, first.at(j, 0))  # (n, F)
                params = torch.addmm(bias, F.elu(y), weight)
                pixel = ChannelByChannel(self.to_mixture(params[:, :, None, None]))
                for _ in range(channels):
                    level = yield pixel.logits().view(n, -1)
                    pixel.put(level.view(n, 1, 1))
                torch.stack(pixel.pixel, 1, out=drawn[j])

    def to_maps(self, s: Tensor) -> Tensor:
        """Pixels in [-1, 1] and a constant 1, which tells grey from the outside. `(N, D)` -> `(N, C + 1, H, W)`."""
        channels, height, width = self.images.shape
        v = to_signed(s, self.images).to(self.head.weight.dtype).view(len(s), height, width, channels)
        return F.pad(v, (0, 1), value=1.0).permute(0, 3, 1, 2)


def stages_of(images: ImageSpec) -> int:
    """How many stages have more than one unit, and at least one: a lone unit comes before all pixels."""
    size = max(images.height, images.width)
    return next(stages for stages in itertools.count(1) if 2**stages >= size)
