"""`AcceleratedStep`: the numbers of `zoo_core.LocalStep` with Accelerate, on any number of processes and devices.

Gradients are synchronised by Accelerate's own DistributedDataParallel around a module whose `forward(fn, batch)` is
`fn(batch)`: a method of the unwrapped model called under DDP would let the ranks diverge without an error. Each phase
of an alternating update is one `minimize`; micro-batches lie inside a phase, never the other way round.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor, nn

from zoo_core.errors import Diverged, ZooError
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.step import LocalStep, Loss, Tree, WeightedMean, only, seed_from, select, tree_map


class Caller(nn.Module):
    """Holds the model and calls any function of a batch, so that DDP sees every loss as its own forward pass."""

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Loss, batch: Batch) -> Tensor | dict[str, Tensor]:
        return function(batch)


def accelerator(groups: int, **options: Any) -> Accelerator:
    """An Accelerator for a model with so many optimiser groups; `ZooError` unless it runs all processes launched.

    Unused parameters are looked for where several groups take turns. Without a GPU Accelerate would silently run each
    launched process alone, so it is told to use the CPU.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    AcceleratorState._reset_state()  # several runs in one process may differ in precision
    ddp = DistributedDataParallelKwargs(find_unused_parameters=groups > 1, broadcast_buffers=False)
    cpu = launched > 1 and not torch.cuda.is_available()
    runner = Accelerator(cpu=cpu, kwargs_handlers=[ddp], **options)
    if runner.num_processes != launched:
        raise ZooError(
            f"{launched} processes were launched, but Accelerate runs {runner.num_processes}; something else in this "
            "program set up its state before the training (start it anew, and train first)"
        )
    if options.get("mixed_precision") == "fp16" and runner.scaler is None:
        raise ZooError(f"precision fp16 needs a GPU, and this run is on {runner.device}; use bf16 or no")
    wanted = {str(name) for name in options.get("log_with") or []}
    if missing := wanted - {str(getattr(name, "value", name)) for name in runner.log_with}:
        raise ZooError(
            f"tracker {', '.join(sorted(missing))} is not installed: pip install {' '.join(sorted(missing))}"
        )
    return runner


