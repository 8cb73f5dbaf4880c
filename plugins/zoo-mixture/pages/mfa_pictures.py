"""Draws the pictures of the page of `mfa` from weights: samples, completions, reconstructions, factors.

    python plugins/zoo-mixture/pages/mfa_pictures.py [NAME or FOLDER of weights ...]   # default: all that ship

Sets of real images are looked for as everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_mixture.mfa.model import MFA

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
ROWS, DRAWN, REACH = 6, 3, 2.0
CELL = 40


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or [name for name in zoo_core.list_models(pretrained=True) if name.startswith("mfa.")]:
        model = zoo_core.load(name)
        tag = name.rpartition("mfa.")[2].partition("/")[0]
        if model.images.dims > 2:
            pictures(model, tag)


@torch.no_grad()
def pictures(model: MFA, tag: str) -> None:
    x = data.load(tag, "test").pinned.x[:ROWS]
    noisy = grid(draw(model, 36, seed=0), model.images, columns=6, cell=CELL)
    clean = grid(draw(model, 36, seed=0, noise=False), model.images, columns=6, cell=CELL)
    filled = grid(completions(model, x), model.images, columns=3 + DRAWN, cell=CELL)
    again = grid(torch.stack([x, model.reconstruct(x)], 1).flatten(0, 1), model.images, columns=2, cell=CELL)
    beside(noisy, clean).save(FOLDER / f"mfa.{tag}.samples.png", optimize=True)
    beside(filled, again).save(FOLDER / f"mfa.{tag}.png", optimize=True)
    factors(model).save(FOLDER / f"mfa.{tag}.factors.png", optimize=True)
    print(f"mfa.{tag}: 3 pictures")


def completions(model: MFA, x: Tensor) -> Tensor:
    """The truth, its upper half, draws of the lower one and its conditional mean, for each image in turn."""
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, : model.images.height // 2] = True
    drawn = model.complete(
        x.repeat_interleave(DRAWN, 0), mask.repeat_interleave(DRAWN, 0), generator=torch.Generator().manual_seed(0)
    )
    each = drawn.view(ROWS, DRAWN, *model.images.shape).unbind(1)
    return torch.stack([x, x * mask, *each, model.complete(x, mask, mean=True)], 1).flatten(0, 1)


def factors(model: MFA, components: int = 6, latents: int = 4) -> Image.Image:
    """A component in each row: its mean, then each of its first factors at -REACH and +REACH standard deviations."""
    k, q = model.config.components, model.config.latent
    latents = min(latents, q)
    codes = []
    for component in model.weights.argsort(descending=True)[:components]:
        for step in [None, *((latent, sign * REACH) for latent in range(latents) for sign in (-1, 1))]:
            code = torch.zeros(k * (1 + q))
            code[component] = 1
            if step is not None:
                code[k + int(component) * q + step[0]] = step[1]
            codes.append(code)
    return grid(model.decode(torch.stack(codes)), model.images, columns=1 + 2 * latents, cell=CELL)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
