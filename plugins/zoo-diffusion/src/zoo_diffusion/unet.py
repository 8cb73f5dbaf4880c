"""A small U-Net that sees a noisy image and how noisy it is.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597, with residual blocks, group normalisation, a sinusoidal embedding of the time and
self-attention as in Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020,
https://arxiv.org/abs/2006.11239, appendix B. Smaller than there: one skip connection for each residual block, none for
the steps between resolutions, and attention only at the lowest of them.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.specs import ImageSpec
from zoo_diffusion.configs import UNetConfig

GROUP = 8  # channels that are normalised together, at least: on one or two pixels fewer would leave nothing of them
GROUPS = 32  # at most, as in the paper


class UNet(nn.Module):
    """real images `(N, C, H, W)`, times `(N,)` and, where `classes` > 0, labels `(N,)` -> `(N, C, H, W)`.

    Any height and width: sides are halved rounding up, and later enlarged to what they were. Times are told apart by
    sines whose periods are 2 pi to 60,000, so they are best spread over 0 to 1000. The last convolution starts at zero.
    """

    def __init__(self, images: ImageSpec, config: UNetConfig, *, classes: int = 0) -> None:
        super().__init__()
        self.sizes = resolutions(images.height, images.width, len(config.multipliers))
        widths = [config.width * multiplier for multiplier in config.multipliers[: len(self.sizes)]]
        embedding, lowest = 4 * config.width, widths[-1]

        def block(before: int, after: int) -> ResidualBlock:
            return ResidualBlock(before, after, embedding, config.dropout)

        self.time = nn.Sequential(
            Sinusoids(config.width), nn.Linear(config.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.label = nn.Embedding(classes, embedding) if classes else None
        self.first = nn.Conv2d(images.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.ModuleList(block(w, w) for _ in range(config.blocks)) for w in widths)
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.before = block(lowest, lowest)
        attends = config.attention and math.prod(self.sizes[-1]) > 1
        self.attention = Attention(lowest) if attends else nn.Identity()
        self.after = block(lowest, lowest)
        self.up = nn.ModuleList(nn.ModuleList(block(2 * w, w) for _ in range(config.blocks)) for w in widths)
        self.enlarge = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.last = nn.Sequential(normalisation(widths[0]), nn.SiLU(), zero(conv3(widths[0], images.channels)))

    def forward(self, v: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        embedding = self.time(t)  # (N,) -> (N, 4 width)
        if self.label is not None:
            embedding = embedding + self.label(labels)
        embedding = F.silu(embedding)
        h = self.first(v).contiguous(memory_format=torch.channels_last)  # nearly twice as fast on a CPU
        skips = []
        for level, blocks in enumerate(self.down):
            if level > 0:
                h = self.halve[level - 1](h)
            for block in blocks:
                h = block(h, embedding)
                skips.append(h)
        h = self.after(self.attention(self.before(h, embedding)), embedding)
        for level, blocks in reversed(list(enumerate(self.up))):
            for block in blocks:
                h = block(torch.cat([h, skips.pop()], 1), embedding)
            if level > 0:
                h = self.enlarge[level - 1](F.interpolate(h, size=self.sizes[level - 1], mode="nearest"))
        return self.last(h)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + embedding))); the second convolution starts at zero."""

    def __init__(self, before: int, after: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(normalisation(before), nn.SiLU(), conv3(before, after))
        self.embedding = nn.Linear(embedding, after)
        self.leave = nn.Sequential(normalisation(after), nn.SiLU(), nn.Dropout(dropout), zero(conv3(after, after)))
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.enter(x) + self.embedding(embedding)[:, :, None, None]  # (N, before, H, W) -> (N, after, H, W)
        return self.skip(x) + self.leave(h)


class Attention(nn.Module):
    """x + attention among all positions, with one head (Vaswani et al., "Attention Is All You Need", 2017, equation 1).

    https://arxiv.org/abs/1706.03762. Keys need no bias: it would add the same to all of a query's logits.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalisation(channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.leave = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query_key_value(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)  # (N, H W, C)
        logits = query @ key.transpose(1, 2) / math.sqrt(x.shape[1])  # (N, H W, H W)
        h = logits.softmax(-1) @ value
        return x + self.leave(h.transpose(1, 2).reshape(x.shape))


class Sinusoids(nn.Module):
    """sin(w_i t), cos(w_i t), w_i = 10000^(-2i / width) (Vaswani et al., section 3.5). `(N,)` -> `(N, width)`."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        frequencies = torch.pow(10000.0, -exponents).to(torch.get_default_dtype())
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t.to(self.frequencies.dtype).unsqueeze(1) * self.frequencies  # (N, width / 2)
        return torch.cat([angles.sin(), angles.cos()], 1)


def resolutions(height: int, width: int, most: int) -> list[tuple[int, int]]:
    """Heights and widths from full size down, at most `most`; each is half the one before, and none below 2 pixels."""
    sizes = [(height, width)]
    while len(sizes) < most and min(sizes[-1]) > 2:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def normalisation(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu, He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494)."""
    most = min(GROUPS, max(1, channels // GROUP))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


def conv3(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that starts by giving out zeros."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
