"""Images to features: batched, shared among processes, on any device, and remembered by content.

    features = extract("fashioncnn", x, images)        # Features(values (N, 64), logits (N, 10), identity)

An extractor is an `ExtractorSpec` whose target `(spec, images, device)` makes a function from uint8 `(n, C, H, W)` to
features `(n, d)`, or to features and logits. The features of N images are kept on disk under the sha256 of the pixels,
of what the images are, and of the extractor's identity, never under a name: changed images or weights are other
entries, and a file that is not what was written is computed anew. All global random states are left as they were found.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo_bench import processes
from zoo_bench.datasets import files
from zoo_bench.features import specs as extractor_specs
from zoo_bench.features.weightfiles import MissingWeights as MissingWeights
from zoo_bench.randomness import preserved
from zoo_core import registry
from zoo_core.chunks import Share, in_turn
from zoo_core.errors import WeightsError, ZooError
from zoo_core.files import atomic
from zoo_core.images import check
from zoo_core.precision import full_float32
from zoo_core.specs import ExtractorSpec, ImageSpec, load_target

Network = Callable[[Tensor], "Tensor | tuple[Tensor, Tensor]"]
_DEFAULT = Path("-")  # the cache's own folder
_FORMAT = 1  # of the files in the cache


@dataclass(frozen=True)
class Features:
    """What an extractor says of N images.

    values: float32 `(N, d)`; logits: float32 `(N, classes)` of a classifier, else None; both on the CPU.
    identity: extractor, sha256 of its weights, resize: part of the identity of every number made of them.
    """

    values: Tensor
    logits: Tensor | None
    identity: dict[str, Any]


def extract(
    name: str | ExtractorSpec,
    x: Tensor,
    images: ImageSpec,
    *,
    device: torch.device | str = "cpu",
    batch: int | None = None,
    progress: Callable[[int], Any] = lambda images: None,
    share: Share = in_turn,
    cache: Path | None = _DEFAULT,
) -> Features:
    """The features of uint8 images `(N, C, H, W)`.

    batch: images at a time (default: 250, or 32 where they are enlarged). progress: called with the number of images
    just done. share: who computes which batch; every process gets all features. cache: a folder, or None for none.
    `MissingWeights` where the extractor's weights are nowhere.
    """
    spec = registry.extractors.get(name) if isinstance(name, str) else name
    check(x, images)
    if not len(x):
        raise ZooError(f"extractor {spec.name!r}: expected at least one image, got none")
    size = batch or (250 if spec.resize == "none" else 32)
    if size < 1:
        raise ZooError(f"batch: expected at least 1, got {size}")
    identity = extractor_specs.identity(spec)
    entry = None
    if cache is not None:
        folder = files.cache() / "features" if cache == _DEFAULT else Path(cache)
        entry = folder / f"{key(x, images, identity)}.safetensors"
        packed = share(1, lambda _: _read(entry))[0]  # the first process looks, for all of them
        if len(packed) == len(x):
            progress(len(x))
            return _unpacked(packed, spec, identity)

    def compute(c: int) -> Tensor:
        part = x[c * size : (c + 1) * size]
        try:
            features = _run(spec, images, str(device), part)
        except WeightsError as error:  # must be the same error on every process, one without a batch too
            return _as_tensor(error)
        progress(len(part))
        return features

    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with preserved(), torch.no_grad(), exact, full_float32():
        parts = share(math.ceil(len(x) / size), compute)
    for part in parts:
        if part.dtype == torch.uint8:
            raise _as_error(part)
    packed = torch.cat(parts)  # (N, d + classes)
    if entry is not None and processes.is_main():
        _write(entry, packed)
    return _unpacked(packed, spec, identity)


def key(x: Tensor, images: ImageSpec, identity: dict[str, Any]) -> str:
    """The sha256 of all that features depend on."""
    pixels = hashlib.sha256(np.ascontiguousarray(x.cpu().numpy()).data).hexdigest()
    known = {"format": _FORMAT, "pixels": pixels, "n": len(x), "images": images.to_dict(), "identity": identity}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=2)
def network(spec: ExtractorSpec, images: ImageSpec, device: str) -> Network:
    """The extractor's function for such images; the last two stay in memory."""
    made: Network = load_target(spec.target, f"extractor {spec.name!r}")(spec, images, torch.device(device))
    return made


def _run(spec: ExtractorSpec, images: ImageSpec, device: str, x: Tensor) -> Tensor:
    """Features and logits of one batch side by side: float32 `(n, d + classes)` on the CPU."""
    found = network(spec, images, device)(x.to(device))
    parts = found if isinstance(found, tuple) else (found,)
    if spec.dims is not None and parts[0].shape[1] != spec.dims:
        raise ZooError(f"extractor {spec.name!r}: expected {spec.dims} features per image, got {parts[0].shape[1]}")
    packed = torch.cat([part.float() for part in parts], 1).cpu()
    if not bool(torch.isfinite(packed).all()):
        raise ZooError(f"extractor {spec.name!r} gave NaN or infinity; its weights or the device are broken")
    return packed


def _as_tensor(error: WeightsError) -> Tensor:
    missing = isinstance(error, MissingWeights)
    arguments = error.__reduce__()[1] if missing else [str(error)]
    return torch.tensor(list(json.dumps([missing, arguments]).encode()), dtype=torch.uint8)


def _as_error(part: Tensor) -> WeightsError:
    missing, arguments = json.loads(bytes(part.tolist()))
    return (MissingWeights if missing else WeightsError)(*arguments)


def _unpacked(packed: Tensor, spec: ExtractorSpec, identity: dict[str, Any]) -> Features:
    d = spec.dims or packed.shape[1]
    logits = packed[:, d:].contiguous() if packed.shape[1] > d else None
    return Features(packed[:, :d].contiguous(), logits, identity)


def _read(path: Path) -> Tensor:
    """What was written there; nothing, `(0,)`, where no file is or its content is not what it was."""
    nothing = torch.empty(0)
    try:
        with safe_open(path, framework="pt") as file:
            packed, notes = file.get_tensor("features"), file.metadata()
    except (OSError, SafetensorError):
        return nothing
    return packed if notes and notes.get("sha256") == _sha256(packed) else nothing


def _write(path: Path, packed: Tensor) -> None:
    """Keep features. A disk that is full or cannot be written is no reason to lose them."""
    try:
        with atomic(path) as temporary:
            save_file({"features": packed}, temporary, metadata={"sha256": _sha256(packed)})
    except (OSError, SafetensorError):
        return


def _sha256(packed: Tensor) -> str:
    return hashlib.sha256(packed.contiguous().numpy().data).hexdigest()
