"""Draws the pictures of realnvp.md, realnvp_vd.md and glow.md from the weights that ship.

    python plugins/zoo-flow/pages/pictures_image.py [NAME ...]    # realnvp.digits, …; default: all of them

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
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_flow.flow import Flow
from zoo_flow.realnvp_vd.model import RealNVPVD

import zoo_core
from zoo_core.commands.sample_files import grid

FOLDER = Path(__file__).parent / "pictures"
MODELS = ("realnvp", "realnvp_vd", "glow")
TOYS = ("moons", "rings")  # two pixels: their heat maps are drawn with those of the other flows
CELL, COLUMNS = 40, 12
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for word in sys.argv[1:] or [name for name in zoo_core.list_models(pretrained=True) if is_ours(name)]:
        name, _, place = word.partition("=")
        for what, image in of(name, zoo_core.load(place or name)):
            image.save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


def is_ours(name: str) -> bool:
    model, _, tag = name.partition(".")
    return model in MODELS and tag not in TOYS


@torch.no_grad()
def of(name: str, model: Flow | RealNVPVD) -> Iterator[tuple[str, Image.Image]]:
    """Samples above rows of rising temperature; then lines between the noise of test images."""
    samples = model.sample(3 * COLUMNS, generator=rng(0))
    rows = [model.sample(COLUMNS, generator=rng(1), temperature=t) for t in TEMPERATURES]
    yield name, above(shown(samples, model, COLUMNS), shown(torch.cat(rows), model, COLUMNS))
    test = data.load(name.partition(".")[2], "test").pinned.x
    lines = [model.interpolate(test[2 * i], test[2 * i + 1], COLUMNS) for i in range(5)]
    yield f"{name}.interpolation", shown(torch.cat(lines), model, COLUMNS)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shown(x: Tensor, model: Flow | RealNVPVD, columns: int) -> Image.Image:
    return grid(x, model.images, columns=columns, cell=CELL)


def above(upper: Image.Image, lower: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((upper.height + gap + lower.height, max(upper.width, lower.width), 3), 255, dtype=np.uint8)
    canvas[: upper.height, : upper.width] = np.asarray(upper)
    canvas[upper.height + gap :, : lower.width] = np.asarray(lower)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
