"""Identities: what makes two numbers comparable, two cards copies of each other, and two seeds one row of a table.

A metric's identity is its name, its version and its whole protocol; `comparable_key` is the hash of that identity, and
only values with equal keys may stand in one column.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from zoo_bench.cards.types import Card, Interval, Metric, Params, Relation, TaskEntry, told
from zoo_core.errors import ZooError


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def comparable_key(identity: Mapping[str, Any]) -> str:
    """The key of {task, split hashes, metric and version, N, extractor and resize, conditioning}."""
    return digest(dict(identity))


def metric(
    name: str,
    version: int,
    value: float | None,
    *,
    unit: str,
    relation: Relation | None,
    interval: Interval | Mapping[str, Any] | None,
    identity: Mapping[str, Any],
    higher_is_better: bool = False,
    **params: Any,
) -> Metric:
    """One entry of a card's `metrics`; `ZooError` for what no card can say, a value that is NaN for one.

    identity: what else makes it comparable (task, hashes, N, ...).
    """
    where = f"metric {name!r}"
    try:
        return Metric(
            id=name,
            version=version,
            value=value,
            unit=unit,
            relation=relation,
            higher_is_better=higher_is_better,
            interval=Interval.of(interval, f"{where}.interval") if isinstance(interval, Mapping) else interval,
            params=Params.of(params, f"{where}.params"),
            comparable_key=comparable_key({"metric": name, "version": version, **identity}),
        )
    except ValidationError as error:
        raise ZooError(told(error, where)) from error


def head(task: TaskEntry, error: str | None = None, *, partial: bool = False) -> dict[str, Any]:
    """What every card begins with. error: why there are no numbers, if there are none."""
    status = "ok" if error is None else "failed"
    return {"schema_version": 1, "status": status, "error": error, "partial": partial, "task": task}


def wished(engine: str, asked: Sequence[str]) -> dict[str, Any]:
    """What a card says of an evaluation that was asked for more than its task."""
    return {**({} if engine == "zoo" else {"engine": engine}), **({"asked": tuple(asked)} if asked else {})}


def content(card: Card) -> str:
    """A digest of all that a card says about its result: two cards with equal ones are copies of each other.

    How long it took, on which machine and by which command is not in it, nor what another library says to it.
    """
    said = card.to_dict()
    model = {key: value for key, value in said["model"].items() if key not in ("training_seconds", "training_device")}
    metrics = [
        {**entry, "params": {key: value for key, value in entry["params"].items() if key != "torch_fidelity"}}
        for entry in said["metrics"]
    ]
    parts = ("status", "error", "task", "data", "sampling", "weaker_likelihoods")
    return digest([model, metrics, *(said.get(part) for part in parts)])


def row_of(card: Card) -> str:
    """A digest of what the cards of one row share: the model, its weights, how its samples were drawn; not the seed.

    Images from elsewhere that do not say which weights drew them are a row of their own: nobody knows what they share.
    """
    model, weights = card.model, card.model.weights
    sampling = card.sampling.to_dict() if card.sampling is not None else {}
    drawn = {key: value for key, value in sampling.items() if key not in ("seed", "sha256", "device")}
    if model.family == "samples" and "weights" not in sampling:
        drawn = sampling
    own = None if weights is not None else model.config
    source, sha256 = (weights.source, weights.sha256) if weights is not None else (None, None)
    return digest([model.name, model.tag, model.conditioning, source, sha256, own, drawn])
