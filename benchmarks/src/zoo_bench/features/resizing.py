"""Images as the published networks take them: three channels, 0..255, resized in a way that has a name.

bicubic-S-bytes: cubic convolution with a = -1/2, widened where the image shrinks, rounded to bytes after each axis: as
Pillow resizes pictures (Keys, "Cubic convolution interpolation for digital image processing", 1981,
https://doi.org/10.1109/TASSP.1981.1163711). bicubic-S: the same without rounding and clamping.

Another resize is another metric (Parmar, Zhang, Zhu, "On aliased resizing and surprising subtleties in GAN evaluation",
2022, https://arxiv.org/abs/2104.11222), so the name is part of an extractor's identity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec


def colour(extractor: str, images: ImageSpec) -> None:
    """`ZooError` unless a network for colour pictures can take these images."""
    if images.channels not in (1, 3):
        raise ZooError(f"extractor {extractor!r} takes images of 1 or 3 channels, got {images}; 'pixels' takes all")


def to_bytes(x: Tensor, images: ImageSpec) -> Tensor:
    """Levels `0 .. K-1` scaled to 0..255 and grey repeated: uint8 `(N, 3, H, W)`."""
    if images.levels != 256:
        x = (x.float() * (255 / (images.levels - 1))).round().to(torch.uint8)
    return x.expand(-1, 3, -1, -1)


def bicubic(x: Tensor, size: int, *, rounded: bool) -> Tensor:
    """uint8 `(N, 3, H, W)` to float `(N, 3, size, size)`, around 0..255."""
    v, width = x.float(), (x.shape[2], size)
    for shape in (width, (size, size)):  # one axis after the other
        v = functional.interpolate(v, shape, mode="bicubic", antialias=True, align_corners=False)
        v = v.round().clamp(0, 255) if rounded else v
    return v


def normalise(v: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """0..255 to what the network was trained on: `(v / 255 - mean) / std` for each channel."""
    shift, scale = (torch.tensor(numbers, device=v.device)[:, None, None] for numbers in (mean, std))
    return (v / 255 - shift) / scale
