"""Run a suite: train each model by its recipe, evaluate it, write its card; a rerun finishes only what is missing.

from zoo_bench import bench
cards = bench("quick", out="runs/quick")
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_bench import cards, evaluation, heatmaps, processes, rows, suites
from zoo_bench import data as datasets
from zoo_bench.checkpoint import RunFolder
from zoo_bench.progress import bars
from zoo_bench.recipe import Plan, available, is_of, plan
from zoo_bench.suites import Suite, Task
from zoo_bench.trainer import Options, Trainer
from zoo_core import registry, weights
from zoo_core.errors import ZooError


@dataclass(frozen=True)
class BenchResult:
    """The cards of a suite, and what could not be run, with the reason."""

    suite: Suite
    folder: Path
    cards: list[cards.Card]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[cards.Card]:
        return [card for card in self.cards if card["status"] == "failed"]


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
    folder = Path(out or Path("runs") / suite.name)
    if pretrained and settings:
        raise ZooError(f"{', '.join(settings)}: for trainings; published weights are trained already")
    if not again:
        processes.decided(lambda: _refuse_edited(suite, folder))
    if not pretrained:
        processes.decided(lambda: _refuse_other_runs(suite, models, folder, settings or {}, again))
    found: list[cards.Card] = []
    missing: dict[str, str] = {}
    for task in suite.tasks:
        chosen, absent = _choose(suite, task, models, pretrained)
        missing |= absent
        for model, reason in absent.items():
            say(f"not run: {model} ({reason})")
        try:
            datasets.load(task.data, task.split, data_dir)  # before any training
        except ZooError as error:
            missing[task.data] = " ".join(str(error).split())
            continue
        if task.samples:
            found.append(_kept(rows.floor(suite, task, data_dir), folder))
        first = task.sampling_seeds[0]
        for model in chosen:
            for seed in range(first, first + seeds) if seeds else task.sampling_seeds:
                anew = again and seed == first  # which removes the cards of the others
                job = _Job(suite, task, model, folder, data_dir, pretrained, anew, quiet, settings or {}, seed)
                card = job.run(say)
                if card["status"] == "ok" and not card["metrics"]:
                    missing[model] = f"no metric of {suite.task_id(task)} applies to it"
                else:
                    found.append(card)
        earlier = processes.decided(functools.partial(_complete, folder))
        best = rows.best_exact([*found, *earlier], suite.task_id(task))
        if task.samples and "copycat" in suite.baselines and (card := best):
            try:
                found.append(_diluted(suite, task, card, folder, data_dir, quiet, settings or {}, again))
            except processes.Disconnected:
                raise
            except (ZooError, OSError) as error:
                missing["diluted"] = " ".join(str(error).split())
        conditional = any(
            card["task"]["id"] == suite.task_id(task) and card["model"].get("conditioning") == "class" for card in found
        )
        if task.samples and conditional:
            given = [rows.floor_given_labels] + [rows.copycat_given_labels] * ("copycat" in suite.baselines)
            found += (_kept(row(suite, task, data_dir), folder) for row in given)
        if processes.is_main():
            path = folder / f"{cards.file_name(suite.task_id(task))}.heatmaps.png"
            heatmaps.overview(path, datasets.find(task.data), folder / "cards", chosen, suite.task_id(task))
    if not found:
        raise ZooError(
            f"nothing of suite {suite.id} could be run: " + "; ".join(f"{k}: {v}" for k, v in missing.items())
        )
    return BenchResult(suite, folder, found, missing)


def _complete(folder: Path) -> list[cards.Card]:
    """Those of earlier runs in this folder, too."""
    return [card for path in sorted((folder / "cards").glob("*.json")) if cards.is_complete(card := cards.read(path))]


def _kept(card: cards.Card, folder: Path) -> cards.Card:
    if processes.is_main():
        cards.write(card, folder / "cards")
    return card


def _choose(suite: Suite, task: Task, models: str | None, pretrained: bool) -> tuple[list[str], dict[str, str]]:
    """The models of a task, baselines first, and those that cannot run, with the reason."""
    globs = [glob.strip() for glob in models.split(",")] if models else list(suite.models)
    known = {spec.name: spec for spec in registry.models.all()}
    chosen = [name for name in suite.baselines if name in known]
    missing = {}
    for glob in globs:
        matches = [name for name in known if fnmatch.fnmatch(name, glob) and name not in suite.baselines]
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


def _run_folder(folder: Path, name: str, settings: Mapping[str, Any]) -> RunFolder:
    """Where the training of `made.digits` is kept; a trial with settings of its own never touches the recipe's."""
    trial = "".join(f".{key}-{value}" for key, value in sorted(settings.items()))
    return RunFolder(folder / "runs" / f"{name}{trial}")


