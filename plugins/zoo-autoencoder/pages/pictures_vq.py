"""Draws the pictures of the page of `vqvae` from weights.

    python plugins/zoo-autoencoder/pages/pictures_vq.py [NAME[=FOLDER] ...]     # vqvae.digits; default: all that ship

NAME.png: samples, and the means of p(x | z) at the same codes; then test images, their codes as images, and their
reconstructions. NAME.more.png: interpolations, and completions of upper halves. NAME.codes.png: how often each code is
used by test images, and what each one decodes to if it stands everywhere. FOLDER: weights that are not installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch import Tensor
from zoo_autoencoder.vqvae.model import VQVAE
from zoo_autoencoder.vqvae.quantisers import perplexity
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

matplotlib.use("agg")
FOLDER = Path(__file__).parent / "pictures"
SIDE, CELL = 6, 48
SCORED = 2000  # test images that codes are counted over


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    ours = [name for name in zoo_core.list_models("vqvae.*", pretrained=True) if not is_toy(name)]
    for argument in sys.argv[1:] or ours:
        name, _, folder = argument.partition("=")
        model = zoo_core.load(folder or name)
        assert isinstance(model, VQVAE)
        x = data.load(name.partition(".")[2].removesuffix("_fsq"), "test").pinned.x
        for suffix, picture in pictures(model, x).items():
            picture.save(FOLDER / f"{name}{suffix}.png", optimize=True)
            print(f"{name}{suffix}.png")


def is_toy(name: str) -> bool:
    return name.partition(".")[2] in ("moons", "rings")


@torch.no_grad()
def pictures(model: VQVAE, x: Tensor) -> dict[str, Image.Image]:
    """The pictures of these weights, by what comes behind their name. x: test images."""
    return {
        "": beside(shown(model, draw(model, SIDE**2, seed=0)), shown(model, means(model)), there_and_back(model, x)),
        ".more": beside(lines(model, x), completions(model, x)),
        ".codes": usage(model, x[:SCORED]),
    }


def shown(model: VQVAE, x: Tensor, columns: int = SIDE) -> Image.Image:
    return grid(x, model.images, columns=columns, cell=CELL)


def means(model: VQVAE) -> Tensor:
    """Of the same codes as the samples, without a pixel's own noise."""
    return draw(model, SIDE**2, seed=0, noise=False)


def there_and_back(model: VQVAE, x: Tensor) -> Image.Image:
    """Rows of test images, of their codes, and of what comes back; twice."""
    rows = []
    for part in x[: 2 * SIDE].split(SIDE):
        codes = model.encode(part)
        small = grid(codes, model.code_images, columns=SIDE, cell=CELL - 1)
        rows.append(above(shown(model, part), small, shown(model, model.decode(codes)), gap=2))
    return above(*rows, gap=0)


def lines(model: VQVAE, x: Tensor) -> Image.Image:
    """From one test image to another, through the codes nearest to the straight line."""
    rows = [model.interpolate(x[2 * i], x[2 * i + 1], 8) for i in range(SIDE)]
    return shown(model, torch.cat(rows), 8)


def completions(model: VQVAE, x: Tensor, drawn: int = 4) -> Image.Image:
    """A row each: a test image, its upper half, and draws of the lower one."""
    x = x[:SIDE]
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, : model.images.height // 2] = True
    copies, masks = x.repeat_interleave(drawn, 0), mask.repeat_interleave(drawn, 0)
    found = model.complete(copies, masks, generator=torch.Generator().manual_seed(0))
    columns = [x, x * mask, *found.view(SIDE, drawn, *model.images.shape).unbind(1)]
    return shown(model, torch.stack(columns, 1).flatten(0, 1), 2 + drawn)


def usage(model: VQVAE, x: Tensor) -> Image.Image:
    """Codes sorted by use, and what each decodes to, in that order."""
    levels = model.code_images.levels
    count = torch.bincount(model.encode(x).flatten().long(), minlength=levels).double()
    order = count.argsort(descending=True)
    figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
    axes.bar(range(levels), (count[order] / count.sum()).numpy(), width=1.0, color="#30598c")
    axes.axhline(1 / levels, color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel(f"codes, by use: {int((count > 0).sum())} of {levels} used, perplexity {perplexity(count):.0f}")
    axes.set_ylabel("share of all places")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    chart = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    pyplot.close(figure)
    everywhere = order.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, *model.code_images.shape).contiguous()
    return beside(
        chart,
        grid(
            model.decode(everywhere), model.images, columns=8 if levels <= 64 else 16, cell=40 if levels <= 64 else 20
        ),
    )


def beside(*parts: Image.Image, gap: int = 16) -> Image.Image:
    lefts = [sum(part.width + gap for part in parts[:i]) for i in range(len(parts))]
    canvas = Image.new("RGB", (lefts[-1] + parts[-1].width, max(part.height for part in parts)), "white")
    for left, part in zip(lefts, parts):
        canvas.paste(part, (left, 0))
    return canvas


def above(*parts: Image.Image, gap: int = 8) -> Image.Image:
    turned = beside(*(part.transpose(Image.Transpose.TRANSPOSE) for part in parts), gap=gap)
    return turned.transpose(Image.Transpose.TRANSPOSE)


if __name__ == "__main__":
    main()
