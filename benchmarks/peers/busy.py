"""Training steps/s of small and large models under settings of OpenMP's threads, on an idle and on a busy machine.

    python benchmarks/peers/busy.py                # about ten minutes; nothing else should run

At the end of each parallel region OpenMP's threads wait for the slowest, and spin as they wait. On a busy machine the
slowest is one that is not scheduled, and the others burn its time. Three loads: none, three busy loops of equal
priority, and a training of low priority (`nice -n 10`) beside two busy loops. All settings of a load and a model run in
turn, each in a process of its own, because OpenMP reads them when it is loaded; the figure is the median over rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 30,000": {"GOMP_SPINCOUNT": "30000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
}
LOADS = {"idle": (0, 0), "3 busy loops": (3, 0), "niced, 2 busy loops": (2, 10)}  # loops, niceness of the training
MODELS = ("made", "vae", "ddpm")  # small to large
THREADS = 2


def steps_per_second(name: str, seconds: float) -> float:
    """Of one model on the digits, by its recipe's batch."""
    import torch
    from zoo_bench.datasets import load as datasets
    from zoo_bench.training.recipe import plan

    from zoo_core import Batch, LocalStep

    torch.set_num_threads(THREADS)
    planned = plan(name, "digits")
    data = datasets.load("digits", "train").pinned
    step = LocalStep(planned.spec.load_class()(datasets.find("digits").images, planned.config), steps=10**6)
    batch = Batch(data.x[: planned.recipe.batch], data.labels[: planned.recipe.batch])
    step.run(batch)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step.run(batch)
        count += 1
    return count / (time.perf_counter() - began)


def measured(name: str, setting: dict[str, str], niceness: int, seconds: float) -> float:
    clean = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = ["nice", "-n", str(niceness), sys.executable, __file__, "--child", name, "--seconds", str(seconds)]
    run = subprocess.run(command, env=clean | setting, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=MODELS, help="measure this one here and print steps/s")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.child:
        print(steps_per_second(options.child, options.seconds))
        return
    for load, (loops, niceness) in LOADS.items():
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            for name in MODELS:
                rates: dict[str, list[float]] = {key: [] for key in SETTINGS}
                for _ in range(options.rounds):
                    for key, setting in SETTINGS.items():
                        rates[key].append(measured(name, setting, niceness, options.seconds))
                base = statistics.median(rates["default"])
                told = {key: statistics.median(values) for key, values in rates.items()}
                shown = "  ".join(f"{key} {rate:,.2f} ({rate / base:.2f})" for key, rate in told.items())
                print(f"{load:<20} {name:<5} steps/s (ratio to the default): {shown}", flush=True)
        finally:
            for process in busy:
                process.kill()


if __name__ == "__main__":
    main()
