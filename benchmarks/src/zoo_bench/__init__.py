"""zoo-bench: data sets, the trainer, metrics, suites, result cards and reports.

    from zoo_bench import train, evaluate, bench, report
    run = train("made.digits", out="runs/made")          # zoo train made.digits --out runs/made
    cards = evaluate("./runs/made/weights")              # zoo evaluate ./runs/made/weights
    bench("quick", out="runs/quick")                     # zoo bench quick
    print(report("runs/quick"))                          # zoo report runs/quick
    verify("cards/made.digits.quick-v1-digits.seed0.json")   # zoo verify CARD; compare and evaluate_samples likewise

It is itself a plugin of zoo: its commands come through a hook, so the core never imports Accelerate.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo_core import hookimpl

if TYPE_CHECKING:
    import click

    from zoo_bench.cards.card import metric
    from zoo_bench.cards.types import Card, Metric
    from zoo_bench.evaluation.bench import bench
    from zoo_bench.evaluation.compare import compare
    from zoo_bench.evaluation.evaluate import evaluate
    from zoo_bench.evaluation.evaluate_samples import evaluate_samples
    from zoo_bench.evaluation.verify import verify
    from zoo_bench.metrics.measured import Measured
    from zoo_bench.reports.report import report
    from zoo_bench.training.trainer import train
    from zoo_core import DatasetSpec, MetricSpec, ModelSpec
    from zoo_core.specs import ExtractorSpec

__all__ = [
    "Card",
    "Measured",
    "Metric",
    "bench",
    "compare",
    "evaluate",
    "evaluate_samples",
    "metric",
    "report",
    "train",
    "verify",
]

_LAZY = {
    "Card": "zoo_bench.cards.types",
    "Measured": "zoo_bench.metrics.measured",
    "Metric": "zoo_bench.cards.types",
    "bench": "zoo_bench.evaluation.bench",
    "compare": "zoo_bench.evaluation.compare",
    "evaluate": "zoo_bench.evaluation.evaluate",
    "evaluate_samples": "zoo_bench.evaluation.evaluate_samples",
    "metric": "zoo_bench.cards.card",
    "report": "zoo_bench.reports.report",
    "train": "zoo_bench.training.trainer",
    "verify": "zoo_bench.evaluation.verify",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'zoo_bench' has no attribute {name!r}")


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_bench.baselines.specs import BASELINES

    return BASELINES


@hookimpl
def zoo_datasets() -> Iterable[DatasetSpec]:
    from zoo_bench.datasets.specs import DATASETS

    return DATASETS


@hookimpl
def zoo_extractors() -> Iterable[ExtractorSpec]:
    from zoo_bench.features.specs import EXTRACTORS

    return EXTRACTORS


@hookimpl
def zoo_metrics() -> Iterable[MetricSpec]:
    from zoo_bench.metrics.specs import METRICS, metrics_of
    from zoo_core import registry

    return [*METRICS, *metrics_of(registry.extractors.all())]


@hookimpl
def zoo_commands(cli: click.Group) -> None:
    from zoo_bench.commands import bench, compare, data, evaluate, judge, new, report, train, verify

    for module in (train, evaluate, bench, report, compare, verify, judge, data, new):
        cli.add_command(getattr(module, module.__name__.rpartition(".")[2]))
