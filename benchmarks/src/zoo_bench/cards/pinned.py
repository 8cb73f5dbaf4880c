"""Whether a card is of published weights.

A card knows its weights by the sha256 of their content (model, config, tensors), which equal trainings share; a
published tag pins the file, which also says how it was trained.
"""

from __future__ import annotations

import functools
from pathlib import Path

from zoo_bench.cards.types import Card
from zoo_core import pretrained
from zoo_core.errors import ZooError
from zoo_core.specs import ModelSpec, Pretrained


def is_of(card: Card, spec: ModelSpec, entry: Pretrained) -> bool:
    """Whether a card is of exactly these weights. Those on the Hub are known by their file's sha256: not fetched."""
    stated = card.model.weights
    return card.model.name == spec.name and stated is not None and is_pinned(stated.sha256, spec, entry)


def is_pinned(sha256: str, spec: ModelSpec, entry: Pretrained) -> bool:
    """Whether published weights are known by this sha256, be it of the file or of its content."""
    return sha256 == entry.sha256 or sha256 == _content(spec, entry)


def _content(spec: ModelSpec, entry: Pretrained) -> str | None:
    if entry.source.startswith("hf:"):
        return None
    try:
        folder = pretrained.packaged(spec, entry)
        return _of_folder(folder, (folder / "model.safetensors").stat().st_mtime_ns)
    except (ZooError, OSError):  # told where they are loaded
        return None


@functools.cache
def _of_folder(folder: Path, changed: int) -> str:
    """changed: when its tensors were, so that a folder that was written again is read again."""
    from zoo_core.weights import content_sha256

    return content_sha256(folder)
