"""Work in pinned chunks: chunk c has a generator seeded from (seed, c).

So the same seed gives the same images and the same noise however many processes share the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from zoo_core.images import Labels, Text
from zoo_core.step import seed_from

CHUNK = 100
Share = Callable[[int, Callable[[int], torch.Tensor]], list[torch.Tensor]]


def in_turn(count: int, compute: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
    """`compute(c)` for chunks `0 .. count-1`, one after another. A harness of many processes has its own `Share`."""
    return [compute(c) for c in range(count)]


def generator_of(chunk: int, seed: int, device: torch.device) -> torch.Generator:
    """The generator of one chunk's noise."""
    return torch.Generator(device).manual_seed(seed_from(seed, chunk))


def conditions(rows: slice, device: torch.device, labels: Labels, text: Text) -> dict[str, Any]:
    """Keyword arguments for the images of one chunk: their labels and captions, as far as there are any."""
    given = {} if labels is None else {"labels": labels[rows].to(device)}
    return given if text is None else {**given, "text": text[rows]}
