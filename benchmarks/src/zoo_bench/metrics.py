"""Metrics: a `MetricSpec.target` names a function of what was `Measured` that returns entries of a result card.

    def sharpness(measured: Measured) -> list[dict]:     # [] where it cannot be said of this model
        return [cards.metric("sharpness", 1, value, ..., identity={**measured.key, "n": len(measured.samples)})]

What was measured is there once and for all: the likelihoods, the samples, the splits to compare with, the truth where
it is known. An entry's `identity` is its whole protocol: two values share a column only where it is equal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo_bench import cards, frechet, known
from zoo_bench.data import Dataset
from zoo_bench.suites import Task
from zoo_core import likelihood, registry
from zoo_core.model import GenerativeModel
from zoo_core.specs import load_target

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """A model on a task: all that its metrics are made of.

    task_id: `quick@1/digits`. scored: the split whose likelihood was asked for, of which the first `n` images were
    taken. results: likelihoods with numbers, strongest first. samples: uint8 `(N, C, H, W)`, if any were drawn.
    references: the splits to compare them with. model: None for the row of training images.
    """

    task: Task
    task_id: str
    scored: Dataset
    n: int
    conditioning: str = "none"
    results: Sequence[likelihood.LikelihoodResult] = ()
    samples: Tensor | None = None
    references: Sequence[Dataset] = ()
    model: GenerativeModel | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The part of every identity that is the same for all metrics of this task."""
        return {"task": self.task_id, "conditioning": self.conditioning}

    @functools.cached_property
    def distribution(self) -> known.Distribution | None:
        """The model's probability of every image, where the truth is known and the model can say."""
        if self.model is None or not self.scored.spec.truth:
            return None
        return known.enumerate_all(self.model, self.task)


def measure(measured: Measured) -> Entries:
    """The entries of all metrics that the task asks for, in its order."""
    return [entry for name in measured.task.metrics for entry in compute(name, measured)]


def compute(name: str, measured: Measured) -> Entries:
    """The entries of one metric."""
    spec = registry.metrics.get(name)
    entries: Entries = load_target(spec.target, f"metric {name!r}")(measured)
    return entries


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
    split = {"name": measured.scored.split, "sha256": measured.scored.sha256}
    return [
        cards.metric(
            name,
            registry.metrics.get(name).version,
            None if infinite else result.bits_per_dim * scale,
            unit=unit,
            relation=result.relation,
            interval=None if infinite else {**interval, "low": low * scale, "high": high * scale},
            identity={**measured.key, "split": split, "n": measured.n},
            method=result.method,
            **result.params,
            **reason,
        )
    ]


def fd_pixels(measured: Measured) -> Entries:
    """The Fréchet distance on pixels between the samples and each reference."""
    x = measured.samples
    if x is None:
        return []
    spec = registry.metrics.get("fd_pixels")
    features = frechet.pixel_features(x, measured.scored.images)
    groups = min(10, len(x) // 2)
    entries = []
    for data in measured.references:
        fitted = frechet.fit(frechet.pixel_features(data.pinned.x, data.images))
        value = frechet.frechet_distance(frechet.fit(features), fitted)
        half = 1.96 * frechet.jackknife(features, fitted, groups) if groups > 1 else None
        method = f"delete-a-group jackknife ({groups}) over generated images"
        interval = {"level": 0.95, "method": method, "n": len(x)}
        entries.append(
            cards.metric(
                "fd_pixels",
                spec.version,
                value,
                unit="",
                relation=None,
                interval=None if half is None else {**interval, "low": value - half, "high": value + half},
                identity={
                    **measured.key,
                    "n": len(x),
                    "reference": {"name": data.split, "sha256": data.sha256, "n": len(data)},
                    "features": spec.params["features"],
                },
                reference=data.split,
                n=len(x),
                n_reference=len(data),
                warning="N <= feature dimension" if len(x) <= features.shape[1] else None,
            )
        )
    return entries
