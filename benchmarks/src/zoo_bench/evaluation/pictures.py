"""What lies beside a card: nats of each image, a grid of samples, their nearest training images, heat maps of toys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from zoo_bench.cards.types import NatsFile
from zoo_bench.features import weightfiles
from zoo_bench.metrics import heatmaps, quality
from zoo_bench.metrics.measured import Measured
from zoo_core import weights
from zoo_core.commands import sample_files
from zoo_core.files import atomic
from zoo_core.images import ImageSpec

GRID = 64  # samples in a grid


@dataclass(frozen=True)
class Panels:
    """heatmaps: of two-pixel images; neighbours: `quality.neighbour_panel`, if there is one."""

    heatmaps: Sequence[heatmaps.Panel]
    neighbours: Tensor | None


def panels(name: str, measured: Measured, data_dir: str | Path | None = None) -> Panels:
    """What can be shown of a model besides its samples. All processes share the work."""
    maps = heatmaps.panels(name, measured)
    with weightfiles.searching(data_dir):
        return Panels(maps, quality.neighbour_panel(measured))


def write(folder: Path, stem: str, panels: Panels, x: Tensor | None, images: ImageSpec) -> None:
    """`STEM.png`, `STEM.heatmap.png`, `STEM.neighbours.png`: those that there are. x: samples `(N, C, H, W)`."""
    if x is not None and images.channels in (1, 3):
        sample_files.write(folder / f"{stem}.png", x[:GRID], images)
    if panels.heatmaps:
        heatmaps.write(folder / f"{stem}.heatmap.png", panels.heatmaps)
    write_neighbours(folder / f"{stem}.neighbours.png", panels.neighbours, images)


def write_neighbours(path: Path, panel: Tensor | None, images: ImageSpec) -> None:
    """The picture of `quality.neighbour_panel`, if there is one."""
    if panel is not None and images.channels in (1, 3):
        with atomic(path) as temporary:
            sample_files.grid(panel, images, columns=6).save(temporary, format="PNG")


def write_nats(path: Path, nats: Tensor) -> NatsFile:
    """log P of each image, float64 `(n,)`; returns what a card says of the file."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, nats.numpy())
    return NatsFile(name=path.name, sha256=weights.sha256_of(path))
