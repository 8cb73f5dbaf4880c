"""Discrete codes: how many are in use, and how many bits a prior over them needs for one.

For models whose `encode` gives images of codes: `code_images` says of which size and how many codes there are;
`log_prior(codes)` is the exact log probability that a second stage gives them. Both depend on what the codes are: read
them beside the reconstruction error, which a single code for everything would ruin.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.metrics.measured import Measured
from zoo_core.images import Labels
from zoo_core.likelihood import evaluating
from zoo_core.specs import ImageSpec

Entries = list[Metric]


@runtime_checkable
class HasCodeImages(Protocol):
    """Images as small images of discrete codes."""

    code_images: ImageSpec

    def encode(self, x: Tensor) -> Tensor:
        """uint8 `(N, 1, h, w)`, 0 to `code_images.levels - 1`."""


@runtime_checkable
class HasPrior(HasCodeImages, Protocol):
    """A distribution of code images."""

    def log_prior(self, codes: Tensor, labels: Labels = None) -> Tensor:
        """Exact log P of code images. nats, `(N,)`."""


def code_perplexity(measured: Measured) -> Entries:
    """exp of the entropy of how often each code is used: as many codes, used alike, would be as varied."""
    model = measured.model
    if not isinstance(model, HasCodeImages):
        return []
    images = model.code_images
    count = torch.bincount(_codes(measured, model).flatten().long(), minlength=images.levels).double()
    entropy = float(torch.special.entr(count / count.sum()).sum())
    return [
        metric(
            "code_perplexity",
            1,
            math.exp(entropy),
            unit="codes",
            relation=None,
            interval=None,
            identity=_identity(measured, images),
            higher_is_better=True,
            codes=images.levels,
            used=int((count > 0).sum()),
        )
    ]


def bits_per_code(measured: Measured) -> Entries:
    """-log2 P(codes) of the prior, per code, averaged over the images."""
    model = measured.model
    if not isinstance(model, HasPrior):
        return []
    images, codes = model.code_images, _codes(measured, model)
    labels = measured.batch.labels if measured.conditioning == "class" else None
    parts, chunk = [], measured.task.chunk
    with evaluating(model):  # type: ignore[arg-type]
        for start in range(0, len(codes), chunk):
            rows = slice(start, start + chunk)
            given = None if labels is None else labels[rows].to(measured.device)
            parts.append(model.log_prior(codes[rows].to(measured.device), labels=given).double().cpu())
    bits = -torch.cat(parts) / (images.dims * math.log(2))
    width = 1.96 * float(bits.std()) / math.sqrt(len(bits))
    return [
        metric(
            "bits_per_code",
            1,
            float(bits.mean()),
            unit="bits/code",
            relation="=",
            interval=Interval.around(float(bits.mean()), width, "normal, over images", len(bits)),
            identity=_identity(measured, images),
            higher_is_better=False,
            codes=images.levels,
        )
    ]


def _codes(measured: Measured, model: HasCodeImages) -> Tensor:
    """Those of the scored images, on the CPU."""
    x, chunk = measured.batch.x, measured.task.chunk
    with evaluating(model):  # type: ignore[arg-type]
        parts = processes.share(
            math.ceil(len(x) / chunk), lambda c: model.encode(x[c * chunk : (c + 1) * chunk].to(measured.device)).cpu()
        )
    return torch.cat(parts)


def _identity(measured: Measured, images: ImageSpec) -> dict[str, object]:
    return {**measured.key, **measured.split, "codes": images.levels, "code_shape": list(images.shape)}
