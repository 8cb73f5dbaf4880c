"""What a model costs: floating-point operations, images per second, memory. Informational only: never ranked.

Operations are counted by torch on one image, so they are equal on every machine: a multiplication with an addition is 2
(`torch.utils.flop_counter`), element-wise work is not counted. Times and memory are of this machine.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from zoo_bench.randomness import preserved
from zoo_core import LocalStep
from zoo_core.chunks import Share
from zoo_core.images import Batch
from zoo_core.likelihood import evaluating
from zoo_core.model import GenerativeModel


class Flops(FlopCounterMode):
    """A count of the whole; that of each module takes hooks which fail where a sampler calls `torch.autograd.grad`."""

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker = _Untold()


class _Untold(ModuleTracker):
    """Never looks where it is: everything belongs to the whole."""

    def __enter__(self) -> _Untold:
        return self

    def __exit__(self, *failure: object) -> None:
        pass


def flops(model: GenerativeModel, batch: Batch, condition: dict[str, Any]) -> dict[str, int | None]:
    """Of drawing one image under `condition` (for one image), and of one training step on `batch`, for each image.

    None where a model computes outside torch, or fits the whole training set at once instead of descending.
    """
    drawn, trained = Flops(), Flops()
    with preserved():
        with evaluating(model), drawn:
            model.sample(1, generator=torch.Generator(model.device).manual_seed(0), **condition)
        learner = copy.deepcopy(model)
        step = LocalStep(learner, steps=2)
        if step.optimizers:
            with trained:
                step.run(batch.to(model.device))
    per_image = trained.get_total_flops() // len(batch) if step.optimizers else None
    return {"flops_per_generated_image": drawn.get_total_flops(), "flops_per_training_image": per_image}


def network_evaluations(model: GenerativeModel, condition: dict[str, Any]) -> int | None:
    """How often the most used part of a model ran to draw one image under `condition`: T for a diffusion of T steps.

    Parts are the model's own modules. None for a model that has none, or draws without calling any.
    """
    counts: dict[int, int] = {}
    hooks = []
    for child in model.children():
        for part in child.children() if isinstance(child, nn.ModuleList) else (child,):

            def count(module: nn.Module, *_: Any) -> None:
                counts[id(module)] = counts.get(id(module), 0) + 1

            hooks.append(part.register_forward_pre_hook(count))
    try:
        with preserved(), evaluating(model):
            model.sample(1, generator=torch.Generator(model.device).manual_seed(0), **condition)
    finally:
        for hook in hooks:
            hook.remove()
    return max(counts.values(), default=None)


class Stopwatch:
    """A `share` that also times the chunks of this process. They end on the CPU, so nothing is still running then."""

    def __init__(self, share: Share, processes: int = 1) -> None:
        self.share, self.processes = share, processes
        self.rates: list[float] = []  # images per second, of one process

    def __call__(self, count: int, compute: Callable[[int], Tensor]) -> list[Tensor]:
        size = 0

        def timed(c: int) -> Tensor:
            nonlocal size
            began = time.perf_counter()
            x = compute(c)
            seconds = time.perf_counter() - began
            size = size or len(x)
            if len(x) == size:  # a last chunk of fewer images says something else
                self.rates.append(len(x) / max(seconds, 1e-9))
            return x

        return self.share(count, timed)

    def speed(self, what: str) -> dict[str, Any]:
        """`WHAT_images_per_second`, the median over chunks of all processes together, and the quartiles.

        The first chunk warms up and counts only where there is no other.
        """
        rates = [rate * self.processes for rate in self.rates[1:] or self.rates]
        if not rates:
            return {}
        low, middle, high = statistics.quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else rates * 3
        found = {f"{what}_images_per_second": round(middle, 2)}
        quartiles = {f"{what}_quartiles": (round(low, 2), round(high, 2))} if len(rates) > 1 else {}
        return {**found, **quartiles, f"{what}_chunks": len(rates)}


class Memory:
    """The peak since it was made, of memory on a CUDA device or resident in this process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts again, proc(5)
            self.known = True
        except OSError:
            self.known = False

    def peak(self) -> dict[str, int]:
        """`peak_memory_mb`; nothing where the system cannot say it of a part of a process."""
        if self.device.type == "cuda":
            return {"peak_memory_mb": round(torch.cuda.max_memory_allocated(self.device) / 2**20)}
        if not self.known:
            return {}
        status = Path("/proc/self/status").read_text()
        return {"peak_memory_mb": round(int(status.partition("VmHWM:")[2].split()[0]) / 2**10)}
