"""Tasks and suites: versioned TOML in the wheel. A golden hash tells one that was edited without a new version."""

from __future__ import annotations

import importlib.resources
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo_bench.cards.card import digest
from zoo_bench.cards.types import TaskEntry
from zoo_bench.datasets import load as datasets
from zoo_core import registry
from zoo_core.config import Config
from zoo_core.errors import ZooError, unknown
from zoo_core.images import Batch

HEADLINE = 4  # metrics, at most
RESERVED = ("data", "judge")  # of tasks that are made on the spot
NAME = re.compile(r"[A-Za-z0-9_-]+")
YOUNGER: dict[str, Any] = {"seeds": [], "subset": 0, "kid_size": 1000, "lossy": False}

LIKELIHOOD = "bits_per_dim"  # the metric that every model with a likelihood has


@dataclass(frozen=True, kw_only=True)
class Task(Config):
    """What is measured on one data set.

    metrics: names from `zoo_metrics`. samples: how many images are drawn for sample quality, in chunks of `chunk` from
    generators seeded by (`seed`, chunk number). references: splits that samples are compared with, each its own metric.
    draws: dequantisation or ELBO draws; iwae: importance samples; both seeded by `likelihood_seed`.
    seeds: several sampling seeds instead of `seed`: a card for each, mean and deviation in the tables.
    subset: score so many images of the split, a pinned choice, instead of all. kid_size: images in a subset of KID.
    lossy: samples from elsewhere may be JPEG.
    headline: ids of the metrics that a short table shows, in this order; it decides no number.
    """

    id: str
    data: str
    split: str = "test"
    metrics: tuple[str, ...]
    samples: int = 0
    references: tuple[str, ...] = ()
    seed: int = 0
    chunk: int = 100
    draws: int = 1
    iwae: int = 128
    likelihood_seed: int = 0
    seeds: tuple[int, ...] = ()
    subset: int = 0
    kid_size: int = 1000
    lossy: bool = False
    headline: tuple[str, ...] = ()

    @property
    def sampling_seeds(self) -> tuple[int, ...]:
        """One or more; each gets its card."""
        return self.seeds or (self.seed,)

    def definition(self) -> dict[str, Any]:
        """All that decides a number. A field that is younger than version 1 of the first suites counts where it is not
        at its default, so that those stay what they are. The headline does not."""
        told = {**self.to_dict(), "data": datasets.public(self.data)}  # wherever your own pictures lie
        del told["headline"]
        return {key: value for key, value in told.items() if value != YOUNGER.get(key, self)}

    def with_metrics(self, asked: Sequence[str]) -> Task:
        """The task with metrics beside its own, and with splits to compare samples with if it had none."""
        more = tuple(name for name in asked if name not in self.metrics)
        references = self.references or (("train", self.split) if more else ())
        return replace(self, metrics=self.metrics + more, references=references)

    def choose(self, batch: Batch) -> Batch:
        """The images of a split that are scored: all of them, or a pinned subset in their own order."""
        if not self.subset or self.subset >= len(batch):
            return batch
        rows = np.sort(np.random.RandomState(0).permutation(len(batch))[: self.subset])
        return datasets.pick(batch, torch.from_numpy(rows))

    def sha256(self) -> str:
        """Of the task's whole definition."""
        return digest(self.definition())


@dataclass(frozen=True, kw_only=True)
class Suite(Config):
    """Tasks with the models that run by default; `baselines` are always rows of the table."""

    name: str
    version: int
    summary: str = ""
    models: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    tasks: tuple[Task, ...]

    @property
    def id(self) -> str:
        """`quick@1`."""
        return f"{self.name}@{self.version}"

    def task_id(self, task: Task) -> str:
        """`quick@1/digits`."""
        return f"{self.id}/{task.id}"

    def entry(self, task: Task) -> TaskEntry:
        """What a card says of its task: id, version, and the sha256 of its definition."""
        return TaskEntry(id=self.task_id(task), version=self.version, sha256=task.sha256())

    def protocol_sha256(self) -> str:
        """Of all that decides a number: everything but the choice of default models."""
        return digest({"name": self.name, "version": self.version, "tasks": [task.definition() for task in self.tasks]})


def _folder() -> Path:
    return Path(str(importlib.resources.files("zoo_bench.tasks")))


def names() -> list[str]:
    """`quick`, ...: the suites in the wheel, by name."""
    return sorted(path.stem for path in (_folder() / "suites").glob("*.toml"))


def list_suites() -> list[str]:
    """`quick@1`, ...: the suites in the wheel."""
    return [load(name).id for name in names()]


