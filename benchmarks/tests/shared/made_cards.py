"""Result cards made by hand, for tests of what is made of cards."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from zoo_bench.cards import files
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Card, Interval, Metric, Relation

TASK = "quick@1/digits"
RELATIONS: tuple[Relation, ...] = ("=", "≤", "≈")
HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>\"'&{{data}}"


def entry(
    name: str, value: float | None, relation: Relation | None = None, given: str = "none", **params: Any
) -> Metric:
    unit = {"bits_per_dim": "bits/dim", "nats": "nats/image"}.get(name, "")
    interval = None
    if value is not None:
        interval = Interval(level=0.95, method="normal", n=300, low=value - 0.01, high=value + 0.01)
    reference = params.get("reference")
    identity = {"task": TASK, "conditioning": given, "n": 300, "reference": reference}
    higher = name in ("precision", "bradley_terry")
    return metric(
        name,
        1,
        value,
        unit=unit,
        relation=relation,
        interval=interval,
        identity=identity,
        higher_is_better=higher,
        **params,
    )


def likelihood(value: float | None, relation: Relation, given: str = "none", **params: Any) -> Metric:
    return entry("bits_per_dim", value, relation, given, **{"method": "log_prob", **params})


def distance(value: float | None, reference: str = "train", **params: Any) -> Metric:
    return entry("fd_pixels", value, reference=reference, **params)


def card(
    model: str,
    *metrics: Metric,
    family: str = "mixture",
    seed: int = 0,
    tag: str | None = "digits",
    given: str = "none",
    task: str = TASK,
    data: str = "digits",
    **fields: Any,
) -> Card:
    """given: the model's conditioning; fields: of the card, instead of these."""
    made = {
        "schema_version": 1,
        "status": "ok",
        "error": None,
        "partial": False,
        "task": {"id": task, "version": 1, "sha256": "4" * 64},
        "model": {
            "name": model,
            "tag": tag,
            "plugin": "zoo-test",
            "plugin_version": "0.1.0",
            "family": family,
            "config": {"hidden": [16, 16]},
            "conditioning": given,
            "params": 4321,
            "weights": {"source": "recipe", "sha256": hashlib.sha256(model.encode()).hexdigest(), "kind": "ema"},
            "images_seen": 20_000,
            "training_device": "cpu",
            "training_seconds": 3.5,
        },
        "data": {
            "name": data,
            "split": "test",
            "sha256": "5" * 64,
            "n": 300,
            "splits": {"test": "5" * 64, "train": "6" * 64},
            "shape": [1, 8, 8],
            "levels": 17,
        },
        "sampling": {"n": 1000, "seed": seed, "chunk": 100, "sampler": "default", "sha256": "7" * 64},
        "metrics": [one.to_dict() for one in metrics],
        "weaker_likelihoods": [],
        "performance": {"sampling_images_per_second": 1234.5, "peak_memory_mb": 300},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.6.0"}, "device": "cpu", "threads": 2},
        "published": [],
        "command": "zoo bench quick",
    }
    return Card.of({**made, **fields})


def zoo_of_cards() -> list[Card]:
    """One of each kind. The bounds are lower than the exact values, in the wrong order, and not to be ranked."""
    return [
        card("worse", likelihood(2.5, "="), distance(0.2)),
        card("better", likelihood(2.25, "="), distance(0.7), distance(0.8, "test")),
        card("zeta", likelihood(1.0, "≤", method="elbo-16"), distance(0.1), family="autoencoder"),
        card("alpha", likelihood(1.5, "≤", method="elbo-16"), distance(9.0), family="autoencoder"),
        card("ode", likelihood(1.2, "≈"), distance(0.3), family="score"),
        card("gan", distance(0.05), family="gan"),
        card("given", likelihood(0.5, "=", "class"), given="class", family="autoregressive"),
        card("training_images", distance(0.01), family="floor"),
        card("diluted", likelihood(2.3, "≤"), distance(10.0), family="constructed"),
    ]


def saved(found: list[Card], folder: Path) -> Path:
    for one in found:
        files.write(one, folder / "cards")
    return folder


def numbered(found: list[Card], folder: Path) -> Path:
    """Saved under numbers: for names that no file can have."""
    (folder / "cards").mkdir()
    for i, one in enumerate(found):
        (folder / "cards" / f"{i}.json").write_text(json.dumps(one.to_dict()))
    return folder


def png(colour: int, size: tuple[int, int] = (16, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def many(folder: Path, n: int = 500) -> Path:
    """n cards of 5 tasks, each with a grid of samples and the nats of its images."""
    random = np.random.default_rng(0)
    for i in range(n):
        value = float(random.uniform(1, 3))
        metrics = [
            likelihood(value, RELATIONS[i % 3]),
            *(distance(float(random.uniform(0, 9)), r) for r in ("train", "test")),
        ]
        name, buffer = f"model{i:03d}", io.BytesIO()
        np.save(buffer, random.uniform(-100, -50, 10_000))
        nats = {"name": f"{name}.digits.nats.npy", "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
        one = card(name, *metrics, family=f"family{i % 7}", task=f"suite@1/task{i % 5}", nats_file=nats)
        files.write(one, folder / "cards")
        (folder / "cards" / nats["name"]).write_bytes(buffer.getvalue())
        picture = random.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(picture).resize((256, 256), Image.Resampling.NEAREST).save(folder / "cards" / f"{one.stem}.png")
    return folder
