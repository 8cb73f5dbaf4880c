"""`zoo evaluate`: a result card of weights, or of images of any origin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_bench.commands.options import data_dir, launched, processes
from zoo_core.errors import ZooError

if TYPE_CHECKING:
    from zoo_bench.cards.types import Card, Metric

_OF_WEIGHTS = ("data", "suite", "split", "limit", "device")


@click.command()
@click.argument("name", required=False)
@click.option("--samples", type=click.Path(path_type=Path), help="Score images instead: .npz, .npy, a folder of PNG.")
@click.option("--task", help="With --samples: quick@1/digits, or a data set.")
@click.option("--name", "called", help="With --samples: their name in the card.")
@click.option("--data", help="Data set (default: the one that the weights were trained on).")
@click.option("--engine", default="zoo", show_default=True, help="torch-fidelity: its FD, KID, IS, PR beside ours.")
@click.option("--metrics", help="Metrics beyond the task's, separated by commas: cmmd,lpips_pairs,...")
@click.option("--suite", help="Suite of the task, or ./FILE.toml (default: by the training data set).")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the card, nats per image and a sample grid.")
@click.option("--split", help="A split other than the task's, e.g. validation; the card is partial.")
@click.option("--limit", type=int, help="Use only the first images and samples; the card is partial.")
@click.option("--device", help="Device to compute on (default: this process's GPU, else the CPU).")
@click.option("--json", "as_json", is_flag=True, help="Print the card.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@processes
@data_dir
def evaluate(
    name: str | None,
    samples: Path | None,
    task: str | None,
    called: str | None,
    metrics: str | None,
    as_json: bool,
    quiet: bool,
    processes: int | None,
    **options: Any,
) -> None:
    """Evaluate weights NAME (made.digits, a folder, hf:org/repo), or images of any origin, and show the result card."""
    if (name is None) == (samples is None) or (samples is None) != (task is None):
        raise ZooError("give weights, zoo evaluate NAME, or images, zoo evaluate --samples FILE --task SUITE/TASK")
    if samples is not None and (wrong := [key for key in _OF_WEIGHTS if options[key] is not None]):
        raise ZooError(f"--{wrong[0]} is for weights, not for --samples")
    from zoo_bench.evaluation.evaluate import evaluate as run
    from zoo_bench.evaluation.evaluate_samples import evaluate_samples
    from zoo_bench.metrics.measure import asked_for
    from zoo_bench.progress import bars

    asked = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else []
    options["metrics"] = asked_for(asked)  # before any process is started
    launched(processes)
    with bars(quiet or as_json) as bar:
        if samples is not None:
            given = {key: options[key] for key in ("data_dir", "out", "engine", "metrics")}
            card = evaluate_samples(samples, str(task), name=called, **given)
            name = card.model.name
        else:
            card = run(str(name), bar=bar, **options)
    if as_json:
        click.echo(json.dumps(card.to_dict(), indent=2))
        return
    if card.data is not None:
        partial = ", partial: never in a table" if card.partial else ""
        click.echo(f"{name} on {card.task.id}, split {card.data.split} ({card.data.n} images{partial})")
    if not card.metrics:
        click.echo("  nothing: no metric of this task applies to it")
    names = [entry.id + (f" ({entry.params.reference})" if entry.params.reference else "") for entry in card.metrics]
    for named, entry in zip(names, card.metrics):
        click.echo(f"  {named:<{max(map(len, names))}}  {_shown(card, entry)}".rstrip())
    if any(entry.status == "failed" for entry in card.metrics):
        sys.exit(1)


def _shown(card: Card, entry: Metric) -> str:
    """A metric's value in a line, with what else must be known of it."""
    from zoo_bench.cards.types import TRAINED_WITH
    from zoo_bench.reports.cells import estimated
    from zoo_bench.reports.columns import digits

    params = entry.params
    number = entry.status or "failed" if entry.value is None else f"{entry.value:.{4 if digits(entry.unit) else 0}f}"
    half = f" {entry.interval.shown(entry.value, 4)}" if entry.interval and entry.value is not None else ""
    notes = [note for note in (params.method, estimated(entry), params.reason, params.warning) if note]
    if params.flag:
        notes.append("flagged: nearer to training images than new images are")
    if card.is_flattered(entry) and entry.value is not None:
        notes.append(TRAINED_WITH)
    if (theirs := params.get("torch_fidelity")) is not None:
        notes.append(f"torch-fidelity: {theirs:.4f}")
    return f"{entry.relation or ' '} {number}{half} {entry.unit}" + "".join(f"  [{note}]" for note in notes)