def load(name: str) -> Suite:
    """The suite `quick` or `quick@1`, or your own, `./mine.toml`; of `quick/digits`, `./mine.toml/photos` one task."""
    whole, part = _parted(name)
    if whole.endswith(".toml"):
        suite = _read(Path(whole))
        if suite.name in names() or suite.name in RESERVED:
            raise ZooError(f"{whole}: {suite.name!r} is the name of a suite of zoo; call yours otherwise")
    else:
        suite = _packaged(whole, name)
    if not part:
        return suite
    tasks = tuple(task for task in suite.tasks if task.id == part)
    if not tasks:
        raise unknown("task", name, [suite.task_id(task) for task in suite.tasks])
    return replace(suite, tasks=tasks)


def _parted(name: str) -> tuple[str, str]:
    """The suite and the task, which may be empty, of `quick/digits` or `some/folder/mine.toml/photos`."""
    file, ending, rest = name.rpartition(".toml")
    if ending and rest[:1] in ("", "/"):
        return file + ending, rest[1:]
    whole, _, part = name.partition("/")
    return whole, part


def _packaged(whole: str, name: str) -> Suite:
    base, at, version = whole.partition("@")
    if base not in names():
        raise unknown("suite", name, [*names(), "./FILE.toml"])
    suite = _read(_folder() / "suites" / f"{base}.toml")
    if at and version != str(suite.version):
        raise ZooError(f"suite {name!r}: this zoo has {suite.id}; install the zoo-bench that brought version {version}")
    sha256 = suite.protocol_sha256()
    if json.loads((_folder() / "golden.json").read_text()).get(suite.id, sha256) != sha256:
        raise ZooError(
            f"suite {suite.id} was edited, so its numbers would not be those of {suite.id}: raise its version"
        )
    return suite


def _read(path: Path) -> Suite:
    if not path.is_file():
        raise ZooError(f"suite {path} does not exist")
    try:
        suite = Suite.from_dict(tomllib.loads(path.read_text(encoding="utf-8")), f"suite {path.name}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ZooError(f"suite {path}: not valid TOML: {error}") from error
    ids = [task.id for task in suite.tasks]
    if not ids or len(set(ids)) < len(ids) or not all(NAME.fullmatch(word) for word in (suite.name, *ids)):
        raise ZooError(
            f"suite {path}: expected a name and tasks with different ids, of letters, digits, _ and -; got "
            f"{suite.name!r} with {', '.join(map(repr, ids)) or 'no tasks'}"
        )
    for task in suite.tasks:
        _check(task, f"suite {path}, task {task.id}")
    return suite


def _check(task: Task, where: str) -> None:
    """`ZooError` for metrics that nobody offers, and for a headline of others than the task measures."""
    specs = [registry.metrics.get(name) for name in task.metrics]
    known = [entry for spec in specs for entry in spec.params.get("entries", [spec.name])]
    if len(task.headline) > HEADLINE:
        raise ZooError(f"{where}: expected a headline of at most {HEADLINE} metrics, got {len(task.headline)}")
    for name in task.headline:
        if name not in known:
            raise unknown("metric of a headline", name, known, f" ({where})")


def headline(task_id: str, own: Suite | None = None) -> tuple[str, ...]:
    """The headline of a card's task, as suite `own` names it, or the one in the wheel of that name.

    Whichever version the card is of: a headline says how numbers are shown, not what they are.
    """
    name, _, rest = task_id.partition("@")
    suites = [own] if own is not None and own.name == name else []
    suites += [load(name)] if name in names() else []  # own may be one task of it
    part = rest.partition("/")[2]
    return next((task.headline for suite in suites for task in suite.tasks if task.id == part), ())


def find_task(data: str) -> tuple[Suite, Task]:
    """The task of the first suite that asks for likelihoods on data set `data`, or else of the first that has it.

    Any other set gets a plain one.
    """
    having = [(suite, task) for suite in map(load, names()) for task in suite.tasks if task.data == data]
    asking = [(suite, task) for suite, task in having if LIKELIHOOD in task.metrics]
    return next(iter(asking or having), None) or any_data(data)


def any_data(data: str) -> tuple[Suite, Task]:
    """A task for a data set that no suite scores, your own for one: likelihood, and a look at some samples."""
    found = datasets.find(data)
    metrics = ("bits_per_dim", "nats")
    task = Task(id=datasets.tag(found.name), data=found.name, metrics=metrics, samples=64, draws=4, iwae=64)
    return Suite(name="data", version=1, summary="any data set", models=(), tasks=(task,)), task
