"""`zoo evaluate --engine torch-fidelity`: the same task with torch-fidelity's own code, beside ours.

Both see the same images and the same features. The Fréchet distance, precision and recall are deterministic and have to
agree; KID and the Inception score are drawn from random subsets, of which either has its own, and are only shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo_bench.cards.types import Metric
from zoo_bench.metrics import quality
from zoo_bench.metrics import torch_fidelity as fidelity
from zoo_bench.metrics.measure import measure
from zoo_bench.metrics.measured import Measured
from zoo_bench.metrics.specs import name_of
from zoo_core import registry
from zoo_core.errors import ZooError, unknown

KINDS = {  # ours: torch-fidelity's metric, its key, and whether the two must agree
    "fd": ("fid", "frechet_inception_distance", True),
    "kid": ("kid", "kernel_inception_distance_mean", False),
    "is": ("isc", "inception_score_mean", False),
    "precision": ("prc", "precision", True),
    "recall": ("prc", "recall", True),
}
AGREE = 1e-6
ENGINES = ("zoo", "torch-fidelity")


def check_engine(engine: str) -> None:
    """`ZooError` for an engine that is none, before anything is computed."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)


def measured_by(engine: str, measured: Measured, asked: Sequence[str] = ()) -> list[Metric]:
    """The entries of all metrics; with the engine torch-fidelity its values beside ours where it has them."""
    entries = measure(measured, asked)
    return entries if engine == "zoo" else second_opinion(measured, entries)


def second_opinion(measured: Measured, entries: Sequence[Metric]) -> list[Metric]:
    """The entries, with torch-fidelity's value in the params of those it knows; `ZooError` where the two disagree.

    The entry's own value stays ours: KID and the Inception score of other subsets are other numbers, and would have no
    place in a column of these.
    """
    return [_asked(measured, entry) for entry in entries]


def _asked(measured: Measured, entry: Metric) -> Metric:
    params, ours = entry.params, entry.value
    extractor = params.extractor
    if extractor is None or measured.samples is None or ours is None:
        return entry
    kind = next((kind for kind in KINDS if name_of(kind, extractor) == entry.id), None)
    if kind is None:
        return entry
    name, key, exact = KINDS[kind]
    x, y = measured.samples, measured.samples
    if params.reference is not None:
        y = next(data for data in measured.references if data.split == params.reference).pinned.x
        if name == "prc":
            fake, real = quality.balanced(*(measured.features(extractor, images).values for images in (x, y)))
            x, y = x[fake], y[real]
    options: dict[str, Any] = {"k": quality.NEIGHBOURS} if name == "prc" else {}
    if name == "kid":
        options = {"subsets": params.get("subsets"), "subset_size": params.get("size")}
    spec = registry.extractors.get(extractor)
    found = fidelity.run(x, y, measured.scored.images, spec, (name,), device=measured.device, **options)
    theirs = float(found[key])
    if exact and not math.isclose(theirs, ours, rel_tol=AGREE, abs_tol=AGREE):
        raise ZooError(f"{entry.id}: torch-fidelity says {theirs:.9g}, zoo says {ours:.9g}: they must agree")
    return entry.but(params=params.but(torch_fidelity=theirs))
