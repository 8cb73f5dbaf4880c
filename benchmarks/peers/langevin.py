"""Langevin steps of zoo-energy's sampler against a bare hand-written loop over the same network.

    python benchmarks/peers/langevin.py [DEVICE]

The bare loop is what one writes in a notebook: a gradient, a step, noise from the global generator, a clamp. Both run
over chains of the same energies, in turn. Prints ratios of steps/s, ours to the bare loop's: above 1 is faster.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from zoo_energy.ebm.config import EBMConfig
from zoo_energy.ebm.model import EBM

from zoo_core import ImageSpec

STEPS, ROUNDS = 60, 15
CASES = {
    "moons": (ImageSpec(channels=1, height=1, width=2), EBMConfig(network="mlp", hidden=(64, 64, 64)), 100),
    "digits": (ImageSpec(channels=1, height=8, width=8, levels=17), EBMConfig(widths=(32, 64)), 100),
    "fashion": (ImageSpec(channels=1, height=28, width=28), EBMConfig(widths=(32, 64, 128)), 100),
}


def main() -> None:
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")
    for name, (images, config, n) in CASES.items():
        torch.manual_seed(0)
        model = EBM(images, config).to(device).eval()
        generator = torch.Generator(device).manual_seed(0)
        start, schedule = model.noise(n, generator), model.schedule(STEPS, 1.0)
        step_size, noise = config.step_size, config.noise

        ours = functools.partial(model.walk, start, schedule, generator)

        def bare(model: EBM = model, v: Tensor = start, step: float = step_size, noise: float = noise) -> Tensor:
            for _ in range(STEPS):
                v = v.detach().requires_grad_()
                (slope,) = torch.autograd.grad(model.network(v).sum(), v)
                v = (v.detach() - step * slope + noise * torch.randn_like(v)).clamp(0, 1)
            return v

        for warm_up in (ours, bare):
            warm_up()
        pairs = [(seconds(ours, device), seconds(bare, device)) for _ in range(ROUNDS)]
        ratios = sorted(theirs / mine for mine, theirs in pairs)
        rate = STEPS / statistics.median(mine for mine, _ in pairs)
        print(
            f"{name}, {n} chains: {rate:,.0f} steps/s, {statistics.median(ratios):.3f} times as fast as the bare loop "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


def seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
