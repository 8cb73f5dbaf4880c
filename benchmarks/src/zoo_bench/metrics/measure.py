"""Metrics: a `MetricSpec.target` names a function of what was `Measured` that returns entries of a result card.

    def sharpness(measured: Measured) -> list[Metric]:     # [] where it cannot be said of this model
        return [metric("sharpness", 1, value, ..., identity={**measured.key, "n": len(measured.samples)})]

A metric of features takes the name of an extractor as well, `(measured, extractor)`; `measured.features` extracts once.

What was measured is there once and for all: the likelihoods, the samples, the splits to compare with, the truth where
it is known. An entry's `identity` is its whole protocol: two values share a column only where it is equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from zoo_bench import processes
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric, Relation
from zoo_bench.metrics.measured import Measured
from zoo_core import registry
from zoo_core.errors import ZooError
from zoo_core.specs import MetricSpec, load_target

Entries = list[Metric]
OVER_IMAGES = "normal, over images"


def asked_for(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of metrics; `ZooError` with the nearest name for one that is none, before anything is computed."""
    return tuple(registry.metrics.get(name).name for name in dict.fromkeys(metrics))


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
        found = list(function(measured, *extractor))
    except processes.Disconnected:
        raise
    except ZooError as error:
        return [without_value(name, spec, measured, error)]
    if strange := [entry for entry in found if not isinstance(entry, Metric)]:
        kind = type(strange[0]).__name__
        raise ZooError(f"metric {name!r}: {spec.target} returned a {kind}; expected entries of zoo_bench.metric(…)")
    if spec.params.get("extractor") in measured.trained_with:  # the same number, but it flatters: no rank
        return [entry.but(params=entry.params.but(trained_with=True)) for entry in found]
    return found


def without_value(name: str, spec: MetricSpec, measured: Measured, error: ZooError) -> Metric:
    """The entry of a metric that could not be computed, and why: `skipped` for missing weights, else `failed`.

    `ids` are those of the entries that it stands for.
    """
    from zoo_bench.features.weightfiles import MissingWeights

    reason = " ".join(str(error).split())
    identity = {**measured.key, "skipped": name}
    entry = metric(
        name,
        spec.version,
        None,
        unit=spec.unit,
        relation=None,
        interval=None,
        identity=identity,
        higher_is_better=spec.higher_is_better,
        reason=reason,
        ids=tuple(spec.params.get("entries", [name])),
    )
    return entry.but(status="skipped" if isinstance(error, MissingWeights) else "failed")


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
    infinite = int(result.nats.isinf().sum()) if result.nats is not None else 0
    reason: dict[str, Any] = (
        {"reason": f"{infinite} of {measured.n} images have no probability at all"} if infinite else {}
    )
    low, high = (end * scale for end in result.interval)
    return [
        metric(
            name,
            registry.metrics.get(name).version,
            None if infinite else result.bits_per_dim * scale,
            unit=unit,
            relation=cast(Relation, result.relation),  # it has numbers
            interval=None if infinite else Interval(level=0.95, low=low, high=high, method=OVER_IMAGES, n=measured.n),
            identity={**measured.key, **measured.split},
            method=result.method,
            **result.params,
            **reason,
        )
    ]
