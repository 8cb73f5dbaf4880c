"""Real images to see beside the samples: the first of the split that a card was scored on, if they are at hand."""

from __future__ import annotations

import io
from pathlib import Path

from zoo_bench.cards.types import DataEntry
from zoo_bench.datasets import files
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation.pictures import GRID
from zoo_core import registry
from zoo_core.commands.sample_files import grid
from zoo_core.errors import ZooError


def grid_of(data: DataEntry, data_dir: str | Path | None = None) -> bytes | None:
    """A PNG of as many images as a grid of samples has; None where they are not here, or are not those of the card.

    Nothing is fetched: a page is made of what lies on this machine. A set that is not registered is not looked for.
    """
    expected = data.splits.get(data.split, data.sha256)  # of a subset, the split that it was chosen from
    try:
        pinned = registry.datasets.get(data.name).splits.get(data.split)
        if expected is None or pinned is None or pinned not in ("", expected):
            return None
        with files.nothing_fetched():
            found = datasets.load(data.name, data.split, data_dir)
        if found.sha256 != expected:
            return None
        picture = grid(found.pinned.x[:GRID], found.images)
    except (ZooError, OSError):
        return None
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
