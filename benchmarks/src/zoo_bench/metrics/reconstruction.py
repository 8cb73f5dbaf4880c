"""How far images are from what they should be: MSE, PSNR and SSIM of pairs, on integer images scaled to [0, 1].

Each takes x, y uint8 `(N, C, H, W)` in `0 .. levels-1` and returns float64 `(N,)`, one number a pair; the mean over
images is the caller's. LPIPS is in `lpips.py`, because it needs weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import check
from zoo_core.specs import ImageSpec

SIGMA = 1.5  # of SSIM's window, pixels
ROWS = 512  # images of one block


def mse(x: Tensor, y: Tensor, images: ImageSpec) -> Tensor:
    """The mean over (sub)pixels of (x - y)^2 / (levels - 1)^2: between 0 and 1."""
    _check(x, y, images)
    parts = [(a - b).square().flatten(1).mean(1) for a, b in _scaled(x, y, images)]
    return torch.cat(parts)


def psnr(x: Tensor, y: Tensor, images: ImageSpec) -> Tensor:
    """Peak signal-to-noise ratio in dB, -10 log10 mse; infinite for equal images, so say how many are."""
    return -10 * mse(x, y, images).log10()


def window(images: ImageSpec) -> int | None:
    """The side of SSIM's window: 11; 7 where 11 is more than half the image; None where 7 is too (8x8: no SSIM)."""
    half = min(images.height, images.width) // 2
    return next((side for side in (11, 7) if side <= half), None)


def ssim(x: Tensor, y: Tensor, images: ImageSpec) -> Tensor | None:
    """The mean structural similarity, at most 1; None where images are too small for any window.

    SSIM = (2 mu_x mu_y + C1)(2 s_xy + C2) / ((mu_x^2 + mu_y^2 + C1)(s_x^2 + s_y^2 + C2)), C1 = 0.01^2, C2 = 0.03^2 at a
    range of 1, with Gaussian weights (sigma 1.5), averaged over all whole windows and over channels
    (Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004,
    https://doi.org/10.1109/TIP.2003.819861, eq. 13-17; the paper has grey images, a channel is one here).
    """
    _check(x, y, images)
    side = window(images)
    if side is None:
        return None
    at = torch.arange(side, dtype=torch.float64) - side // 2
    weights = (-at.square() / (2 * SIGMA**2)).exp()
    weights /= weights.sum()
    c1, c2 = 0.01**2, 0.03**2
    parts = []
    for a, b in _scaled(x, y, images):
        mean_a, mean_b = _local(a, weights), _local(b, weights)
        var_a, var_b = _local(a * a, weights) - mean_a**2, _local(b * b, weights) - mean_b**2
        cov = _local(a * b, weights) - mean_a * mean_b
        alike = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
        parts.append((alike / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).flatten(1).mean(1))
    return torch.cat(parts)


def _local(v: Tensor, weights: Tensor) -> Tensor:
    """Weighted means over all whole windows: `(n, C, H, W)` -> `(n, C, H - side + 1, W - side + 1)`."""
    side = len(weights)
    return v.unfold(2, side, 1).matmul(weights).unfold(3, side, 1).matmul(weights)


def _scaled(x: Tensor, y: Tensor, images: ImageSpec) -> Iterator[tuple[Tensor, Tensor]]:
    top = images.levels - 1
    return ((a.double() / top, b.double() / top) for a, b in zip(x.split(ROWS), y.split(ROWS)))


def _check(x: Tensor, y: Tensor, images: ImageSpec) -> None:
    check(x, images)
    check(y, images)
    if len(x) != len(y) or len(x) == 0:
        raise ZooError(f"expected pairs of images, at least 1, got {len(x)} and {len(y)}")
