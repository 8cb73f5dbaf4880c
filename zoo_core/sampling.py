"""Draw many images in pinned chunks (`chunks.py`), and show them as a grid. `zoo sample` writes them to files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core.chunks import CHUNK, Share, generator_of, in_turn
from zoo_core.errors import ZooError
from zoo_core.files import atomic as atomic
from zoo_core.images import ImageSpec, Labels, Text
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel

Progress = Callable[[int], Any]  # called with the number of images just drawn


def draw(
    model: GenerativeModel,
    n: int,
    *,
    seed: int = 0,
    labels: Labels = None,
    text: Text = None,
    chunk: int = CHUNK,
    progress: Progress = lambda images: None,
    share: Share = in_turn,
    **options: Any,
) -> Tensor:
    """`n` images of `model`, uint8 `(n, C, H, W)` on the CPU.

    labels: int64 `(n,)`. text: n strings. progress: called with the number of images just drawn. share: who computes
    which chunk. options: the model's own.
    """
    model.check_request(n, labels, text)

    def images(c: int) -> Tensor:
        rows = slice(c * chunk, min((c + 1) * chunk, n))
        given: dict[str, Any] = {} if labels is None else {"labels": labels[rows].to(model.device)}
        given |= {} if text is None else {"text": text[rows]}
        generator = generator_of(c, seed, model.device)
        x = model.sample(rows.stop - rows.start, generator=generator, **given, **options).cpu()
        progress(len(x))
        return x

    with evaluating(model):
        return torch.cat(share(math.ceil(n / chunk), images))


def grid(x: Tensor, images: ImageSpec, *, columns: int | None = None, cell: int = 32) -> Image.Image:
    """Images side by side, each enlarged by a whole factor to at least `cell` pixels, with a thin line between them."""
    if images.channels not in (1, 3):
        raise ZooError(f"a picture has 1 or 3 channels, these images have {images.channels}; write .npz instead")
    columns = columns or math.ceil(math.sqrt(len(x)))
    scale = max(1, math.ceil(cell / max(images.height, images.width)))
    pixels = (x.cpu().to(torch.float64) * (255 / (images.levels - 1))).round().to(torch.uint8).numpy()
    pixels = pixels.repeat(3 // images.channels, 1).repeat(scale, 2).repeat(scale, 3).transpose(0, 2, 3, 1)
    tiles = np.pad(pixels, ((0, -len(x) % columns), (1, 0), (1, 0), (0, 0)), constant_values=110)  # (N, H, W, 3)
    rows = [np.concatenate(row, axis=1) for row in tiles.reshape(-1, columns, *tiles.shape[1:])]
    return Image.fromarray(np.pad(np.concatenate(rows), ((0, 1), (0, 1), (0, 0)), constant_values=110))
