"""What a card says of a model and of data, and which published numbers belong beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from zoo_bench.cards.types import DataEntry, Metric, Published
from zoo_bench.datasets import load as datasets
from zoo_bench.tasks.suites import Task
from zoo_bench.training import recipe
from zoo_core import registry


def offered(name: str) -> dict[str, Any]:
    """Which plugin offers a model, and its family; nothing for a row that this harness constructs."""
    if name not in registry.models.offers():
        return {}
    plugin, spec = registry.models.lookup(name)
    return {"plugin": plugin.distribution, "plugin_version": plugin.version, "family": spec.family}


def learned_numbers(model: nn.Module) -> int:
    """Real numbers that a training sets: parameters, and the tables of models that are fitted without gradients."""
    return sum(value.numel() for value in model.state_dict().values() if value.is_floating_point())


def data_entry(task: Task, scored: datasets.Dataset, n: int, data_dir: str | Path | None) -> DataEntry:
    """What a card says about its data: the split that was scored, and the hashes of all that took part."""
    splits = {name: datasets.load(task.data, name, data_dir).sha256 for name in {scored.split, *task.references}}
    return DataEntry(
        name=datasets.public(task.data),
        split=scored.split,
        sha256=scored.sha256,
        n=n,
        splits=dict(sorted(splits.items())),
        shape=scored.images.shape,
        levels=scored.images.levels,
        **({"subset": task.subset} if task.subset else {}),
    )


def published(name: str, task: Task, metrics: Sequence[Metric]) -> tuple[Published, ...]:
    """What papers say of this model and data set, in units that the card has too."""
    if name not in registry.models.offers():
        return ()
    units = {entry.unit for entry in metrics}
    found = recipe.published(registry.models.get(name), task.data)
    return tuple(
        Published.of(entry, f"recipe {name}.{task.data}: published") for entry in found if entry["unit"] in units
    )