def _refuse_edited(suite: Suite, folder: Path) -> None:
    """`ZooError` where the folder holds cards of this suite as it was before an edit: one name, two definitions."""
    tasks = {suite.task_id(task): task.sha256() for task in suite.tasks}
    for path in sorted((folder / "cards").glob("*.json")):
        said = cards.read(path)["task"]
        if said["id"] in tasks and said.get("sha256") != tasks[said["id"]]:
            raise ZooError(
                f"{path} is of {said['id']} as it was defined before: raise the suite's version, choose another --out, "
                "or make everything anew with --again"
            )


def _refuse_other_runs(
    suite: Suite, models: str | None, folder: Path, settings: Mapping[str, Any], again: bool
) -> None:
    """`ZooError` for settings that are none, and, but for `again`, where a training of another recipe lies in the place
    of one of this suite's: hours may be in it."""
    for task in suite.tasks:
        for model in _choose(suite, task, models, pretrained=False)[0]:
            if model in suite.baselines:  # fitted in a moment
                continue
            planned = plan(model, task.data, **settings)
            run = _run_folder(folder, planned.name, settings)
            held = run.read() or {}
            if held and not again and not is_of(planned, held.get("identity", {})):
                raise ZooError(
                    f"{run.path} holds a training of {planned.name} by another recipe ({held.get('status')}); choose "
                    "another --out, or replace what is there with --again"
                )


@dataclass
class _Job:
    """One model on one task, its samples drawn from one seed."""

    suite: Suite
    task: Task
    model: str
    folder: Path
    data_dir: str | Path | None
    pretrained: bool
    again: bool
    quiet: bool
    settings: Mapping[str, Any]
    seed: int

    def run(self, say: Callable[[str], Any]) -> cards.Card:
        own = self._own()
        planned = plan(self.model, self.task.data, **own)
        from_weights = self.pretrained and self.model not in self.suite.baselines
        held = processes.decided(lambda: self._held(planned, from_weights))
        if held is not None:
            say(f"{planned.name}: its card is there already")
            return held
        if processes.is_main():
            for path in (self.folder / "cards").glob(f"{planned.name}.*.json"):
                held = cards.read(path)
                if _place(held["task"]["id"]) != _place(self.suite.task_id(self.task)):
                    continue  # another suite's, in the same folder
                if bool(held.get("partial")) != bool(own and not from_weights):
                    continue  # a trial's beside the real one, or the other way round
                other = held["task"] != self.suite.entry(self.task) or not self._is_of(held, planned, from_weights)
                if other and held["status"] == "ok":
                    say(f"{path.name}: replaced, because it is of other weights or another recipe")
                first = self.seed == self.task.sampling_seeds[0]
                if self.seed == cards.seed(held) or (first and (other or self.again)):
                    path.unlink()  # no interrupted rerun may find it
        try:
            card = self._from_weights() if from_weights else self._from_recipe(planned, say)
        except processes.Disconnected:
            raise
        except Exception as error:  # one model's failure is a card; the others go on
            expected = isinstance(error, ZooError)
            if not expected and processes.start().num_processes > 1:
                raise  # perhaps of this process alone, and the others would wait for it for ever
            text = " ".join(str(error if expected else f"{type(error).__name__}: {error}").split())
            say(f"{planned.name} failed: {text}")
            card = self._failed(planned, text)
        card["partial"] = bool(card.get("partial") or (own and not from_weights))
        if processes.is_main() and (card["metrics"] or card["status"] != "ok"):
            cards.write(card, self.folder / "cards")
        return card

    def _own(self) -> Mapping[str, Any]:
        """What is set otherwise than in the recipe; baselines have nothing to set."""
        return {} if self.model in self.suite.baselines else self.settings

    def _held(self, planned: Plan, from_weights: bool) -> cards.Card | None:
        """The finished card of this very job, if there is one: the same task, and the same recipe or weights."""
        for path in sorted((self.folder / "cards").glob(f"{planned.name}.*.json")):
            card = cards.read(path)
            if self.again or card["status"] != "ok" or card["task"] != self.suite.entry(self.task):
                continue
            if bool(card.get("partial")) != bool(self._own() and not from_weights):
                continue
            if not _has_nats(card, path):
                continue
            if cards.seed(card) != (self.seed if self.task.samples else 0):
                continue
            if self._is_of(card, planned, from_weights):
                return card
        return None

    def _is_of(self, card: cards.Card, planned: Plan, from_weights: bool) -> bool:
        """Whether a card is of the weights, or of the training, that this job is about."""
        if not from_weights:
            return is_of(planned, card["model"])
        entry = registry.find_pretrained(planned.spec, self.task.data)
        return bool((card["model"].get("weights") or {}).get("sha256") == entry.sha256)

    def _from_weights(self) -> cards.Card:
        with bars(self.quiet) as bar:
            name = f"{self.model}.{self.task.data}"
            return evaluation.evaluate(
                name,
                dataclasses.replace(self.suite, tasks=(self.task,)),
                data_dir=self.data_dir,
                out=self.folder / "cards",
                tag=self.task.data,
                seed=self.seed,
                bar=bar,
            )

    def _from_recipe(self, planned: Plan, say: Callable[[str], Any]) -> cards.Card:
        folder = _run_folder(self.folder, planned.name, self._own())
        held = processes.decided(folder.read) or {}
        same = is_of(planned, held.get("identity", {})) and not self.again
        if not (same and held["status"] == "finished"):
            baseline = self.model in self.suite.baselines
            say(f"{planned.name}: " + ("fitting" if baseline else f"training on {planned.recipe.images:,} images"))
            stopped = same and held["status"] in ("running", "interrupted")
            resume = processes.decided(lambda: stopped and folder.checkpoint.exists())
            replace = bool(held) and not resume  # asked for by `again`, or broken off before its first checkpoint
            options = Options(
                out=folder.path, data_dir=self.data_dir, resume=resume, overwrite=replace, quiet=self.quiet
            )
            Trainer(planned, options).run()
        model = weights.load_folder(folder.weights, device=processes.device(), expected=planned.spec)
        written = weights.read_config(folder.weights)
        training = written["training"]
        seconds = training["seconds"]
        known = {
            "tag": self.task.data,
            "recipe": training["recipe"],
            "weights": {"source": "recipe", "sha256": written["sha256"], "kind": training["weights"]},
            "images_seen": training["images_seen"],
            "training_device": training.get("device", "cpu"),
            "training_seconds": seconds,
        }
        say(f"{planned.name}: evaluating")
        with bars(self.quiet) as bar:
            card = evaluation.evaluate_model(
                model,
                self.model,
                self.suite,
                self.task,
                known=known,
                data_dir=self.data_dir,
                out=self.folder / "cards",
                seed=self.seed,
                partial=bool(self._own()),
                bar=bar,
            )
        if seconds > 1:
            card["performance"]["training_images_per_second"] = round(training["images_seen"] / seconds, 1)
        return card

    def _failed(self, planned: Plan, error: str) -> cards.Card:
        plugin, spec = registry.models.lookup(self.model)
        return {
            **cards.head(self.suite.entry(self.task), error),
            "model": {
                "name": self.model,
                "tag": self.task.data,
                "plugin": plugin.distribution,
                "plugin_version": plugin.version,
                "family": spec.family,
                "config": planned.config.to_dict(),
                "recipe": planned.recipe.to_dict(),
            },
            "sampling": {"seed": self.seed} if self.task.samples else None,
            "metrics": [],
            "environment": cards.environment(),
            "command": cards.command(),
        }


