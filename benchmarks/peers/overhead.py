"""Images/s of `zoo train vae` on binarised MNIST against a bare PyTorch loop: the same model, batch, optimiser and EMA.

    python benchmarks/peers/overhead.py            # needs MNIST: ZOO_DATA

Both run in turn, seven times each, and the ratio of the medians is printed: 1 means that the harness costs nothing.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from pathlib import Path

import torch
from zoo_bench import train
from zoo_bench.datasets import load as data
from zoo_bench.training.recipe import plan

from zoo_core import LocalStep

IMAGES = 40_000


def bare(seed: int) -> float:
    """Images/s of the loop one writes by hand: data in memory, binarised for each batch, AdamW, cosine, EMA."""
    planned = plan("vae", "mnist_bin")
    recipe, dataset = planned.recipe, data.load("mnist_bin", "train")
    torch.manual_seed(seed)
    model = planned.spec.load_class()(dataset.images, planned.config).train()
    first = data.Batch(dataset.draw(torch.arange(recipe.batch), seed).x)
    LocalStep(model, lr=recipe.lr).run(first)  # the model's own initialisation from its first batch, as the trainer has
    model.train()
    optimizer = model.optimizers(recipe.lr)["model"]
    average = copy.deepcopy(model)
    steps = IMAGES // recipe.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    decay = 0.5 ** (recipe.batch / (recipe.ema or 50_000))
    mine, theirs = list(average.parameters()), list(model.parameters())
    order = torch.randperm(len(dataset))
    began = time.perf_counter()
    for i in range(steps):
        rows = order[torch.arange(i * recipe.batch, (i + 1) * recipe.batch) % len(order)]
        grey = dataset.pixels[rows]
        x = (torch.rand(grey.shape) * 255 < grey).to(torch.uint8)
        eps = torch.randn(len(x), planned.config.samples, planned.config.latent)
        optimizer.zero_grad(set_to_none=True)
        model.loss(data.Batch(x).with_(eps=eps))["loss"].backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            torch._foreach_lerp_(mine, theirs, 1 - decay)
    return steps * recipe.batch / (time.perf_counter() - began)


def harness(seed: int) -> float:
    """Images/s that the trainer reports for the same."""
    ema = plan("vae", "mnist_bin").recipe.ema or 50_000
    with tempfile.TemporaryDirectory() as folder:
        run = train("vae", "mnist_bin", out=Path(folder) / "run", quiet=True, images=IMAGES, seed=seed, ema=ema)
    return run.images_per_second


def main() -> None:
    bare(0), harness(0)  # warm up
    pairs = [(harness(seed), bare(seed)) for seed in range(1, 8)]
    ours, theirs = (statistics.median(values) for values in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print(f"harness {ours:,.0f} images/s, bare loop {theirs:,.0f} images/s")
    print(
        f"ratio, median of {len(ratios)} pairs: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


if __name__ == "__main__":
    main()
