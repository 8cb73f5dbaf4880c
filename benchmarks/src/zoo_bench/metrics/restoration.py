"""Restoration: how near a model's guesses come to images of which it saw a part, or that it encoded and decoded.

    restore_half     the lower half of the rows is unknown
    restore_double   every other row and column is known: twice the resolution in both directions
    restore_noise    a pinned random half of the pixels is unknown

`complete(x, mask)` draws the unknown pixels given the known ones; models without it have no such entries. `reconstruct`
does the same for `model.reconstruct(x)`. Errors are those of `reconstruction.py`, averaged over images; a completion is
a draw, not a best guess, so a model that knows the truth does not reach an error of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.features import lpips, weightfiles
from zoo_bench.metrics import reconstruction
from zoo_bench.metrics.measured import Measured
from zoo_core.chunks import conditions, generator_of
from zoo_core.likelihood import evaluating
from zoo_core.model import HasComplete, HasReconstruct

Entries = list[Metric]


def half(measured: Measured) -> Entries:
    """Lower halves from upper ones."""
    mask = torch.ones(measured.scored.images.shape, dtype=torch.bool)
    mask[:, measured.scored.images.height // 2 :] = False
    return _completed(measured, "restore_half", mask)


def double(measured: Measured) -> Entries:
    """Twice the resolution."""
    mask = torch.zeros(measured.scored.images.shape, dtype=torch.bool)
    mask[:, ::2, ::2] = True
    return _completed(measured, "restore_double", mask)


def noise(measured: Measured) -> Entries:
    """Half the pixels, all channels of each."""
    images = measured.scored.images
    known = torch.rand(images.height, images.width, generator=torch.Generator().manual_seed(0)) < 0.5
    return _completed(measured, "restore_noise", known.expand(images.shape).clone())


def reconstruct(measured: Measured) -> Entries:
    """There and back again through the model's latent space."""
    model = measured.model
    if not isinstance(model, HasReconstruct):
        return []

    def there_and_back(x: Tensor, c: int) -> Tensor:
        start = c * measured.task.chunk
        return model.reconstruct(x, **_condition(measured, slice(start, start + len(x))))

    return _entries(measured, "reconstruct", there_and_back)


def reconstruct_lpips(measured: Measured) -> Entries:
    """LPIPS between images and their reconstructions, where its weights are (`lpips.py`)."""
    model = measured.model
    if model is None or not isinstance(model, HasReconstruct) or _too_small(measured):
        return []
    x, device, chunk = measured.batch.x, model.device, measured.task.chunk
    chunks = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
    with evaluating(model):
        parts = [model.reconstruct(x[rows].to(device), **_condition(measured, rows)).cpu() for rows in chunks]
    return [_lpips(measured, "reconstruct_lpips", x, torch.cat(parts), False)]


def _condition(measured: Measured, rows: slice) -> dict[str, Any]:
    """The labels or captions of some of the images, for a model that is told them."""
    model, batch = measured.model, measured.batch
    if model is None or model.conditioning == "none":
        return {}
    return conditions(rows, model.device, batch.labels, batch.text)


def lpips_pairs(measured: Measured) -> Entries:
    """LPIPS between one sample and the next: how different samples are, where its weights are (`lpips.py`)."""
    x = measured.samples
    if x is None or len(x) < 4 or _too_small(measured):
        return []
    half = len(x) // 2
    return [_lpips(measured, "lpips_pairs", x[:half], x[half : 2 * half], True)]


def _too_small(measured: Measured) -> bool:
    images = measured.scored.images
    return min(images.height, images.width) < lpips.SMALLEST or images.channels not in (1, 3)


def _lpips(measured: Measured, name: str, x: Tensor, y: Tensor, higher: bool) -> Metric:
    network, hashes = lpips.load(weightfiles.folder())
    each = lpips.lpips(x, y, measured.scored.images, network)
    value, width = float(each.mean()), 1.96 * float(each.std()) / math.sqrt(len(each))
    interval = Interval.around(value, width, "normal, over pairs", len(each))
    identity = {**measured.key, **measured.split, "pairs": len(each), "weights": hashes}
    return metric(
        name, 1, value, unit="", relation=None, interval=interval, identity=identity, higher_is_better=higher, **hashes
    )


def _completed(measured: Measured, name: str, mask: Tensor) -> Entries:
    model = measured.model
    if not isinstance(model, HasComplete):
        return []

    def restore(x: Tensor, c: int) -> Tensor:
        generator = generator_of(c, measured.task.likelihood_seed, x.device)
        known = mask.to(x.device).expand(x.shape)
        return model.complete(x, known, generator=generator)

    return _entries(measured, name, restore)


def _entries(measured: Measured, name: str, restore: Callable[[Tensor, int], Tensor]) -> Entries:
    """`name_mse`, `name_psnr`, `name_ssim` of `restore(chunk of images, its number)`."""
    model, x, chunk = measured.model, measured.batch.x, measured.task.chunk
    assert model is not None
    with evaluating(model):
        parts = processes.share(
            math.ceil(len(x) / chunk), lambda c: restore(x[c * chunk : (c + 1) * chunk].to(model.device), c).cpu()
        )
    restored = torch.cat(parts)
    identity = {**measured.key, **measured.split, "seed": measured.task.likelihood_seed, "chunk": chunk}
    entries = []
    for kind, unit, higher in (("mse", "", False), ("psnr", "dB", True), ("ssim", "", True)):
        each = getattr(reconstruction, kind)(x, restored, measured.scored.images)
        if each is None:  # images too small for a window
            continue
        exact = int(each.isinf().sum())
        if kind == "psnr":  # infinite for an image without an error: counted as of the least error that there is
            images = measured.scored.images
            each = each.clamp(max=10 * math.log10(images.dims * (images.levels - 1) ** 2))
        value = float(each.mean())
        width = 1.96 * float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else None
        interval = None if width is None else Interval.around(value, width, "normal, over images", len(each))
        entries.append(
            metric(
                f"{name}_{kind}",
                1,
                value,
                unit=unit,
                relation=None,
                interval=interval,
                identity=identity,
                higher_is_better=higher,
                n=len(x),
                without_error=exact,
            )
        )
    return entries
