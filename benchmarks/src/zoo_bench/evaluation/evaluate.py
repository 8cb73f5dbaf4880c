"""Evaluate weights by name, on the task of their data set; the answer is a card.

from zoo_bench import evaluate
card = evaluate("made.digits")            # the task of the data set it was trained on
card.metrics[0].value                     # bits/dim, with relation and interval beside it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo_bench import processes
from zoo_bench.cards import files
from zoo_bench.cards.types import Card, Weights
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import rows
from zoo_bench.evaluation.model import Wanted, evaluate_model
from zoo_bench.metrics.measure import asked_for
from zoo_bench.metrics.second_opinion import check_engine
from zoo_bench.progress import Bar, quiet_bar
from zoo_bench.tasks import suites
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training import first_stages, recipe
from zoo_core import pretrained, weights
from zoo_core.errors import ZooError, unknown


def evaluate(
    name: str | Path,
    suite: str | Suite | None = None,
    *,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    data: str | None = None,
    device: str | None = None,
    tag: str | None = None,
    seed: int | None = None,
    engine: str = "zoo",
    metrics: Sequence[str] = (),
    bar: Bar = quiet_bar,
) -> Card:
    """The card of weights `name` on the task of their data set; one without metrics, where none applies, is no result.

    name: `made.digits`, a folder of weights, or `hf:org/repo`. suite: where the task stands (default: found by the data
    set). out: a folder for the card, its per-image nats and a grid of samples. split: another split than the task's
    (`validation`, to choose by), limit: only the first images and samples: both make the card partial, and a partial
    card never enters a table. data: the data set, where it is not the one that the weights name. seed: of the samples
    (default: the task's first). engine: `torch-fidelity` also asks that library (`second_opinion.py`).
    metrics: more than the task's, `cmmd` for one; the card says that they were asked for.
    bar: `bar(description, total)` returns a function that is called with work done.
    """
    check_engine(engine)
    asked = asked_for(metrics)
    folder, pinned, expected = pretrained.find(name)
    source = str(name)
    written = weights.read_config(Path(folder), source)
    where = device or processes.device()
    model = weights.load_folder(folder, device=where, sha256=pinned, origin=source, expected=expected)
    trained_on = written.get("training", {}).get("recipe", {}).get("data")
    named = source.partition(".")[2] if "/" not in source else None
    own = data or trained_on or tag or named
    found, task = _task(suite, own, source, strict=data is not None)
    known = _known(source, Path(folder), tag or (named if "/" not in source else own and datasets.tag(own)))
    place = None if out is None else Path(out)
    wanted = Wanted(found, task, data_dir, split, limit, place, seed, engine, asked, bar=bar)
    card = evaluate_model(model, written["model"], wanted, known)
    if place is not None and card.metrics and processes.is_main():
        files.write(card, place, replace=False)
    if place is not None and asked:
        rows.beside(found, task, model.conditioning, asked, data_dir, place)
    return card


def _known(source: str, folder: Path, tag: str | None) -> dict[str, Any]:
    """What a card says of the weights in `folder`, which come from `source`.

    Their sha256 is that of the content: the file's also depends on how long its training took.
    """
    training = weights.read_config(folder, source).get("training", {})
    return {
        "tag": tag,
        "weights": Weights(source=source, sha256=weights.content_sha256(folder), kind=training.get("weights")),
        "images_seen": training.get("images_seen"),
        "training_device": training.get("device", "cpu"),
        "training_seconds": training.get("seconds"),
        **recipe.trained_with(training),
        **first_stages.told(training),
    }


def _task(suite: str | Suite | None, data: str | None, name: str, strict: bool) -> tuple[Suite, Task]:
    """strict: the data set was asked for; else the weights were trained on it, and a suite of one task need not be."""
    if suite is None:
        if data is None:
            raise ZooError(
                f"{name} does not say what it was trained on; name a suite: {', '.join(suites.list_suites())}"
            )
        return suites.find_task(data)
    found = suite if isinstance(suite, Suite) else suites.load(suite)
    for task in found.tasks:
        if data is None or task.data == data or (len(found.tasks) == 1 and not strict):
            return found, task
    raise unknown("task", str(data), [task.data for task in found.tasks], f" (in suite {found.id})")
