"""The rows of a table that no plugin brings: the training images themselves, and a good model diluted with noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from zoo_bench import processes
from zoo_bench.baselines.constructed import Diluted
from zoo_bench.cards import files
from zoo_bench.cards.card import head, wished
from zoo_bench.cards.environment import command, environment
from zoo_bench.cards.types import Card, ModelEntry, Weights
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation.entries import data_entry
from zoo_bench.evaluation.model import LIKELIHOODS, Wanted, evaluate_model
from zoo_bench.features import weightfiles
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import of_images
from zoo_bench.tasks.suites import Suite, Task
from zoo_core import pretrained, registry, weights
from zoo_core.errors import ZooError


def floor(suite: Suite, task: Task, data_dir: str | Path | None = None, asked: Sequence[str] = ()) -> Card:
    """Training images scored as if a model had drawn them; a task with several seeds has one such row.

    asked: metrics beside the task's own.

    Against the test images that is the floor, which no model should get below; against the training images it is the
    copycat, which memorises the training set. They are as many as a model draws, so that all stand in one
    column: the first training images, and where these are too few, the same again from the start.
    """
    train = _train(task, data_dir)
    return _scored(FLOOR, "floor", suite, task, data_dir, asked, train, torch.arange(task.samples) % len(train))


def floor_given_labels(suite: Suite, task: Task, data_dir: str | Path | None = None, asked: Sequence[str] = ()) -> Card:
    """The floor of models that draw under labels: the same images under their own."""
    train = _train(task, data_dir)
    rows = torch.arange(task.samples) % len(train)
    return _scored(FLOOR_GIVEN, "floor", suite, task, data_dir, asked, train, rows, given=True)


def copycat_given_labels(
    suite: Suite, task: Task, data_dir: str | Path | None = None, asked: Sequence[str] = ()
) -> Card:
    """What `copycat` is among models that draw under labels: a training image of the class that is asked for."""
    train = _train(task, data_dir)
    rows = torch.from_numpy(np.random.RandomState(task.sampling_seeds[0]).randint(len(train), size=task.samples))
    return _scored(COPYCAT_GIVEN, "constructed", suite, task, data_dir, asked, train, rows, given=True)


FLOOR, FLOOR_GIVEN, COPYCAT_GIVEN = "training_images", "training_images_given_labels", "copycat_given_labels"
DILUTED = "diluted"
OF_IMAGES = {FLOOR: floor, FLOOR_GIVEN: floor_given_labels, COPYCAT_GIVEN: copycat_given_labels}


def beside(
    suite: Suite, task: Task, conditioning: str, asked: Sequence[str], data_dir: str | Path | None, out: Path
) -> None:
    """Write the floor of an evaluation that was asked for more than its task; none ships for those columns."""
    if not task.samples or not any(registry.metrics.get(name).needs_extractor for name in asked):
        return
    row = {"none": floor, "class": floor_given_labels}.get(conditioning)
    if row is not None:
        card = row(suite, task, data_dir, asked)
        if processes.is_main():
            files.write(card, out)


def _train(task: Task, data_dir: str | Path | None) -> datasets.Dataset:
    """The training images that the task compares with; those of the data set where it does not."""
    split = next((name for name in task.references if name.startswith("train")), "train")
    return datasets.load(task.data, split, data_dir)


def _scored(
    name: str,
    family: str,
    suite: Suite,
    task: Task,
    data_dir: str | Path | None,
    asked: Sequence[str],
    train: datasets.Dataset,
    rows: torch.Tensor,
    given: bool = False,
) -> Card:
    """The card of these training images as samples, `given` their labels or not."""
    x, labels = train.pinned.x[rows], train.pinned.labels
    if given and labels is None:
        raise ZooError(f"{task.data} has no labels, so no model draws under them")
    entry = suite.entry(task)
    task = task.with_metrics(asked)
    measured = of_images(suite, task, x, labels[rows] if given and labels is not None else None, data_dir)
    with weightfiles.searching(data_dir):
        metrics = measure(measured)
    distinct = len(rows.unique())
    model = ModelEntry(
        name=name,
        tag=task.data,
        plugin="zoo-bench",
        family=family,
        config={},
        conditioning=measured.conditioning,
        made_of=f"{len(rows)} images of split {train.split}, {distinct} of them distinct",
    )
    return Card(
        **head(entry),
        model=model,
        data=data_entry(task, train, distinct, data_dir),
        metrics=tuple(metrics),
        environment=environment(),
        command=command(),
        **wished("zoo", asked),
    )


def best_exact(found: Sequence[Card], task_id: str) -> Card | None:
    """The card of the learned model or baseline with the best exact likelihood of a task; under no condition."""

    def loss(card: Card) -> float:
        """The task's first likelihood: bits/dim or nats, the same for all cards of the task."""
        first = next((entry for entry in card.metrics if entry.id in LIKELIHOODS), None)
        return first.value if first is not None and first.relation == "=" and first.value is not None else math.inf

    ours = [
        card
        for card in found
        if card.task.id == task_id
        and card.status == "ok"
        and card.model.family != "constructed"
        and card.model.conditioning == "none"
    ]
    best = min(ours, key=loss, default=None)
    return best if best is not None and loss(best) < math.inf else None


def diluted(wanted: Wanted, source: Weights, place: str | Path, *, device: str | None = None) -> Card:
    """The card of 1 % of a good model and 99 % noise (`constructed.py`).

    source: the good model's weights, as its card has them. place: these, by name or folder, which know the model.
    """
    name = weights.read_config(Path(pretrained.find(place)[0]), str(place))["model"]
    model = Diluted(pretrained.load(place, device=device or processes.device(), sha256=source.sha256))
    known = {
        "tag": wanted.task.data,
        "plugin": "zoo-bench",
        "family": "constructed",
        "weights": source,
        "made_of": f"1 % {name}, 99 % uniform noise",
    }
    return evaluate_model(model, DILUTED, wanted, known)
