"""Draws the pictures of this folder's pages from the weights that ship: samples, completions, the blind spot.

    python plugins/zoo-autoregressive/pages/pictures.py [NAME ...]     # made.digits, …; default: all that ship

Each row of completions: a test image, its upper half, which is all that is given, and four draws of the lower one.
Sets of real images are looked for as everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_autoregressive.autoregressive import Autoregressive
from zoo_autoregressive.configs import GatedPixelCNNConfig, PixelCNNConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.gated_pixelcnn import GatedPixelCNN
from zoo_autoregressive.pixelcnn import PixelCNN
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core import ImageSpec
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
SAMPLES, ROWS, DRAWN = 36, 6, 4


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    names = sys.argv[1:] or [name for name in zoo_core.list_models(pretrained=True) if is_ours(name)]
    for name in names:
        picture(name).save(FOLDER / f"{name}.png", optimize=True)
        print(f"{name}.png")
    blind_spot().save(FOLDER / "blind_spot.png", optimize=True)
    print("blind_spot.png")


def is_ours(name: str) -> bool:
    return zoo_core.spec(name.partition(".")[0]).family == "autoregressive"


def picture(name: str) -> Image.Image:
    """Samples to the left, completions to the right; of a mixture of orders, which cannot complete, samples alone."""
    model = zoo_core.load(name)
    samples = grid(draw(model, SAMPLES, seed=0), model.images, columns=6, cell=48)
    if not isinstance(model, Autoregressive):
        return samples
    return beside(samples, grid(completions(model, name), model.images, columns=2 + DRAWN, cell=48))


@torch.no_grad()
def completions(model: Autoregressive, name: str) -> Tensor:
    """The truth, its upper half, and draws of the lower one, for each of some test images in turn."""
    tag = name.partition(".")[2].removesuffix("_cond")
    pinned = data.load(tag, "test").pinned
    x = pinned.x[:ROWS]
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, : model.images.height // 2] = True
    copies = {} if model.conditioning == "none" else {"labels": pinned.labels[:ROWS].repeat_interleave(DRAWN)}
    drawn = model.complete(
        x.repeat_interleave(DRAWN, 0),
        mask.repeat_interleave(DRAWN, 0),
        generator=torch.Generator().manual_seed(0),
        **copies,
    )
    columns = [x, x * mask, *drawn.view(ROWS, DRAWN, *model.images.shape).unbind(1)]
    return torch.stack(columns, 1).flatten(0, 1)


def blind_spot(size: int = 13) -> Image.Image:
    """What the pixel in the middle (white) sees (grey) of an image: PixelCNN to the left, Gated PixelCNN to the right.

    Found by changing pixels of the input, for random positive weights and as many layers as it takes.
    """
    images = ImageSpec(channels=1, height=size, width=size, levels=4)
    middle = size // 2 * size + size // 2
    pictures = []
    for model in (
        PixelCNN(images, PixelCNNConfig(width=4, blocks=10, kernel=3, input_kernel=3, head=8)),
        GatedPixelCNN(images, GatedPixelCNNConfig(width=6, layers=6, kernel=5, input_kernel=3, head=8)),
    ):
        torch.manual_seed(0)
        for parameter in model.double().eval().parameters():
            torch.nn.init.uniform_(parameter, 0.01, 0.06)
        seen = depends_on(model, middle)
        shown = seen.to(torch.uint8) * 2
        shown[middle] = 3
        pictures.append(grid(shown.view(1, 1, size, size), images, cell=200))
    return beside(*pictures)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
