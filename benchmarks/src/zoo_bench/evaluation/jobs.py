"""One row of a benchmark: one model on one task, trained or by its published weights, its samples from one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_bench import processes
from zoo_bench.cards import files, pinned
from zoo_bench.cards.card import head
from zoo_bench.cards.environment import command, environment
from zoo_bench.cards.types import Card, ModelEntry, Sampling, Weights
from zoo_bench.evaluation.evaluate import evaluate
from zoo_bench.evaluation.model import Wanted, evaluate_model
from zoo_bench.progress import bars
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training import first_stages
from zoo_bench.training.checkpoint import RunFolder
from zoo_bench.training.recipe import Plan, is_of, plan, trained_with
from zoo_bench.training.trainer import Options, Trainer
from zoo_core import registry, weights
from zoo_core.errors import ZooError


def run_folder(folder: Path, name: str, settings: Mapping[str, Any]) -> RunFolder:
    """Where the training of `made.digits` is kept; a trial with settings of its own never touches the recipe's."""
    trial = "".join(f".{key}-{value}" for key, value in sorted(settings.items()))
    return RunFolder(folder / "runs" / f"{name}{trial}")


def has_nats(card: Card, path: Path) -> bool:
    """Whether the file of nats that a card names lies beside it."""
    return card.nats_file is None or (path.parent / card.nats_file.name).is_file()


@dataclass
class Job:
    """One model on one task, its samples drawn from one seed."""

    suite: Suite
    task: Task
    model: str
    folder: Path
    data_dir: str | Path | None = None
    pretrained: bool = False
    again: bool = False
    quiet: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def run(self, say: Callable[[str], Any]) -> Card:
        own = self._own()
        planned = plan(self.model, self.task.data, **own)
        from_weights = self.pretrained and self.model not in self.suite.baselines
        held = processes.decided(lambda: self._held(planned, from_weights))
        if held is not None:
            say(f"{planned.name}: its card is there already")
            return held
        self._remove_others(planned, from_weights, say)
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
        card = card.but(partial=bool(card.partial or (own and not from_weights)))
        if processes.is_main() and (card.metrics or card.status != "ok"):
            files.write(card, self.folder / "cards")
        return card

    def _remove_others(self, planned: Plan, from_weights: bool, say: Callable[[str], Any]) -> None:
        """Remove the card that this job replaces: no interrupted rerun may find it."""
        if not processes.is_main():
            return
        for path in (self.folder / "cards").glob(f"{planned.name}.*.json"):
            held = files.read(path)
            if _place(held.task.id) != _place(self.suite.task_id(self.task)):
                continue  # another suite's, in the same folder
            if held.partial != bool(self._own() and not from_weights):
                continue  # a trial's beside the real one, or the other way round
            other = held.task != self.suite.entry(self.task) or not self._is_of(held, planned, from_weights)
            if other and held.status == "ok":
                say(f"{path.name}: replaced, because it is of other weights or another recipe")
            first = self.seed == self.task.sampling_seeds[0]
            if self.seed == held.seed or (first and (other or self.again)):
                path.unlink()

    def _own(self) -> Mapping[str, Any]:
        """What is set otherwise than in the recipe; baselines have nothing to set."""
        return {} if self.model in self.suite.baselines else self.settings

    def _held(self, planned: Plan, from_weights: bool) -> Card | None:
        """The finished card of this very job, if there is one: the same task, and the same recipe or weights."""
        for path in sorted((self.folder / "cards").glob(f"{planned.name}.*.json")):
            card = files.read(path)
            if self.again or card.status != "ok" or card.task != self.suite.entry(self.task):
                continue
            if card.partial != bool(self._own() and not from_weights):
                continue
            if not has_nats(card, path):
                continue
            if card.seed != (self.seed if self.task.samples else 0):
                continue
            if self._is_of(card, planned, from_weights):
                return card
        return None

    def _is_of(self, card: Card, planned: Plan, from_weights: bool) -> bool:
        """Whether a card is of the weights, or of the training, that this job is about."""
        if not from_weights:
            return is_of(planned, {"recipe": card.model.recipe, "config": card.model.config, "init": card.model.init})
        return pinned.is_of(card, planned.spec, registry.find_pretrained(planned.spec, self.task.data))

    def _from_weights(self) -> Card:
        with bars(self.quiet) as bar:
            name = f"{self.model}.{self.task.data}"
            return evaluate(
                name,
                dataclasses.replace(self.suite, tasks=(self.task,)),
                data_dir=self.data_dir,
                out=self.folder / "cards",
                tag=self.task.data,
                seed=self.seed,
                bar=bar,
            )

    def _from_recipe(self, planned: Plan, say: Callable[[str], Any]) -> Card:
        folder = run_folder(self.folder, planned.name, self._own())
        self._train(planned, folder, say)
        model = weights.load_folder(folder.weights, device=processes.device(), expected=planned.spec)
        written = weights.read_config(folder.weights)
        training = written["training"]
        seconds = training["seconds"]
        known = {
            "tag": self.task.data,
            "recipe": training["recipe"],
            "weights": Weights(
                source="recipe", sha256=weights.content_sha256(folder.weights), kind=training["weights"]
            ),
            "images_seen": training["images_seen"],
            "training_device": training.get("device", "cpu"),
            "training_seconds": seconds,
            **trained_with(training),
            **first_stages.told(training),
        }
        say(f"{planned.name}: evaluating")
        place = self.folder / "cards"
        with bars(self.quiet) as bar:
            wanted = Wanted(
                self.suite, self.task, self.data_dir, out=place, seed=self.seed, partial=bool(self._own()), bar=bar
            )
            card = evaluate_model(model, self.model, wanted, known)
        if seconds > 1 and card.performance is not None:
            rate = round(training["images_seen"] / seconds, 1)
            card = card.but(performance=card.performance.but(training_images_per_second=rate))
        return card

    def _train(self, planned: Plan, folder: RunFolder, say: Callable[[str], Any]) -> None:
        """Train, or go on with a training that was stopped; nothing where it is finished already."""
        held = processes.decided(folder.read) or {}
        same = is_of(planned, held.get("identity", {})) and not self.again
        if same and held["status"] == "finished":
            return
        baseline = self.model in self.suite.baselines
        say(f"{planned.name}: " + ("fitting" if baseline else f"training on {planned.recipe.images:,} images"))
        stopped = same and held["status"] in ("running", "interrupted")
        resume = processes.decided(lambda: stopped and folder.has_checkpoint())
        replace = bool(held) and not resume  # asked for by `again`, or broken off before its first checkpoint
        options = Options(out=folder.path, data_dir=self.data_dir, resume=resume, overwrite=replace, quiet=self.quiet)
        Trainer(planned, options).run()

    def _failed(self, planned: Plan, error: str) -> Card:
        plugin, spec = registry.models.lookup(self.model)
        model = ModelEntry(
            name=self.model,
            plugin=plugin.distribution,
            plugin_version=plugin.version,
            family=spec.family,
            config=planned.config.to_dict(),
            tag=self.task.data,
            recipe=planned.recipe.to_dict(),
        )
        return Card(
            **head(self.suite.entry(self.task), error),
            model=model,
            sampling=Sampling(seed=self.seed) if self.task.samples else None,
            metrics=(),
            environment=environment(),
            command=command(),
        )


def _place(task_id: str) -> tuple[str, str]:
    """Suite and task without the version: `quick@1/digits` -> `("quick", "digits")`."""
    suite, _, task = task_id.partition("/")
    return suite.partition("@")[0], task
