"""Pixels as features: no network, so nothing to trust. What `fd_pixels` is made of, for any images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo_core.specs import ExtractorSpec, ImageSpec


def load(spec: ExtractorSpec, images: ImageSpec, device: torch.device | str) -> Callable[[Tensor], Tensor]:
    """uint8 `(N, C, H, W)` to pixels at [0, 1], `(N, C * H * W)`."""
    return lambda x: x.float().flatten(1) / (images.levels - 1)
