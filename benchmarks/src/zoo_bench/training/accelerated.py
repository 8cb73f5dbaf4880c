"""`AcceleratedStep`: the numbers of `zoo_core.LocalStep` with Accelerate, on any number of processes and devices.

Gradients are synchronised by Accelerate's own DistributedDataParallel around a module whose `forward(fn, batch)` is
`fn(batch)`: a method of the unwrapped model called under DDP would let the ranks diverge without an error. Each phase
of an alternating update is one `minimize`; micro-batches lie inside a phase, never the other way round.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo_bench import processes
from zoo_core.errors import ZooError
from zoo_core.images import Batch
from zoo_core.step import LocalStep, Loss, Trainable, Tree, WeightedMean, only, seed_from, select, tree_map

Result = TypeVar("Result")


class Caller(nn.Module):
    """Holds the model and calls any function of a batch, so that DDP sees every loss as its own forward pass."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Loss, batch: Batch) -> Tensor | dict[str, Tensor]:
        return function(batch)


def accelerator(groups: int, float64: bool = False, **options: Any) -> Accelerator:
    """An Accelerator for a model with so many optimiser groups; `ZooError` unless it runs all processes launched.

    Unused parameters are looked for where several groups take turns. float64: the model needs it, so Apple's MPS, which
    has none, is left alone.
    """
    cpu = processes.start().device.type == "cpu" or (float64 and torch.backends.mps.is_available())
    AcceleratorState._reset_state()  # several runs in one process may differ in precision
    ddp = DistributedDataParallelKwargs(find_unused_parameters=groups > 1, broadcast_buffers=False)
    runner = Accelerator(cpu=cpu, kwargs_handlers=[ddp], **options)
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
    tell: hears, once each, of micro-batches made smaller because a device's memory was full.
    """

    advice = ""  # the trainer knows more

    def __init__(
        self,
        model: Trainable,
        accelerator: Accelerator,
        *,
        lr: float,
        data: Batch,
        seed: int = 0,
        micro_batch: int | None = None,
        clip: float = 0.0,
        noise: str = "local",
        full_pass: int = 1000,
        tell: Callable[[str], Any] = warnings.warn,
    ) -> None:
        super().__init__(model, lr=lr, data=data, seed=seed, micro_batch=micro_batch, full_pass=full_pass)
        self.accelerator = accelerator
        self.clip = clip
        self.noise = noise
        self.images_in_full_passes = 0
        self.window: tuple[int, int] | None = (
            None  # where this process's batch begins in the global batch, and how large that is
        )
        self.share = 0.0  # of the image budget already spent
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        self.tell = tell
        # Each group's phase is first tried alone so often: where other processes wait for this one's gradients.
        self.trials = 2 if self._world > 1 and accelerator.device.type == "cuda" else 0
        self._tried: dict[str, int] = {}
        learns = any(parameter.requires_grad for parameter in model.parameters())
        caller = Caller(model)
        with warnings.catch_warnings():  # newer versions of torch have another word for broadcast_buffers
            warnings.simplefilter("ignore", FutureWarning)
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
        seed_global(self.accelerator.device, seed)
        return self._run(batch)  # the whole training set was checked in the constructor

    def finish(self) -> None:
        """The model's `finish`: no batch is shared out any more, so its noise is equal on every process."""
        self.window = None
        super().finish()

    def minimize(self, loss: Loss, batch: Batch, group: str = "model") -> Tensor | dict[str, Tensor]:
        optimizer = select(self.optimizers, group)
        # DDP averages over processes, so each process's share is scaled by the number of processes.
        images = self._sum(len(batch))
        share = images / self._world
        with only(self.optimizers, group):
            self._try_alone(loss, batch, optimizer, group)
            total = self._fitting(batch, lambda: self._backward(loss, batch, optimizer, share))
        result = self._mean_over_processes(total, images)
        # Reading a value waits for the device, so on a GPU only every fiftieth is read; before a checkpoint the weights
        # are, which a gradient that is not finite has spoiled. Scaled gradients may overflow: their steps are skipped.
        if batch.x.device.type == "cpu" or self.index % 50 == 0:
            self._must_be_finite(result, group, gradient=self.accelerator.scaler is None)
        if self.clip:
            # Of this group alone: Accelerate's own clipping would unscale the other players' stale gradients too.
            self.accelerator.unscale_gradients(optimizer)
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.clip)
        optimizer.step()
        return result

    def _backward(
        self, loss: Loss, batch: Batch, optimizer: Optimizer, images: float | Tensor, *, alone: bool = False
    ) -> WeightedMean:
        """Gradients of the batch's share of a loss, micro-batch by micro-batch; alone: not those of other processes."""
        optimizer.zero_grad(set_to_none=True)
        total = WeightedMean()
        scaler = self.accelerator.scaler
        parts = list(batch.split(self.micro_batch))
        for i, part in enumerate(parts):
            with self._sync(last=i == len(parts) - 1 and not alone):
                out = self.call(loss, part)
                value = out if isinstance(out, Tensor) else out["loss"]
                if self._world > 1 or len(parts) > 1:  # else it is the whole
                    value = value * (len(part) / images)
                # What Accelerator.backward does, without its search for plugins at every call.
                (value if scaler is None else scaler.scale(value)).backward()
            total.add(out, len(part))
        return total

    def _try_alone(self, loss: Loss, batch: Batch, optimizer: Optimizer, group: str) -> None:
        """Find this process's micro-batch before the processes wait for each other; one's `ZooError` is of all.

        One that ran out of memory in the middle would leave the others waiting for ever. Done twice a group: the
        optimiser's own state comes second. Micro-batches need not be equal on all processes. A trial leaves no trace:
        dropout's generators and batch normalisation are put back, and gradients are made anew.
        """
        tried = self._tried.get(group, 0)
        if tried >= self.trials:
            return
        self._tried[group] = tried + 1
        device, trouble = self.accelerator.device, None
        with torch.random.fork_rng([device] if device.type == "cuda" else []), preserved_batch_norm(self.model):
            try:
                self._fitting(batch, lambda: self._backward(loss, batch, optimizer, len(batch), alone=True), alone=True)
            except ZooError as error:
                trouble = error
        optimizer.zero_grad(set_to_none=True)
        if self.any(trouble is not None):
            raise trouble or ZooError("the memory of another process is full; continue with --resume --micro-batch 1")

    def _fitting(self, batch: Batch, work: Callable[[], Result], *, alone: bool = False) -> Result:
        """`work()`, with micro-batches halved until it fits the memory: smaller ones give the same result.

        alone: without the other processes, which could not follow a second try: they wait in the middle of this one.
        """
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                    raise
                size = min(self.micro_batch or len(batch), len(batch))
                if size == 1 or (self._world > 1 and not alone):
                    kind = ZooError if self._world == 1 or alone else processes.Disconnected
                    text = f"the memory of {self.accelerator.device} is full with {size} images at a time"
                    raise kind(f"{text}; continue with --resume --micro-batch {max(1, size // 2)}") from error
            # Outside of the handler, where the error no longer holds the tensors that filled the memory.
            self.micro_batch = (size + 1) // 2
            text = f"{size} images do not fit into the memory: continuing with {self.micro_batch} at a time"
            self.tell(f"{text}; {what_changes(self.model)}")
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()

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

    def any(self, flag: bool) -> bool:
        """Whether any process says so. Every process must ask."""
        return bool(self._sum(flag) > 0)

    def _sum(self, number: int) -> float | Tensor:
        """Over processes. A tensor on the device: reading it would wait for all that the device has still to do."""
        if self._world == 1:
            return float(number)
        total: Tensor = self.accelerator.reduce(
            torch.tensor(number, dtype=torch.float64, device=self.accelerator.device), "sum"
        )
        return total

    def _mean_over_processes(self, total: WeightedMean, images: float | Tensor) -> Tree:
        if self._world == 1:
            return total.value()
        share = total.count / images
        return tree_map(lambda leaf: self.accelerator.reduce(leaf * share, "sum"), total.value())

    def mean(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        def average() -> WeightedMean:
            total = WeightedMean()
            for part in self._parts(batch):
                with torch.no_grad():
                    total.add(statistic(part), len(part))
            return total

        total = average() if batch is None else self._fitting(batch, average, alone=True)
        return self._mean_over_processes(total, self._sum(total.count))

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
        if self.window is None:
            rank = 0
        elif self.noise == "global":
            start, rows = self.window
            rank, window = 0, slice(start, start + len(batch))
        generator = torch.Generator(device).manual_seed(seed_from(self.seed, self.index, self._draws, rank))
        self._draws += 1
        return draw((rows, *shape), generator=generator, device=device, **options)[window]


def seed_global(device: torch.device, seed: int) -> None:
    """Seed torch's global generators of the CPU and of one device."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond where there is no GPU
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def preserved_batch_norm(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch normalisation as they were found."""
    layers = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    found = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers()]
    try:
        yield
    finally:
        for buffer, before in found:
            buffer.copy_(before)


def what_changes(model: nn.Module) -> str:
    """What smaller micro-batches change in the training of a model."""
    modules = list(model.modules())
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules):
        return "batch normalisation sees only these"
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in modules):
        return "the result is the same but for other dropout masks"
    return "the result is the same"
