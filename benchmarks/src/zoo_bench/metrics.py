"""Metrics: a `MetricSpec.target` names a function of what was `Measured` that returns entries of a result card.

    def sharpness(measured: Measured) -> list[dict]:     # [] where it cannot be said of this model
        return [cards.metric("sharpness", 1, value, ..., identity={**measured.key, "n": len(measured.samples)})]

A metric of features takes the name of an extractor as well, `(measured, extractor)`; `measured.features` extracts once.

What was measured is there once and for all: the likelihoods, the samples, the splits to compare with, the truth where
it is known. An entry's `identity` is its whole protocol: two values share a column only where it is equal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo_bench import cards, known, processes
from zoo_bench.data import Dataset, load
from zoo_bench.suites import Suite, Task
from zoo_core import likelihood, registry
from zoo_core.errors import ZooError
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.specs import MetricSpec, load_target

if TYPE_CHECKING:
    from zoo_bench.extractors import Features

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """A model on a task: all that its metrics are made of.

    task_id: `quick@1/digits`. scored: the split whose likelihood was asked for; batch: those of its images that were
    taken. results: likelihoods with numbers, strongest first. samples: uint8 `(N, C, H, W)`, if any were drawn.
    references: the splits to compare them with. labels, text: the conditions that the samples were asked for, where the
    model takes any. asked_labels: how often each label was asked for, where not as often as training images have it,
    which is another protocol. model: None for images that no model drew. device: where features are computed.
    """

    task: Task
    task_id: str
    scored: Dataset
    batch: Batch
    conditioning: str = "none"
    results: Sequence[likelihood.LikelihoodResult] = ()
    samples: Tensor | None = None
    references: Sequence[Dataset] = ()
    labels: Tensor | None = None
    text: Sequence[str] | None = None
    asked_labels: dict[str, Any] | None = None
    model: GenerativeModel | None = None
    device: torch.device | str = "cpu"

    @property
    def n(self) -> int:
        """How many images were scored."""
        return len(self.batch)

    @property
    def split(self) -> dict[str, Any]:
        """The part of an identity that says which images were scored."""
        part = {"subset": self.task.subset} if self.task.subset else {}
        return {"split": {"name": self.scored.split, "sha256": self.scored.sha256, **part}, "n": self.n}

    @property
    def key(self) -> dict[str, Any]:
        """The part of every identity that is the same for all metrics of this task."""
        asked = {"labels": self.asked_labels} if self.asked_labels else {}
        return {"task": self.task_id, "conditioning": self.conditioning, **asked}

    def features(self, extractor: str, x: Tensor) -> Features:
        """What an extractor says about images uint8 `(N, C, H, W)`: computed once, whatever metrics ask."""
        key = extractor, id(x)
        if key not in self._extracted:
            from zoo_bench import extractors

            self._extracted[key] = extractors.extract(
                extractor, x, self.scored.images, device=self.device, share=processes.share
            )
        return self._extracted[key]

    @functools.cached_property
    def _extracted(self) -> dict[tuple[str, int], Features]:
        return {}

    @functools.cached_property
    def distribution(self) -> known.Distribution | None:
        """The model's probability of every image, where the truth is known and the model can say."""
        if self.model is None or not self.scored.spec.truth:
            return None
        return known.enumerate_all(self.model, self.task)


def of_images(
    suite: Suite, task: Task, x: Tensor, labels: Tensor | None = None, data_dir: str | Path | None = None
) -> Measured:
    """Images x that no model drew, uint8 `(N, C, H, W)`, on a task. labels: what they were asked for."""
    scored = load(task.data, task.split, data_dir)
    return Measured(
        task,
        suite.task_id(task),
        scored,
        task.choose(scored.pinned),
        "none" if labels is None else "class",
        samples=x,
        references=[load(task.data, reference, data_dir) for reference in task.references],
        labels=labels,
        device=processes.device(),
    )


def measure(measured: Measured, asked: Sequence[str] = ()) -> Entries:
    """The entries of all metrics that the task asks for, in its order.

    asked: those that somebody asked for by name: where they say nothing about this model, the card says why.
    """
    found = []
    for name in measured.task.metrics:
        entries = compute(name, measured)
        if not entries and name in asked:
            why = (
                "the task draws no samples" if measured.samples is None else "it does not apply to this model and data"
            )
            entries = [
                without_value(name, registry.metrics.get(name), measured, ZooError(f"nothing to measure: {why}"))
            ]
        found += entries
    return found


def compute(name: str, measured: Measured) -> Entries:
    """The entries of one metric; one without a value, with the reason, where it cannot be computed.

    That is where images are too few, features no numbers, or an extractor's weights missing or wrong. The others go on.
    """
    spec = registry.metrics.get(name)
    function = load_target(spec.target, f"metric {name!r}")
    extractor = (spec.params["extractor"],) if spec.needs_extractor else ()
    try:
        found: Entries = function(measured, *extractor)
    except processes.Disconnected:
        raise
    except ZooError as error:
        return [without_value(name, spec, measured, error)]
    return found


def without_value(name: str, spec: MetricSpec, measured: Measured, error: ZooError) -> dict[str, Any]:
    """The entry of a metric that could not be computed, and why: `skipped` for missing weights, else `failed`.

    `ids` are those of the entries that it stands for.
    """
    from zoo_bench.weightfiles import MissingWeights

    reason = " ".join(str(error).split())
    identity = {**measured.key, "skipped": name}
    entry = cards.metric(
        name,
        spec.version,
        None,
        unit=spec.unit,
        relation=None,
        interval=None,
        identity=identity,
        higher_is_better=spec.higher_is_better,
        reason=reason,
        ids=list(spec.params.get("entries", [name])),
    )
    return {**entry, "status": "skipped" if isinstance(error, MissingWeights) else "failed"}


def bits_per_dim(measured: Measured) -> Entries:
    """-log2 P(x) / D, averaged over the images."""
    return _likelihood("bits_per_dim", "bits/dim", measured, 1.0)


def nats(measured: Measured) -> Entries:
    """-ln P(x), averaged over the images."""
    return _likelihood("nats", "nats/image", measured, measured.scored.images.dims * math.log(2))


def _likelihood(name: str, unit: str, measured: Measured, scale: float) -> Entries:
    """The strongest likelihood. An infinite one has no value: null, with the reason."""
    if not measured.results:
        return []
    result = measured.results[0]
    low, high = result.interval
    infinite = int(result.nats.isinf().sum()) if result.nats is not None else 0
    reason = {"reason": f"{infinite} of {measured.n} images have no probability at all"} if infinite else {}
    interval = {"level": 0.95, "method": "normal, over images", "n": measured.n}
    return [
        cards.metric(
            name,
            registry.metrics.get(name).version,
            None if infinite else result.bits_per_dim * scale,
            unit=unit,
            relation=result.relation,
            interval=None if infinite else {**interval, "low": low * scale, "high": high * scale},
            identity={**measured.key, **measured.split},
            method=result.method,
            **result.params,
            **reason,
        )
    ]
