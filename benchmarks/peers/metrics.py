"""Metrics of feature sets against torch-fidelity's: equal values, less time, bounded memory.

    python benchmarks/peers/metrics.py [--images 10000] [--dims 2048] [--rounds 3] [--only fd kid prdc]

Both compute from the same two matrices of random float32 features, in turn, on two threads. torch-fidelity's precision
and recall come without density and coverage, which ours include. Peak memory is that of a process of its own that does
nothing else; the features and the imports are in it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # numpy's BLAS reads it when it is loaded

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from zoo_bench import frechet, kernels, neighbours

K = 5
NAMES = ("fd", "kid", "prdc")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--peak", action="store_true", help="our side alone, once, and its peak memory")
    options = parser.parse_args()
    torch.set_num_threads(2)
    a, b = (features(options.images, options.dims, seed) for seed in (1, 2))
    if options.peak:
        for name in options.only:
            ours(name)(a, b)
        status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory at the fork
        print(int(status.partition("VmHWM:")[2].split()[0]) / 2**20)
        return
    for name in options.only:
        compare(name, a, b, options.rounds)
        print(f"      peak memory {peak(name, options):.2f} GB", flush=True)


def compare(name: str, a: Tensor, b: Tensor, rounds: int) -> None:
    """Alternating pairs; the ratio is the median over pairs."""
    sides: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        values = []
        for seconds, compute in zip(sides, (ours(name), theirs(name))):
            began = time.perf_counter()
            values.append(compute(a, b))
            seconds.append(time.perf_counter() - began)
    ratios = sorted(their / our for our, their in zip(*sides))
    print(
        f"{name:>4}: {statistics.median(sides[0]):.1f} s, torch-fidelity {statistics.median(sides[1]):.1f} s: "
        f"{statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{values[0]:.7g} against {values[1]:.7g}",
        flush=True,
    )


def features(n: int, d: int, seed: int) -> Tensor:
    """Non-negative and correlated, as pooled features are; each seed has another mean: float32 `(n, d)`."""
    mix = torch.randn(d // 16, d, generator=torch.Generator().manual_seed(0)) / (d // 16) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(n, d // 16, generator=generator) @ mix
    return (0.4 + 0.02 * seed + 0.4 * common + 0.2 * torch.randn(n, d, generator=generator)).clamp(min=0)


def ours(name: str) -> Callable[[Tensor, Tensor], float]:
    return {
        "fd": lambda a, b: frechet.frechet_distance(frechet.fit(a), frechet.fit(b)),
        "kid": lambda a, b: kernels.kid(a, b)[0],
        "prdc": lambda a, b: neighbours.prdc(b, a, k=K)["precision"],
    }[name]


def theirs(name: str) -> Callable[[Tensor, Tensor], float]:
    from torch_fidelity import metric_fid, metric_kid, metric_prc

    def fd(a: Tensor, b: Tensor) -> float:
        fitted = [metric_fid.fid_features_to_statistics(x) for x in (a, b)]
        return float(metric_fid.fid_statistics_to_metric(*fitted, verbose=False)[metric_fid.KEY_METRIC_FID])

    def kid(a: Tensor, b: Tensor) -> float:
        return float(metric_kid.kid_features_to_metric(a, b, verbose=False)[metric_kid.KEY_METRIC_KID_MEAN])

    def prdc(a: Tensor, b: Tensor) -> float:
        found = metric_prc.prc_features_to_metric(a, b, prc_neighborhood=K, verbose=False)
        return float(found[metric_prc.KEY_METRIC_PRECISION])

    return {"fd": fd, "kid": kid, "prdc": prdc}[name]


def peak(name: str, options: argparse.Namespace) -> float:
    """GB."""
    size = ["--images", str(options.images), "--dims", str(options.dims)]
    command = [sys.executable, __file__, "--peak", "--only", name, *size]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
