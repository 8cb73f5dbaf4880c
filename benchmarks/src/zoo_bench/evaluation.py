"""Evaluate weights on a task: likelihood of all test images, distance of samples to the data; the answer is a card.

from zoo_bench import evaluate
card = evaluate("made.digits")            # the task of the data set it was trained on
card["metrics"][0]["value"]               # bits/dim, with relation and interval beside it
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench import cards, cost, heatmaps, processes, quality, recipe, suites, weightfiles
from zoo_bench import data as datasets
from zoo_bench.metrics import Measured, measure
from zoo_bench.progress import quiet_bar
from zoo_bench.suites import Suite, Task
from zoo_core import likelihood, registry, sampling, weights
from zoo_core.errors import ZooError, unknown
from zoo_core.images import Batch, ImageSpec
from zoo_core.model import GenerativeModel
from zoo_core.sampling import atomic

Bar = Callable[[str, int], Callable[[int], Any]]
ENGINES = ("zoo", "torch-fidelity")


def evaluate(
    name: str | Path,
    suite: str | Suite | None = None,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    data: str | None = None,
    device: str | None = None,
    tag: str | None = None,
    seed: int | None = None,
    engine: str = "zoo",
    metrics: Sequence[str] = (),
    bar: Bar = quiet_bar,
) -> cards.Card:
    """The card of weights `name` on the task of their data set; one without metrics, where none applies, is no result.

    name: `made.digits`, a folder of weights, or `hf:org/repo`. suite: where the task stands (default: found by the data
    set). out: a folder for the card, its per-image nats and a grid of samples. split: another split than the task's
    (`validation`, to choose by), limit: only the first images and samples: both make the card partial, and a partial
    card never enters a table. data: the data set, where it is not the one that the weights name. seed: of the samples
    (default: the task's first). engine: `torch-fidelity` also asks that library (`second_opinion.py`).
    metrics: more than the task's, `cmmd` for one; the card says that they were asked for.
    bar: `bar(description, total)` returns a function that is called with work done.
    """
    check_engine(engine)
    metrics = asked_for(metrics)
    folder, pinned, expected = registry.find_weights(name)
    name, given = str(name), data
    written = weights.read_config(Path(folder), name)
    where = device or processes.device()
    model = weights.load_folder(folder, device=where, sha256=pinned, origin=name, expected=expected)
    training = written.get("training", {})
    data = (
        data or training.get("recipe", {}).get("data") or tag or (name.partition(".")[2] if "/" not in name else None)
    )
    found, task = _task(suite, data, name, strict=given is not None)
    known = {
        "tag": tag or (name.partition(".")[2] if "/" not in name else data and datasets.tag(data)),
        "weights": {"source": name, "sha256": written["sha256"], "kind": training.get("weights")},
        "images_seen": training.get("images_seen"),
        "training_device": training.get("device", "cpu"),
        "training_seconds": training.get("seconds"),
    }
    card = evaluate_model(
        model,
        written["model"],
        found,
        task,
        known=known,
        data_dir=data_dir,
        split=split,
        limit=limit,
        out=out,
        seed=seed,
        engine=engine,
        asked=metrics,
        bar=bar,
    )
    if out is not None and card["metrics"] and processes.is_main():
        cards.write(card, out, replace=False)
    if out is not None and metrics:
        from zoo_bench import rows

        rows.beside(found, task, model.conditioning, metrics, data_dir, Path(out))
    return card


def _task(suite: str | Suite | None, data: str | None, name: str, strict: bool) -> tuple[Suite, Task]:
    """strict: the data set was asked for; else the weights were trained on it, and a suite of one task need not be."""
    if suite is None:
        if data is None:
            raise ZooError(
                f"{name} does not say what it was trained on; name a suite: {', '.join(suites.list_suites())}"
            )
        return suites.find_task(data)
    found = suite if isinstance(suite, Suite) else suites.load(suite)
    for task in found.tasks:
        if data is None or task.data == data or (len(found.tasks) == 1 and not strict):
            return found, task
    raise unknown("task", str(data), [task.data for task in found.tasks], f" (in suite {found.id})")


def evaluate_model(
    model: GenerativeModel,
    name: str,
    suite: Suite,
    task: Task,
    *,
    known: dict[str, Any],
    data_dir: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    engine: str = "zoo",
    asked: tuple[str, ...] = (),
    partial: bool = False,
    bar: Bar = quiet_bar,
) -> cards.Card:
    """The card of a model in memory. known: facts about the model and its weights that go into `model`.

    seed: of the samples (default: the task's first). The likelihoods, which it does not touch, are in the first's card.
    asked: metrics beside the task's own. partial: it is only a trial, and never enters a table.
    """
    entry = suite.entry(task)
    task = with_metrics(task, asked)
    first = task.sampling_seeds[0]
    seed = first if seed is None else seed
    likely = seed == first and not {"bits_per_dim", "nats"}.isdisjoint(task.metrics)
    if limit is not None and limit < 2:
        raise ZooError(f"expected a limit of at least 2 images, got {limit}")
    scored = datasets.load(task.data, split or task.split, data_dir)
    if scored.images.shape != model.images.shape or scored.images.levels != model.images.levels:
        raise ZooError(
            f"{name} was made for images of {model.images}; {task.data} has {scored.images}: levels or size differ"
        )
    began = time.monotonic()
    batch = task.choose(scored.pinned)[:limit]
    for metric in task.metrics:
        registry.metrics.get(metric)  # a suite that asks for what nobody computes is told so, with the nearest name
    performance: dict[str, Any] = {"compile": False}
    memory = cost.Memory(model.device)
    results = []
    scoring = likely and bar(f"likelihood {name}", len(batch))
    for result, watch in _score(model, batch, task, scoring) if scoring else ():
        if result.nats is not None:
            performance |= {} if results else watch.speed("likelihood")
            results.append(result)
    measured = Measured(task, suite.task_id(task), scored, batch, model.conditioning, results[:1], device=model.device)
    weaker = [replace(measured, results=[result]) for result in results[1:]]
    measured = replace(measured, model=model if seed == first else None)
    sampled = None
    samples = task.samples if limit is None else min(task.samples, limit)
    if samples:
        watch = cost.Stopwatch(processes.share, processes.start().num_processes)
        condition = conditions(model, task, samples, seed, data_dir)
        x = sampling.draw(
            model,
            samples,
            seed=seed,
            chunk=task.chunk,
            progress=bar(f"sampling {name}", samples),
            share=watch,
            **condition,
        )
        performance |= watch.speed("sampling")
        sampled = {
            "n": len(x),
            "seed": seed,
            "chunk": task.chunk,
            "sampler": "default",
            "device": str(model.device),
            "sha256": datasets.pixel_sha256(x.numpy()),
        }
        if condition:
            sampled["conditions"] = f"{', '.join(condition)} of training images, drawn with the seed"
        references = [datasets.load(task.data, reference, data_dir) for reference in task.references]
        measured = replace(measured, samples=x, references=references, **condition)
    with weightfiles.searching(data_dir):
        metrics = measured_by(engine, measured, asked)
    maps = heatmaps.panels(name, measured) if out is not None else []  # here, because all processes share the work
    if samples and processes.is_main():  # one image, so that it costs little
        one = {key: value[:1] for key, value in condition.items()}
        performance |= cost.flops(model, scored.pinned[:8], one)
        if (evaluations := cost.network_evaluations(model, one)) is not None and sampled is not None:
            sampled["network_evaluations"] = evaluations
    with weightfiles.searching(data_dir):
        panel = quality.neighbour_panel(measured) if out is not None else None
    performance |= memory.peak()
    card: cards.Card = {
        **cards.head(entry, partial=partial or limit is not None or split not in (None, task.split)),
        "model": {
            "name": name,
            **_offered(name),
            "config": model.config.to_dict(),
            "conditioning": model.conditioning,
            "params": learned_numbers(model),
            **known,
        },
        "data": data_entry(task, scored, len(batch), data_dir),
        "sampling": sampled,
        "metrics": metrics,
        "weaker_likelihoods": [entry for other in weaker for entry in measure(other)],
        "performance": performance,
        "environment": cards.environment(str(model.device)),
        "published": _published(name, task, metrics),
        "timing": {"seconds": round(time.monotonic() - began, 2)},
        "command": cards.command(),
        **wished(engine, asked),
    }
    if out is not None and processes.is_main():
        stem = cards.stem(card)  # of everything beside it: other tasks of the same weights have other nats and samples
        if results and results[0].nats is not None:
            card["nats_file"] = _write_nats(Path(out) / f"{stem}.nats.npy", results[0].nats)
        if sampled is not None and scored.images.channels in (1, 3):
            sampling.write(Path(out) / f"{stem}.png", x[:64], scored.images)
        if maps:
            heatmaps.write(Path(out) / f"{stem}.heatmap.png", maps)
        write_panel(Path(out) / f"{stem}.neighbours.png", panel, scored.images)
    return card


def write_panel(path: Path, panel: Tensor | None, images: ImageSpec) -> None:
    """The picture of `quality.neighbour_panel`, if there is one."""
    if panel is not None and images.channels in (1, 3):
        with atomic(path) as temporary:
            sampling.grid(panel, images, columns=6).save(temporary, format="PNG")


def check_engine(engine: str) -> None:
    """`ZooError` for an engine that is none, before anything is computed."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)


def asked_for(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of metrics; `ZooError` with the nearest name for one that is none, before anything is computed."""
    return tuple(registry.metrics.get(name).name for name in dict.fromkeys(metrics))


def with_metrics(task: Task, asked: Sequence[str]) -> Task:
    """The task with metrics beside its own, and with splits to compare samples with if it had none."""
    more = tuple(name for name in asked if name not in task.metrics)
    references = task.references or (("train", task.split) if more else ())
    return replace(task, metrics=task.metrics + more, references=references)


def wished(engine: str, asked: Sequence[str]) -> dict[str, Any]:
    """What a card says of an evaluation that was asked for more than its task."""
    return {**({} if engine == "zoo" else {"engine": engine}), **({"asked": list(asked)} if asked else {})}


def measured_by(engine: str, measured: Measured, asked: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The entries of all metrics; with the engine torch-fidelity its values beside ours where it has them."""
    entries = measure(measured, asked)
    if engine == "zoo":
        return entries
    from zoo_bench.second_opinion import second_opinion

    return second_opinion(measured, entries)


def _offered(name: str) -> dict[str, Any]:
    """Which plugin offers a model, and its family; nothing for a row that this harness constructs."""
    if name not in registry.models.offers():
        return {}
    plugin, spec = registry.models.lookup(name)
    return {"plugin": plugin.distribution, "plugin_version": plugin.version, "family": spec.family}


def _published(name: str, task: Task, metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What papers say of this model and data set, in units that the card has too."""
    if name not in registry.models.offers():
        return []
    units = {entry["unit"] for entry in metrics}
    return [entry for entry in recipe.published(registry.models.get(name), task.data) if entry["unit"] in units]


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


def data_entry(task: Task, scored: datasets.Dataset, n: int, data_dir: str | Path | None) -> dict[str, Any]:
    """What a card says about its data: the split that was scored, and the hashes of all that took part."""
    splits = {name: datasets.load(task.data, name, data_dir).sha256 for name in {scored.split, *task.references}}
    return {
        "name": datasets.public(task.data),
        "split": scored.split,
        "sha256": scored.sha256,
        "n": n,
        "splits": dict(sorted(splits.items())),
        "shape": list(scored.images.shape),
        "levels": scored.images.levels,
        **({"subset": task.subset} if task.subset else {}),
    }


def _score(
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


def _write_nats(path: Path, nats: Tensor) -> dict[str, str]:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, nats.numpy())
    return {"name": path.name, "sha256": weights.sha256_of(path)}


def learned_numbers(model: GenerativeModel) -> int:
    """Real numbers that a training sets: parameters, and the tables of models that are fitted without gradients."""
    return sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())
