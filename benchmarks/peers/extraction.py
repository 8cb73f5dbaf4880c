"""Images/s of feature extraction through the harness against a bare loop over the same network.

    python benchmarks/peers/extraction.py [fashioncnn|efficientnet_lite0]

Both run in turn, seven times each, and the ratio of the medians is printed: 1 means that the harness costs nothing. The
harness checks, hashes and collects; once more with an empty cache it also writes the features to disk, and with a full
one it computes nothing.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from zoo_bench import extractor_specs, extractors

from zoo_core import ImageSpec


@dataclass(frozen=True)
class Job:
    images: ImageSpec
    n: int
    batch: int


JOBS = {
    "fashioncnn": Job(ImageSpec(channels=1, height=28, width=28, levels=256, classes=10), 10_000, 250),
    "efficientnet_lite0": Job(ImageSpec(channels=3, height=32, width=32), 160, 32),
}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(name: str) -> None:
    job = JOBS[name]
    spec = next(spec for spec in extractor_specs.EXTRACTORS if spec.name == name)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (job.n, *job.images.shape), generator=generator).to(torch.uint8)
    network = extractors.network(spec, job.images, "cpu")

    @torch.no_grad()
    def bare() -> Tensor:
        return torch.cat([torch.cat(list(network(part)), 1) for part in x.split(job.batch)])

    def harness(cache: Path | None = None) -> object:
        return extractors.extract(spec, x, job.images, batch=job.batch, cache=cache)

    bare(), harness()  # warm up
    pairs = [(seconds(bare), seconds(harness)) for _ in range(7)]
    loop, ours = (statistics.median(values) for values in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print(f"{name}: bare loop {job.n / loop:,.0f} images/s, harness {job.n / ours:,.0f} images/s")
    print(
        f"ratio, median of {len(ratios)} pairs: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    with tempfile.TemporaryDirectory() as folder:
        cold = seconds(lambda: harness(Path(folder)))
        warm = seconds(lambda: harness(Path(folder)))
    print(f"with a cache: {loop / cold:.3f} when empty, {loop / warm:.1f} when full (times the bare loop's speed)")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fashioncnn")
