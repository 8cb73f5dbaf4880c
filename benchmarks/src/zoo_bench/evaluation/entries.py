"""What a card says of a model and of data, and which published numbers belong beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_bench.datasets import load as datasets
from zoo_bench.tasks.suites import Task
from zoo_bench.training import recipe
from zoo_core import registry
from zoo_core.model import GenerativeModel


def offered(name: str) -> dict[str, Any]:
    """Which plugin offers a model, and its family; nothing for a row that this harness constructs."""
    if name not in registry.models.offers():
        return {}
    plugin, spec = registry.models.lookup(name)
    return {"plugin": plugin.distribution, "plugin_version": plugin.version, "family": spec.family}


def learned_numbers(model: GenerativeModel) -> int:
    """Real numbers that a training sets: parameters, and the tables of models that are fitted without gradients."""
    return sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())


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


def published(name: str, task: Task, metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What papers say of this model and data set, in units that the card has too."""
    if name not in registry.models.offers():
        return []
    units = {entry["unit"] for entry in metrics}
    return [entry for entry in recipe.published(registry.models.get(name), task.data) if entry["unit"] in units]
