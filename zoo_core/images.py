"""Images are integers; this is the one place where they become something else.

Models receive and return `uint8` tensors `(N, C, H, W)` with values `0 .. levels-1`. The maps below are the only roads
to real numbers, so nobody can pass [-1, 1] where [0, 1] was meant, and the constant of dequantisation lives here alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.specs import ImageSpec as ImageSpec

Labels = Tensor | None  # int64 (N,): an image's class
Text = Sequence[str] | None  # N strings: an image's caption
Rng = torch.Generator | None  # where randomness comes from; None is torch's global generator


@dataclass(frozen=True)
class Batch:
    """Images with what belongs to them. `len(batch)`, `batch[a:b]`: everything is split along dimension 0.

    x: uint8 `(N, C, H, W)`. labels: int64 `(N,)`. text: N strings. extra: tensors of N rows that `train_step` attached.
    """

    x: Tensor
    labels: Tensor | None = None
    text: Sequence[str] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        parts = {"labels": self.labels, "text": self.text, **self.extra}
        for name, part in parts.items():
            if part is not None and len(part) != len(self.x):
                raise ZooError(f"Batch.{name}: expected {len(self.x)} rows, one for each image, got {len(part)}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(
            self.x[rows],
            None if self.labels is None else self.labels[rows],
            None if self.text is None else self.text[rows],
            {name: value[rows] for name, value in self.extra.items()},
        )

    def with_(self, **extra: Tensor) -> Batch:
        """A copy that also carries `extra`: noise, negatives; they travel with their images through micro-batches."""
        return replace(self, extra={**self.extra, **extra})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""

        def move(value: Tensor) -> Tensor:
            return value.to(device, non_blocking=non_blocking)

        labels = None if self.labels is None else move(self.labels)
        return Batch(move(self.x), labels, self.text, {name: move(value) for name, value in self.extra.items()})

    def split(self, size: int | None) -> Iterator[Batch]:
        """Consecutive parts of at most `size` images; the whole batch where `size` is None."""
        size = size or len(self) or 1
        for start in range(0, len(self), size):
            yield self if size >= len(self) else self[start : start + size]


def check(x: Tensor, images: ImageSpec) -> Tensor:
    """`x` itself, if it is what `images` describes: uint8 `(N, C, H, W)` in `0 .. levels-1`; else `ZooError`."""
    if not isinstance(x, Tensor):
        raise ZooError(f"expected a uint8 tensor (N, {', '.join(map(str, images.shape))}), got {type(x).__name__}")
    if x.dtype != torch.uint8:
        floats = "; turn pixels in [0, 1] into integers with zoo_core.images.from_unit(v, images)"
        raise ZooError(
            f"expected uint8 pixels 0..{images.levels - 1}, got {x.dtype}{floats if x.is_floating_point() else ''}"
        )
    if x.dim() != 4 or tuple(x.shape[1:]) != images.shape:
        raise ZooError(f"expected images of shape (N, {', '.join(map(str, images.shape))}), got {tuple(x.shape)}")
    if images.levels < 256 and len(x) and int(x.max()) >= images.levels:
        raise ZooError(
            f"expected pixels 0..{images.levels - 1} ({images.levels} levels), got a pixel of {int(x.max())}; "
            "the model was made for images of other levels"
        )
    return x


def check_labels(labels: Labels, n: int, images: ImageSpec) -> Tensor:
    """`labels` itself, if it is int64 `(n,)` in `0 .. classes-1`; else `ZooError`."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or tuple(labels.shape) != (n,):
        given = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise ZooError(f"labels: expected int64 ({n},), one for each image, got {given}")
    strangers = labels[(labels < 0) | (labels >= images.classes)]
    if len(strangers):
        raise ZooError(f"labels: expected classes 0..{images.classes - 1}, got {int(strangers[0])}")
    return labels


def to_unit(x: Tensor, images: ImageSpec) -> Tensor:
    """Integers `0 .. K-1` to [0, 1]: `x / (K-1)`."""
    return x.to(torch.get_default_dtype()) / (images.levels - 1)


def from_unit(v: Tensor, images: ImageSpec) -> Tensor:
    """[0, 1] to the nearest of `0 .. K-1`, uint8; values outside are clamped."""
    return (v * (images.levels - 1)).round().clamp(0, images.levels - 1).to(torch.uint8)


def to_signed(x: Tensor, images: ImageSpec) -> Tensor:
    """Integers `0 .. K-1` to [-1, 1]."""
    return to_unit(x, images) * 2 - 1


def from_signed(v: Tensor, images: ImageSpec) -> Tensor:
    """[-1, 1] to the nearest of `0 .. K-1`, uint8; values outside are clamped."""
    return from_unit((v + 1) / 2, images)


def dequantise(
    x: Tensor, images: ImageSpec, generator: torch.Generator | None = None, *, u: Tensor | None = None
) -> tuple[Tensor, float]:
    """Uniform dequantisation: `v = (x + u) / K` with `u ~ U[0, 1)`, and the log volume of a pixel's cell, `-D ln K`.

    For a density p on R^D, `log P(x) = log of the integral of p over x's cell >= E_u[log p(v)] - D ln K` by Jensen's
    inequality (Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016,
    https://arxiv.org/abs/1511.01844, section 3.1).

    x: uint8 `(N, C, H, W)`. u: the noise, `(N, C, H, W)`, where it was drawn before, as a training step's is, or has
    another law than the uniform. Returns v, `(N, C, H, W)` in [0, 1), and the constant in nats per image.
    """
    u = torch.rand(x.shape, generator=generator, device=x.device) if u is None else u
    v = (x + u) / images.levels
    # Rounding may carry v to its cell's upper edge, which belongs to the next cell: the number below is still inside.
    edge = torch.nextafter((x.to(v.dtype) + 1) / images.levels, torch.zeros_like(v))
    return torch.minimum(v, edge), -images.dims * math.log(images.levels)


def quantise(v: Tensor, images: ImageSpec) -> Tensor:
    """The integer whose cell `[x/K, (x+1)/K)` holds v; the first and the last cell reach to -inf and +inf. uint8."""
    return (v * images.levels).floor().clamp(0, images.levels - 1).to(torch.uint8)
