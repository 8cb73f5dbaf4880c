"""Images for tests of what is made of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from zoo_core.images import ImageSpec

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17, classes=10)
BYTES = ImageSpec(channels=1, height=5, width=4)
COLOUR = ImageSpec(channels=3, height=5, width=4)


def some(images: ImageSpec, n: int = 12) -> torch.Tensor:
    """Random images of every level."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(images.levels, (n, *images.shape), generator=generator).to(torch.uint8)


def last(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.permute(0, 2, 3, 1).numpy()
