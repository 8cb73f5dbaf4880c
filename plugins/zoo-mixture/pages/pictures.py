"""Draws the pictures of this folder's pages: samples and components, completions, what the start decides, pruning.

    python plugins/zoo-mixture/pages/pictures.py [NAME ...]     # gmm.digits, …, starts, pruning; default: all

Names of weights are those that ship, or `NAME=FOLDER`. Images are looked for as everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Ellipse
from PIL import Image
from torch import Tensor
from zoo_bench.datasets import load as data
from zoo_mixture.bmm.model import BMM
from zoo_mixture.configs import BMMConfig, GMMConfig, VBGMMConfig
from zoo_mixture.em_model import EMModel
from zoo_mixture.gmm.model import GMM
from zoo_mixture.vbgmm.model import VBGMM

import zoo_core
from zoo_core import Batch, LocalStep
from zoo_core.commands.sample_files import grid
from zoo_core.model import HasComplete
from zoo_core.sampling import draw

FOLDER = Path(__file__).parent / "pictures"
SAMPLES, ROWS, DRAWN, STARTS, ITERATIONS = 36, 6, 4, 20, 30


def main() -> None:
    matplotlib.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    shipped = [
        name for name in zoo_core.list_models(pretrained=True) if name.partition(".")[0] in ("gmm", "bmm", "vbgmm")
    ]
    for argument in sys.argv[1:] or [*shipped, "starts", "pruning"]:
        name, _, folder = argument.partition("=")
        path = FOLDER / f"{name}.png"
        if name in ("starts", "pruning"):
            {"starts": starts, "pruning": pruning}[name]().savefig(path, dpi=110)
        else:
            picture(name, zoo_core.load(folder or name)).save(path, optimize=True)
        print(path.name, flush=True)


def picture(name: str, model: EMModel) -> Image.Image:
    """Samples; the mean images of the largest components; of a model that completes, lower halves of test images."""
    images = model.images
    weights = model.concentration if isinstance(model, VBGMM) else model.weights
    largest = torch.eye(len(weights))[weights.argsort(descending=True)[:SAMPLES]]
    parts = [draw(model, SAMPLES, seed=0), model.decode(largest)]
    pictures = [grid(x, images, columns=6, cell=48) for x in parts]
    if isinstance(model, HasComplete):
        pictures.append(grid(completions(model, name), images, columns=2 + DRAWN, cell=48))
    return beside(*pictures)


def completions(model: EMModel, name: str) -> Tensor:
    """A test image, its upper half, which is all that is given, and draws of the lower one; for some in turn."""
    x = data.load(name.partition(".")[2], "test").pinned.x[:ROWS]
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, :, : model.images.height // 2] = True
    generator = torch.Generator().manual_seed(0)
    drawn = [model.complete(x, mask, generator=generator) for _ in range(DRAWN)]
    return torch.stack([x, x * mask, *drawn], 1).flatten(0, 1)


def starts() -> plt.Figure:
    """The likelihood that EM reaches from 20 starts of each kind, on the digits' training images."""
    train = data.load("digits", "train")
    kinds = {
        "k-means++,\n10 Lloyd rounds": {},
        "k-means++,\nno Lloyd rounds": {"lloyd": 0},
        "random\npoints": {"init": "points"},
    }
    models = {
        "gmm, 10 full covariances": lambda options: GMM(train.images, GMMConfig(components=10, **options)),
        "gmm, 40 diagonal covariances": lambda options: GMM(
            train.images, GMMConfig(components=40, covariance="diagonal", **options)
        ),
        "bmm, 20 components": lambda options: BMM(train.images, BMMConfig(components=20, **options)),
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for axis, (title, build) in zip(axes, models.items()):
        for i, options in enumerate(kinds.values()):
            reached = [-fitted(build(options), train.pinned.x, seed) for seed in range(STARTS)]
            axis.plot([i + 0.02 * (j - STARTS / 2) for j in range(STARTS)], reached, "o", ms=4, alpha=0.6)
            axis.hlines(max(reached), i - 0.3, i + 0.3, colors="black", lw=1)
            print(title, options, f"{min(reached):.2f} to {max(reached):.2f} nats", flush=True)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(kinds)), list(kinds), fontsize=8)
    axes[0].set_ylabel("objective on the training images\n[nats per image]")
    return figure


def fitted(model: EMModel, x: Tensor, seed: int = 0, iterations: int = ITERATIONS) -> float:
    """The last loss."""
    step = LocalStep(model, data=Batch(x), seed=seed)
    return [float(step.run(Batch(x[:100]))["loss"]) for _ in range(iterations + 1)][-1]


def pruning(images: int = 300, components: int = 24) -> plt.Figure:
    """Components of `gmm` and `vbgmm` of the same K on few images of `moons`: ellipses of two standard deviations."""
    train = data.load("moons", "train")
    x = train.pinned.x[:images]
    gmm = GMM(train.images, GMMConfig(components=components))
    vbgmm = VBGMM(train.images, VBGMMConfig(components=components, concentration=1e-3, variance=0.01))
    for model in (gmm, vbgmm):
        fitted(model, x, iterations=200)
    weights = {"gmm": gmm.weights, "vbgmm": vbgmm.concentration / vbgmm.concentration.sum()}
    covariances = {"gmm": gmm.mixture.covariances, "vbgmm": vbgmm.posterior.covariances}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharex=True, sharey=True, layout="constrained")
    for axis, model in zip(axes, (gmm, vbgmm)):
        name = "vbgmm" if isinstance(model, VBGMM) else "gmm"
        points = model.points(x)
        axis.plot(points[:, 0], points[:, 1], ".", ms=3, color="0.6")
        used = weights[name] > 1 / images
        for mean, covariance in zip(model.means[used], covariances[name][used]):
            values, vectors = torch.linalg.eigh(covariance)
            angle = float(torch.rad2deg(torch.atan2(vectors[1, 1], vectors[0, 1])))
            width, height = (4 * values.flip(0).sqrt()).tolist()
            axis.add_patch(Ellipse(mean.tolist(), width, height, angle=angle, fill=False, color="C0"))
        axis.set_title(f"{name}: {int(used.sum())} of {components} components used", fontsize=10)
    return figure


def beside(*pictures: Image.Image, gap: int = 16) -> Image.Image:
    """Pictures in a row, on white."""
    width = sum(picture.width + gap for picture in pictures) - gap
    canvas = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + gap
    return canvas


if __name__ == "__main__":
    main()
