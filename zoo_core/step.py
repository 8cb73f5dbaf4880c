"""What is trained (`Trainable`), what its `train_step` may ask of its surroundings (`Step`), and that in short.

A loss is a deterministic function of its batch (dropout excepted). All noise is drawn by the step and attached to the
batch, so it survives micro-batching, resuming and the equality tests. `LocalStep` is the executable definition;
the harness's `AcceleratedStep` gives the same numbers on many processes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from zoo_core.config import Config
from zoo_core.errors import Diverged, ZooError, did_you_mean
from zoo_core.images import Batch, check, check_labels
from zoo_core.specs import Conditioning, ImageSpec

Tree = Any  # a Tensor, or dicts, tuples and lists of trees
Loss = Callable[[Batch], "Tensor | dict[str, Tensor]"]


class Step(Protocol):
    """One optimisation step as a model sees it.

    index: count of `train_step` calls. progress: share of the image budget already spent, in [0, 1).
    state: per process, in checkpoints, never in weights: replay buffers, chains, baselines.
    """

    index: int
    state: dict[str, Tensor]

    @property
    def progress(self) -> float: ...

    def minimize(self, loss: Loss, batch: Batch, group: str = "model") -> Tensor | dict[str, Tensor]:
        """One step of optimiser `group` on `loss(batch)`, a mean over the batch's images.

        `loss` returns a scalar, or a dict of tensors with "loss"; the same comes back, averaged and detached.
        """

    def randn(self, batch: Batch, *shape: int) -> Tensor:
        """Standard normal noise `(len(batch), *shape)`."""

    def rand(self, batch: Batch, *shape: int) -> Tensor:
        """Uniform noise in [0, 1), `(len(batch), *shape)`."""

    def randint(self, high: int, batch: Batch, *shape: int) -> Tensor:
        """Uniform integers `0 .. high-1`, int64 `(len(batch), *shape)`."""

    def mean(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        """The mean of `statistic` (itself a mean over its images), weighted by images, without gradients.

        Over micro-batches and processes; with `batch=None` over the whole training set, nothing padded or repeated.
        """

    def gather(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        """Like `mean`, but concatenated along dimension 0; equal on every process."""


class Trainable(nn.Module, ABC):
    """What learns from images `images`, shaped by `config`: a generative model, or an encoder, or a classifier.

    The constructor raises `ZooError` (a `ValueError`) where it cannot take such images. A registered buffer is
    something that its use needs (`sample`, a likelihood, features); everything else that a training remembers is in
    `step.state`.

    conditioning: what its training batches must bring beside images, "class" for a classifier; at most what its
    `ModelSpec.conditioning` says. A generative model's `sample` takes the same.
    """

    conditioning: Conditioning = "none"

    def __init__(self, images: ImageSpec, config: Config) -> None:
        super().__init__()
        self.images = images
        self.config = config

    @abstractmethod
    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """One step of the paper's algorithm; returns metrics to log, 0-d and detached."""

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Named groups for `step.minimize`; `{}` where nothing is descended. Default: AdamW without decay, "model"."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return {"model": AdamW(parameters, lr=lr, weight_decay=0.0)} if parameters else {}

    def finish(self, step: Step) -> None:
        """After the last step, once for each set of weights that is saved: ex-post densities, BatchNorm, log Z."""

    @property
    def device(self) -> torch.device:
        """Where the parameters (or, without any, the buffers) are."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


class LocalStep:
    """`Step` on one process, without Accelerate: the reference.

        step = LocalStep(model, lr=1e-3, data=Batch(x), steps=200)
        for batch in batches:
            metrics = step.run(batch)
        step.finish()

    data: the training set for full passes. steps: the length of the training, for `progress`.
    micro_batch: at most so many images in one forward pass; the result is that of the whole batch.
    """

    advice = "; lower the learning rate"  # where numbers are no longer finite

    def __init__(
        self,
        model: Trainable,
        *,
        lr: float = 1e-3,
        data: Batch | None = None,
        steps: int | None = None,
        seed: int = 0,
        micro_batch: int | None = None,
        full_pass: int = 1000,
    ) -> None:
        self.model = model
        self.optimizers = model.optimizers(lr)
        self.data = data
        if data is not None:
            self._check(data)
        if micro_batch is not None and micro_batch < 1:
            raise ZooError(f"micro_batch: expected at least 1 image, or None for all of a batch, got {micro_batch}")
        self.steps = steps
        self.seed = seed
        self.micro_batch = micro_batch
        self.full_pass = full_pass
        self.index = 0
        self.state: dict[str, Tensor] = {}
        self.images_in_full_passes = 0  # of one step
        self._draws = 0

    @property
    def progress(self) -> float:
        return min(self.index / self.steps, 1.0) if self.steps else 0.0

    def run(self, batch: Batch) -> dict[str, Tensor]:
        """One `train_step` of the model; `ZooError` for a batch that is not what the model was made for."""
        if not isinstance(batch, Batch):
            raise ZooError(f"expected a Batch, got {type(batch).__name__}: step.run(Batch(x))")
        self._check(batch)
        metrics = self._run(batch)
        self.model.eval()
        return metrics

    def _check(self, batch: Batch) -> None:
        check(batch.x, self.model.images)
        if self.model.conditioning == "class":
            check_labels(batch.labels, len(batch), self.model.images)

    def _run(self, batch: Batch) -> dict[str, Tensor]:
        """`run` without the check and the return to evaluation mode: what a loop of many steps can spare."""
        self._draws = self.images_in_full_passes = 0
        if not self.model.training:
            self.model.train()
        metrics = self.model.train_step(batch, self)
        self.index += 1
        return metrics

    def finish(self) -> None:
        """The model's `finish`, in evaluation mode."""
        self._draws = 0
        self.model.eval()
        self.model.finish(self)

    def minimize(self, loss: Loss, batch: Batch, group: str = "model") -> Tensor | dict[str, Tensor]:
        optimizer = select(self.optimizers, group)
        optimizer.zero_grad(set_to_none=True)
        total = WeightedMean()
        with only(self.optimizers, group):
            for part in batch.split(self.micro_batch):
                out = loss(part)
                value = out if isinstance(out, Tensor) else out["loss"]
                (value * (len(part) / len(batch))).backward()  # type: ignore[no-untyped-call]
                total.add(out, len(part))
        result: Tensor | dict[str, Tensor] = total.value()
        self._must_be_finite(result, group)
        optimizer.step()
        return result

    def _must_be_finite(self, result: Tree, group: str, *, gradient: bool = True) -> None:
        """`Diverged` where the loss is not, or, though it is, its gradient: before the weights move by either."""
        told = {"loss": result if isinstance(result, Tensor) else result["loss"]}
        if gradient:  # NaN and infinity stay in a sum, about a hundredth of a step
            parameters = (p for g in self.optimizers[group].param_groups for p in g["params"])
            told["gradient"] = sum(p.grad.sum() for p in parameters if p.grad is not None)
        for what, value in told.items():
            if not math.isfinite(value):
                raise Diverged(f"the {what} of group {group!r} is {float(value)} at step {self.index}{self.advice}")

    def randn(self, batch: Batch, *shape: int) -> Tensor:
        return self._noise(torch.randn, batch, shape, dtype=_dtype(self.model))

    def rand(self, batch: Batch, *shape: int) -> Tensor:
        return self._noise(torch.rand, batch, shape, dtype=_dtype(self.model))

    def randint(self, high: int, batch: Batch, *shape: int) -> Tensor:
        return self._noise(functools.partial(torch.randint, high), batch, shape)

    def _noise(self, draw: Callable[..., Tensor], batch: Batch, shape: tuple[int, ...], **options: Any) -> Tensor:
        device = batch.x.device
        generator = torch.Generator(device).manual_seed(seed_from(self.seed, self.index, self._draws, 0))
        self._draws += 1
        return draw((len(batch), *shape), generator=generator, device=device, **options)

    def mean(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        total = WeightedMean()
        for part in self._parts(batch):
            with torch.no_grad():
                total.add(statistic(part), len(part))
        return total.value()

    def gather(self, statistic: Callable[[Batch], Tree], batch: Batch | None = None) -> Tree:
        with torch.no_grad():
            parts = [statistic(part) for part in self._parts(batch)]
        return tree_map(lambda *leaves: torch.cat(leaves), *parts)

    def _parts(self, batch: Batch | None) -> Iterator[Batch]:
        if batch is not None:
            return batch.split(self.micro_batch)
        if self.data is None:
            raise ZooError("this model trains by full passes: give LocalStep the training set, data=Batch(x)")
        self.images_in_full_passes += len(self.data)
        return self.data.split(self.full_pass)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs besides the model's own `state_dict`."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"index": self.index, "state": dict(self.state), "optimizers": optimizers}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.index = saved["index"]
        self.state = dict(saved["state"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])


class WeightedMean:
    """The running mean of trees of tensors, weighted by how many images each stands for."""

    def __init__(self) -> None:
        self.mean: Tree = None
        self.count = 0

    def add(self, tree: Tree, images: int) -> None:
        self.count += images
        tree = tree_map(torch.detach, tree)
        share = images / self.count if self.count else 0.0
        if self.mean is not None:
            tree = tree_map(lambda old, new: old * (1 - share) + new * share, self.mean, tree)
        self.mean = tree

    def value(self) -> Tree:
        if self.mean is None:
            raise ZooError("a mean over no images: the batch or the training set is empty")
        return self.mean


def tree_map(function: Callable[..., Any], *trees: Tree) -> Tree:
    """`function` of the corresponding leaves of trees of equal structure."""
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: tree_map(function, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, (tuple, list)):
        return type(first)(tree_map(function, *leaves) for leaves in zip(*trees, strict=True))
    return function(*trees)


def select(optimizers: Mapping[str, Optimizer], group: str) -> Optimizer:
    """The optimiser called `group`; `ZooError` with the names there are."""
    if group not in optimizers:
        raise ZooError(f"no optimiser group {group!r}{did_you_mean(group, optimizers)} (see the model's optimizers())")
    return optimizers[group]


@contextlib.contextmanager
def only(optimizers: Mapping[str, Optimizer], group: str) -> Iterator[None]:
    """Freeze the parameters of every group but `group`, so that a player's loss never moves the other player."""
    mine = {id(p) for g in optimizers[group].param_groups for p in g["params"]}
    others = [p for o in optimizers.values() for g in o.param_groups for p in g["params"] if id(p) not in mine]
    frozen = [p for p in others if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def seed_from(*parts: int | str) -> int:
    """A 63-bit seed from any numbers and words; nearby inputs give unrelated seeds."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _dtype(model: Trainable) -> torch.dtype:
    """What the model computes in: noise of another precision would change it."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())
