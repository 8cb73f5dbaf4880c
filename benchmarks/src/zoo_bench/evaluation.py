"""Evaluate weights on a task: likelihood of all test images, distance of samples to the data; the answer is a card.

from zoo_bench import evaluate
card = evaluate("made.digits")            # the task of the data set it was trained on
card["metrics"][0]["value"]               # bits/dim, with relation and interval beside it
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench import cards, frechet, recipe, suites
from zoo_bench import data as datasets
from zoo_bench.progress import quiet_bar
from zoo_bench.suites import Suite, Task
from zoo_core import likelihood, registry, sampling, weights
from zoo_core.errors import ZooError, unknown
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.sampling import atomic

Bar = Callable[[str, int], Callable[[int], Any]]


def evaluate(
    name: str | Path,
    suite: str | None = None,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    device: str = "cpu",
    tag: str | None = None,
    bar: Bar = quiet_bar,
) -> cards.Card:
    """The card of weights `name` on the task of their data set.

    name: `made.digits`, a folder of weights, or `hf:org/repo`. suite: where the task stands (default: found by the data
    set). out: a folder for the card, its per-image nats and a grid of samples. split: another split than the task's
    (`validation`, to choose by), limit: only the first images and samples: both make the card partial, and a partial
    card never enters a table. bar: `bar(description, total)` returns a function that is called with work done.
    """
    folder, pinned, expected = registry.find_weights(name)
    name = str(name)
    written = weights.read_config(Path(folder), name)
    model = weights.load_folder(folder, device=device, sha256=pinned, origin=name, expected=expected)
    training = written.get("training", {})
    data = training.get("recipe", {}).get("data") or tag or (name.partition(".")[2] if "/" not in name else None)
    found, task = _task(suite, data, name)
    known = {
        "tag": tag or (name.partition(".")[2] if "/" not in name else data),
        "weights": {"source": name, "sha256": written["sha256"], "kind": training.get("weights")},
        "images_seen": training.get("images_seen"),
        "training_device": training.get("device", "cpu"),
        "training_seconds": training.get("seconds"),
    }
    card = evaluate_model(
        model, written["model"], found, task, known=known, data_dir=data_dir, split=split, limit=limit, out=out, bar=bar
    )
    if out is not None:
        cards.write(card, out, replace=False)
    return card


def _task(suite: str | None, data: str | None, name: str) -> tuple[Suite, Task]:
    if suite is None:
        if data is None:
            raise ZooError(
                f"{name} does not say what it was trained on; name a suite: {', '.join(suites.list_suites())}"
            )
        return suites.find_task(data)
    found = suites.load(suite)
    for task in found.tasks:
        if data is None or task.data == data or len(found.tasks) == 1:
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
    bar: Bar = quiet_bar,
) -> cards.Card:
    """The card of a model in memory. known: facts about the weights that go into `model`."""
    if limit is not None and limit < 2:
        raise ZooError(f"expected a limit of at least 2 images, got {limit}")
    scored = datasets.load(task.data, split or task.split, data_dir)
    if scored.images.shape != model.images.shape or scored.images.levels != model.images.levels:
        raise ZooError(
            f"{name} was made for images of {model.images}; {task.data} has {scored.images}: levels or size differ"
        )
    began = time.monotonic()
    batch = scored.pinned if limit is None else scored.pinned[:limit]
    identity = {
        "task": suite.task_id(task),
        "split": {"name": scored.split, "sha256": scored.sha256},
        "conditioning": "none",
        "n": len(batch),
    }
    for metric in task.metrics:
        registry.metrics.get(metric)  # a suite that asks for what nobody computes is told so, with the nearest name
    performance: dict[str, Any] = {"flops": "not measured", "compile": False}
    results = []
    for result, seconds in _score(model, batch, task, bar(f"likelihood {name}", len(batch))):
        if result.nats is not None:
            results.append(result)
            performance.setdefault("likelihood_images_per_second", round(len(batch) / seconds, 2))
    metrics = _likelihood_metrics(results[0], task, identity) if results else []
    weaker = [entry for result in results[1:] for entry in _likelihood_metrics(result, task, identity)]
    sampled = None
    samples = task.samples if limit is None else min(task.samples, limit)
    if samples:
        began_sampling = time.monotonic()
        x = sampling.draw(model, samples, seed=task.seed, chunk=task.chunk, progress=bar(f"sampling {name}", samples))
        performance["sampling_images_per_second"] = round(len(x) / (time.monotonic() - began_sampling), 2)
        sampled = {
            "n": len(x),
            "seed": task.seed,
            "chunk": task.chunk,
            "sampler": "default",
            "device": str(model.device),
            "sha256": datasets.pixel_sha256(x.numpy()),
        }
        if "fd_pixels" in task.metrics:
            references = [datasets.load(task.data, reference, data_dir) for reference in task.references]
            metrics += [fd_pixels(x, data, identity) for data in references]
    performance["peak_memory_mb"] = peak_memory(model.device)
    spec = registry.models.get(name)
    plugin, _ = registry.models.lookup(name)
    card: cards.Card = {
        "schema_version": cards.SCHEMA,
        "status": "ok",
        "error": None,
        "partial": limit is not None or split not in (None, task.split),
        "task": {"id": suite.task_id(task), "version": suite.version, "sha256": task.sha256()},
        "model": {
            "name": name,
            "plugin": plugin.distribution,
            "plugin_version": plugin.version,
            "family": spec.family,
            "config": model.config.to_dict(),
            "conditioning": spec.conditioning,
            "params": learned_numbers(model),
            **known,
        },
        "data": data_entry(task, scored, len(batch), data_dir),
        "sampling": sampled,
        "metrics": metrics,
        "weaker_likelihoods": weaker,
        "performance": performance,
        "environment": cards.environment(str(model.device)),
        "published": recipe.published(spec, task.data),
        "timing": {"seconds": round(time.monotonic() - began, 2)},
        "command": cards.command(),
    }
    if out is not None:
        stem = f"{name}.{known.get('tag') or 'untagged'}" + (".partial" if card["partial"] else "")
        if results and results[0].nats is not None:
            card["nats_file"] = _write_nats(Path(out) / f"{stem}.nats.npy", results[0].nats)
        if sampled is not None and scored.images.channels in (1, 3):
            sampling.write(Path(out) / f"{stem}.png", x[:64], scored.images)
    return card


def data_entry(task: Task, scored: datasets.Dataset, n: int, data_dir: str | Path | None) -> dict[str, Any]:
    """What a card says about its data: the split that was scored, and the hashes of all that took part."""
    splits = {name: datasets.load(task.data, name, data_dir).sha256 for name in {scored.split, *task.references}}
    return {
        "name": task.data,
        "split": scored.split,
        "sha256": scored.sha256,
        "n": n,
        "splits": dict(sorted(splits.items())),
        "shape": list(scored.images.shape),
        "levels": scored.images.levels,
    }


def _score(
    model: GenerativeModel, batch: Batch, task: Task, progress: Callable[[int], Any]
) -> Iterator[tuple[likelihood.LikelihoodResult, float]]:
    """Every likelihood that the model offers, strongest first, with the seconds it took."""
    options = {"seed": task.likelihood_seed, "draws": task.draws, "n": task.iwae, "chunk": task.chunk}
    began = time.monotonic()
    for result in likelihood.scores(model, batch.x, progress=progress, **options):
        yield result, time.monotonic() - began
        began = time.monotonic()


def _likelihood_metrics(
    result: likelihood.LikelihoodResult, task: Task, identity: dict[str, Any]
) -> list[dict[str, Any]]:
    """Bits/dim and nats of one result. An infinite likelihood has no value: null, with the reason."""
    scales = {"bits_per_dim": (1.0, "bits/dim"), "nats": (result.dims * math.log(2), "nats/image")}
    low, high = result.interval
    infinite = int(result.nats.isinf().sum()) if result.nats is not None else 0
    reason = {"reason": f"{infinite} of {identity['n']} images have no probability at all"} if infinite else {}
    interval = {"level": 0.95, "method": "normal, over images", "n": identity["n"]}
    return [
        cards.metric(
            name,
            registry.metrics.get(name).version,
            None if infinite else result.bits_per_dim * scales[name][0],
            unit=scales[name][1],
            relation=result.relation,
            interval=None if infinite else {**interval, "low": low * scales[name][0], "high": high * scales[name][0]},
            identity=identity,
            method=result.method,
            **result.params,
            **reason,
        )
        for name in task.metrics
        if name in scales
    ]


def fd_pixels(x: Tensor, data: datasets.Dataset, identity: dict[str, Any]) -> dict[str, Any]:
    """The metric entry of the Fréchet distance on pixels between images `x` and a split."""
    spec = registry.metrics.get("fd_pixels")
    features = frechet.pixel_features(x, data.images)
    fitted = frechet.fit(frechet.pixel_features(data.pinned.x, data.images))
    value = frechet.frechet_distance(frechet.fit(features), fitted)
    groups = min(10, len(x) // 2)
    half = 1.96 * frechet.jackknife(features, fitted, groups) if groups > 1 else None
    return cards.metric(
        "fd_pixels",
        spec.version,
        value,
        unit="",
        relation=None,
        interval=None
        if half is None
        else {
            "level": 0.95,
            "low": value - half,
            "high": value + half,
            "method": f"delete-a-group jackknife ({groups}) over generated images",
            "n": len(x),
        },
        identity={
            **{key: identity[key] for key in ("task", "conditioning")},
            "n": len(x),
            "reference": {"name": data.split, "sha256": data.sha256, "n": len(data)},
            "features": spec.params["features"],
        },
        reference=data.split,
        n=len(x),
        n_reference=len(data),
        warning="N <= feature dimension" if len(x) <= features.shape[1] else None,
    )


def _write_nats(path: Path, nats: Tensor) -> dict[str, str]:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, nats.numpy())
    return {"name": path.name, "sha256": weights.sha256_of(path)}


def learned_numbers(model: GenerativeModel) -> int:
    """Real numbers that a training sets: parameters, and the tables of models that are fitted without gradients."""
    return sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())


def peak_memory(device: torch.device) -> int:
    """Peak memory so far, MB: allocated on a CUDA device, else resident in this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
