"""`maf` against zuko's MAF, and `nsf` against zuko's NSF: training steps and samples at 64 dimensions.

    python benchmarks/peers/flows_vector.py [--threads N]

The peer is installed into a temporary folder, never into the environment. Both train on the same digits by the same
optimiser: a step is dequantisation, the logit with its Jacobian, forward, backward, Adam. Samples are drawn through
the inverse: zuko's makes a pass for each dimension. First the script gives both the same weights and stops where their
densities differ. Prints ratios of medians.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zoo_flow.maf.config import MAFConfig
from zoo_flow.maf.model import MAF
from zoo_flow.nsf.config import NSFConfig
from zoo_flow.nsf.model import NSF
from zoo_flow.vector_flow import VectorFlow

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import dequantise

PEER = "zuko"  # of its dependencies, torch and numpy are here
IMAGES = ImageSpec(channels=1, height=8, width=8, levels=17)
BLOCKS, HIDDEN, BINS, BOUND = 5, (128, 128), 8, 3.0
ROUNDS = {"train": 30, "sample": 7}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(arguments.parse_args().threads)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PEER]
        subprocess.run(command, check=True)
        sys.path.insert(0, folder)
        import zuko

        options = {"hidden_features": HIDDEN}
        maf = MAF(IMAGES, MAFConfig(blocks=BLOCKS, hidden=HIDDEN))
        same(maf, zuko)
        pair("maf, 5 x (128, 128)", maf, zuko.flows.MAF(64, transforms=BLOCKS, **options), draws=(100, 1000))
        config = NSFConfig(kind="autoregressive", steps=BLOCKS, mixing="permute", bins=BINS, bound=BOUND, hidden=128)
        theirs = zuko.flows.NSF(64, bins=BINS, transforms=BLOCKS, **options)
        pair("nsf, autoregressive, 5 x (128, 128), 8 bins", NSF(IMAGES, config), theirs, draws=(100,))


def same(model: MAF, zuko: Any) -> None:
    """One block of each with the same weights and masks: the same noise, the same log-determinant."""
    block = model.layers[1]
    transform = zuko.flows.MaskedAutoregressiveTransform(64, hidden_features=HIDDEN)
    theirs = [module for module in transform.hyper if isinstance(module, nn.Linear)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        nn.init.normal_(block.made.output.weight, std=0.1, generator=generator)
        for ours, other in zip([*block.made.hidden, block.made.output], theirs):
            weight, bias, mask = ours.weight, ours.bias, ours.mask.bool()
            if ours is block.made.output:  # zuko has the numbers of a dimension together
                weight, bias, mask = (
                    t.unflatten(0, (2, 64)).transpose(0, 1).flatten(0, 1) for t in (weight, bias, mask)
                )
            other.weight.copy_(weight)
            other.bias.copy_(bias)
            other.mask = mask
        x = torch.randn(100, 64, generator=generator)
        shift, a = transform.hyper(x).unflatten(1, (64, 2)).unbind(2)
        z, log_det = block(x)
        expected = (x - shift) * (-a).exp()
        torch.testing.assert_close((z, log_det), (expected, -a.sum(1)), rtol=1e-4, atol=1e-4)
        nn.init.zeros_(block.made.output.weight)


def pair(what: str, ours: VectorFlow, theirs: Any, draws: tuple[int, ...]) -> None:
    print(f"{what}: {numbers(ours):,} parameters, zuko's {numbers(theirs):,}")
    for size in (100, 256):
        x = torch.randint(17, (size, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        compare(f"  training step of {size} images", training(ours, x), peer_training(ours, theirs, x), ROUNDS["train"])
    for size in draws:
        samples = functools.partial(ours.sample, size), functools.partial(peer_samples, theirs, size)
        compare(f"  {size} samples", *samples, ROUNDS["sample"])


def numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def training(model: VectorFlow, x: Tensor) -> Callable[[], Any]:
    step, batch = LocalStep(model, lr=1e-4), Batch(x)
    return lambda: step.run(batch)


def peer_training(model: VectorFlow, flow: Any, x: Tensor) -> Callable[[], Any]:
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-4, weight_decay=0.0)

    def step() -> None:
        v, log_volume = dequantise(x, IMAGES)
        y, of_pixels = model.pixels(v)
        loss = -(flow().log_prob(y.flatten(1)) + of_pixels).mean() - log_volume
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@torch.no_grad()
def peer_samples(flow: Any, n: int) -> Tensor:
    return flow().sample((n,))


def compare(what: str, one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for run in (one, other):
        run()
    for _ in range(rounds):
        for run, seconds in zip((one, other), times):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    ours, theirs = map(statistics.median, times)
    print(f"{what}: {ours * 1e3:.1f} ms, zuko's {theirs * 1e3:.1f} ms, {theirs / ours:.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
