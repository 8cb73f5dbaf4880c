"""Score images from elsewhere on a task: a card like that of a model, without likelihoods.

from zoo_bench import evaluate_samples
card = evaluate_samples("theirs.npz", "quick@1/digits")      # zoo evaluate --samples theirs.npz --task quick@1/digits
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards import files
from zoo_bench.cards.card import head, wished
from zoo_bench.cards.environment import command, environment
from zoo_bench.cards.types import Card, ModelEntry, Sampling, Timing
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import pictures, rows
from zoo_bench.evaluation.entries import data_entry
from zoo_bench.evaluation.samples import Samples, read
from zoo_bench.features import weightfiles
from zoo_bench.metrics import conditional, quality
from zoo_bench.metrics.measure import asked_for
from zoo_bench.metrics.measured import Measured, of_images
from zoo_bench.metrics.second_opinion import check_engine, measured_by
from zoo_bench.tasks import suites
from zoo_bench.tasks.suites import Suite, Task
from zoo_core import registry
from zoo_core.commands import sample_files
from zoo_core.errors import ZooError
from zoo_core.images import ImageSpec, check_labels


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 200 and value.isprintable()


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**64


KINDS = {  # of a file's notes; anything else that they say is not taken over
    "weights": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{8,64}", value) is not None,
    "chunk": lambda value: _is_number(value) and value > 0,
    "device": _is_text,
    "model": _is_text,
    "seed": _is_number,
}


def evaluate_samples(
    path: str | Path,
    task_name: str,
    *,
    name: str | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    engine: str = "zoo",
    metrics: Sequence[str] = (),
) -> Card:
    """The card of the images in `path` (`samples.read`) on a task.

    task_name: `quick@1/digits`, or a data set's name. name: what to call them (default: the file's name). out: a folder
    for the card and a grid. seed: to tell several draws of one model apart (default: what the file says, else 0).
    engine: `torch-fidelity` also asks that library. metrics: more than the task's, `cmmd` for one.

    Images that come with labels, of a data set that has classes, count as class-conditional.
    """
    check_engine(engine)
    asked = asked_for(metrics)
    suite, task = find_task(task_name)
    entry = suite.entry(task)
    suite_task, task = task, task.with_metrics(asked)
    began = time.monotonic()
    scored = datasets.load(task.data, task.split, data_dir)
    samples = read(path, scored.images, lossy=task.lossy, n=task.samples or None)
    name = _named(name or Path(path).stem)
    measured = _measured(samples, suite, task, scored.images, data_dir)
    with weightfiles.searching(data_dir):
        entries = measured_by(engine, measured, asked)
        panel = quality.neighbour_panel(measured) if out is not None else None
    if not entries:
        raise ZooError(f"{suite.task_id(task)} measures nothing about samples; take a task that does, by --task")
    model = ModelEntry(
        name=name,
        plugin=None,
        family="samples",
        config={},
        conditioning=measured.conditioning,
        tag=None,
        source=samples.source,
    )
    card = Card(
        **head(entry),
        model=model,
        data=data_entry(task, scored, measured.n, data_dir),
        sampling=_drawn(samples, seed),
        metrics=tuple(entries),
        environment=environment(),
        timing=Timing(seconds=round(time.monotonic() - began, 2)),
        command=command(),
        **wished(engine, asked),
    )
    if out is not None and processes.is_main():
        _write(card, Path(out), panel, samples, scored.images)
    if out is not None and asked:
        rows.beside(suite, suite_task, measured.conditioning, asked, data_dir, Path(out))
    return card


def _measured(samples: Samples, suite: Suite, task: Task, images: ImageSpec, data_dir: str | Path | None) -> Measured:
    """The images on the task, under their labels where they have some and the data set has classes."""
    labels = samples.labels if images.classes else None
    if labels is None:
        return of_images(suite, task, samples.x, None, data_dir)
    check_labels(labels, len(samples.x), images)
    measured = of_images(suite, task, samples.x, labels, data_dir)
    return replace(measured, asked_labels=_unlike_training(labels, task, data_dir))


def _unlike_training(labels: Tensor, task: Task, data_dir: str | Path | None) -> dict[str, Any] | None:
    """How often each label was asked for; None where as often as training images have it, as our own models are asked.

    A thousand images of one class are not comparable with a thousand of all, however good they are.
    """
    known = datasets.load(task.data, "train", data_dir).pinned.labels
    if known is None or conditional.as_often_as(labels, known):
        return None
    return {str(label): int(n) for label, n in zip(*labels.unique(return_counts=True))}


def find_task(name: str) -> tuple[Suite, Task]:
    """The task `quick@1/digits` (or `quick/digits`, or `./mine.toml/photos`), or that of a data set."""
    if name.startswith("data@1/"):  # as cards say it
        return suites.any_data(name.removeprefix("data@1/"))
    plain = "/" not in name and not name.endswith(".toml") and name.partition("@")[0] not in suites.names()
    if datasets.is_own(name) or plain:
        return suites.find_task(name)
    suite = suites.load(name)
    if len(suite.tasks) > 1:
        raise ZooError(f"{name} has several tasks: {', '.join(suite.task_id(task) for task in suite.tasks)}; name one")
    return suite, suite.tasks[0]


def _named(name: str) -> str:
    """A name that fits into the name of a file and cannot be taken for a model of the zoo."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    if not name:
        raise ZooError("the samples need a name of letters and digits; give one with --name")
    if name in registry.models.offers() or name in (*rows.OF_IMAGES, rows.DILUTED):
        raise ZooError(f"{name!r} is the name of a row of the zoo; call the samples something else with --name")
    return name


def _drawn(samples: Samples, seed: int | None) -> Sampling:
    """What is known about how they were drawn: for a file of `zoo sample`, model, weights, seed and chunks."""
    notes = {key: value for key, value in samples.notes.items() if KINDS.get(key, lambda _: False)(value)}
    known: dict[str, Any] = {key: notes[key] for key in ("weights", "chunk", "device") if key in notes}
    if "model" in notes:
        known["model"] = Path(notes["model"]).name
    if seed is None:
        seed = notes.get("seed", 0)
    return Sampling(n=len(samples.x), seed=seed, sampler="unknown", **known, sha256=samples.sha256)


def _write(card: Card, out: Path, panel: Tensor | None, samples: Samples, images: ImageSpec) -> None:
    """The card, a grid of samples and their nearest neighbours; never over the card of other samples."""
    path = out / f"{card.stem}.json"
    if path.exists() and ((held := files.read(path).sampling) is None or held.sha256 != samples.sha256):
        raise ZooError(f"{path} is the card of other samples; choose another --name or --out, or remove it")
    files.write(card, out)
    if images.channels in (1, 3):
        sample_files.write(path.with_suffix(".png"), samples.x[:64], images)
        pictures.write_neighbours(path.with_suffix(".neighbours.png"), panel, images)
