"""Draws the pictures of the pages of `ae`, `dae`, `sae`, `cae` and `stacked_ae` from weights.

    python plugins/zoo-autoencoder/pages/pictures_plain.py [NAME[=FOLDER] ...]     # ae.digits; default: all that ship

NAME.png: samples; then, a row for each, test images above what the codes keep of them, and lines between codes. With
`ae.digits`, what happens without a density; with `dae.digits`, noise and what is left of it; with `sae` and `cae`, what
each latent does; with `dae.moons`, where reconstructions point. FOLDER: weights that are not installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_autoencoder.dae.model import DAE
from zoo_autoencoder.deterministic import DeterministicAutoencoder
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core.chunks import randn
from zoo_core.commands.sample_files import grid
from zoo_core.images import from_unit, to_unit
from zoo_core.sampling import draw

matplotlib.use("agg")
FOLDER = Path(__file__).parent / "pictures"
OURS = ("ae", "dae", "sae", "cae", "stacked_ae")
SIDE, CELL = 8, 40


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for argument in sys.argv[1:] or [name for name in zoo_core.list_models(pretrained=True) if model_of(name) in OURS]:
        name, _, folder = argument.partition("=")
        model = zoo_core.load(folder or name)
        for suffix, picture in pictures(model, name).items():
            picture.save(FOLDER / f"{name}{suffix}.png", optimize=True)
            print(f"{name}{suffix}.png")


def model_of(name: str) -> str:
    return name.partition(".")[0]


@torch.no_grad()
def pictures(model: DeterministicAutoencoder, name: str) -> dict[str, Image.Image]:
    """The pictures of these weights, by what comes behind their name."""
    tag = name.partition(".")[2]
    if tag in ("moons", "rings"):
        return {"": toy(model, tag)}
    x = data.load(tag, "test").pinned.x
    found = {"": beside(samples(model), reconstructions(model, x), lines(model, x))}
    if name == "ae.digits":
        found[".without"] = without_a_density(model, tag)
    if isinstance(model, DAE):
        found[".denoised"] = denoised(model, x)
    if model_of(name) in ("sae", "cae"):
        found[".latents"] = latents(model, x)
    return found


def shown(model: DeterministicAutoencoder, x: Tensor, columns: int = SIDE) -> Image.Image:
    return grid(x, model.images, columns=columns, cell=CELL)


def samples(model: DeterministicAutoencoder) -> Image.Image:
    return shown(model, draw(model, SIDE * SIDE, seed=0))


def reconstructions(model: DeterministicAutoencoder, x: Tensor) -> Image.Image:
    """Rows of test images, each above its reconstructions."""
    rows = x[: SIDE * SIDE // 2].split(SIDE)
    return shown(model, torch.cat([part for row in rows for part in (row, model.reconstruct(row))]))


def lines(model: DeterministicAutoencoder, x: Tensor) -> Image.Image:
    """Rows from one test image to another, in equal steps between their codes."""
    return shown(model, torch.cat([model.interpolate(x[2 * i], x[2 * i + 1], SIDE) for i in range(SIDE)]))


def without_a_density(model: DeterministicAutoencoder, tag: str) -> Image.Image:
    """Decoded: codes from N(0, I); codes whose latents have the right means and variances; codes from the density."""
    codes = model.encode(data.load(tag, "train").pinned.x)
    eps = randn(SIDE * SIDE, model.latent, generator=torch.Generator().manual_seed(0))
    naive = [shown(model, model.decode(z)) for z in (eps, codes.mean(0) + codes.std(0) * eps)]
    return beside(*naive, samples(model))


def denoised(model: DAE, x: Tensor) -> Image.Image:
    """Rows of test images: as they are, corrupted at twice the level of training, denoised."""
    x = x[: 2 * SIDE]
    v = to_unit(x, model.images)
    generator = torch.Generator().manual_seed(0)
    gaussian = model.config.corruption == "gaussian"
    noise = 2 * torch.randn(v.shape, generator=generator) if gaussian else torch.rand(v.shape, generator=generator) / 2
    hit = model.corrupt(v, noise)
    rows = (x, from_unit(hit, model.images), from_unit(model.denoise(hit), model.images))
    return shown(model, torch.cat([part[i : i + SIDE] for i in (0, SIDE) for part in rows]))


def latents(model: DeterministicAutoencoder, x: Tensor) -> Image.Image:
    """What each of the first latents adds to a picture: decoded with it on, less decoded with it off; grey is 0."""
    codes = model.encode(x)
    mean, high = codes.mean(0), codes.quantile(0.99, dim=0)
    k = min(SIDE * SIDE, model.latent)
    on, off = mean.repeat(k, 1), mean.repeat(k, 1)
    on[range(k), range(k)], off[range(k), range(k)] = high[:k], codes.amin(0)[:k]
    difference = model.pixels(model.output(on)) - model.pixels(model.output(off))
    return shown(model, from_unit(0.5 + difference / 2 / difference.abs().amax((1, 2, 3), keepdim=True), model.images))


def toy(model: DeterministicAutoencoder, tag: str) -> Image.Image:
    """A model of two pixels: training images and samples; for a DAE, where its reconstructions point as well."""
    from matplotlib import pyplot

    real = data.load(tag, "train").pinned.x[:4000].flatten(1)
    drawn = draw(model, 4000, seed=0).flatten(1)
    panels = [("training images", real), ("samples", drawn)]
    figure, axes = pyplot.subplots(1, 2 + isinstance(model, DAE), figsize=(3.2 * (2 + isinstance(model, DAE)), 3.2))
    for axis, (title, points) in zip(axes, panels, strict=False):
        axis.scatter(points[:, 0], points[:, 1], s=1, alpha=0.4, linewidths=0)
        axis.set_title(title, fontsize=9)
    if isinstance(model, DAE):
        line = torch.linspace(0.05, 0.95, 26)
        v = torch.cartesian_prod(line, line)
        step = model.denoise(v.view(-1, *model.images.shape)).flatten(1) - v
        axes[2].scatter(real[:, 0], real[:, 1], s=1, alpha=0.15, linewidths=0, c="grey")
        axes[2].quiver(*(255 * v.T), *(255 * step.T), angles="xy", scale_units="xy", scale=1.5, width=0.003)
        axes[2].set_title("r(x) - x", fontsize=9)
    for axis in axes:
        axis.set(xlim=(0, 255), ylim=(0, 255), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    pyplot.close(figure)
    return picture


def beside(*parts: Image.Image, gap: int = 16) -> Image.Image:
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    canvas = np.full((max(part.height for part in parts), width, 3), 255, dtype=np.uint8)
    left = 0
    for part in parts:
        canvas[: part.height, left : left + part.width] = np.asarray(part.convert("RGB"))
        left += part.width + gap
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
