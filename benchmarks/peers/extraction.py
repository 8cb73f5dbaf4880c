"""Images/s of feature extraction through the harness against a bare loop over the same network.

    python benchmarks/peers/extraction.py [fashioncnn|efficientnet_lite0]

Both run in turn, in pairs, and the median ratio of wall time and of CPU time is printed: 1 means that the harness costs
nothing. On a busy machine believe neither, the second less wrong. The harness checks, hashes and collects; once more
with an empty cache it also writes the features to disk, and with a full one it computes nothing.

The script starts itself anew with an allocator that keeps its memory. glibc's own gives a network's activations back to
the system after some batches and not after others, on either side by chance, which may double the time of a run.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from zoo_bench.features import extract as extractors
from zoo_bench.features import specs as extractor_specs

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
PAIRS = 21
KEEP = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}  # read by glibc as it is loaded


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU time."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


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
    pairs = []
    for pair in range(PAIRS):
        first, second = (bare, harness) if pair % 2 == 0 else (harness, bare)
        found = seconds(first), seconds(second)
        pairs.append(found if pair % 2 == 0 else found[::-1])
    loop, ours = (statistics.median(wall for wall, _ in side) for side in zip(*pairs))
    print(f"{name}: bare loop {job.n / loop:,.0f} images/s, harness {job.n / ours:,.0f} images/s")
    for clock, label in enumerate(("wall", "CPU")):
        ratios = sorted(a[clock] / b[clock] for a, b in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{label} time, bare loop over harness: {middle:.3f}, median of {PAIRS} pairs "
            f"(quartiles {low:.3f}, {high:.3f})"
        )
    with tempfile.TemporaryDirectory() as folder:
        cold, _ = seconds(lambda: harness(Path(folder)))
        warm, _ = seconds(lambda: harness(Path(folder)))
    print(f"with a cache: {loop / cold:.3f} when empty, {loop / warm:.1f} when full (times the bare loop's speed)")


if __name__ == "__main__":
    if not KEEP.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP})
    main(sys.argv[1] if len(sys.argv) > 1 else "fashioncnn")
