"""Sampled incrementally against a full pass per pixel: 16 images of 784 binary pixels, `made` of 500 units or `fvsbn`.

    python benchmarks/peers/sampling.py [HIDDEN | fvsbn]

Both samplers get the same noise and must give the same images.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

import zoo_core
from zoo_core import ImageSpec


def timed(function: Callable[[], torch.Tensor], runs: int) -> tuple[float, torch.Tensor]:
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        out = function()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]), out


@torch.no_grad()
def naive(model: zoo_core.GenerativeModel, u: torch.Tensor) -> torch.Tensor:
    """One full pass per pixel, as the paper's footnote has it and public code does."""
    s = torch.zeros(u.shape, dtype=torch.uint8)
    for d in range(u.shape[1]):
        p = torch.sigmoid(model.logits(s)[:, d, 0])  # P(x_d = 1 | x_<d)
        s[:, d] = u[:, d] >= 1 - p
    return s


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "500"
    images = ImageSpec(channels=1, height=28, width=28, levels=2)
    torch.manual_seed(0)
    if size == "fvsbn":
        model = zoo_core.create("fvsbn", images).eval()
    else:
        model = zoo_core.create("made", images, hidden=(int(size),)).eval()
    for weight in (parameter for parameter in model.parameters() if parameter.dim() > 1):
        torch.nn.init.normal_(weight, std=0.05)
    u = torch.rand(16, 784, generator=torch.Generator().manual_seed(1))
    fast, x = timed(lambda: model.sample(16, generator=torch.Generator().manual_seed(1)), 9)
    slow, y = timed(lambda: naive(model, u), 1)
    same = (x.flatten(1) == y).float().mean()
    print(f"{size}, {torch.get_num_threads()} threads: incremental {fast:.3f} s, full passes {slow:.2f} s")
    print(f"ratio {slow / fast:.0f}; {same:.2%} of the pixels are equal (float32 rounding decides the rest)")


if __name__ == "__main__":
    main()
