"""Draws the pictures of rbm.md: samples, completions, filters, heat maps of the toys, and what annealing finds.

    python plugins/zoo-energy/pages/pictures_rbm.py [NAME ...]    # rbm.digits, …; default: all weights that ship

Names of weights are those that ship, or `NAME=FOLDER`. Images are looked for as everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_energy.rbm.model import RBM

import zoo_core
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
TOYS = ("moons", "rings")
SAMPLES, ROWS, DRAWN, FILTERS, CELL = 36, 6, 4, 100, 40
DISTRIBUTIONS, CHAINS = (100, 300, 1000, 3000, 10_000, 30_000), 100


def main() -> None:
    matplotlib.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    shipped = [name for name in zoo_core.list_models(pretrained=True) if name.startswith("rbm.")]
    for argument in sys.argv[1:] or shipped:
        name, _, place = argument.partition("=")
        model = zoo_core.load(place or name)
        assert isinstance(model, RBM)
        for what, image in toy(name, model) if name.partition(".")[2] in TOYS else pictures(name, model):
            image.save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


@torch.no_grad()
def pictures(name: str, model: RBM) -> Iterator[tuple[str, Image.Image]]:
    """Samples beside completions; the weights of some hidden units; log Z against the number of distributions."""
    x = data.load(name.partition(".")[2], "test").pinned.x[:ROWS]
    samples = grid(draw(model, SAMPLES, seed=0), model.images, columns=6, cell=CELL)
    yield name, beside(samples, grid(completions(model, x), model.images, columns=2 + DRAWN, cell=CELL))
    yield f"{name}.filters", filters(model)
    yield f"{name}.annealing", drawn(annealing(model))


def completions(model: RBM, x: Tensor) -> Tensor:
    """A test image, its upper half, which is all that is given, and lower halves from chains that hold it."""
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, : model.images.height // 2] = True
    generator = torch.Generator().manual_seed(0)
    found = [model.complete(x, mask, generator=generator) for _ in range(DRAWN)]
    return torch.stack([x, x * mask, *found], 1).flatten(0, 1)


def filters(model: RBM) -> Image.Image:
    """What hidden units add to the logits of pixels, or to the logits' slope over the levels; grey is 0."""
    machine = model.machine
    w = machine.weight.unflatten(1, (*model.images.shape, machine.states))  # (hidden, C, H, W, states)
    if machine.states > 1:
        levels = torch.linspace(-1, 1, machine.states)
        w = (w * levels).sum(-1, keepdim=True)
    w = w[..., 0][w.flatten(1).norm(dim=1).argsort(descending=True)[:FILTERS]]
    scale = w.abs().flatten(1).quantile(0.99, 1).view(-1, 1, 1, 1)
    shown = ((w / scale).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)
    grey = zoo_core.ImageSpec(channels=model.images.channels, height=model.images.height, width=model.images.width)
    return grid(shown, grey, columns=20, cell=CELL)


def annealing(model: RBM) -> plt.Figure:
    """log Z and its error, from a base with the hidden units' frequencies and, as in the paper, without."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), dpi=110)
    kept = model.hidden_frequencies.clone()
    for label, frequencies in (("hidden units as often on as in training", kept), ("half of the time", kept * 0 + 0.5)):
        model.hidden_frequencies.copy_(frequencies)
        found = [model.log_partition(distributions=n, chains=CHAINS) for n in DISTRIBUTIONS]
        left.errorbar(DISTRIBUTIONS, [f.log_z for f in found], [2 * f.standard_error for f in found], label=label)
        right.plot(DISTRIBUTIONS, [f.effective_sample_size for f in found], label=label)
    model.hidden_frequencies.copy_(kept)
    left.set(xscale="log", xlabel="distributions", ylabel="log Z, nats, ± 2 standard errors")
    right.set(
        xscale="log", xlabel="distributions", ylabel=f"effective sample size, of {CHAINS} chains", ylim=(0, CHAINS)
    )
    left.legend(frameon=False, fontsize=8, title="at the base,", title_fontsize=8)
    return figure


@torch.no_grad()
def toy(name: str, model: RBM) -> Iterator[tuple[str, Image.Image]]:
    """P of all 65,536 images of two pixels, exactly, beside samples."""
    levels = torch.arange(model.images.levels, dtype=torch.uint8)
    x = torch.cartesian_prod(levels, levels).view(-1, *model.images.shape)
    p = torch.cat([-model.energy(part) for part in x.split(4096)]).softmax(0).view(len(levels), -1)
    samples = draw(model, 5000, seed=0).flatten(1)
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.5), dpi=110)
    axes[0].imshow(p.sqrt().T.numpy(), origin="lower", cmap="magma")
    axes[1].scatter(samples[:, 0], samples[:, 1], s=1, c="black", linewidths=0)
    axes[1].set(xlim=(0, 255), ylim=(0, 255), aspect="equal")
    for axis, title in zip(axes, ("exp(-F) / Z by enumeration", "samples")):
        axis.set(title=title, xticks=[], yticks=[])
    yield name, drawn(figure)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


def drawn(figure: plt.Figure) -> Image.Image:
    figure.tight_layout()
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    return image


if __name__ == "__main__":
    main()
