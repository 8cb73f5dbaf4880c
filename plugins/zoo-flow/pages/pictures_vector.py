"""Draws the pictures of nice.md, maf.md and nsf.md from weights: samples, temperatures, lines of noise, densities.

    python plugins/zoo-flow/pages/pictures_vector.py [NAME ...]    # nice.digits, …; default: all that ship

A name may also be `NAME=FOLDER`, weights in a folder drawn under that name. Sets of real images are looked for as
everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from zoo_bench.datasets import load as data
from zoo_bench.metrics import heatmaps
from zoo_bench.metrics.enumeration import all_images, by_cells
from zoo_flow.vector_flow import VectorFlow

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
MODELS = ("nice", "maf", "nsf")
CELL, TEMPERATURES = 40, (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.15)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    shipped = [name for name in zoo_core.list_models(pretrained=True) if name.partition(".")[0] in MODELS]
    for word in sys.argv[1:] or shipped:
        name, _, place = word.partition("=")
        model = zoo_core.load(place or name)
        assert isinstance(model, VectorFlow)
        if model.images.dims == 2:
            densities(model, name)
            print(f"{name}.png", flush=True)
            continue
        for what, image in pictures(model, name):
            image.save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


@torch.no_grad()
def pictures(model: VectorFlow, name: str) -> Iterator[tuple[str, Image.Image]]:
    """Samples beside lines between the noise of test images; a row of samples for each temperature."""
    x = data.load(name.partition(".")[2], "test").pinned.x[:12]
    lines = torch.cat([model.interpolate(x[2 * i], x[2 * i + 1], 9) for i in range(6)])
    samples = grid(draw(model, 36, seed=0), model.images, columns=6, cell=CELL)
    yield name, beside(samples, grid(lines, model.images, columns=9, cell=CELL))
    rows = [draw(model, 12, seed=1, temperature=temperature) for temperature in TEMPERATURES]
    yield f"{name}.temperature", grid(torch.cat(rows), model.images, columns=12, cell=CELL)


@torch.no_grad()
def densities(model: VectorFlow, name: str) -> None:
    """The truth, the density over each image's cell, and the histogram of samples."""
    truth = data.truth(data.find(name.partition(".")[2]))
    levels = model.images.levels
    density = by_cells(model, all_images(model.images)).exp().view(levels, levels).numpy()
    x = draw(model, 100_000, seed=0).flatten(1).long() // 4
    counts = torch.bincount(x[:, 0] * 64 + x[:, 1], minlength=64 * 64).view(64, 64).numpy()
    panels = [
        heatmaps.Panel("truth", np.exp(truth)),
        heatmaps.Panel(f"{name}, by cells", density),
        heatmaps.Panel(f"{name}, 100,000 samples", np.kron(counts, np.ones((4, 4))) / (100_000 * 16)),
    ]
    heatmaps.draw(FOLDER / f"{name}.png", panels, columns=3)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
