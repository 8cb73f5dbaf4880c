"""Heat maps of two-pixel images: what a model has learned beside the known truth, in one fixed scale of colours.

`made.moons.heatmap.png`: the truth, the model's probabilities (or a lower bound on them), the histogram of its samples.
`toy-v1-moons.heatmaps.png`: the truth and all models of a task, each by its probabilities or, where only a bound on
them is known, by its samples: a bound is no distribution. The first pixel runs to the right, the second upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.cards.types import file_name
from zoo_bench.datasets import load as datasets
from zoo_bench.metrics import known
from zoo_bench.metrics.measured import Measured
from zoo_core.files import atomic
from zoo_core.specs import DatasetSpec

Array = np.ndarray[Any, Any]

PANEL, TITLE, DPI = 2.6, 0.35, 100  # inches, inches, dots per inch
COLUMNS = 4  # of an overview
BINS = 64  # of the samples' histogram, along each axis
WORDS = {"=": "exact", "≈": "by cells", "≤": "lower bound"}


@dataclass(frozen=True)
class Panel:
    """One square: its title and the probability of every image, float64 `(K, K)`."""

    title: str
    table: Array
    is_bound: bool = False


def panels(name: str, measured: Measured) -> list[Panel]:
    """The truth, and what there is of the model's probabilities and its samples; [] where no plane can be drawn."""
    truth = datasets.truth(measured.scored.spec)
    if truth is None or truth.ndim != 2:
        return []
    found = [Panel("truth", np.exp(truth))]
    if measured.distribution is not None:
        word = WORDS[measured.distribution.relation]
        table = measured.distribution.log_q.exp().numpy()
        found.append(Panel(f"{name}, {word}", table, is_bound=measured.distribution.relation == "≤"))
    if measured.samples is not None:
        counts = known.histogram(measured.samples, measured.scored.images, BINS).numpy()
        size = len(truth) // BINS
        density = np.kron(counts, np.ones((size, size))) / (len(measured.samples) * size**2)
        found.append(Panel(f"{name}, {len(measured.samples):,} samples", density))
    return found


def write(path: Path, found: Sequence[Panel]) -> None:
    """The panels side by side as a PNG, and the model's distribution beside it as an array, for the overview."""
    draw(path, found, columns=len(found))
    if distributions := [panel for panel in found[1:] if not panel.is_bound]:
        best = distributions[0]
        with atomic(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, title=best.title, table=best.table.astype(np.float32))


def overview(path: Path, spec: DatasetSpec, folder: Path, names: Sequence[str], task_id: str) -> None:
    """The truth and the models `names`, as far as their heat maps of task `task_id` are in `folder`."""
    truth = datasets.truth(spec)
    ends = f"{datasets.tag(spec.name)}.{file_name(task_id)}.seed*[0-9].heatmap.npz"  # no trial's, `.partial`
    found_of = [sorted(folder.glob(f"{name}.{ends}")) for name in names]
    files = [found[0] for found in found_of if found]
    if truth is None or truth.ndim != 2 or not files:
        return
    found = [Panel("truth", np.exp(truth))]
    for file in files:
        with np.load(file) as arrays:
            found.append(Panel(str(arrays["title"]), arrays["table"]))
    draw(path, found, columns=min(COLUMNS, len(found)))


def draw(path: Path, found: Sequence[Panel], columns: int) -> None:
    """Panels in rows of `columns`; black is probability 0, the brightest colour the truth's largest and more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(len(found) / columns)
    width, height = PANEL * columns, (PANEL + TITLE) * rows
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(found):
        row, column = divmod(i, columns)
        margin = 0.05
        bottom = height - (row + 1) * (PANEL + TITLE) + margin
        side = PANEL - 2 * margin
        place = (column * PANEL + margin) / width, bottom / height, side / width, side / height
        axes = figure.add_axes(place)
        axes.imshow(panel.table.T, origin="lower", cmap="inferno", vmin=0.0, vmax=float(found[0].table.max()))
        axes.set_title(panel.title, fontsize=9)
        axes.set_axis_off()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
