"""Draws the pictures of vae.md, cvae.md and iwae.md from the weights that ship, and two curves from a short training.

    python plugins/zoo-autoencoder/pages/pictures_vae.py [NAME ...]    # vae.digits, …, curves; default: all of them

A name may also be `NAME=FOLDER`, weights in a folder drawn under that name. Sets of real images are looked for as
everywhere (`ZOO_DATA`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from zoo_autoencoder.cvae.model import CVAE
from zoo_autoencoder.gaussian import reparameterise
from zoo_autoencoder.gaussian_vae import GaussianVAE
from zoo_autoencoder.vae import objective
from zoo_autoencoder.vae.model import VAE
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core import Batch, LocalStep
from zoo_core.commands.sample_files import grid
from zoo_core.sampling import draw

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parent / "pictures"
MODELS = ("vae", "cvae", "iwae")
CELL, STEPS, CHECKS = 40, 3000, 10
# Attributes: images of the second class become those of the first (Fashion-MNIST's and the digits' labels).
ATTRIBUTES = {"fashion": ((2, 0), (9, 7)), "digits": ((8, 3), (9, 4))}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for word in sys.argv[1:] or [*(n for n in zoo_core.list_models(pretrained=True) if is_ours(n)), "curves"]:
        name, _, place = word.partition("=")
        pictures = curves() if name == "curves" else of(name, zoo_core.load(place or name))
        for what, image in pictures:
            image.save(FOLDER / f"{what}.png", optimize=True)
            print(f"{what}.png", flush=True)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in MODELS


@torch.no_grad()
def of(name: str, model: GaussianVAE) -> Iterator[tuple[str, Image.Image]]:
    """Samples beside test images and their reconstructions; then what is done with codes."""
    tag = name.partition(".")[2].removesuffix("_short")
    test = data.load(tag, "test").pinned
    x, labels = test.x[:18], test.labels
    told = {} if model.conditioning == "none" else {"labels": labels[:18]}
    pairs = torch.stack([x, model.reconstruct(x, **told)], 1)  # (18, 2, C, H, W)
    rows = pairs.view(3, 6, 2, *model.images.shape).transpose(1, 2).flatten(0, 2)
    if isinstance(model, CVAE):
        yield name, beside(shown(by_class(model), model), shown(rows, model, 6))
        yield f"{name}.analogies", shown(analogies(model, test.x, labels), model, 1 + model.images.classes)
        return
    yield name, beside(shown(draw(model, 36, seed=0), model, 6), shown(rows, model, 6))
    lines = [model.interpolate(test.x[2 * i], test.x[2 * i + 1], 9) for i in range(5)]
    yield f"{name}.interpolation", shown(torch.cat(lines), model, 9)
    active = model.encode(test.x[:2000]).var(0).argsort(descending=True)[:6]
    values = torch.linspace(-2.5, 2.5, 9).tolist()
    yield f"{name}.traversal", shown(model.traverse(test.x[0], active.tolist(), values), model, 9)
    if tag in ATTRIBUTES and labels is not None:
        yield f"{name}.attributes", shown(attributes(model, tag), model, 7)


def by_class(model: CVAE) -> Tensor:
    """A class in each column, one z in each row."""
    classes = model.images.classes
    z = torch.randn(6, model.latent, generator=torch.Generator().manual_seed(0)).repeat_interleave(classes, 0)
    return model.decode(z, labels=torch.arange(classes).repeat(6))


def analogies(model: CVAE, x: Tensor, labels: Tensor) -> Tensor:
    """A test image, then its code decoded under each class."""
    classes = model.images.classes
    z = model.encode(x[:8], labels=labels[:8])
    told = torch.arange(classes).repeat(8)
    other = model.decode(z.repeat_interleave(classes, 0), labels=told).view(8, classes, *model.images.shape)
    return torch.cat([x[:8].unsqueeze(1), other], 1).flatten(0, 1)


def attributes(model: GaussianVAE, tag: str) -> Tensor:
    """Test images with 0 to 3/2 of an attribute added: mean code of one class minus that of another, in training."""
    train, test, rows = data.load(tag, "train").pinned, data.load(tag, "test").pinned, []
    for present, absent in ATTRIBUTES[tag]:
        direction = model.attribute(train.x[train.labels == present][:2000], train.x[train.labels == absent][:2000])
        x = test.x[test.labels == absent][:3]
        share = torch.linspace(0, 1.5, 6).view(1, -1, 1)
        codes = model.encode(x).unsqueeze(1) + share * direction  # (3, 6, latent)
        images = model.decode(codes.flatten(0, 1)).view(3, 6, *model.images.shape)
        rows.append(torch.cat([x.unsqueeze(1), images], 1).flatten(0, 1))
    return torch.cat(rows)


def shown(x: Tensor, model: GaussianVAE, columns: int | None = None) -> Image.Image:
    return grid(x, model.images, columns=columns or model.images.classes, cell=CELL)


def beside(left: Image.Image, right: Image.Image, gap: int = 16) -> Image.Image:
    canvas = np.full((max(left.height, right.height), left.width + gap + right.width, 3), 255, dtype=np.uint8)
    canvas[: left.height, : left.width] = np.asarray(left)
    canvas[: right.height, left.width + gap :] = np.asarray(right)
    return Image.fromarray(canvas)


def curves() -> Iterator[tuple[str, Image.Image]]:
    """A VAE of two latents trained on the digits: how tight its bounds are, how noisy estimators of its gradient."""
    train, test = data.load("digits", "train").pinned, data.load("digits", "test").pinned
    torch.manual_seed(0)
    model = zoo_core.create("vae", data.load("digits", "train").images, hidden=(200,), latent=2)
    assert isinstance(model, VAE)
    step, order = LocalStep(model, lr=1e-3, steps=STEPS), torch.Generator().manual_seed(0)
    checks = sorted({round(STEPS ** (i / (CHECKS - 1))) for i in range(CHECKS)})
    bounds: dict[str, list[float]] = {"log p(x), by IWAE-5000": [], "IWAE-10": [], "ELBO": []}
    noise: dict[str, list[float]] = {}
    for index in range(1, STEPS + 1):
        rows = torch.randint(len(train.x), (100,), generator=order)
        step.run(Batch(train.x[rows]))
        if index not in checks:
            continue
        for name, value in zip(bounds, tightness(model, test.x[:100])):
            bounds[name].append(value)
        for name, value in spread(model, test.x[:50]).items():
            noise.setdefault(name, []).append(value)
    best, ten, elbo = (np.array(values) for values in bounds.values())
    gaps = {"log p(x) - ELBO = KL(q | posterior)": best - elbo, "log p(x) - IWAE-10": best - ten}
    both = [plotted(checks, bounds, "nats per test image"), plotted(checks, gaps, "what a bound misses, nats")]
    yield "vae.tightness", beside(*both)
    yield "vae.estimators", plotted(checks, noise, "variance of the gradient, summed", log=True)


def tightness(model: VAE, x: Tensor) -> tuple[float, float, float]:
    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    many, ten = (float(model.iwae(x, n, generator=generator()).mean()) for n in (5000, 10))
    return many, ten, float(model.elbo(x, draws=100, generator=generator()).mean())


def spread(model: VAE, x: Tensor, draws: int = 100) -> dict[str, float]:
    """Over draws of the noise, the trace of the covariance of the gradient of E_q[log p(x|z)], mean over images."""
    parameters = list(model.encoder.parameters())
    eps = torch.randn(draws, len(x), 1, model.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fits = torch.stack([model.fit(x, *model.posterior(x), e)[:, 0] for e in eps])  # (draws, N)
    guesses = {
        "score function": torch.zeros(len(x)),
        "score function, less a constant c": fits.mean().expand(len(x)),
        "score function, less C(x) at its optimum": fits.mean(0),
        "reparameterization": None,
    }
    found = {}
    for name, guess in guesses.items():
        rows = []
        for e in eps:
            mean, log_var = model.posterior(x)
            if guess is None:
                value = model.fit(x, mean, log_var, e)[:, 0]
            else:
                z = reparameterise(mean, log_var, e).detach()
                _, value = objective.score_function(model.log_likelihood(x, z), z, mean, log_var, guess)
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value.mean(), parameters)]))
        found[name] = float(torch.stack(rows).var(0).sum())
    return found


def plotted(
    x: list[int], lines: Mapping[str, Sequence[float] | np.ndarray[Any, Any]], label: str, *, log: bool = False
) -> Image.Image:
    figure, axes = plt.subplots(figsize=(5.2, 3.4), dpi=110)
    for name, values in lines.items():
        axes.plot(x, values, label=name)
    axes.set(xscale="log", yscale="log" if log else "linear", xlabel="training steps", ylabel=label)
    if min(map(min, lines.values())) >= 0 and not log:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    return image


if __name__ == "__main__":
    main()
