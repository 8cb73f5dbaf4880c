"""The trainer: one loop for every family. It reads a recipe, never a model's insides.

    from zoo_bench import train
    run = train("made.digits", out="runs/made")
    model = zoo_core.load(str(run.weights))

Everything that decides the numbers is in the checkpoint or derived from (seed, index, rank), so a resumed run is the
same run. Ctrl-C writes a checkpoint; NaN stops the run and leaves the last good one.

`previews.py` draws samples on the way, `bar.py` is what a terminal shows, `interruption.py` hears Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from zoo_bench import processes
from zoo_bench.datasets import load as datasets
from zoo_bench.randomness import preserved
from zoo_bench.training import first_stages, logbook, previews
from zoo_bench.training.accelerated import AcceleratedStep, accelerator
from zoo_bench.training.bar import Bar
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.checkpoint import read_log as read_log
from zoo_bench.training.interruption import Interrupted, Interruption
from zoo_bench.training.logbook import Logbook
from zoo_bench.training.recipe import Plan, Recipe, factor, plan
from zoo_bench.training.state import State
from zoo_core import weights
from zoo_core.errors import Diverged, ZooError
from zoo_core.images import Batch
from zoo_core.step import Trainable, seed_from


@dataclass(frozen=True)
class Run:
    """A finished training: where its weights are, and what it took."""

    folder: Path
    weights: Path
    plan: Plan
    images: int
    seconds: float
    images_per_second: float


@dataclass
class Options:
    """How a run is carried out. None of it changes the numbers of a run on one process.

    noise: "global" makes any number of processes see the same noise, at the price of drawing all of it on each.
    """

    out: str | Path | None = None
    data_dir: str | Path | None = None
    resume: bool = False
    overwrite: bool = False
    trackers: Sequence[str] = ()
    grids: int = 8
    checkpoint_seconds: float = 60.0
    noise: str = "local"
    quiet: bool = False
    how_to_resume: str = "train(..., resume=True)"
    stop: threading.Event = field(default_factory=threading.Event)


def train(
    name: str | Path,
    data: str | None = None,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    changes: Mapping[str, Any] | None = None,
    trackers: Sequence[str] = (),
    grids: int = 8,
    checkpoint_seconds: float = 60.0,
    noise: str = "local",
    quiet: bool = False,
    how_to_resume: str = "train(..., resume=True)",
    **settings: Any,
) -> Run:
    """Train a model by its recipe and write its weights below `out` (default `runs/MODEL.DATA`).

    name: `made.digits`, `made` (with `data`), or a recipe file. changes: dotted keys of the model's config. settings:
    fields of the recipe (`images=…, lr=…, init={"first_stage": "./runs/codes/weights"}`). trackers: names that
    Accelerate knows (`tensorboard`, `wandb`, ...). grids: how many sample grids are drawn on the way, fewer where
    sampling is slow (`previews.py`). checkpoint_seconds: the time between checkpoints. how_to_resume: what to tell a
    user after Ctrl-C.
    Raises `ZooError` for bad input, `Diverged` for NaN, `Interrupted` (a KeyboardInterrupt) after Ctrl-C.
    """
    options = Options(
        out=out,
        data_dir=data_dir,
        resume=resume,
        overwrite=overwrite,
        trackers=trackers,
        grids=grids,
        checkpoint_seconds=checkpoint_seconds,
        noise=noise,
        quiet=quiet,
        how_to_resume=how_to_resume,
    )
    return Trainer(plan(name, data, changes=changes, **settings), options).run()


class Trainer:
    """One run. The model, its step and its average are made in the constructor; `run()` is the loop."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options
        self.recipe: Recipe = plan.recipe
        self.dataset = datasets.load(self.recipe.data, "train", options.data_dir)
        pictures = {"images": self.dataset.images.to_dict(), "pixels": self.dataset.sha256}
        self.identity = {**plan.identity(), **pictures}
        began = time.monotonic()
        with preserved():
            torch.manual_seed(seed_from(self.recipe.seed, "init"))
            self.model = self._new_model()
            self.stages = first_stages.fill(self.model, dict(self.recipe.init))
        if self.stages:
            self.identity["init"] = {key: stage["sha256"] for key, stage in self.stages.items()}
        copying = time.monotonic() - began
        # A classifier shows nothing, and what has other than one or three channels is no picture.
        self._drawable = bool(previews.what(self.model)) and self.dataset.images.channels in (1, 3)
        self._trouble: Diverged | None = None  # what this process has seen and the others must agree to stop for
        self.folder = RunFolder(options.out or Path("runs") / plan.name)
        self._console = Console(stderr=True)
        runner = self._accelerator()
        # Last of all that may be refused: nothing is touched for a run that cannot start.
        processes.decided(lambda: self.folder.open(self.identity, resume=options.resume, overwrite=options.overwrite))
        self.step = AcceleratedStep(
            self.model.to(runner.device),
            runner,
            lr=self.recipe.lr,
            data=self.dataset.pinned,
            seed=self.recipe.seed,
            micro_batch=self.recipe.micro_batch or None,
            clip=self.recipe.clip,
            noise=options.noise,
            tell=self._tell,
        )
        self.state = State(self.model, self.step, self.recipe)
        if options.resume:
            self._resume()
        self._before = self.state.seconds  # those of earlier parts of this run
        silent = options.quiet or not runner.is_main_process
        self.bar = Bar(self._console, plan.name, self.recipe.images, self.state.seen, self._before, silent)
        self.logbook = Logbook(self.folder, self.bar, runner, options.trackers)
        self.interruption = Interruption(options.stop)
        every = max(1, len(self.dataset) // previews.WHOLE)
        self.previews = previews.Previews(
            self.folder.path / "grids",
            self.dataset.images,
            real=self.dataset.pinned.x[::every],
            seed=self.recipe.seed,
            interruption=self.interruption,
            copying=copying,
            show=self.bar.show,
            say=(lambda text: None) if silent else self._tell,
        )

    def _new_model(self) -> Trainable:
        model: Trainable = self.plan.spec.load_class()(self.dataset.images, self.plan.config)
        return model

    def _accelerator(self) -> Accelerator:
        """The Accelerator of this run; `ZooError` where the run cannot be carried out with it."""
        recipe, options = self.recipe, self.options
        trackers = logbook.known(options.trackers)
        runner = accelerator(
            groups=len(self.model.optimizers(recipe.lr)),
            float64=any(tensor.dtype == torch.float64 for tensor in self.model.state_dict().values()),
            mixed_precision=recipe.precision,
            log_with=trackers,
            project_dir=str(self.folder.path) if trackers else None,
        )
        if recipe.batch < runner.num_processes:
            raise ZooError(
                f"a batch of {recipe.batch} cannot be shared by {runner.num_processes} processes; raise --batch"
            )
        return runner

    def run(self) -> Run:
        """Train to the end of the image budget; write weights; return where they are."""
        self.logbook.begin({**self.recipe.to_dict(), **self.plan.config.to_dict()})
        self._describe("running")
        try:
            with preserved(), self.interruption.listening(), processes.connected(), self.bar:
                try:
                    self._train()
                except (Diverged, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
                    raise self._failure(error) from error
                self._last_grid()
        finally:
            self.logbook.end()
        self.step.accelerator.wait_for_everyone()
        seen, seconds = self.state.seen, self.state.seconds
        return Run(self.folder.path, self.folder.weights, self.plan, seen, seconds, seen / seconds if seconds else 0.0)

    def _train(self) -> None:
        if self._loop() == "stopped":
            self._checkpoint()
            self._describe("interrupted")
            raise Interrupted(
                f"stopped at {min(self.state.seen, self.recipe.images):,} of {self.recipe.images:,} images; "
                f"continue with: {self.options.how_to_resume}"
            )
        self._checkpoint()
        self._save_weights()
        self._describe("finished")
        processes.decided(self.folder.drop_previous)

    def _failure(self, error: Exception) -> ZooError:
        """What to raise for numbers that are no longer finite; the run is described as failed."""
        text = " ".join(str(error).split())
        if self.step.accelerator.num_processes > 1 and not isinstance(error, Diverged):  # perhaps of this process alone
            return processes.Disconnected(f"{self.plan.name}: {text}")
        self._describe("failed", error=f"{text} ({self.state.seen:,} images)")
        self.step.accelerator.wait_for_everyone()
        advice = f"start again with a lower learning rate: --overwrite --lr {self.recipe.lr / 10:g}"
        kept = "no checkpoint had been written yet"
        if self.folder.has_checkpoint():
            kept = f"the last good checkpoint stands in {self.folder.checkpoint}, and --resume continues from it"
            advice = f"if that ends the same, {advice}"
        return Diverged(f"{self.plan.name}: {text}, after {self.state.seen:,} images; {kept}; {advice}")

    def _loop(self) -> Literal["done", "stopped"]:
        recipe, step, state = self.recipe, self.step, self.state
        stream = datasets.batches(len(self.dataset), recipe.batch, recipe.seed, start=step.index)
        next_grid = self._grid_at(state.seen)
        saved_at = logged_at = time.monotonic()
        logged = state.seen, state.seconds
        while state.seen < recipe.images:
            began = time.monotonic()
            batch, start = self._batch(next(stream))
            step.share = min(state.seen / recipe.images, 1.0)
            step.schedule(factor(recipe, state.seen))
            metrics = step.run(batch, start=start, of=recipe.batch)
            state.count(step.images_in_full_passes or recipe.batch)
            now = time.monotonic()
            if now - logged_at > 0.5 or state.seen >= recipe.images:
                seconds = state.seconds + now - began
                self._log(metrics, (state.seen - logged[0]) / (seconds - logged[1]))
                logged_at, logged = now, (state.seen, seconds)
            due = now - saved_at > self.options.checkpoint_seconds
            stop, save, broken = self._agree(self.options.stop.is_set(), due, self._trouble is not None)
            if broken:
                raise self._verdict()
            if save:
                self._checkpoint()
                saved_at = time.monotonic()
            state.seconds += time.monotonic() - began
            if not stop and next_grid <= state.seen < recipe.images:
                stop = self._grid()
                next_grid = self._grid_at(state.seen)
            if stop:
                return "stopped"
        return "done"

    def _batch(self, rows: Tensor) -> tuple[Batch, int]:
        """This process's slice of a global batch, on its device, and where the slice begins."""
        runner, index = self.step.accelerator, self.step.index
        start, stop = (len(rows) * r // runner.num_processes for r in (runner.process_index, runner.process_index + 1))
        if self.options.noise == "global":
            batch = self.dataset.draw(rows, seed_from(self.recipe.seed, index, "binarise", 0))[start:stop]
        else:
            seed = seed_from(self.recipe.seed, index, "binarise", runner.process_index)
            batch = self.dataset.draw(rows[start:stop], seed)
        if runner.device.type == "cuda":
            batch = dataclasses.replace(batch, x=batch.x.pin_memory())
        return batch if runner.device.type == "cpu" else batch.to(runner.device, non_blocking=True), start

    def _agree(self, *flags: bool) -> list[bool]:
        """Whether any process says so: a decision that only some had taken would leave the others waiting for ever.

        Several processes ask each other at every tenth step, and act only then.
        """
        runner = self.step.accelerator
        if runner.num_processes == 1:
            return list(flags)
        if self.step.index % 10:
            return [False] * len(flags)
        votes = torch.tensor([float(flag) for flag in flags], device=runner.device)
        return [bool(vote) for vote in runner.reduce(votes, "sum") > 0]

    def _log(self, metrics: Mapping[str, Tensor], rate: float) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        for name in [name for name, value in values.items() if not math.isfinite(value)]:
            self._trouble = Diverged(f"{name} is {values[name]} at step {self.step.index}")
            return
        self.logbook.add(self.state.seen, self.state.seconds, values, rate)

    def _verdict(self) -> Diverged:
        """The error that all processes raise at the same step, though perhaps only one has seen why."""
        return self._trouble or Diverged(f"a number of another process is not finite at step {self.step.index}")

    def _grid_at(self, seen: int) -> float:
        """When the next grid is due, in images: at 1/2, 1/4, 1/8, ... of the budget."""
        due = [self.recipe.images / 2**k for k in range(self.options.grids, 0, -1)] if self._drawable else []
        return next((images for images in due if images > seen), math.inf)

    def _grid(self) -> bool:
        """A preview, drawn by the main process; whether Ctrl-C came to it in the meantime, which all hear."""

        def copy() -> Trainable:
            model = self._new_model()
            model.load_state_dict(self.model.state_dict())
            return model.to(self.step.accelerator.device)

        def draw() -> bool:
            x = self.previews.on_the_way(self.state.seen, copy, self.state.seconds - self._before)
            self.logbook.picture(self.state.seen, x, self.dataset.images, self.previews.what)
            return self.options.stop.is_set()

        return processes.decided(draw)

    def _last_grid(self) -> None:
        """Of the finished model: the averaged one where there is an average."""
        if not self._drawable:
            return
        command = f"zoo sample {self.folder.weights} -n 64 --out samples.png"

        def draw() -> bool:
            x = self.previews.final(self.model, self.state.seconds - self._before, command)
            self.logbook.picture(self.state.seen, x, self.dataset.images, self.previews.what)
            return self.options.stop.is_set()

        if processes.decided(draw):
            raise Interrupted(f"finished, weights in {self.folder.weights}; without the last samples: {command}")

    def _checkpoint(self) -> None:
        for name in self.state.broken():
            self._trouble = Diverged(f"{name} is no longer finite at step {self.step.index}")
        if self.step.any(self._trouble is not None):
            raise self._verdict()
        state = self.state.state_dict()
        processes.decided(lambda: self.folder.save_checkpoint(state))

    def _resume(self) -> None:
        found = processes.decided(lambda: self.folder.find_checkpoint(self._tell))
        saved = self.folder.load_checkpoint() if found else None
        if self.step.accelerator.is_main_process:
            self.folder.cut_log(saved["seen"] if saved else -1)  # none: stopped before its first, it begins anew
        if saved:
            self.state.load_state_dict(saved)

    def _save_weights(self) -> None:
        """`finish` and save, once for each set of weights; the averaged ones last, so that the model keeps them."""
        facts: dict[str, Any] = {
            "recipe": self.recipe.to_dict(),
            "config": self.plan.config.to_dict(),
            **({"init": self.stages} if self.stages else {}),
            "images_seen": self.state.seen,
            "seconds": round(self.state.seconds, 1),
            "device": self.step.accelerator.device.type,
            "processes": self.step.accelerator.num_processes,
        }
        average = self.state.average
        raw = self.folder.raw_weights if average else self.folder.weights
        sets: list[tuple[Path, dict[str, Tensor] | None, str]] = [(raw, None, "raw")]
        if average is not None:
            sets.append((self.folder.weights, average.state_dict(), "ema"))
        for folder, state, kind in sets:
            if state is not None:
                self.model.load_state_dict(state)
            self.step.finish()
            written = {**facts, "weights": kind}
            processes.decided(functools.partial(weights.save, self.model, folder, self.plan.spec.name, written))

    def _tell(self, text: str) -> None:
        self._console.print(f"{self.plan.name}: {text}", soft_wrap=True, highlight=False)

    def _describe(self, status: str, **facts: Any) -> None:
        seen = {"images_seen": self.state.seen, "seconds": round(self.state.seconds, 3)}
        processes.decided(lambda: self.folder.describe(self.identity, status, **seen, **facts))