def _place(task_id: str) -> tuple[str, str]:
    """Suite and task without the version: `quick@1/digits` -> `("quick", "digits")`."""
    suite, _, task = task_id.partition("/")
    return suite.partition("@")[0], task


def _diluted(
    suite: Suite,
    task: Task,
    card: cards.Card,
    folder: Path,
    data_dir: str | Path | None,
    quiet: bool,
    settings: Mapping[str, Any],
    again: bool,
) -> cards.Card:
    """The row `diluted`, made of the model that `card` is of; the one that is there already where it is of that one."""
    source = card["model"]["weights"]
    for path in sorted((folder / "cards").glob(f"diluted.{datasets.tag(task.data)}.*.json")):
        held = cards.read(path)
        same = held["model"]["weights"] == source and held["task"] == card["task"] and held["status"] == "ok"
        if same and held["partial"] == card["partial"] and _has_nats(held, path) and not again:
            return held
    name = f"{card['model']['name']}.{task.data}"
    own = settings if card["partial"] else {}
    place = name if source["source"] == name else _run_folder(folder, name, own).weights
    with bars(quiet) as bar:
        options: dict[str, Any] = {
            "data_dir": data_dir,
            "out": folder / "cards",
            "partial": card["partial"],
            "bar": bar,
        }
        return _kept(rows.diluted(suite, task, card["model"], place, **options), folder)


def _has_nats(card: cards.Card, path: Path) -> bool:
    """Whether the file of nats that a card names lies beside it."""
    return "nats_file" not in card or (path.parent / card["nats_file"]["name"]).is_file()
