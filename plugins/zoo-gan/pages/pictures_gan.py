"""Draws the pictures of gan.md, dcgan.md, lsgan.md and wgan_gp.md from weights, and one from a short training.

    python plugins/zoo-gan/pages/pictures_gan.py [NAME[=FOLDER] ...]     # gan.digits, …, discriminator; default: all

NAME.png: samples; test images above the nearest that the generator can make; lines between the codes of two of them.
NAME.truncation.png: the same noise with less and less of the prior. Of images of two pixels, NAME.png is the truth,
20,000 samples, and what the discriminator says. discriminator: one trained on moons against rings, beside the best
there is. FOLDER: weights that are not installed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim import Adam
from zoo_bench.datasets import load as data
from zoo_bench.datasets import toys
from zoo_gan.adversarial import Adversarial
from zoo_gan.gan.model import GAN

import zoo_core
from zoo_core import Batch, LocalStep
from zoo_core.commands.sample_files import grid
from zoo_core.images import to_signed
from zoo_core.sampling import draw

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parent / "pictures"
MODELS, TOYS = ("gan", "dcgan", "lsgan", "wgan_gp"), ("moons", "rings")
CELL, STEPS, BATCH, LEVELS = 40, 2000, 2000, toys.LEVELS
Panel = tuple[str, Tensor, bool]  # title, a square map, whether it goes from -max to max


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    ours = [name for name in zoo_core.list_models(pretrained=True) if name.partition(".")[0] in MODELS]
    for word in sys.argv[1:] or [*ours, "discriminator"]:
        name, _, place = word.partition("=")
        for what, image in [discriminator()] if name == "discriminator" else of(name, zoo_core.load(place or name)):
            image.quantize(128).save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


@torch.no_grad()
def of(name: str, model: Adversarial) -> Iterator[tuple[str, Image.Image]]:
    tag = name.partition(".")[2]
    if tag in TOYS:
        yield name, toy(model, tag)
        return
    x = data.load(tag, "test").pinned.x[:18]
    z = model.encode(x, steps=400, starts=4)
    pairs = torch.stack([x, model.decode(z)], 1)  # (18, 2, C, H, W)
    rows = pairs.view(3, 6, 2, *model.images.shape).transpose(1, 2).flatten(0, 2)
    lines = torch.cat([model.interpolate(z[2 * i], z[2 * i + 1], 8) for i in range(6)])
    parts = [(draw(model, 36, seed=0), 6), (rows, 6), (lines, 8)]
    yield name, beside(*(grid(images, model.images, columns=columns, cell=CELL) for images, columns in parts))
    shares = [draw(model, 12, seed=0, truncation=share) for share in (0.4, 0.6, 0.8, 1.0)]
    yield f"{name}.truncation", grid(torch.cat(shares), model.images, columns=12, cell=CELL)


def toy(model: Adversarial, tag: str) -> Image.Image:
    """The truth, the samples' histogram, and the discriminator's output for every image."""
    cells = draw(model, 20_000, seed=0).view(-1, 2).long()
    counts = torch.bincount(cells[:, 0] // 4 * 64 + cells[:, 1] // 4, minlength=64**2).view(64, 64)
    output = torch.cat(
        [model.losses.readout(model.discriminate(v)) for v in to_signed(every(), model.images).split(4096)]
    )
    return panels(
        ("truth", truth(tag), False),
        ("20,000 samples", counts.double(), False),
        ("what the discriminator says", output.view(LEVELS, LEVELS), False),
    )


def discriminator() -> tuple[str, Image.Image]:
    """p / (p + q) of moons and rings, beside the output of a discriminator trained on both."""
    p, q = truth("moons"), truth("rings")
    torch.manual_seed(0)
    model = zoo_core.create("gan", data.find("moons").images, latent=1, hidden=(96, 96), dither=0.0)
    assert isinstance(model, GAN)
    model.generator = Known(q)
    optimizer = Adam(model.discriminator.parameters(), lr=0.01, betas=(0.9, 0.99))
    model.optimizers = lambda lr: {"discriminator": optimizer}  # type: ignore[method-assign]
    step, real, images = LocalStep(model.train()), Known(p), every()
    for i in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.005 * (1 + math.cos(math.pi * i / STEPS))
        z = 2 * torch.rand(2, BATCH, 1) - 1
        none = torch.zeros(BATCH, 1, 1, 2)
        batch = Batch(images[real.cells(z[0])]).with_(z=z[1], on_real=none, on_generated=none)
        step.minimize(model.discriminator_loss, batch, "discriminator")
    with torch.no_grad():
        logit = model.discriminate(to_signed(images, model.images)).double().view(LEVELS, LEVELS)
    best, found = p / (p + q), logit.sigmoid()
    log_sigmoid = torch.nn.functional.logsigmoid
    value = float((p * log_sigmoid(logit) + q * log_sigmoid(-logit)).sum())
    middle = (p + q) / 2
    ceiling = float(torch.xlogy(p, p / middle).sum() + torch.xlogy(q, q / middle).sum()) - math.log(4)
    off = float((middle * (found - best).abs()).sum())
    print(f"V(D) = {value:.4f}, 2 JSD - log 4 = {ceiling:.4f}; |D - D*| is {off:.4f} on average over p and q")
    shown = (middle > middle.max() * 1e-3).double()  # where hardly an image is, D was told nothing
    return "gan.discriminator", panels(
        ("moons (p) and rings (q)", p - q, True),
        (f"D* = p / (p + q); V = {ceiling:.3f}", shown * (best - 0.5), True),
        (f"trained D; V = {value:.3f}", shown * (found - 0.5), True),
    )


class Known(torch.nn.Module):
    """A generator without parameters: z uniform on [-1, 1] to images of two pixels, distributed as P."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.cumulative = p.flatten().cumsum(0)

    def cells(self, z: Tensor) -> Tensor:
        share = (z[:, 0].double() + 1) / 2 * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, share).clamp_max(LEVELS**2 - 1)

    def forward(self, z: Tensor) -> Tensor:
        return to_signed(every()[self.cells(z)], data.find("moons").images)


def every() -> Tensor:
    """All images, uint8 `(LEVELS^2, 1, 1, 2)`."""
    levels = torch.arange(LEVELS, dtype=torch.uint8)
    return torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)


def truth(tag: str) -> Tensor:
    """P of every image, `(LEVELS, LEVELS)`."""
    return torch.from_numpy(np.exp(toys.log_pmf(data.find(tag))))


def panels(*parts: Panel) -> Image.Image:
    """Maps side by side: pixel a to the right, pixel b upwards."""
    figure, axes = plt.subplots(1, len(parts), figsize=(3.4 * len(parts), 3.6), dpi=100)
    for place, (title, values, signed) in zip(axes, parts):
        most = float(values.abs().max())
        limits = {"cmap": "RdBu", "vmin": -most, "vmax": most} if signed else {"cmap": "magma"}
        place.imshow(values.T.numpy(), origin="lower", **limits)
        place.set_title(title, fontsize=9)
        place.set_axis_off()
    figure.tight_layout()
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    return image


def beside(*images: Image.Image, gap: int = 16) -> Image.Image:
    width = sum(image.width + gap for image in images) - gap
    canvas, left = np.full((max(image.height for image in images), width, 3), 255, dtype=np.uint8), 0
    for image in images:
        canvas[: image.height, left : left + image.width] = np.asarray(image)
        left += image.width + gap
    return Image.fromarray(canvas)


if __name__ == "__main__":
    main()
