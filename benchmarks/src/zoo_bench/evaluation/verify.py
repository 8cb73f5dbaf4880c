"""Compute a result card again and say, number by number, whether it agrees.

    from zoo_bench import verify
    all(check.agrees for check in verify("made.digits.quick-v1-digits.seed0.json"))   # zoo verify CARD

The weights are those that the card names, by their sha256; the task is found by its id, version and sha256, so a suite
that was edited without a new version is refused; data by the hashes of their splits; samples by their seed. Models that
are fitted in one pass have no published weights: they are trained again by the recipe in the card. Everything that the
card says has to come out again, but for what depends on when, where and how fast it was made (`PASSING`).
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from zoo_bench.cards import files, pinned
from zoo_bench.cards.types import Card, DataEntry, Weights
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import rows
from zoo_bench.evaluation.checks import Check, checks
from zoo_bench.evaluation.evaluate import evaluate
from zoo_bench.evaluation.model import Wanted
from zoo_bench.progress import Bar, quiet_bar
from zoo_bench.tasks import suites
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training.recipe import Plan, plan
from zoo_bench.training.recipe import written as written_down
from zoo_bench.training.trainer import Options, Trainer
from zoo_core import pretrained, registry, weights
from zoo_core.errors import ZooError


def verify(
    path: str | Path,
    *,
    weights_folder: str | Path | None = None,
    suite: str | None = None,
    data: str | None = None,
    train: bool = False,
    data_dir: str | Path | None = None,
    device: str | None = None,
    bar: Bar = quiet_bar,
) -> list[Check]:
    """Recompute the card in `path`; `ZooError` where that cannot be done, with the reason.

    weights_folder: where the weights are, for a card of a training of one's own; their sha256 must be the card's.
    suite: the file of a suite of one's own (`./mine.toml`), for a card of that. data: where the pictures of a card of
    one's own data are (`folder:PATH`), which it does not say. train: train unpublished weights again, by its recipe.
    """
    path = Path(path)
    card = files.read(path)
    _refuse(card, path)
    own, task = find_task(card, path, suite, data)
    _same_data(card, task, data_dir, path)
    with tempfile.TemporaryDirectory(prefix="zoo-verify-") as temporary:
        out = Path(temporary, "card")
        if (row := card.model.name) in rows.OF_IMAGES:
            again = rows.OF_IMAGES[row](own, task, data_dir, card.asked or ())
            return list(checks(card, again, path, out))
        known = _data(card)
        fit = _Fit(data or known.name, data_dir, Path(temporary, "run"), train)
        name, fitted = _weights(card, path, weights_folder, fit)
        if _is_diluted(card):
            wanted = Wanted(own, task, data_dir, out=out, bar=bar)
            again = rows.diluted(wanted, _weights_of(card), name, device=device)
        else:
            again = evaluate(
                name,
                None if own.name == "data" else replace(own, tasks=(task,)),
                data=data or known.name,
                tag=None if name == _weights_of(card).source else card.model.tag,  # a name says its own
                seed=card.seed if card.sampling is not None else None,
                engine=card.engine or "zoo",
                metrics=card.asked or (),
                data_dir=data_dir,
                out=out,
                device=device,
                bar=bar,
            )
        if again.task.id != card.task.id:
            raise ZooError(f"{path}: these weights are evaluated on {again.task.id}, the card is of another task")
        return [*fitted, *checks(card, again, path, out)]


def _is_diluted(card: Card) -> bool:
    return card.model.name == rows.DILUTED and card.model.family == "constructed"


def _diluted_of(card: Card) -> str:
    """The name of the model that a diluted row is made of."""
    made_of = re.fullmatch(r"1 % (\w+), 99 % uniform noise", str(card.model.made_of))
    return made_of[1] if made_of else "?"


def _weights_of(card: Card) -> Weights:
    assert card.model.weights is not None  # `_refuse`
    return card.model.weights


def _data(card: Card) -> DataEntry:
    assert card.data is not None  # `_refuse`
    return card.data


def _refuse(card: Card, path: Path) -> None:
    """What no weights can bring back."""
    if card.status != "ok":
        raise ZooError(f"{path}: the card says that the evaluation {card.status}: there is nothing to verify")
    if card.partial:
        raise ZooError(f"{path}: a partial card is in no table; verify a complete one")
    if card.model.family == "samples":
        raise ZooError(f"{path}: cannot be verified: no weights; score the samples again with zoo evaluate --samples")
    if missing := [part for part in ("data", "environment", "command") if not getattr(card, part)]:
        raise ZooError(f"{path}: cannot be verified: it does not say its {', '.join(missing)}")
    if missing := [part for part in ("version", "sha256") if getattr(card.task, part) is None]:
        raise ZooError(f"{path}: cannot be verified: it does not say its task's {', '.join(missing)}")
    if missing := [part for part in ("n", "splits") if part not in _data(card).model_fields_set]:
        raise ZooError(f"{path}: cannot be verified: it does not say its data's {', '.join(missing)}")
    if card.model.name not in rows.OF_IMAGES and card.model.weights is None:
        raise ZooError(f"{path}: cannot be verified: no weights, and no row that zoo bench recomputes")


def find_task(card: Card, path: Path, own: str | None = None, data: str | None = None) -> tuple[Suite, Task]:
    """The task by the card's id, version and sha256; an edited one is refused.

    own: the file of your own suite. data: your own pictures.
    """
    said = card.task
    name, _, task_id = said.id.partition("/")
    if own or name.partition("@")[0] in suites.names():
        suite = suites.load(own or name)  # another version is an error of its own
        tasks = [task for task in suite.tasks if task.id == task_id]
        if not tasks or suite.name != name.partition("@")[0]:
            raise ZooError(f"{path}: suite {suite.id} has no task {task_id!r} of {name}")
        task = tasks[0]
    elif name.partition("@")[0] != "data":
        raise ZooError(f"{path}: {name} is no suite of this zoo; give its file with --suite")
    else:
        suite, task = _any_data(data or _data(card).name, path)
    if suite.version != said.version or task.sha256() != said.sha256:
        raise ZooError(
            f"{path}: task {said.id} is defined otherwise here (sha256 {task.sha256()[:16]}…, the card says "
            f"{str(said.sha256)[:16]}…): one of the two was edited without a new version"
        )
    return suite, task


def _any_data(name: str, path: Path) -> tuple[Suite, Task]:
    try:
        return suites.any_data(name)
    except ZooError as error:
        raise ZooError(f"{path}: {error}; say where these pictures are with --data folder:PATH") from error


@dataclass(frozen=True)
class _Fit:
    """Where a model is trained again: in `folder`, on `data`; train: a learned one too, which may take long."""

    data: str
    data_dir: str | Path | None
    folder: Path
    train: bool


def _same_data(card: Card, task: Task, data_dir: str | Path | None, path: Path) -> None:
    """The splits hash to what the card says; before any work."""
    for split, stated in _data(card).splits.items():
        found = datasets.load(task.data, split, data_dir).sha256
        if found != stated:
            raise ZooError(
                f"{path}: split {split!r} of {task.data} hashes to {found[:16]}…, the card says {stated[:16]}…: "
                "other data, so no number can be compared"
            )


def _weights(card: Card, path: Path, given: str | Path | None, fit: _Fit) -> tuple[str | Path, list[Check]]:
    """The card's weights, by name or folder; trained again where the model is fitted in one pass."""
    stated = _weights_of(card)
    model = _diluted_of(card) if _is_diluted(card) else card.model.name
    known = registry.models.get(model)
    name = f"{model}.{card.model.tag}"
    if given is None and stated.source == "recipe":
        published = [entry for entry in known.pretrained if pinned.is_pinned(stated.sha256, known, entry)]
        closed = known.family in ("baseline", "constructed")  # fitted in one pass
        if not published and not closed and not fit.train:
            images = (card.model.recipe or {}).get("images")
            raise ZooError(
                f"{path}: cannot be verified: no weights are published with sha256 {stated.sha256[:16]}…; "
                "give the run's folder with --weights"
                + (f", or train them again, on {images:,} images, with --train" if isinstance(images, int) else "")
            )
        if not published:
            return _fitted_again(card, model, path, fit)
        given = f"{model}.{published[0].tag}"
    source = given if given is not None else name if stated.source == name else stated.source
    place, _, _ = pretrained.find(source)
    written = weights.read_config(Path(place), str(source))
    found = written["sha256"]
    if stated.sha256 not in (found, weights.content_sha256(Path(place))):
        raise ZooError(
            f"{path}: the weights {source} have the sha256 {found[:16]}…, the card is of {stated.sha256[:16]}…"
        )
    before, now = card.model.recipe, written.get("training", {}).get("recipe")
    return source, [Check("model.recipe", "differs", before, now)] if before and before != now else []


def _fitted_again(card: Card, name: str, path: Path, fit: _Fit) -> tuple[Path, list[Check]]:
    """The weights of model `name` by the card's recipe; of a diluted row's model, which has none there, by its own."""
    known, planned, folder = registry.models.get(name), plan(name, fit.data), fit.folder
    if not _is_diluted(card):
        if card.model.recipe is None:
            raise ZooError(f"{path}: cannot be verified: it holds no recipe to train the weights by")
        recipe = written_down(card.model.recipe, "the card's recipe")
        if recipe.images > planned.recipe.images and not fit.train:
            raise ZooError(
                f"{path}: its recipe trains on {recipe.images:,} images, that of {planned.name} on "
                f"{planned.recipe.images:,}; --train trains as long as that"
            )
        planned = Plan(known, recipe, type(known.config).from_dict(card.model.config or {}, "the card's config"))
    Trainer(planned, Options(out=folder, data_dir=fit.data_dir, quiet=not fit.train, grids=0)).run()
    now, before = weights.content_sha256(folder / "weights"), _weights_of(card).sha256
    return folder / "weights", [Check("weights sha256", "agrees" if now == before else "differs", before, now)]
