"""Draw many images, in pinned chunks (`chunks.py`). `zoo sample` writes them to files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo_core.chunks import CHUNK, Share, conditions, generator_of, in_turn
from zoo_core.files import atomic as atomic
from zoo_core.images import Labels, Text
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

    With the default chunk the first k of n images are those of a smaller k. labels: int64 `(n,)`. text: n strings.
    progress: called with the number of images just drawn. share: who computes which chunk. options: the model's own.
    """
    model.check_request(n, labels, text)

    def images(c: int) -> Tensor:
        rows = slice(c * chunk, min((c + 1) * chunk, n))
        given = options | conditions(rows, model.device, labels, text)
        x = model.sample(rows.stop - rows.start, generator=generator_of(c, seed, model.device), **given).cpu()
        progress(len(x))
        return x

    with evaluating(model):
        return torch.cat(share(math.ceil(n / chunk), images))
