"""Draws the pictures of the hierarchies' pages: samples, what each layer knows, lines, temperatures, toys.

    python plugins/zoo-autoencoder/pages/pictures_hier.py [NAME | NAME=FOLDER ...]     # default: all that ship

What layers know, in a row: a test image, its reconstruction, and pairs of images that share fewer and fewer of its top
layers, the others drawn from the prior anew. FOLDER: weights that do not ship yet.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_autoencoder.hierarchy import Hierarchy
from zoo_autoencoder.vdvae.model import VDVAE
from zoo_bench.datasets import load as data
from zoo_bench.metrics import heatmaps

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
MODELS, TOYS = ("hvae", "ladder_vae", "vdvae"), ("moons", "rings")
ROWS, STEPS, CELL = 6, 9, 40
TEMPERATURES = (0.4, 0.7, 0.85, 1.0)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    ship = [name for name in zoo_core.list_models(pretrained=True) if name.partition(".")[0] in MODELS]
    for argument in sys.argv[1:] or ship:
        name, _, folder = argument.partition("=")
        model = zoo_core.load(folder or name)
        assert isinstance(model, Hierarchy)
        tag = name.partition(".")[2]
        for word, picture in pictures(model, name, tag).items():
            path = FOLDER / f"{name}{word}.png"
            picture.save(path, optimize=True)
            print(path.name)


def pictures(model: Hierarchy, name: str, tag: str) -> dict[str, Image.Image]:
    """By the end of their file's name."""
    if tag in TOYS:
        return {"": toy(model, name, tag)}
    x = data.load(tag.partition("_t1")[0], "test").pinned.x
    samples = grid(draw(model, 36, seed=0), model.images, columns=6, cell=CELL)
    found = {"": beside(samples, layers(model, x[:ROWS]))}
    found[".line"] = lines(model, x)
    if isinstance(model, VDVAE):
        found[".temperature"] = temperatures(model)
    return found


def layers(model: Hierarchy, x: Tensor) -> Image.Image:
    """Images; reconstructions; pairs that keep all layers but some, from most to none."""
    columns, generator = [x, model.reconstruct(x)], torch.Generator().manual_seed(0)
    for keep in reversed(levels(model)):
        columns += model.redraw(x, keep, 2, generator=generator).view(len(x), 2, *model.images.shape).unbind(1)
    return grid(torch.stack(columns, 1).flatten(0, 1), model.images, columns=len(columns), cell=CELL)


def levels(model: Hierarchy) -> list[int]:
    """How many layers to keep: of a chain each number; of a very deep model, the blocks of the smallest maps."""
    if not isinstance(model, VDVAE):
        return list(range(len(model.layers)))
    maps = [block.size for block in model.decoder.blocks()]
    return [0, *(i + 1 for i in range(len(maps) - 1) if maps[i] != maps[i + 1])]


def lines(model: Hierarchy, x: Tensor) -> Image.Image:
    """Straight lines between the codes of test images, an image at either end."""
    rows = [torch.cat([x[i : i + 1], model.interpolate(x[i], x[i + 1], STEPS), x[i + 1 : i + 2]]) for i in (0, 2, 4)]
    return grid(torch.cat(rows), model.images, columns=STEPS + 2, cell=CELL)


def temperatures(model: Hierarchy) -> Image.Image:
    """A row of samples for each temperature, from one seed."""
    rows = [draw(model, 12, seed=1, temperature=temperature) for temperature in TEMPERATURES]
    return grid(torch.cat(rows), model.images, columns=12, cell=CELL)


def toy(model: Hierarchy, name: str, tag: str) -> Image.Image:
    """The truth, the importance-weighted bound on the model, and the histogram of its samples."""
    truth = data.truth(data.find(tag))
    levels = torch.arange(model.images.levels, dtype=torch.uint8)
    every = torch.cartesian_prod(levels, levels).view(-1, *model.images.shape)
    bound = model.iwae(every, 64, generator=torch.Generator().manual_seed(0)).view(len(levels), -1).exp().numpy()
    x = draw(model, 100_000, seed=0).flatten(1).long() // 4
    counts = torch.bincount(x[:, 0] * 64 + x[:, 1], minlength=64 * 64).view(64, 64).numpy()
    panels = [
        heatmaps.Panel("truth", np.exp(truth)),
        heatmaps.Panel(f"{name}, lower bound", bound, is_bound=True),
        heatmaps.Panel(f"{name}, 100,000 samples", np.kron(counts, np.ones((4, 4))) / (100_000 * 16)),
    ]
    path = FOLDER / f"{name}.png"
    heatmaps.draw(path, panels, columns=3)
    with Image.open(path) as picture:
        return picture.convert("RGB")


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
