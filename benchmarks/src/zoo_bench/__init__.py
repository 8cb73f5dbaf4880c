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
from typing import TYPE_CHECKING, Any

from zoo_core import hookimpl

if TYPE_CHECKING:
    import click

    from zoo_bench.benchmark import bench
    from zoo_bench.comparison import compare
    from zoo_bench.evaluation import evaluate
    from zoo_bench.reporting import report
    from zoo_bench.samples_evaluation import evaluate_samples
    from zoo_bench.trainer import train
    from zoo_bench.verification import verify

__all__ = ["bench", "compare", "evaluate", "evaluate_samples", "report", "train", "verify"]

_LAZY = {
    "bench": "zoo_bench.benchmark",
    "compare": "zoo_bench.comparison",
    "evaluate": "zoo_bench.evaluation",
    "evaluate_samples": "zoo_bench.samples_evaluation",
    "report": "zoo_bench.reporting",
    "train": "zoo_bench.trainer",
    "verify": "zoo_bench.verification",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'zoo_bench' has no attribute {name!r}")


@hookimpl
def zoo_models():
    from zoo_bench.configs import BASELINES

    return BASELINES


@hookimpl
def zoo_datasets():
    from zoo_bench.configs import DATASETS

    return DATASETS


@hookimpl
def zoo_extractors():
    from zoo_bench.extractor_specs import EXTRACTORS

    return EXTRACTORS


@hookimpl
def zoo_metrics():
    from zoo_bench.configs import METRICS
    from zoo_bench.quality_specs import metrics_of
    from zoo_core import registry

    return [*METRICS, *metrics_of(registry.extractors.all())]


@hookimpl
def zoo_commands(cli: click.Group) -> None:
    from zoo_bench.cli import COMMANDS

    for command in COMMANDS:
        cli.add_command(command)
