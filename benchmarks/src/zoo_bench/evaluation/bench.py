"""Run a suite: train each model by its recipe, evaluate it, write its card; a rerun finishes only what is missing.

from zoo_bench import bench
cards = bench("quick", out="runs/quick")
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_bench import processes
from zoo_bench.cards import files
from zoo_bench.cards.types import Card, file_name
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import rows
from zoo_bench.evaluation.jobs import Job, has_nats, run_folder
from zoo_bench.evaluation.model import Wanted
from zoo_bench.metrics import heatmaps
from zoo_bench.progress import bars
from zoo_bench.tasks import suites
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training.recipe import available, is_of, plan
from zoo_core import registry
from zoo_core.errors import ZooError


@dataclass(frozen=True)
class BenchResult:
    """The cards of a suite, and what could not be run, with the reason."""

    suite: Suite
    folder: Path
    cards: list[Card]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[Card]:
        return [card for card in self.cards if card.status == "failed"]


def bench(
    name: str = "quick",
    *,
    models: str | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    pretrained: bool = False,
    again: bool = False,
    quiet: bool = False,
    settings: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    say: Callable[[str], Any] = lambda line: None,
) -> BenchResult:
    """Run suite `name` and return its cards, which are also in `out/cards` (default `runs/SUITE`).

    models: globs separated by commas, instead of the suite's default models; the baselines always run. pretrained: use
    published weights instead of training. again: compute everything anew. settings: fields of every learned model's
    recipe to replace (`images=…`); such a trial has runs of its own and partial cards, beside those of the recipe.
    seeds: how many sampling seeds instead of the tasks' own number; a card for each. say: told in a line what happens.

    What is not there (a data set, a recipe, a plugin) is in `missing`, and the rest goes on. A folder that holds the
    training of a recipe that has changed since is refused before anything is computed: `again` replaces it.
    """
    suite = suites.load(name)
    if seeds is not None and seeds < 1:
        raise ZooError(f"expected at least 1 sampling seed, got {seeds}")
    if models is not None and not models.strip(" ,"):
        raise ZooError(f"models: expected globs separated by commas, e.g. 'made,vae' or '*', got {models!r}")
    if pretrained and settings:
        raise ZooError(f"{', '.join(settings)}: for trainings; published weights are trained already")
    folder = Path(out or Path("runs") / suite.name)
    run = _Bench(suite, folder, models, data_dir, pretrained, again, quiet, settings or {}, seeds, say)
    run.refuse()
    run.all_tasks()
    if not run.found:
        raise ZooError(
            f"nothing of suite {suite.id} could be run: " + "; ".join(f"{k}: {v}" for k, v in run.missing.items())
        )
    return BenchResult(suite, folder, run.found, run.missing)


@dataclass
class _Bench:
    """One run of a suite: what was asked for, and what has come of it so far."""

    suite: Suite
    folder: Path
    models: str | None
    data_dir: str | Path | None
    pretrained: bool
    again: bool
    quiet: bool
    settings: Mapping[str, Any]
    seeds: int | None
    say: Callable[[str], Any]
    found: list[Card] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    place: int = 0  # of the model that is at work, among those of all tasks
    places: int = 0

    def refuse(self) -> None:
        """`ZooError` where the folder holds what this run would have to overwrite; before anything is computed."""
        if not self.again:
            processes.decided(lambda: _refuse_edited(self.suite, self.folder))
        if not self.pretrained:
            processes.decided(
                lambda: _refuse_other_runs(self.suite, self.models, self.folder, self.settings, self.again)
            )

    def all_tasks(self) -> None:
        """Every task, its models counted through all of them."""
        choices = [choose(self.suite, task, self.models, self.pretrained) for task in self.suite.tasks]
        self.places = sum(len(chosen) for chosen, _ in choices)
        for task, (chosen, absent) in zip(self.suite.tasks, choices):
            first = self.place
            self._task(task, chosen, absent)
            self.place = first + len(chosen)

    def _task(self, task: Task, chosen: list[str], absent: Mapping[str, str]) -> None:
        """All rows of one task: floor, models, the best of them diluted, and the rows for models under labels."""
        suite = self.suite
        self.missing |= absent
        for model, reason in absent.items():
            self.say(f"not run: {model} ({reason})")
        try:
            datasets.load(task.data, task.split, self.data_dir)  # before any training
        except ZooError as error:
            self.missing[task.data] = " ".join(str(error).split())
            return
        if task.samples:
            self.found.append(self._kept(rows.floor(suite, task, self.data_dir)))
        for model in chosen:
            self.place += 1
            self.say(f"model {self.place} of {self.places}: {model} on {task.data}")
            self._model(task, model)
        if task.samples and "copycat" in suite.baselines:
            self._diluted(task)
        conditional = any(
            card.task.id == suite.task_id(task) and card.model.conditioning == "class" for card in self.found
        )
        if task.samples and conditional:
            given = [rows.floor_given_labels] + [rows.copycat_given_labels] * ("copycat" in suite.baselines)
            self.found += (self._kept(row(suite, task, self.data_dir)) for row in given)
        if processes.is_main():
            path = self.folder / f"{file_name(suite.task_id(task))}.heatmaps.png"
            heatmaps.overview(path, datasets.find(task.data), self.folder / "cards", chosen, suite.task_id(task))

    def _model(self, task: Task, model: str) -> None:
        """The cards of a model, one for each sampling seed."""
        first = task.sampling_seeds[0]
        for seed in range(first, first + self.seeds) if self.seeds else task.sampling_seeds:
            job = Job(
                self.suite,
                task,
                model,
                self.folder,
                data_dir=self.data_dir,
                pretrained=self.pretrained,
                again=self.again and seed == first,  # which removes the cards of the others
                quiet=self.quiet,
                settings=self.settings,
                seed=seed,
            )
            card = job.run(self.say)
            if card.status == "ok" and not card.metrics:
                self.missing[model] = f"no metric of {self.suite.task_id(task)} applies to it"
            else:
                self.found.append(card)

    def _diluted(self, task: Task) -> None:
        """The row `diluted`, of the best exact likelihood there is: in this run, or in the folder from earlier ones."""
        earlier = processes.decided(functools.partial(_complete, self.folder))
        card = rows.best_exact([*self.found, *earlier], self.suite.task_id(task))
        if card is None:
            return
        try:
            self.found.append(self._diluted_of(task, card))
        except processes.Disconnected:
            raise
        except (ZooError, OSError) as error:
            self.missing["diluted"] = " ".join(str(error).split())

    def _diluted_of(self, task: Task, card: Card) -> Card:
        """The row made of the model that `card` is of; the one that is there already where it is of that one."""
        source = card.model.weights
        assert source is not None  # of a model that has a likelihood
        for path in sorted((self.folder / "cards").glob(f"diluted.{datasets.tag(task.data)}.*.json")):
            held = files.read(path)
            same = held.model.weights == source and held.task == card.task and held.status == "ok"
            if same and held.partial == card.partial and has_nats(held, path) and not self.again:
                return held
        name = f"{card.model.name}.{task.data}"
        own = self.settings if card.partial else {}
        place = name if source.source == name else run_folder(self.folder, name, own).weights
        with bars(self.quiet) as bar:
            out = self.folder / "cards"
            wanted = Wanted(self.suite, task, self.data_dir, out=out, partial=card.partial, bar=bar)
            return self._kept(rows.diluted(wanted, source, place))

    def _kept(self, card: Card) -> Card:
        if processes.is_main():
            files.write(card, self.folder / "cards")
        return card


def _complete(folder: Path) -> list[Card]:
    """Those of earlier runs in this folder, too."""
    return [card for path in sorted((folder / "cards").glob("*.json")) if (card := files.read(path)).is_complete]


def choose(suite: Suite, task: Task, models: str | None, pretrained: bool) -> tuple[list[str], dict[str, str]]:
    """The models of a task, baselines first, and those that cannot run, with the reason."""
    globs = [glob.strip() for glob in models.split(",")] if models else list(suite.models)
    known = {spec.name: spec for spec in registry.models.all()}
    chosen = [name for name in suite.baselines if name in known]
    missing = {}
    for glob in globs:
        matches = [
            name
            for name, spec in known.items()
            if fnmatch.fnmatch(name, glob)
            and name not in suite.baselines
            and (spec.kind == "generative" or name == glob)  # an encoder or a classifier where it is named
        ]
        if not matches and models is None:
            missing[glob] = "not installed"
        elif not matches and not any(fnmatch.fnmatch(name, glob) for name in suite.baselines):
            registry.models.get(glob)  # raises, with the nearest name
        for name in matches:
            tags = [entry.tag for entry in known[name].pretrained] if pretrained else available(known[name])
            if task.data not in tags:
                missing[name] = f"no {'weights' if pretrained else 'recipe'} for {task.data}"
            elif name not in chosen:
                chosen.append(name)
    return chosen, missing


def _refuse_edited(suite: Suite, folder: Path) -> None:
    """`ZooError` where the folder holds cards of this suite as it was before an edit: one name, two definitions."""
    tasks = {suite.task_id(task): task.sha256() for task in suite.tasks}
    for path in sorted((folder / "cards").glob("*.json")):
        said = files.read(path).task
        if said.id in tasks and said.sha256 != tasks[said.id]:
            raise ZooError(
                f"{path} is of {said.id} as it was defined before: raise the suite's version, choose another --out, "
                "or recompute everything with --again"
            )


def _refuse_other_runs(
    suite: Suite, models: str | None, folder: Path, settings: Mapping[str, Any], again: bool
) -> None:
    """`ZooError` for settings that are none, and, but for `again`, where a training of another recipe lies in the place
    of one of this suite's: hours may be in it."""
    for task in suite.tasks:
        for model in choose(suite, task, models, pretrained=False)[0]:
            if model in suite.baselines:  # fitted in a moment
                continue
            planned = plan(model, task.data, **settings)
            run = run_folder(folder, planned.name, settings)
            held = run.read() or {}
            if held and not again and not is_of(planned, held.get("identity", {})):
                raise ZooError(
                    f"{run.path} holds a training of {planned.name} by another recipe ({held.get('status')}); choose "
                    "another --out, or replace what is there with --again"
                )
