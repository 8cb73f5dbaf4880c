"""The networks of the very deep VAE: bottleneck residual blocks up, blocks with latents down, at several resolutions.

R. Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images", 2021,
https://arxiv.org/abs/2011.10650, figure 3 and section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoencoder.hierarchy import Layer, gaussian
from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec

Size = tuple[int, int]


def sizes(images: ImageSpec, pooling: Sequence[int]) -> list[Size]:
    """Height and width of the maps at each resolution, the image's first; `ZooError` if one would be pooled at 1×1."""
    found = [(images.height, images.width)]
    for factor in pooling:
        height, width = found[-1]
        if max(height, width) == 1:
            raise ZooError(
                f"images of {images.height}×{images.width} are too small for pooling by {tuple(pooling)}: "
                f"give at most {len(found) - 1} factors"
            )
        found.append((-(-height // factor), -(-width // factor)))
    return found


def pooled(h: Tensor, factor: int) -> Tensor:
    """Means of `factor` × `factor` places; where a side ends within them, of those that there are."""
    return F.avg_pool2d(h, factor, ceil_mode=True, count_include_pad=False)


class Bottleneck(nn.Sequential):
    """Four convolutions, each after a GELU: 1×1, two of 3×3 where the map has more than 2 places a side, 1×1.

    scale: factor on the last one's initial weights (section 3.1: 1 / sqrt(depth) in residual blocks, 0 in priors).
    """

    def __init__(self, inputs: int, middle: int, outputs: int, size: Size, scale: float = 1.0) -> None:
        kernel = 3 if max(size) > 2 else 1
        widths = (inputs, middle, middle, middle, outputs)
        layers: list[nn.Module] = []
        for (before, after), side in zip(itertools.pairwise(widths), (1, kernel, kernel, 1)):
            layers += [nn.GELU(), convolution(before, after, side)]
        super().__init__(*layers)
        with torch.no_grad():
            layers[-1].weight.mul_(scale)  # type: ignore[union-attr, operator]


class BottomUp(nn.Module):
    """Residual blocks from the image down to the smallest map. Returns the features at each resolution."""

    def __init__(
        self,
        channels: int,
        maps: Sequence[Size],
        pooling: Sequence[int],
        blocks: Sequence[int],
        width: int,
        middle: int,
    ) -> None:
        super().__init__()
        self.pooling = tuple(pooling)
        self.input = convolution(channels, width, 3)
        scale = (sum(blocks) + len(pooling)) ** -0.5
        self.stages = nn.ModuleList(
            nn.ModuleList(Bottleneck(width, middle, width, size, scale) for _ in range(count))
            for count, size in zip(blocks, maps)
        )
        self.between = nn.ModuleList(Bottleneck(width, middle, width, size, scale) for size in maps[:-1])

    def forward(self, v: Tensor) -> list[Tensor]:
        """v: `(N, C, H, W)`. Returns `(N, width, h, w)` for each resolution, the image's first."""
        h, found = self.input(v), []
        for i, stage in enumerate(self.stages):
            if i:
                h = pooled(h + self.between[i - 1](h), self.pooling[i - 1])
            for block in stage:  # type: ignore[union-attr]
                h = h + block(h)
            found.append(h)
        return found


class TopDownBlock(nn.Module):
    """One layer of latents: a prior and a posterior of z given the state h, and what z does to it (figure 3).

        (mu_p, log sigma_p^2, r) = prior(h);   (mu_q, log sigma_q^2) = posterior(h, features)
        h <- h + r + project(z);   h <- h + residual(h)

    depth: of all blocks; the initial weights of what is added to h are scaled by its inverse root.
    """

    def __init__(self, width: int, middle: int, latents: int, size: Size, depth: int) -> None:
        super().__init__()
        self.latents, self.size = latents, size
        self.prior = Bottleneck(width, middle, 2 * latents + width, size, 0.0)
        self.posterior = Bottleneck(2 * width, middle, 2 * latents, size)
        self.project = convolution(latents, width, 1)
        self.residual = Bottleneck(width, middle, width, size, depth**-0.5)
        with torch.no_grad():
            self.project.weight.mul_(depth**-0.5)

    @property
    def count(self) -> int:
        """How many latents an image has here."""
        return self.latents * self.size[0] * self.size[1]

    def infer(self, h: Tensor, features: Tensor, eps: Tensor) -> tuple[Tensor, Layer]:
        """h: `(N S, width, h, w)`. features: `(N, width, h, w)`. eps: `(N, S, count)`. The next h, and the latents."""
        n, s = eps.shape[:2]
        prior_mean, prior_log_var, rest = self._prior(h)
        features = features.unsqueeze(1).expand(-1, s, -1, -1, -1).flatten(0, 1)  # (N S, width, h, w)
        mean, log_var = gaussian(self.posterior(torch.cat([h, features], 1)), 1)
        noise = eps.reshape(n * s, self.latents, *self.size)
        z = mean + (0.5 * log_var).exp() * noise
        parts = (z, noise, mean, log_var, prior_mean, prior_log_var)
        return self._next(h, rest, z), Layer(*(part.reshape(n, s, -1) for part in parts))

    def generate(self, h: Tensor, u: Tensor) -> Tensor:
        """The next h for latents in the prior's coordinates, u: `(M, count)`."""
        mean, log_var, rest = self._prior(h)
        return self._next(h, rest, mean + (0.5 * log_var).exp() * u.reshape(-1, self.latents, *self.size))

    def _prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        numbers, rest = self.prior(h).split([2 * self.latents, h.shape[1]], 1)
        return *gaussian(numbers, 1), rest

    def _next(self, h: Tensor, rest: Tensor, z: Tensor) -> Tensor:
        h = h + rest + self.project(z.to(self.project.weight.dtype))
        return h + self.residual(h)  # type: ignore[no-any-return]


class TopDown(nn.Module):
    """Blocks from the smallest map up to the image; between resolutions the state is enlarged to nearest neighbours.

    starts: a learned map at each resolution, added to the enlarged state; at the top, the state that all begins with.
    """

    def __init__(
        self, maps: Sequence[Size], blocks: Sequence[int], width: int, middle: int, latents: int, outputs: int
    ) -> None:
        super().__init__()
        self.starts = nn.ParameterList(torch.zeros(1, width, *size) for size in reversed(maps))
        self.stages = nn.ModuleList(
            nn.ModuleList(TopDownBlock(width, middle, latents, size, sum(blocks)) for _ in range(count))
            for count, size in zip(reversed(blocks), reversed(maps))
        )
        self.out = convolution(width, outputs, 1)

    def blocks(self) -> list[TopDownBlock]:
        """From the top."""
        return [block for stage in self.stages for block in stage]  # type: ignore[union-attr, misc]

    def infer(self, features: Sequence[Tensor], eps: Tensor) -> tuple[Tensor, list[Layer]]:
        """features: those of `BottomUp`. eps: `(N, S, latent)`. Output `(N S, outputs, H, W)`, latents from the top."""
        n, s = eps.shape[:2]
        noise = iter(eps.split([block.count for block in self.blocks()], -1))
        h, layers = None, []
        for start, stage, seen in zip(self.starts, self.stages, reversed(features)):
            h = self._enlarged(h, start, n * s)
            for block in stage:  # type: ignore[union-attr]
                h, layer = block.infer(h, seen, next(noise))
                layers.append(layer)
        return self.out(h), layers

    def generate(self, u: Tensor) -> Tensor:
        """u: `(M, latent)`. Returns `(M, outputs, H, W)`."""
        parts = iter(u.split([block.count for block in self.blocks()], -1))
        h = None
        for start, stage in zip(self.starts, self.stages):
            h = self._enlarged(h, start, len(u))
            for block in stage:  # type: ignore[union-attr]
                h = block.generate(h, next(parts))
        return self.out(h)  # type: ignore[no-any-return]

    @staticmethod
    def _enlarged(h: Tensor | None, start: Tensor, rows: int) -> Tensor:
        if h is None:
            return start.repeat(rows, 1, 1, 1)
        return F.interpolate(h, size=start.shape[2:], mode="nearest") + start


def convolution(inputs: int, outputs: int, side: int) -> nn.Conv2d:
    """Its biases start at 0: those of all residual blocks would add up with the depth."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
