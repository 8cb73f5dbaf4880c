"""The rows of a table that no plugin brings: the training images themselves, and a good model diluted with noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zoo_bench import cards, evaluation, processes, weightfiles
from zoo_bench import data as datasets
from zoo_bench.constructed import Diluted
from zoo_bench.metrics import Measured, measure
from zoo_bench.progress import quiet_bar
from zoo_bench.suites import Suite, Task
from zoo_core import registry

FLOOR = "training_images"
DILUTED = "diluted"


def floor(suite: Suite, task: Task, data_dir: str | Path | None = None) -> cards.Card:
    """Training images scored as if a model had drawn them; a task with several seeds has one such row.

    Against the test images that is the floor, which no honest model gets below; against the training images it is the
    copycat, which has learned the training set by heart. They are as many as a model draws, so that all stand in one
    column: the first training images, and where these are too few, the same again from the start.
    """
    split = next((name for name in task.references if name.startswith("train")), "train")
    train = datasets.load(task.data, split, data_dir)
    n, distinct = task.samples, min(task.samples, len(train))
    x = train.pinned.x[torch.arange(n) % len(train)]
    scored = datasets.load(task.data, task.split, data_dir)
    references = [datasets.load(task.data, reference, data_dir) for reference in task.references]
    measured = Measured(task, suite.task_id(task), scored, scored.pinned, samples=x, references=references)
    with weightfiles.searching(data_dir):
        metrics = measure(measured)
    return {
        "schema_version": cards.SCHEMA,
        "status": "ok",
        "error": None,
        "partial": False,
        "task": {"id": suite.task_id(task), "version": suite.version, "sha256": task.sha256()},
        "model": {
            "name": FLOOR,
            "tag": task.data,
            "plugin": "zoo-bench",
            "family": "floor",
            "config": {},
            "made_of": f"{n} images of split {split}, {distinct} of them distinct",
        },
        "data": evaluation.data_entry(task, train, distinct, data_dir),
        "metrics": metrics,
        "environment": cards.environment(),
        "command": cards.command(),
    }


def best_exact(found: Sequence[cards.Card], task_id: str) -> cards.Card | None:
    """The card of the learned model or baseline with the best exact likelihood of a task; under no condition."""

    def loss(card: cards.Card) -> float:
        """The task's first likelihood: bits/dim or nats, the same for all cards of the task."""
        first = next((entry for entry in card["metrics"] if entry["id"] in ("bits_per_dim", "nats")), None)
        known = first is not None and first["relation"] == "=" and first["value"] is not None
        return float(first["value"]) if first is not None and known else math.inf

    ours = [
        card
        for card in found
        if card["task"]["id"] == task_id
        and card["model"]["family"] != "constructed"
        and card["model"].get("conditioning", "none") == "none"
    ]
    best = min(ours, key=loss, default=None)
    return best if best is not None and loss(best) < math.inf else None


def diluted(
    suite: Suite,
    task: Task,
    good: Mapping[str, Any],
    place: str | Path,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    bar: evaluation.Bar = quiet_bar,
) -> cards.Card:
    """The card of 1 % of a good model and 99 % noise (`constructed.py`).

    good: what the good model's card says about it, `name` and `weights`. place: its weights, a name or a folder.
    """
    source = good["weights"]
    model = Diluted(registry.load(place, device=device or processes.device(), sha256=source["sha256"]))
    known = {
        "tag": task.data,
        "plugin": "zoo-bench",
        "family": "constructed",
        "weights": source,
        "made_of": f"1 % {good['name']}, 99 % uniform noise",
    }
    return evaluation.evaluate_model(model, DILUTED, suite, task, known=known, data_dir=data_dir, out=out, bar=bar)
