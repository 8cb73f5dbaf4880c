"""Differentiable augmentation: the discriminator sees real and generated images through the same random changes.

Zhao, Liu, Lin, Zhu, Han, "Differentiable Augmentation for Data-Efficient GAN Training", 2020,
https://arxiv.org/abs/2006.10738, section 3: wherever D(v) stands in a loss, D(T(v)) takes its place, for x and
for G(z). Few training images can then be learned by heart less easily, and the generator, through which the gradient
passes T, is not led to make changed images. T is one of, or several in this order,

    brightness    v + s (u - 1/2)                                pixels in [-1, 1]
    saturation    (v - m) (1 + s (2u - 1)) + m                   m: the mean over channels, of each pixel
    contrast      (v - m) (1 + s (u - 1/2)) + m                  m: the mean over the image
    translation   by up to s/8 of the image, zeros behind it     whole pixels, each direction by itself
    cutout        a rectangle of s/2 of the image set to zero    its centre anywhere

with u ~ U[0, 1), of each image and each change its own, and the strength s (the paper's is 1). u comes from the
training step, so T is a function of the batch. What is small beside a pixel vanishes: images of two pixels are not
translated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NUMBERS = 7  # of u that an image needs: brightness, saturation, contrast, translation (2), cutout (2)


def augmented(v: Tensor, u: Tensor, names: Sequence[str], strength: float) -> Tensor:
    """T(v), `(N, C, H, W)`. u: uniform in [0, 1), `(N, NUMBERS)`. names: which changes, applied in the order above."""
    for name, (change, columns) in CHANGES.items():
        if name in names:
            v = change(v, u[:, columns].to(v.dtype), strength)
    return v


def brightness(v: Tensor, u: Tensor, strength: float) -> Tensor:
    return v + strength * (u.view(-1, 1, 1, 1) - 0.5)


def saturation(v: Tensor, u: Tensor, strength: float) -> Tensor:
    mean = v.mean(1, keepdim=True)
    return mean + (v - mean) * (1 + strength * (2 * u.view(-1, 1, 1, 1) - 1))


def contrast(v: Tensor, u: Tensor, strength: float) -> Tensor:
    mean = v.mean((1, 2, 3), keepdim=True)
    return mean + (v - mean) * (1 + strength * (u.view(-1, 1, 1, 1) - 0.5))


def translation(v: Tensor, u: Tensor, strength: float) -> Tensor:
    for axis in (2, 3):
        size = v.shape[axis]
        most = int(size * strength / 8 + 0.5)
        shift = (u[:, axis - 2] * (2 * most + 1)).floor().long() - most  # (N,), in -most .. most
        source = torch.arange(size, device=v.device) - shift.unsqueeze(1)  # (N, size)
        inside = ((source >= 0) & (source < size)).to(v.dtype)
        view = (-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size)
        v = v.gather(axis, source.clamp(0, size - 1).view(view).expand_as(v)) * inside.view(view)
    return v


def cutout(v: Tensor, u: Tensor, strength: float) -> Tensor:
    inside = torch.ones((), dtype=torch.bool, device=v.device)
    for axis in (2, 3):
        size = v.shape[axis]
        side = int(size * strength / 2 + 0.5)
        start = (u[:, axis - 2] * (size + 1 - side % 2)).floor().long() - side // 2  # (N,)
        place = torch.arange(size, device=v.device) - start.unsqueeze(1)  # (N, size)
        inside = inside & ((place >= 0) & (place < side)).view((-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size))
    return v * (~inside).to(v.dtype)


CHANGES: dict[str, tuple[Callable[[Tensor, Tensor, float], Tensor], slice]] = {
    "brightness": (brightness, slice(0, 1)),
    "saturation": (saturation, slice(1, 2)),
    "contrast": (contrast, slice(2, 3)),
    "translation": (translation, slice(3, 5)),
    "cutout": (cutout, slice(5, 7)),
}
