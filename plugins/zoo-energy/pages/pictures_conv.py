"""Draws the pictures of ebm.md and dsm_ebm.md from the weights that ship.

    python plugins/zoo-energy/pages/pictures_conv.py [NAME ...]    # ebm.digits, dsm_ebm.moons, …; default: all of them

A name may also be `NAME=FOLDER`, weights in a folder drawn under that name. Sets of real images are looked for as
everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_bench.metrics import enumeration, heatmaps, known
from zoo_energy.energy_model import EnergyModel

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.images import quantise
from zoo_core.likelihood import evaluating
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
MODELS = ("ebm", "dsm_ebm")
CELL, CHAINS, FRAMES, ROWS = 40, 6, 12, 8192


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for word in sys.argv[1:] or [n for n in zoo_core.list_models(pretrained=True) if n.partition(".")[0] in MODELS]:
        name, _, place = word.partition("=")
        model = zoo_core.load(place or name)
        assert isinstance(model, EnergyModel)
        with evaluating(model):
            if model.images.dims == 2:
                heatmaps.draw(FOLDER / f"{name}.png", panels(name, model), columns=3)
                print(f"{name}.png", flush=True)
                continue
            for what, image in of(name, model):
                image.save(FOLDER / f"{what}.png", optimize=True)
                print(f"{what}.png", flush=True)


def of(name: str, model: EnergyModel) -> Iterator[tuple[str, Image.Image]]:
    """Samples beside completions of test images; then chains on their way from noise."""
    test = data.load(name.partition(".")[2], "test").pinned.x[:6]
    yield name, beside(shown(draw(model, 36, seed=0), model, 6), shown(completions(model, test), model, 6))
    yield f"{name}.chains", shown(chains(model), model, FRAMES)


def completions(model: EnergyModel, x: Tensor) -> Tensor:
    """A row of images, one of their upper halves, and four of what the chains make of these."""
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, :, : model.images.height // 2] = True
    rows = [x, torch.where(known, x, 0)]
    for seed in range(4):
        rows.append(model.complete(x, known, generator=torch.Generator(x.device).manual_seed(seed)))
    return torch.cat(rows)


def chains(model: EnergyModel) -> Tensor:
    """A chain in each row: noise, and where it is after ever more of its steps, evenly spaced."""
    generator = torch.Generator(model.device).manual_seed(0)
    v, schedule = model.noise(CHAINS, generator), model.schedule(model.steps, 1.0)
    edges = np.linspace(0, len(schedule), FRAMES).round().astype(int).tolist()
    frames = [quantise(v, model.images)]
    for start, stop in itertools.pairwise(edges):
        v = model.walk(v, schedule[start:stop], generator, last=stop == len(schedule))
        frames.append(quantise(v, model.images))
    return torch.stack(frames, 1).flatten(0, 1)  # (CHAINS * FRAMES, C, H, W)


def panels(name: str, model: EnergyModel) -> list[heatmaps.Panel]:
    """The truth; exp(-E) at the middle of each image's cell, normalised over all of them; samples."""
    spec = data.find(name.partition(".")[2])
    truth = np.exp(data.truth(spec))
    middles = (enumeration.all_images(model.images).to(model.device) + 0.5) / model.images.levels
    energy = torch.cat([model.energy(part) for part in middles.split(ROWS)]).double()
    table = (-energy).softmax(0).view(truth.shape).cpu().numpy()
    samples = draw(model, 20_000, seed=0, chunk=1000)
    counts = known.histogram(samples, model.images, heatmaps.BINS).numpy()
    size = len(truth) // heatmaps.BINS
    density = np.kron(counts, np.ones((size, size))) / (len(samples) * size**2)
    return [
        heatmaps.Panel("truth", truth),
        heatmaps.Panel(f"{name}, exp(-E)", table),
        heatmaps.Panel(f"{name}, {len(samples):,} samples", density),
    ]


def shown(x: Tensor, model: EnergyModel, columns: int) -> Image.Image:
    return grid(x.cpu(), model.images, columns=columns, cell=CELL)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
