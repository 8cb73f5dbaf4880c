"""Work in pinned chunks: chunk c has a generator seeded from (seed, c), and image i of it has noise of its own.

So the same seed gives the same images and the same noise however many processes share the chunks, and the first of many
images are those that a smaller number would be: for n up to `CHUNK` in one call; `sampling.draw` cuts larger numbers
into chunks of that size.
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


def per_image(n: int, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """The first `n` rows of `draw(rows)`, which is asked for those of a whole chunk at least.

    For samplers: row i is the same for every n up to `CHUNK` in one call, and `sampling.draw` asks for no more with its
    default chunk. torch fills 400 numbers in another way than 800, and leaves the generator elsewhere for what is drawn
    next; a sampler whose every draw is of `CHUNK` images has the first k of n images equal to k images.
    """
    return draw(max(n, CHUNK))[:n]


def randn(n: int, *shape: int, **options: Any) -> torch.Tensor:
    """Standard normal noise of a sampler's images, `(n, *shape)`; options: generator, device, dtype."""
    return per_image(n, lambda rows: torch.randn(rows, *shape, **options))


def rand(n: int, *shape: int, **options: Any) -> torch.Tensor:
    """Uniform noise in [0, 1) of a sampler's images, `(n, *shape)`."""
    return per_image(n, lambda rows: torch.rand(rows, *shape, **options))


def conditions(rows: slice, device: torch.device, labels: Labels, text: Text) -> dict[str, Any]:
    """Keyword arguments for the images of one chunk: their labels and captions, as far as there are any."""
    given = {} if labels is None else {"labels": labels[rows].to(device)}
    return given if text is None else {**given, "text": text[rows]}
