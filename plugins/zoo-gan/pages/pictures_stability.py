"""Draws how the distance to the training images changes while adversarial networks are trained, a line for each loss.

    python plugins/zoo-gan/pages/pictures_stability.py [--images 100000] [--seeds 3] [--checks 20] [--out FOLDER]

Four losses on the networks of a DCGAN for the digits: minimax and non-saturating as in `gan`, least squares as in
`lsgan`, Wasserstein with gradient penalty as in `wgan_gp` (layer instead of batch normalisation in the critic, five
steps of the critic for one of the generator, Adam without momentum). FD of pixels, 1,000 samples of the weights as they
are, no average, to the training images. Each finished training is a file in --out: a script that is stopped goes on
where it was. Writes pictures/stability.digits.png.
"""

from __future__ import annotations

import copy
import json
from itertools import islice
from pathlib import Path

import click
import matplotlib
import numpy as np
import torch
from zoo_bench.datasets import load as data
from zoo_bench.metrics.frechet import fit, frechet_distance
from zoo_gan import losses
from zoo_gan.adversarial import Adversarial

import zoo_core
from zoo_core import LocalStep
from zoo_core.files import atomic
from zoo_core.images import to_unit
from zoo_core.sampling import draw

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PICTURE = Path(__file__).parent / "pictures" / "stability.digits.png"
LOSSES: dict[str, losses.Losses | None] = {
    "minimax": losses.Minimax(),
    "non-saturating": losses.NonSaturating(),
    "least squares": losses.LeastSquares(0.0, 1.0, 1.0),
    "Wasserstein, gradient penalty": None,  # that of wgan_gp
}
NETWORK = {"width": 32, "latent": 32, "depth": 2}
BATCH, SAMPLES = 100, 1000


@click.command()
@click.option("--images", default=100_000, show_default=True, help="Images seen by each training.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--checks", default=20, show_default=True, help="How often each training is looked at.")
@click.option("--out", default="runs/stability", show_default=True, type=click.Path(path_type=Path))
@click.option("--picture", default=PICTURE, type=click.Path(path_type=Path), help="Where the picture goes.")
def main(images: int, seeds: int, checks: int, out: Path, picture: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = {name: [run(name, seed, images, checks, out) for seed in range(seeds)] for name in LOSSES}
    picture.parent.mkdir(parents=True, exist_ok=True)
    plot(found, picture)
    print(picture)


def run(name: str, seed: int, images: int, checks: int, out: Path) -> list[tuple[int, float]]:
    """Images seen and the distance there, of one training; from its file, if it was run before."""
    file = out / f"{name.replace(' ', '-').replace(',', '')}.{images}.{checks}.seed{seed}.json"
    if not file.exists():
        curve = train(name, seed, images, checks)
        with atomic(file) as temporary:
            temporary.write_text(json.dumps(curve))
    curve = [(int(seen), float(distance)) for seen, distance in json.loads(file.read_text())]
    print(f"{name}, seed {seed}: {curve[-1][1]:.3f} after {curve[-1][0]:,} images", flush=True)
    return curve


def train(name: str, seed: int, images: int, checks: int) -> list[tuple[int, float]]:
    train = data.load("digits", "train")
    reference = fit(to_unit(train.pinned.x, train.images).flatten(1))
    model = make(name, seed)
    steps = max(images // BATCH, 1)
    step = LocalStep(model, lr=2e-4, steps=steps, seed=seed)
    looks = {max(round(steps * (i + 1) / checks), 1) for i in range(checks)}
    curve = []
    for i, rows in enumerate(islice(data.batches(len(train), BATCH, seed), steps), 1):
        step.run(train.draw(rows, seed=i))
        if i in looks:
            still = copy.deepcopy(model).eval()
            still.finish(step)
            features = to_unit(draw(still, SAMPLES, seed=0), train.images).flatten(1)
            curve.append((i * BATCH, frechet_distance(fit(features), reference)))
    return curve


def make(name: str, seed: int) -> Adversarial:
    images, loss = data.find("digits").images, LOSSES[name]
    torch.manual_seed(seed)
    model = zoo_core.create("wgan_gp" if loss is None else "dcgan", images, **NETWORK)
    assert isinstance(model, Adversarial)
    if loss is not None:
        model.losses = loss
    return model


def plot(found: dict[str, list[list[tuple[int, float]]]], picture: Path) -> None:
    """A line of medians for each loss, and between the best and the worst seed a shade."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=110)
    for name, curves in found.items():
        seen = [place for place, _ in curves[0]]
        values = np.array([[distance for _, distance in curve] for curve in curves])  # (seeds, checks)
        (line,) = axes.plot(seen, np.median(values, 0), label=name)
        axes.fill_between(seen, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(yscale="log", xlabel="images seen", ylabel="FD of pixels to the training images")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(picture)
    plt.close(figure)


if __name__ == "__main__":
    main()
