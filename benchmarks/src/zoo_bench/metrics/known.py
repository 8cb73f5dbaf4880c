"""Distances to a known distribution, by enumeration of all images: for data sets whose truth P is a table (`moons`).

    KL(P || Q) = sum_x P(x) (log P(x) - log Q(x))             TV(P, Q) = 1/2 sum_x |P(x) - Q(x)|

A model that knows log Q(x) is compared exactly (=). A density is integrated over each image's cell by the midpoint
rule (≈); what it puts outside all cells is missing in Q, and counts in TV as an outcome of its own. A lower bound on
log Q(x) gives an upper bound on KL (≤) and nothing about TV. Every model, whatever it knows, has `tv_samples`: TV
between P and the histogram of its samples, both on a coarser grid. That is above 0 even for samples of P: the row of
training images shows by how much.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.datasets import load as datasets
from zoo_bench.metrics.enumeration import Distribution
from zoo_bench.metrics.measured import Measured
from zoo_core import registry
from zoo_core.images import ImageSpec
from zoo_core.specs import DatasetSpec

BINS = 32  # of the samples' histogram, along each axis


def kl_divergence(log_p: Tensor, log_q: Tensor) -> float:
    """KL(P || Q) in nats, of two tables of logarithms; infinite where Q lacks what P has."""
    return float((log_p.exp() * (log_p - log_q)).sum())


def total_variation(p: Tensor, q: Tensor) -> float:
    """1/2 sum |p - q|, and half of what q lacks to 1: that lies outside the table."""
    return 0.5 * float((p - q).abs().sum() + (1 - q.sum()).abs())


def kl(measured: Measured) -> list[Metric]:
    """KL(truth || model), nats."""
    truth, found = _truth(measured.scored.spec), measured.distribution
    if truth is None or found is None:
        return []
    value = kl_divergence(truth, found.log_q)
    reason = {} if math.isfinite(value) else {"reason": "images that occur have no probability at all"}
    return [_entry("kl", value if not reason else None, "nats", found, measured, reason)]


def tv(measured: Measured) -> list[Metric]:
    """Total variation between the truth and the model, in [0, 1]."""
    truth, found = _truth(measured.scored.spec), measured.distribution
    if truth is None or found is None or not found.tells_mass:
        return []
    q = found.log_q.exp()
    outside = {"outside": max(0.0, round(1 - float(q.sum()), 6))} if found.relation == "≈" else {}
    return [_entry("tv", total_variation(truth.exp(), q), "", found, measured, outside)]


def tv_samples(measured: Measured) -> list[Metric]:
    """Total variation between the truth and the histogram of the samples, both on a grid of BINS cells per axis."""
    truth, x = _truth(measured.scored.spec), measured.samples
    if truth is None or x is None:
        return []
    images = measured.scored.images
    p = coarse(truth.exp(), BINS)
    groups = torch.stack([histogram(part, images, BINS) for part in x.tensor_split(10)])  # (10, BINS, ...)
    value = total_variation(p, groups.sum(0) / len(x))
    rest = groups.sum(0) - groups
    values = np.array([total_variation(p, part / part.sum()) for part in rest])
    half = 1.96 * math.sqrt(9 / 10 * float(((values - values.mean()) ** 2).sum()))
    return [
        metric(
            "tv_samples",
            registry.metrics.get("tv_samples").version,
            value,
            unit="",
            relation=None,
            interval=Interval.around(value, half, "delete-a-group jackknife (10) over generated images", len(x)),
            identity={**measured.key, "n": len(x), "bins": BINS, "reference": reference(measured.scored.spec)},
            reference="truth",
            n=len(x),
            bins=BINS,
        )
    ]


def histogram(x: Tensor, images: ImageSpec, bins: int) -> Tensor:
    """How many images fall into each cell of a grid of `bins` cells per axis. float64 `(bins,) * D`."""
    cells = x.flatten(1).long() * bins // images.levels  # (N, D)
    index = torch.zeros(len(x), dtype=torch.int64)
    for d in range(images.dims):
        index = index * bins + cells[:, d]
    return index.bincount(minlength=bins**images.dims).double().view((bins,) * images.dims)


def coarse(table: Tensor, bins: int) -> Tensor:
    """A table summed onto a grid of `bins` cells per axis."""
    for d in range(table.dim()):
        cells = torch.arange(table.shape[d]) * bins // table.shape[d]
        size = [*table.shape[:d], bins, *table.shape[d + 1 :]]
        table = torch.zeros(size, dtype=table.dtype).index_add(d, cells, table)
    return table


def reference(spec: DatasetSpec) -> dict[str, Any]:
    """What the truth is called in an identity: by a hash of its logarithms in thousandths, the same on any machine."""
    truth = datasets.truth(spec)
    assert truth is not None
    thousandths = np.round(truth * 1000).astype("<i8")
    return {"name": "truth", "data": spec.name, "sha256": hashlib.sha256(thousandths.tobytes()).hexdigest()}


def _truth(spec: DatasetSpec) -> Tensor | None:
    table = datasets.truth(spec)
    return None if table is None else torch.tensor(table)


def _entry(
    name: str, value: float | None, unit: str, found: Distribution, measured: Measured, params: dict[str, Any]
) -> Metric:
    return metric(
        name,
        registry.metrics.get(name).version,
        value,
        unit=unit,
        relation=found.relation,
        interval=None,
        identity={**measured.key, "n": found.log_q.numel(), "reference": reference(measured.scored.spec)},
        method=found.method,
        reference="truth",
        **params,
    )
