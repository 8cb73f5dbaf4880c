"""The trainer: one loop for every family. It reads a recipe, never a model's insides.

    from zoo_bench import train
    run = train("made.digits", out="runs/made")
    model = zoo_core.load(str(run.weights))

Everything that decides the numbers is in the checkpoint or derived from (seed, index, rank), so a resumed run is the
same run. Ctrl-C writes a checkpoint; NaN stops the run and leaves the last good one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import LoggerType
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from zoo_bench import processes
from zoo_bench.datasets import load as datasets
from zoo_bench.training.accelerated import AcceleratedStep, accelerator
from zoo_bench.training.average import Average
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.recipe import Plan, Recipe, factor, plan
from zoo_core import sampling, weights
from zoo_core.commands import sample_files
from zoo_core.errors import Diverged, ZooError, unknown
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.step import seed_from

TRACKERS = [str(kind.value) for kind in LoggerType if kind.value != "all"]


class Interrupted(KeyboardInterrupt):
    """A training that was stopped by Ctrl-C; its message says how to go on."""


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
    fields of the recipe (`images=…, lr=…`). trackers: names that Accelerate knows (`tensorboard`, `wandb`, ...).
    grids: how many sample grids are drawn on the way, at most: none while they have taken longer than the training.
    checkpoint_seconds: the time between checkpoints. how_to_resume: what to tell a user after Ctrl-C.
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
        with preserved_rng():
            torch.manual_seed(seed_from(self.recipe.seed, "init"))
            self.model: GenerativeModel = plan.spec.load_class()(self.dataset.images, plan.config)
        self._console = Console(stderr=True)
        self.seen = 0
        self.seconds = 0.0
        self._drawing = 0.0  # seconds taken by grids
        self._show: Callable[[str], Any] = lambda text: None
        self.average: Average | None = None
        self._trouble: Diverged | None = None  # what this process has seen and the others must agree to stop for
        self.folder = RunFolder(options.out or Path("runs") / plan.name)
        recipe = self.recipe
        if unknown_names := set(options.trackers) - set(TRACKERS):
            raise unknown("tracker", sorted(unknown_names)[0], TRACKERS)
        runner = accelerator(
            groups=len(self.model.optimizers(recipe.lr)),
            float64=any(tensor.dtype == torch.float64 for tensor in self.model.state_dict().values()),
            mixed_precision=recipe.precision,
            log_with=list(options.trackers) or None,
            project_dir=str(self.folder.path) if options.trackers else None,
        )
        if recipe.batch < runner.num_processes:
            raise ZooError(
                f"a batch of {recipe.batch} cannot be shared by {runner.num_processes} processes; raise --batch"
            )
        # Last of all that may be refused: nothing is touched for a run that cannot start.
        processes.decided(lambda: self.folder.open(self.identity, resume=options.resume, overwrite=options.overwrite))
        self.step = AcceleratedStep(
            self.model.to(runner.device),
            runner,
            lr=recipe.lr,
            data=self.dataset.pinned,
            seed=recipe.seed,
            micro_batch=recipe.micro_batch or None,
            clip=recipe.clip,
            noise=options.noise,
            tell=self._tell,
        )
        if options.resume:
            if self.folder.checkpoint.exists():
                self._restore(self.folder.load_checkpoint())
            elif runner.is_main_process:
                self.folder.cut_log(-1)  # stopped before its first checkpoint: it begins anew

    def run(self) -> Run:
        """Train to the end of the image budget; write weights; return where they are."""
        runner = self.step.accelerator
        if self.options.trackers:
            flat = {key: str(value) for key, value in {**self.recipe.to_dict(), **self.plan.config.to_dict()}.items()}
            runner.init_trackers("zoo", config=flat)
        self._describe("running")
        try:
            with preserved_rng(), interruptible(self.options.stop), processes.connected(), self._bar() as advance:
                if self._loop(advance) == "stopped":
                    self._checkpoint()
                    self._describe("interrupted")
                    raise Interrupted(
                        f"stopped at {min(self.seen, self.recipe.images):,} of {self.recipe.images:,} images; "
                        f"go on with: {self.options.how_to_resume}"
                    )
                self._finish()
        except (Diverged, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            if runner.num_processes > 1 and not isinstance(error, Diverged):  # perhaps of this process alone
                raise processes.Disconnected(f"{self.plan.name}: {' '.join(str(error).split())}") from error
            kept = f"the last good checkpoint stands in {self.folder.checkpoint}"
            kept = kept if self.folder.checkpoint.exists() else "no checkpoint had been written yet"
            text = " ".join(str(error).split())
            self._describe("failed", error=f"{text} ({self.seen:,} images)")
            runner.wait_for_everyone()
            advice = f"start again with a lower learning rate: --overwrite --lr {self.recipe.lr / 10:g}"
            raise Diverged(f"{self.plan.name}: {text}, after {self.seen:,} images; {kept}; {advice}") from error
        finally:
            if self.options.trackers:
                runner.end_training()
        self._describe("finished")
        runner.wait_for_everyone()
        rate = self.seen / self.seconds if self.seconds else 0.0
        return Run(self.folder.path, self.folder.weights, self.plan, self.seen, self.seconds, rate)

    def _loop(self, advance: Callable[[int, Mapping[str, float], float], None]) -> Literal["done", "stopped"]:
        recipe, step = self.recipe, self.step
        stream = datasets.batches(len(self.dataset), recipe.batch, recipe.seed, start=step.index)
        next_grid = self._grid_at(self.seen)
        saved_at = logged_at = time.monotonic()
        logged_seen = self.seen
        while self.seen < recipe.images:
            began = time.monotonic()
            batch, start = self._batch(next(stream))
            step.share = min(self.seen / recipe.images, 1.0)
            step.schedule(factor(recipe, self.seen))
            metrics = step.run(batch, start=start, of=recipe.batch)
            images = step.images_in_full_passes or recipe.batch
            if self.average is not None:
                self.average.update(self.model, images, seen=self.seen)
            elif recipe.ema:
                self.average = Average(self.model, recipe.ema, recipe.ema_ramp)
            self.seen += images
            if time.monotonic() - logged_at > 0.5 or self.seen >= recipe.images:
                now = time.monotonic()
                self._log(metrics, advance, (self.seen - logged_seen) / (now - logged_at))
                logged_at, logged_seen = now, self.seen
            due = time.monotonic() - saved_at > self.options.checkpoint_seconds
            stop, save, broken = self._agree(self.options.stop.is_set(), due, self._trouble is not None)
            if broken:
                raise self._verdict()
            if save:
                self._checkpoint()
                saved_at = time.monotonic()
            self.seconds += time.monotonic() - began
            if stop:
                return "stopped"
            if self.seen >= next_grid and self.seen < recipe.images:
                self._grid()
                next_grid = self._grid_at(self.seen)
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
        return batch.to(runner.device, non_blocking=True), start

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

    def _log(
        self, metrics: Mapping[str, Tensor], advance: Callable[[int, Mapping[str, float], float], None], rate: float
    ) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        for name in [name for name, value in values.items() if not math.isfinite(value)]:
            self._trouble = Diverged(f"{name} is {values[name]} at step {self.step.index}")
            return
        advance(self.seen, values, rate)
        if self.step.accelerator.is_main_process:
            self.folder.log({"images": self.seen, "seconds": round(self.seconds, 3), **values})
        if self.options.trackers:
            self.step.accelerator.log(values, step=self.seen)

    def _verdict(self) -> Diverged:
        """The error that all processes raise at the same step, though perhaps only one has seen why."""
        return self._trouble or Diverged(f"a number of another process is not finite at step {self.step.index}")

    def _grid_at(self, seen: int) -> float:
        """When the next grid is due, in images: at 1/2, 1/4, 1/8, ... of the budget."""
        if self.options.grids < 1:
            return math.inf
        due = [self.recipe.images / 2**k for k in range(self.options.grids, 0, -1)]
        return next((images for images in due if images > seen), math.inf)

    def _grid(self, name: str | None = None) -> None:
        if self.dataset.images.channels in (1, 3):
            processes.decided(lambda: self._draw_grid(name))

    def _draw_grid(self, name: str | None) -> None:
        if name is None and self._drawing > self.seconds:
            return  # on the way, pictures shall not take longer than the training itself: some samplers are slow
        self._show("drawing 64 samples")
        began = time.monotonic()
        self.model.eval()
        x = sampling.draw(self.model, 64, seed=self.recipe.seed)
        self._drawing += time.monotonic() - began
        path = self.folder.path / "grids" / f"{name or f'{self.seen:09d}'}.png"
        sample_files.write(path, x, self.dataset.images)
        if "tensorboard" in self.options.trackers:
            import numpy as np

            picture = np.asarray(sample_files.grid(x, self.dataset.images))[None]
            self.step.accelerator.get_tracker("tensorboard").log_images(
                {"samples": picture}, step=self.seen, dataformats="NHWC"
            )

    def _state(self) -> dict[str, Any]:
        step = self.step.state_dict()
        average = None if self.average is None else self.average.state_dict()
        return {
            "model": self.model.state_dict(),
            "step": step,
            "average": average,
            "seen": self.seen,
            "seconds": self.seconds,
        }

    def _checkpoint(self) -> None:
        learned = dict(self.model.named_parameters())
        for name, tensor in self.model.state_dict().items():
            # A buffer may hold -inf (a mask, the logarithm of nothing), a parameter may not.
            broken = ~tensor.isfinite() if name in learned else tensor.isnan()
            if bool(broken.any()):
                self._trouble = Diverged(f"{name} is no longer finite at step {self.step.index}")
        if self.step.any(self._trouble is not None):
            raise self._verdict()
        state = self._state()
        processes.decided(lambda: self.folder.save_checkpoint(state))

    def _restore(self, saved: dict[str, Any]) -> None:
        if self.step.accelerator.is_main_process:
            self.folder.cut_log(saved["seen"])
        self.model.load_state_dict(saved["model"])
        self.step.load_state_dict(saved["step"])
        self.seen, self.seconds = saved["seen"], saved["seconds"]
        if saved["average"] is not None:
            self.average = Average(self.model, self.recipe.ema, self.recipe.ema_ramp)
            self.average.load_state_dict(saved["average"])

    def _finish(self) -> None:
        """`finish` and save, once for each set of weights; the averaged ones last, so that the model keeps them."""
        self._checkpoint()
        facts: dict[str, Any] = {
            "recipe": self.recipe.to_dict(),
            "config": self.plan.config.to_dict(),
            "images_seen": self.seen,
            "seconds": round(self.seconds, 1),
            "device": self.step.accelerator.device.type,
            "processes": self.step.accelerator.num_processes,
        }
        raw = self.folder.raw_weights if self.average else self.folder.weights
        sets: list[tuple[Path, dict[str, Tensor] | None, str]] = [(raw, None, "raw")]
        if self.average is not None:
            sets.append((self.folder.weights, self.average.state_dict(), "ema"))
        for folder, state, kind in sets:
            if state is not None:
                self.model.load_state_dict(state)
            self.step.finish()
            self._save(folder, {**facts, "weights": kind})
        self._grid("final")

    def _save(self, folder: Path, facts: dict[str, Any]) -> None:
        processes.decided(lambda: weights.save(self.model, folder, self.plan.spec.name, facts))

    def _tell(self, text: str) -> None:
        self._console.print(f"{self.plan.name}: {text}", soft_wrap=True, highlight=False)

    def _describe(self, status: str, **facts: Any) -> None:
        seen = {"images_seen": self.seen, "seconds": round(self.seconds, 3)}
        processes.decided(lambda: self.folder.describe(self.identity, status, **seen, **facts))

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Callable[[int, Mapping[str, float], float], None]]:
        silent = self.options.quiet or not self.step.accelerator.is_main_process
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
        )
        # Drawn when there is something to tell, twice a second: a thread that redraws costs percents of a small model.
        with Progress(*columns, console=self._console, auto_refresh=False, disable=silent) as bar:
            task = bar.add_task(
                f"train {self.plan.name}", total=self.recipe.images, completed=self.seen, rate="", metrics=""
            )

            def advance(seen: int, values: Mapping[str, float], rate: float) -> None:
                shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
                bar.update(task, completed=min(seen, self.recipe.images), rate=f"{rate:,.0f} images/s", metrics=shown)
                bar.refresh()

            def show(text: str) -> None:
                bar.update(task, metrics=text)
                bar.refresh()

            self._show = show
            yield advance


@contextlib.contextmanager
def preserved_rng() -> Iterator[None]:
    """Leave torch's global generators as they were found."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        yield


@contextlib.contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C (and SIGTERM) ask the loop to stop after its step; a second Ctrl-C stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
