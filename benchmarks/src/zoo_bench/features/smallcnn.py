"""Small classifiers whose 64 penultimate numbers are the features of small grey images: `fd_mnistcnn` and its kin.

The Fréchet distance on a classifier's features is that of Heusel et al., "GANs trained by a two time-scale update rule
converge to a local Nash equilibrium", 2017, https://arxiv.org/abs/1706.08500, eq. 6, with a network made for the data
in place of Inception, whose features of small grey images mean nothing.

    python -m zoo_bench.features.smallcnn mnistcnn --out FOLDER   # trains the shipped weights anew: minutes

Convolutions 3x3 with batch normalisation and ReLU, three of them (one for 8x8) with stride 2, a linear layer with the
same to 64 features, and a linear layer to 10 logits. AdamW with a one-cycle rate on the training split, small random
shifts, the epoch of the best validation accuracy; the test split is looked at once, at the end, and its accuracy
travels in the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from zoo_bench.features import weightfiles
from zoo_bench.randomness import preserved
from zoo_core.errors import ZooError
from zoo_core.files import atomic
from zoo_core.images import Batch
from zoo_core.specs import ExtractorSpec, ImageSpec
from zoo_core.weights import sha256_of

FEATURES = 64
NOTES = "zoo"  # the entry of a safetensors file's header that says where the weights come from


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one classifier is trained; written into its weights.

    widths and strides: of the convolutions. shift: the largest random shift, pixels. required: accuracy on the test
    split below which no weights are written.
    """

    data: str
    images: ImageSpec
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    epochs: int
    shift: int
    required: float
    batch: int = 100
    lr: float = 4e-3
    weight_decay: float = 0.05
    seed: int = 0


_BYTES = ImageSpec(channels=1, height=28, width=28, levels=256, classes=10)
_DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17, classes=10)
_MNIST = Recipe(
    data="mnist", images=_BYTES, widths=(32, 32, 64, 64, 64), strides=(2, 1, 2, 1, 2), epochs=4, shift=2, required=0.99
)
RECIPES = {
    "digitscnn": Recipe(
        data="digits", images=_DIGITS, widths=(32, 64, 64), strides=(1, 2, 1), epochs=60, shift=1, required=0.97
    ),
    "mnistcnn": _MNIST,
    "fashioncnn": replace(_MNIST, data="fashion", epochs=8, shift=1, required=0.91),
}


class SmallCNN(nn.Module):
    """uint8 images `(N, 1, H, W)` to features `(N, 64)` and logits `(N, classes)`."""

    def __init__(self, images: ImageSpec, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = images.levels - 1
        layers: list[nn.Module] = []
        channels, height, width = images.shape
        for out, stride in zip(widths, strides):
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels, height, width = out, math.ceil(height / stride), math.ceil(width / stride)
        self.convolutions = nn.Sequential(*layers)
        # Normalised before their ReLU, so that none is dead and all are of a size that KID's kernel can tell apart.
        self.features = nn.Sequential(
            nn.Linear(channels * height * width, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU()
        )
        self.logits = nn.Linear(FEATURES, images.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        v = x.to(self.logits.weight.dtype) / self.scale  # (N, C, H, W) in [0, 1]
        features = self.features(self.convolutions(v).flatten(1))  # -> (N, 64)
        return features, self.logits(features)


def load(
    spec: ExtractorSpec, images: ImageSpec, device: torch.device | str
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The shipped classifier; `ZooError` for images of another shape. Other levels are scaled to its own."""
    recipe = RECIPES[spec.name]
    if images.shape != recipe.images.shape:
        shape = "x".join(map(str, recipe.images.shape))
        raise ZooError(
            f"extractor {spec.name!r} takes images of {shape}, as those of {recipe.data!r} are, got {images}; "
            "the extractor 'pixels' takes all"
        )
    network = SmallCNN(replace(recipe.images, levels=images.levels), recipe.widths, recipe.strides)
    network.load_state_dict(weightfiles.shipped(spec))
    return network.eval().requires_grad_(False).to(device)


def shifted(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `most` pixels along both axes, zeros (black) where it was: `(N, C, H, W)`."""
    n, _, height, width = x.shape
    by = torch.randint(2 * most + 1, (2, n, 1), generator=generator)
    rows, columns = by[0] + torch.arange(height), by[1] + torch.arange(width)  # (N, H), (N, W)
    padded = functional.pad(x, (most,) * 4)
    images = torch.arange(n)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy(network: nn.Module, batch: Batch) -> float:
    """The fraction of images whose largest logit is that of their class."""
    network.eval()
    return sum(int((network(part.x)[1].argmax(1) == part.labels).sum()) for part in batch.split(500)) / len(batch)


def train(name: str, say: Callable[[str], Any] = print, **changes: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of classifier `name` and what is to be known about them; the global random states are untouched."""
    from zoo_bench.datasets import load as data

    recipe = replace(RECIPES[name], **changes)
    with preserved():
        training, validation, test = (data.load(recipe.data, split).pinned for split in ("train", "validation", "test"))
        torch.manual_seed(recipe.seed)
        network, best = fit(recipe, training, validation, lambda line: say(f"{name}: {line}"))
    final = accuracy(network, test)
    say(f"{name}: test accuracy {final:.4f} (validation {best:.4f})")
    if final < recipe.required:
        raise ZooError(f"{name}: test accuracy {final:.4f}, required {recipe.required}; no weights were written")
    notes = {
        "name": name,
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "data_sha256": data.pixel_sha256(training.x.numpy()),
        "validation_accuracy": round(best, 4),
        "test_accuracy": round(final, 4),
    }
    return {key: value.contiguous() for key, value in network.state_dict().items()}, notes


def fit(recipe: Recipe, training: Batch, validation: Batch, say: Callable[[str], Any]) -> tuple[SmallCNN, float]:
    """The classifier at its best epoch, and its validation accuracy there."""
    assert training.labels is not None
    generator = torch.Generator().manual_seed(recipe.seed)
    network = SmallCNN(recipe.images, recipe.widths, recipe.strides).to(memory_format=torch.channels_last)
    steps = math.ceil(len(training) / recipe.batch) * recipe.epochs
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)
    best, kept = -1.0, network.state_dict()
    for epoch in range(recipe.epochs):
        network.train()
        for rows in _batches(len(training), recipe.batch, generator):
            x = shifted(training.x[rows], recipe.shift, generator)
            loss = functional.cross_entropy(network(x)[1], training.labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        reached = accuracy(network, validation)
        say(f"epoch {epoch + 1} of {recipe.epochs}, validation accuracy {reached:.4f}")
        if reached >= best:  # a later epoch wins a tie: its rate is lower
            best, kept = reached, {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network, best


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The rows of one epoch; a last batch of one image is left out, because it has no variance to normalise by."""
    for rows in torch.randperm(n, generator=generator).split(size):
        if len(rows) > 1:
            yield rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zoo_bench.features.smallcnn", description="Train a small classifier."
    )
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.safetensors")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        weights, notes = train(chosen.name, say=lambda line: print(line, flush=True))
    except ZooError as error:
        sys.exit(str(error))
    path = chosen.out / f"{chosen.name}.safetensors"
    with atomic(path) as temporary:
        save_file(weights, temporary, metadata={NOTES: json.dumps(notes)})  # one entry: several have no order
    print(f"{path}: sha256 {sha256_of(path)}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
