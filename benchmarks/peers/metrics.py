"""Metrics of feature sets against torch-fidelity's: equal values, less time, bounded memory.

    python benchmarks/peers/metrics.py [--images 10000] [--dims 2048] [--pairs 2] [--only fd kid prdc]

Both compute from the same two matrices of random float32 features, in turn, on two threads, each in a process of its
own. The ratio is the median over pairs, of wall time and of CPU time; on a busy machine believe neither, the second
less wrong. torch-fidelity's precision and recall come without density and coverage, which ours include. Peak memory has
the features and the imports in it. KID is of random subsets, which the two draw differently.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # numpy's BLAS reads it when it is loaded

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from zoo_bench.metrics import frechet, kernels, neighbours

K = 5
NAMES = ("fd", "kid", "prdc")
SIDES = ("ours", "theirs")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--side", choices=SIDES, help="measure one side of one metric in this process, print JSON")
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.only[0], options.side, options.images, options.dims)))
        return
    for name in options.only:
        compare(name, options)


def measure(name: str, side: str, images: int, dims: int) -> dict[str, float]:
    torch.set_num_threads(2)
    a, b = (features(images, dims, seed) for seed in (1, 2))
    compute = (ours if side == "ours" else theirs)(name)
    began, busy = time.perf_counter(), time.process_time()
    value = compute(a, b)
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory at the fork
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 2**20
    return {"seconds": seconds, "cpu": cpu, "value": value, "peak": peak}


def compare(name: str, options: argparse.Namespace) -> None:
    """Alternating pairs."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    size = ["--images", str(options.images), "--dims", str(options.dims)]
    for pair in range(options.pairs):
        for side in SIDES if pair % 2 == 0 else SIDES[::-1]:
            command = [sys.executable, __file__, "--only", name, "--side", side, *size]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[side].append(json.loads(done.stdout))

    def median(key: str, side: str) -> float:
        return statistics.median(one[key] for one in found[side])

    wall, cpu = (
        sorted(their[key] / our[key] for our, their in zip(found["ours"], found["theirs"]))
        for key in ("seconds", "cpu")
    )
    us, them = (max(one["peak"] for one in found[side]) for side in SIDES)
    print(
        f"{name:>4}: {median('seconds', 'ours'):.1f} s, torch-fidelity {median('seconds', 'theirs'):.1f} s: "
        f"{statistics.median(wall):.2f} times as fast ({wall[0]:.2f} to {wall[-1]:.2f}); CPU time "
        f"{median('cpu', 'ours'):.1f} s, {median('cpu', 'theirs'):.1f} s: {statistics.median(cpu):.2f} times; "
        f"peak memory {us:.2f} GB, {them:.2f} GB; "
        f"{found['ours'][0]['value']:.7g} against {found['theirs'][0]['value']:.7g}",
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


if __name__ == "__main__":
    main()
