"""Squares of 2 x 2 pixels as channels, and the two ways to halve them: by checkerboard, and by rows.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803, section 3.6
and figure 3. With p0 p1 above p2 p3 in each square, a checkerboard mask of the image is {p0, p3} against {p1, p2}: once
squeezed, it too is a mask of channels. The mask of channels that follows, {p0, p1} against {p2, p3}, is another one, as
the paper asks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.specs import ImageSpec

Halves = tuple[Tensor, Tensor]


def squeeze(x: Tensor) -> Tensor:
    """`(N, C, H, W)` to `(N, 4 C, H/2, W/2)`: all channels of p0, then of p1, p2 and p3."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def unsqueeze(x: Tensor) -> Tensor:
    """The inverse: `(N, 4 C, H, W)` to `(N, C, 2 H, 2 W)`."""
    n, c, h, w = x.shape
    return x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


def checkerboards(x: Tensor) -> Halves:
    """`(N, C, H, W)` to p0 p3 and p1 p2, `(N, 2 C, H/2, W/2)` each."""
    p0, p1, p2, p3 = (x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    return torch.cat([p0, p3], 1), torch.cat([p1, p2], 1)


def uncheckerboards(even: Tensor, odd: Tensor) -> Tensor:
    """The inverse of `checkerboards`."""
    (p0, p3), (p1, p2) = even.chunk(2, 1), odd.chunk(2, 1)
    return unsqueeze(torch.cat([p0, p1, p2, p3], 1))


def rows(even: Tensor, odd: Tensor) -> Halves:
    """p0 p3 and p1 p2 regrouped as p0 p1 and p2 p3."""
    (p0, p3), (p1, p2) = even.chunk(2, 1), odd.chunk(2, 1)
    return torch.cat([p0, p1], 1), torch.cat([p2, p3], 1)


def unrows(upper: Tensor, lower: Tensor) -> Halves:
    """The inverse of `rows`."""
    (p0, p1), (p2, p3) = upper.chunk(2, 1), lower.chunk(2, 1)
    return torch.cat([p0, p3], 1), torch.cat([p1, p2], 1)


def checkerboard_mask(height: int, width: int, odd: bool = False) -> Tensor:
    """1 where the row's number plus the column's is even (odd: is odd), 0 elsewhere; `(1, 1, H, W)`."""
    places = torch.arange(height).unsqueeze(1) + torch.arange(width)
    return (places % 2 == int(odd)).to(torch.get_default_dtype()).view(1, 1, height, width)


def most_squeezes(images: ImageSpec, places: int = 1) -> int:
    """How often both sides can be halved so that at least `places` pixels are left."""
    height, width, count = images.height, images.width, 0
    while height % 2 == width % 2 == 0 and height * width // 4 >= places:
        height, width, count = height // 2, width // 2, count + 1
    return count
