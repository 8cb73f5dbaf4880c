"""Evaluate a model in memory: its likelihoods, its samples, the metrics of both, what they cost, and the card of all.

Each of the five is a function below, in the order in which `evaluate_model` calls them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.card import head, wished
from zoo_bench.cards.environment import command, environment
from zoo_bench.cards.types import Card, Metric, ModelEntry, Performance, Sampling, Timing
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import pictures
from zoo_bench.evaluation.entries import data_entry, learned_numbers, offered, published
from zoo_bench.features import weightfiles
from zoo_bench.metrics import cost
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.metrics.second_opinion import measured_by
from zoo_bench.progress import Bar, quiet_bar
from zoo_bench.tasks.suites import Suite, Task
from zoo_core import likelihood, registry, sampling
from zoo_core.errors import ZooError
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.step import Trainable

LIKELIHOODS = frozenset({"bits_per_dim", "nats"})


@dataclass(frozen=True)
class Wanted:
    """What is to be evaluated, and how much of it.

    split: another than the task's own. limit: only the first images and samples. partial: it is only a trial. Each of
    the three makes the card partial, and a partial card never enters a table. out: a folder for what lies beside the
    card. seed: of the samples (default: the task's first); the likelihoods, which it does not touch, are in the first's
    card. engine: `torch-fidelity` also asks that library. asked: metrics beside the task's own. bar: `bar(description,
    total)` returns a function that is called with work done.
    """

    suite: Suite
    suite_task: Task
    data_dir: str | Path | None = None
    split: str | None = None
    limit: int | None = None
    out: Path | None = None
    seed: int | None = None
    engine: str = "zoo"
    asked: tuple[str, ...] = ()
    partial: bool = False
    bar: Bar = field(default=quiet_bar, compare=False)

    @property
    def task(self) -> Task:
        """With the metrics that were asked for."""
        return self.suite_task.with_metrics(self.asked)

    @property
    def sampling_seed(self) -> int:
        return self.task.sampling_seeds[0] if self.seed is None else self.seed

    @property
    def is_first_seed(self) -> bool:
        return self.sampling_seed == self.task.sampling_seeds[0]

    @property
    def samples(self) -> int:
        """How many images to draw."""
        return self.task.samples if self.limit is None else min(self.task.samples, self.limit)

    @property
    def card_is_partial(self) -> bool:
        return self.partial or self.limit is not None or self.split not in (None, self.task.split)

    def load(self, split: str) -> datasets.Dataset:
        """A split of the task's data set."""
        return datasets.load(self.task.data, split, self.data_dir)


def evaluate_model(model: Trainable, name: str, wanted: Wanted, known: dict[str, Any]) -> Card:
    """The card of a model in memory, with its pictures beside it.

    known: fields of `ModelEntry` about it and its weights: `tag`, and the `family` of what no plugin offers.
    """
    facts = {"config": model.config.to_dict(), "conditioning": model.conditioning, "params": learned_numbers(model)}
    entry = ModelEntry(name=name, **{**offered(name), **facts, **known})  # before any work
    scored = _scored_split(model, name, wanted)
    began = time.monotonic()
    memory = cost.Memory(model.device)
    batch = wanted.task.choose(scored.pinned)[: wanted.limit]
    found = likelihoods(model, name, batch, wanted)
    drawn = samples(model, name, wanted)
    measured, metrics, weaker = _metrics(model, scored, batch, found, drawn, wanted, entry.trained_with)
    panels = pictures.panels(name, measured, wanted.data_dir) if wanted.out is not None else None
    counted, evaluations = costs(model, scored, drawn)
    speed = {**found.speed, **(drawn.speed if drawn is not None else {})}
    card = Card(
        **head(wanted.suite.entry(wanted.suite_task), partial=wanted.card_is_partial),
        model=entry,
        data=data_entry(wanted.task, scored, len(batch), wanted.data_dir),
        sampling=Sampling(**drawn.entry, **evaluations) if drawn is not None else None,
        metrics=tuple(metrics),
        weaker_likelihoods=tuple(weaker),
        performance=Performance(compile=False, **{**speed, **counted, **memory.peak()}),
        environment=environment(str(model.device)),
        published=published(name, wanted.task, metrics),
        timing=Timing(seconds=round(time.monotonic() - began, 2)),
        command=command(),
        **wished(wanted.engine, wanted.asked),
    )
    if wanted.out is not None and panels is not None and processes.is_main():
        # The stem is that of all that lies beside it: other tasks of the same weights have other nats and samples.
        if found.nats is not None:
            card = card.but(nats_file=pictures.write_nats(wanted.out / f"{card.stem}.nats.npy", found.nats))
        pictures.write(wanted.out, card.stem, panels, None if drawn is None else drawn.x, scored.images)
    return card


def _scored_split(model: Trainable, name: str, wanted: Wanted) -> datasets.Dataset:
    """The split that is scored; `ZooError`, before any work, where model, data and what is wanted do not fit."""
    task = wanted.task
    if wanted.limit is not None and wanted.limit < 2:
        raise ZooError(f"expected a limit of at least 2 images, got {wanted.limit}")
    scored = wanted.load(wanted.split or task.split)
    if scored.images.shape != model.images.shape or scored.images.levels != model.images.levels:
        raise ZooError(
            f"{name} was made for images of {model.images}; {task.data} has {scored.images}: levels or size differ"
        )
    for metric in task.metrics:
        registry.metrics.get(metric)  # a suite that asks for what nobody computes is told so, with the nearest name
    return scored


@dataclass(frozen=True)
class Likelihoods:
    """Those that the model offers and that have numbers, strongest first; speed: of the strongest."""

    results: list[likelihood.LikelihoodResult]
    speed: dict[str, Any]

    @property
    def nats(self) -> Tensor | None:
        """Of each image, by the strongest."""
        return self.results[0].nats if self.results else None


def likelihoods(model: Trainable, name: str, batch: Batch, wanted: Wanted) -> Likelihoods:
    """All likelihoods of the images; none for a later sampling seed, or where the task asks for none."""
    results: list[likelihood.LikelihoodResult] = []
    speed: dict[str, Any] = {}
    if isinstance(model, GenerativeModel) and wanted.is_first_seed and not LIKELIHOODS.isdisjoint(wanted.task.metrics):
        for result, watch in _scores(model, batch, wanted.task, wanted.bar(f"likelihood {name}", len(batch))):
            if result.nats is not None:
                speed = speed or watch.speed("likelihood")
                results.append(result)
    return Likelihoods(results, speed)


def _scores(
    model: GenerativeModel, batch: Batch, task: Task, progress: Callable[[int], Any]
) -> Iterator[tuple[likelihood.LikelihoodResult, cost.Stopwatch]]:
    """Every likelihood that the model offers, strongest first, with the time it took; under its own condition."""
    labels = batch.labels if model.conditioning == "class" else None
    text = batch.text if model.conditioning == "text" else None
    if model.conditioning != "none" and labels is None and text is None:
        what = {"class": "labels", "text": "captions"}[model.conditioning]
        raise ZooError(f"{type(model).__name__} is conditional, but data set {task.data} has no {what}")
    options = {"seed": task.likelihood_seed, "draws": task.draws, "n": task.iwae, "chunk": task.chunk}
    watch = cost.Stopwatch(processes.share, processes.start().num_processes)
    for result in likelihood.scores(
        model, batch.x, labels=labels, text=text, progress=progress, share=watch, **options
    ):
        yield result, watch
        watch.rates.clear()


@dataclass(frozen=True)
class Drawn:
    """Samples uint8 `(N, C, H, W)`, what they were asked for, and what a card says about them."""

    x: Tensor
    condition: dict[str, Any]
    entry: dict[str, Any]
    speed: dict[str, Any]


def samples(model: Trainable, name: str, wanted: Wanted) -> Drawn | None:
    """As many images as the task draws, if it draws any and the model does: an encoder draws none."""
    n, seed, task = wanted.samples, wanted.sampling_seed, wanted.task
    if not n or not isinstance(model, GenerativeModel):
        return None
    watch = cost.Stopwatch(processes.share, processes.start().num_processes)
    condition = conditions(model, task, n, seed, wanted.data_dir)
    progress = wanted.bar(f"sampling {name}", n)
    x = sampling.draw(model, n, seed=seed, chunk=task.chunk, progress=progress, share=watch, **condition)
    entry = {
        "n": len(x),
        "seed": seed,
        "chunk": task.chunk,
        "sampler": "default",
        "device": str(model.device),
        "sha256": datasets.pixel_sha256(x.numpy()),
    }
    if condition:
        entry["conditions"] = f"{', '.join(condition)} of training images, drawn with the seed"
    return Drawn(x, condition, entry, watch.speed("sampling"))


def conditions(
    model: GenerativeModel, task: Task, n: int, seed: int, data_dir: str | Path | None = None
) -> dict[str, Any]:
    """What n samples of a conditional model are asked for: the labels or captions of training images, with repeats."""
    if model.conditioning == "none":
        return {}
    train = datasets.load(task.data, "train", data_dir).pinned
    rows = torch.from_numpy(np.random.RandomState(seed).randint(len(train), size=n))
    given = datasets.pick(train, rows)
    if model.conditioning == "class":
        return {"labels": given.labels}
    return {"text": given.text}


def _metrics(
    model: Trainable,
    scored: datasets.Dataset,
    batch: Batch,
    found: Likelihoods,
    drawn: Drawn | None,
    wanted: Wanted,
    trained_with: Sequence[str],
) -> tuple[Measured, list[Metric], list[Metric]]:
    """What was measured, the entries of all metrics, and those of the weaker likelihoods."""
    task, results = wanted.task, found.results
    measured = Measured(
        task,
        wanted.suite.task_id(wanted.suite_task),
        scored,
        batch,
        model.conditioning,
        results[:1],
        device=model.device,
    )
    weaker = [entry for result in results[1:] for entry in measure(replace(measured, results=[result]))]
    measured = replace(measured, model=model if wanted.is_first_seed else None, trained_with=trained_with)
    if drawn is not None:
        references = [wanted.load(reference) for reference in task.references]
        measured = replace(measured, samples=drawn.x, references=references, **drawn.condition)
    with weightfiles.searching(wanted.data_dir):
        return measured, measured_by(wanted.engine, measured, wanted.asked), weaker


def costs(model: Trainable, scored: datasets.Dataset, drawn: Drawn | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """FLOPs, and how often the network runs for an image: of one image, so that it costs little; the main process's."""
    if drawn is None or not isinstance(model, GenerativeModel) or not processes.is_main():
        return {}, {}
    one = {key: value[:1] for key, value in drawn.condition.items()}
    counted = cost.flops(model, scored.pinned[:8], one)
    evaluations = cost.network_evaluations(model, one)
    return counted, {} if evaluations is None else {"network_evaluations": evaluations}