class AcceleratedStep(LocalStep):
    """`Step` on Accelerate. data: the whole training set, the same on every process; each takes its slice of a pass.

    noise: "local" seeds each process's noise by its rank; "global" draws for the global batch and slices, so that any
    number of processes sees the same noise (slower; for tests of equality). clip: largest gradient norm, 0 for none.
    """

    def __init__(
        self,
        model: GenerativeModel,
        accelerator: Accelerator,
        *,
        lr: float,
        data: Batch,
        seed: int = 0,
        micro_batch: int | None = None,
        clip: float = 0.0,
        noise: str = "local",
        full_pass: int = 1000,
    ) -> None:
        super().__init__(model, lr=lr, data=data, seed=seed, micro_batch=micro_batch, full_pass=full_pass)
        self.accelerator = accelerator
        self.clip = clip
        self.noise = noise
        self.images_in_full_passes = 0
        self.window = (0, 0)  # where this process's batch begins in the global batch, and how large that is
        self.share = 0.0  # of the image budget already spent
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        learns = any(parameter.requires_grad for parameter in model.parameters())
        caller = Caller(model)
        self.call = accelerator.prepare(caller) if learns else caller
        if (
            accelerator.scaler is not None
        ):  # to skip the steps whose scaled gradients overflow; else torch's own are quicker
            self.optimizers = {name: accelerator.prepare(optimizer) for name, optimizer in self.optimizers.items()}
        self.rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}

    @property
    def progress(self) -> float:
        return self.share

    def schedule(self, factor: float) -> None:
        """Set every group's learning rate to `factor` times its own."""
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name]):
                group["lr"] = rate * factor

    def run(self, batch: Batch, *, start: int = 0, of: int | None = None) -> dict[str, Tensor]:
        """One `train_step` on this process's batch: rows from `start` of a global batch of `of` images."""
        self.images_in_full_passes = 0
        self.window = (start, of or len(batch))
        # Dropout alone draws from torch's global generator; seeding that makes a resumed run the same.
        seed = seed_from(self.seed, self.index, "global", self._rank)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond where there is no GPU
        if self.accelerator.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        return self._run(batch)  # the whole training set was checked in the constructor

    def minimize(self, loss: Loss, batch: Batch, group: str = "model") -> Tensor | dict[str, Tensor]:
        optimizer = select(self.optimizers, group)
        optimizer.zero_grad(set_to_none=True)
        total = WeightedMean()
        scaler = self.accelerator.scaler
        parts = list(batch.split(self.micro_batch))
        # DDP averages over processes, so each process's share is scaled by the number of processes.
        images = self._sum(len(batch)) / self._world
        with only(self.optimizers, group):
            for i, part in enumerate(parts):
                with self._sync(last=i == len(parts) - 1):
                    out = self.call(loss, part)
                    value = out if isinstance(out, Tensor) else out["loss"]
                    # What Accelerator.backward does, without its search for plugins at every call.
                    share = value * (len(part) / images)
                    (share if scaler is None else scaler.scale(share)).backward()
                total.add(out, len(part))
            if self.clip:
                # Of this group alone: Accelerate's own clipping would unscale the other players' stale gradients too.
                self.accelerator.unscale_gradients(optimizer)
                torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.clip)
        result = self._mean_over_processes(total)
        value = result if isinstance(result, Tensor) else result["loss"]
        # Reading a value waits for the device, so on a GPU only every fiftieth is read (and all before a checkpoint).
        if (value.device.type == "cpu" or self.index % 50 == 0) and not bool(torch.isfinite(value)):
            raise Diverged(f"the loss of group {group!r} is {float(value)} at step {self.index}")
        optimizer.step()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Also every process's own `state`, and the scale of float16's gradients. Called on every process."""
        saved = super().state_dict()
        own = {name: value.cpu() for name, value in self.state.items()}
        saved["state"] = gather_object([own])
        scaler = self.accelerator.scaler
        saved["scaler"] = scaler.state_dict() if scaler is not None else None
        return saved

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        states = saved["state"]
        if len(states) != self._world and any(states):
            raise ZooError(
                f"the checkpoint holds the state of {len(states)} processes and this run has {self._world}; "
                f"resume with {len(states)} processes"
            )
        own = states[self._rank] if len(states) == self._world else {}
        moved = {name: value.to(self.accelerator.device) for name, value in own.items()}
        super().load_state_dict({**saved, "state": moved})
        if saved["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])

    @contextlib.contextmanager
    def _sync(self, *, last: bool) -> Iterator[None]:
        if last or self._world == 1:
            yield
        else:
            with self.accelerator.no_sync(self.call):
                yield

    def _sum(self, number: int) -> float:
        if self._world == 1:
            return float(number)
        return float(self.accelerator.reduce(torch.tensor(float(number), device=self.accelerator.device), "sum"))

    def _mean_over_processes(self, total: WeightedMean) -> Tree:
        if self._world == 1:
            return total.value()
        share = total.count / self._sum(total.count)
        return tree_map(lambda leaf: self.accelerator.reduce(leaf * share, "sum"), total.value())

    def mean(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        total = WeightedMean()
        for part in self._parts(batch):
            with torch.no_grad():
                total.add(statistic(part), len(part))
        return self._mean_over_processes(total)

    def gather(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        with torch.no_grad():
            parts = [statistic(part) for part in self._parts(batch)]
        if self._world > 1:
            device = self.accelerator.device
            host = [tree_map(lambda leaf: leaf.cpu(), part) for part in parts]
            parts = [tree_map(lambda leaf: leaf.to(device), part) for part in gather_object(host)]
        return tree_map(lambda *leaves: torch.cat(leaves), *parts)

    def _parts(self, batch: Batch | None) -> Iterator[Batch]:
        if batch is not None:
            yield from batch.split(self.micro_batch)
            return
        assert self.data is not None
        self.images_in_full_passes += len(self.data)
        start, stop = (len(self.data) * rank // self._world for rank in (self._rank, self._rank + 1))
        for part in self.data[start:stop].split(self.full_pass):
            yield part.to(self.accelerator.device)

    def _noise(self, draw: Callable[..., Tensor], batch: Batch, shape: tuple[int, ...], **options: Any) -> Tensor:
        device = batch.x.device
        rank, rows, window = self._rank, len(batch), slice(None)
        if self.noise == "global":
            rank, rows, window = 0, self.window[1], slice(self.window[0], self.window[0] + len(batch))
        generator = torch.Generator(device).manual_seed(seed_from(self.seed, self.index, self._draws, rank))
        self._draws += 1
        return draw((rows, *shape), generator=generator, device=device, **options)[window]
