"""Draw the pictures of ffjord's page from the weights that ship, into pages/pictures.

    python plugins/zoo-flow/pages/pictures_ode.py [NAME …]      # ffjord.digits, ffjord.moons, …; default: all of them

A name may also be `NAME=FOLDER`, weights in a folder drawn under that name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from zoo_bench.datasets import load as data
from zoo_flow.ffjord.model import FFJORD

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.images import quantise
from zoo_core.likelihood import score
from zoo_core.sampling import draw

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "pictures"
CELL, TIMES, POINTS, PATHS = 40, 41, 600, 150
TEMPERATURES = (0.0, 0.5, 0.7, 0.85, 1.0)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for word in sys.argv[1:] or [n for n in zoo_core.list_models(pretrained=True) if n.startswith("ffjord.")]:
        name, _, place = word.partition("=")
        model = zoo_core.load(place or name)
        assert isinstance(model, FFJORD)
        tag = name.partition(".")[2]
        for what, image in plane(name, model, tag) if model.images.dims == 2 else images(name, model, tag):
            image.save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


def images(name: str, model: FFJORD, tag: str) -> Iterator[tuple[str, Image.Image]]:
    """Samples; lines between the noise of test images; from noise to images; one noise at rising temperatures."""

    def shown(x: torch.Tensor) -> Image.Image:
        return grid(x, model.images, columns=9, cell=CELL)

    x = data.load(tag, "test").pinned.x
    yield name, shown(draw(model, 54, seed=0))
    yield f"{name}.interpolation", shown(torch.cat([model.interpolate(x[2 * i], x[2 * i + 1], 9) for i in range(5)]))
    noise = torch.randn(5, model.images.dims, generator=torch.Generator().manual_seed(0))
    path = model.trajectory(noise, 9).transpose(0, 1).flatten(0, 1)  # (45, C, H, W), a row for each noise
    yield f"{name}.trajectory", shown(quantise(path, model.images))
    yield f"{name}.temperature", shown(torch.cat([draw(model, 9, seed=0, temperature=t) for t in TEMPERATURES]))


def plane(name: str, model: FFJORD, tag: str) -> Iterator[tuple[str, Image.Image]]:
    """Two pixels: the truth beside the estimate of every image and samples; the paths from noise to them."""
    levels = model.images.levels
    every = torch.cartesian_prod(*[torch.arange(levels, dtype=torch.uint8)] * 2).view(-1, *model.images.shape)
    nats = score(model, every, chunk=1024).nats
    truth = data.truth(data.load(tag, "test").spec)
    assert nats is not None and truth is not None
    tables = {"truth": np.exp(truth), f"{name}, estimated": nats.exp().view(levels, levels).numpy()}
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), dpi=110)
    for axis, (title, table) in zip(axes[:2], tables.items(), strict=True):
        axis.imshow(table.T, origin="lower", extent=(0, 1, 0, 1), cmap="magma", vmax=tables["truth"].max())
        axis.set_title(title, fontsize=9)
    x = draw(model, 4000, seed=0).flatten(1).numpy() / levels
    axes[2].scatter(x[:, 0], x[:, 1], s=1, color="black")
    axes[2].set_title("4,000 samples", fontsize=9)
    yield name, rendered(figure)
    yield f"{name}.trajectories", trajectories(model)


@torch.no_grad()
def trajectories(model: FFJORD) -> Image.Image:
    """Points at five times, and the paths of some of them."""
    noise = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(0))
    path = model.trajectory(noise, TIMES).flatten(2).numpy()  # (times, points, 2)
    figure, axes = plt.subplots(1, 6, figsize=(13.2, 2.5), dpi=110)
    for axis, t in zip(axes, (0.0, 0.25, 0.5, 0.75, 1.0), strict=False):
        now = path[round(t * (TIMES - 1))]
        axis.scatter(now[:, 0], now[:, 1], s=2, color="black")
        axis.set_title(f"t = {t:g}", fontsize=9)
    axes[5].plot(path[:, :PATHS, 0], path[:, :PATHS, 1], color="tab:blue", lw=0.5, alpha=0.5)
    axes[5].scatter(path[-1, :PATHS, 0], path[-1, :PATHS, 1], s=3, color="black", zorder=3)
    axes[5].set_title("paths", fontsize=9)
    return rendered(figure)


def rendered(figure: Figure) -> Image.Image:
    for axis in figure.axes:
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())  # type: ignore[attr-defined]
    plt.close(figure)
    return image


if __name__ == "__main__":
    main()
