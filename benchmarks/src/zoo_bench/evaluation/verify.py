"""Compute a result card again and say, number by number, whether it agrees.

    from zoo_bench import verify
    all(check.agrees for check in verify("made.digits.quick-v1-digits.seed0.json"))   # zoo verify CARD

The weights are those that the card names, by their sha256; the task is found by its id, version and sha256, so a suite
that was edited without a new version is refused; data by the hashes of their splits; samples by their seed. Models that
are fitted in one pass have no published weights: they are trained again by the recipe in the card. Everything that the
card says has to come out again, but for what depends on when, where and how fast it was made (`PASSING`).
"""

from __future__ import annotations

import io
import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo_bench.cards import card as cards
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import rows
from zoo_bench.evaluation.evaluate import evaluate
from zoo_bench.evaluation.model import Wanted
from zoo_bench.progress import Bar, quiet_bar
from zoo_bench.tasks import suites
from zoo_bench.tasks.suites import Suite, Task
from zoo_bench.training.recipe import Plan, Recipe, plan
from zoo_bench.training.trainer import Options, Trainer
from zoo_core import pretrained, registry, weights
from zoo_core.errors import ZooError

Status = Literal["agrees", "differs", "skipped"]
BY_THEMSELVES = ("model", "data", "sampling", "metrics", "weaker_likelihoods", "nats_file", "environment")
# All that a card says must be so, but for what depends on when, where and how it was made:
PASSING = {
    "": (*BY_THEMSELVES, "performance", "timing", "command"),
    "data": (),
    "model": ("config", "plugin_version", "recipe", "weights", "training_seconds", "training_device"),
    "sampling": ("device", "sha256"),
}
COUNTED = ("flops_per_generated_image", "flops_per_training_image")  # of `performance`: the same on any machine
TOLERANCE = 1e-6  # relative; the same sums in another order move the last digits of float32
DIFFERENCES = 1e-5  # of the value, for what is a difference of such sums: the ends of an interval, the error of a fit


@dataclass(frozen=True)
class Check:
    """One thing that the card says, what it is now, and whether these agree."""

    what: str
    status: Status
    before: Any = None
    now: Any = None
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the card; what could not be computed speaks neither way."""
        return self.status != "differs"


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
    card = cards.read(path)
    _refuse(card, path)
    own, task = find_task(card, path, suite, data)
    _same_data(card, task, data_dir, path)
    with tempfile.TemporaryDirectory(prefix="zoo-verify-") as temporary:
        out = Path(temporary, "card")
        if (row := card["model"]["name"]) in rows.OF_IMAGES:
            again = rows.OF_IMAGES[row](own, task, data_dir, card.get("asked", ()))
            return list(_checks(card, again, path, out))
        fit = _Fit(data or card["data"]["name"], data_dir, Path(temporary, "run"), train)
        name, fitted = _weights(card, path, weights_folder, fit)
        if _is_diluted(card):
            again = rows.diluted(Wanted(own, task, data_dir, out=out, bar=bar), _good(card), name, device=device)
        else:
            again = evaluate(
                name,
                None if own.name == "data" else replace(own, tasks=(task,)),
                data=data or card["data"]["name"],
                tag=None if name == card["model"]["weights"]["source"] else card["model"]["tag"],  # a name says its own
                seed=cards.seed(card) if card.get("sampling") else None,
                engine=card.get("engine", "zoo"),
                metrics=card.get("asked", ()),
                data_dir=data_dir,
                out=out,
                device=device,
                bar=bar,
            )
        if again["task"]["id"] != card["task"]["id"]:
            raise ZooError(f"{path}: these weights are evaluated on {again['task']['id']}, the card is of another task")
        return [*fitted, *_checks(card, again, path, out)]


def _is_diluted(card: cards.Card) -> bool:
    return bool(card["model"]["name"] == rows.DILUTED and card["model"]["family"] == "constructed")


def _good(card: cards.Card) -> dict[str, Any]:
    """The name and the weights of the model that a diluted row is made of."""
    made_of = re.fullmatch(r"1 % (\w+), 99 % uniform noise", str(card["model"].get("made_of")))
    return {"name": made_of[1] if made_of else "?", "weights": card["model"]["weights"]}


def _refuse(card: cards.Card, path: Path) -> None:
    """What no weights can bring back."""
    family = card["model"].get("family")
    if card["status"] != "ok":
        raise ZooError(f"{path}: the card says that the evaluation {card['status']}: there is nothing to verify")
    if card.get("partial"):
        raise ZooError(f"{path}: a partial card stands in no table; verify a whole one")
    if family == "samples":
        raise ZooError(f"{path}: cannot be verified: no weights; score the samples again with zoo evaluate --samples")
    if missing := [part for part in ("data", "environment", "command") if not card.get(part)]:
        raise ZooError(f"{path}: cannot be verified: it does not say its {', '.join(missing)}")
    if missing := [part for part in ("version", "sha256") if part not in card["task"]]:
        raise ZooError(f"{path}: cannot be verified: it does not say its task's {', '.join(missing)}")
    if missing := [part for part in ("name", "n", "splits") if part not in card["data"]]:
        raise ZooError(f"{path}: cannot be verified: it does not say its data's {', '.join(missing)}")
    if card["model"]["name"] not in rows.OF_IMAGES and not card["model"].get("weights"):
        raise ZooError(f"{path}: cannot be verified: no weights, and no row that zoo bench makes anew")


def find_task(card: cards.Card, path: Path, own: str | None = None, data: str | None = None) -> tuple[Suite, Task]:
    """The task by the card's id, version and sha256; an edited one is refused.

    own: the file of your own suite. data: your own pictures.
    """
    said = card["task"]
    name, _, task_id = said["id"].partition("/")
    if own or name.partition("@")[0] in suites.names():
        suite = suites.load(own or name)  # another version is an error of its own
        tasks = [task for task in suite.tasks if task.id == task_id]
        if not tasks or suite.name != name.partition("@")[0]:
            raise ZooError(f"{path}: suite {suite.id} has no task {task_id!r} of {name}")
        task = tasks[0]
    elif name.partition("@")[0] != "data":
        raise ZooError(f"{path}: {name} is no suite of this zoo; give its file with --suite")
    else:
        suite, task = _any_data(data or card["data"]["name"], path)
    if suite.version != said["version"] or task.sha256() != said["sha256"]:
        raise ZooError(
            f"{path}: task {said['id']} is defined otherwise here (sha256 {task.sha256()[:16]}…, the card says "
            f"{said['sha256'][:16]}…): one of the two was edited without a new version"
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


def _same_data(card: cards.Card, task: Task, data_dir: str | Path | None, path: Path) -> None:
    """The splits hash to what the card says; before any work."""
    for split, stated in card["data"]["splits"].items():
        found = datasets.load(task.data, split, data_dir).sha256
        if found != stated:
            raise ZooError(
                f"{path}: split {split!r} of {task.data} hashes to {found[:16]}…, the card says {stated[:16]}…: "
                "other data, so no number can be compared"
            )


def _weights(card: cards.Card, path: Path, given: str | Path | None, fit: _Fit) -> tuple[str | Path, list[Check]]:
    """The card's weights, by name or folder; trained again where the model is fitted in one pass."""
    model, stated = card["model"], card["model"]["weights"]
    if _is_diluted(card):
        model = {**model, "name": _good(card)["name"]}
    known = registry.models.get(model["name"])
    name = f"{model['name']}.{model['tag']}"
    if given is None and stated["source"] == "recipe":
        published = [entry for entry in known.pretrained if entry.sha256 == stated["sha256"]]
        closed = known.family in ("baseline", "constructed")  # fitted in one pass
        if not published and not closed and not fit.train:
            images = model.get("recipe", {}).get("images")
            raise ZooError(
                f"{path}: cannot be verified: no weights are published with sha256 {stated['sha256'][:16]}…; "
                "give the run's folder with --weights"
                + (f", or train them again, on {images:,} images, with --train" if isinstance(images, int) else "")
            )
        if not published:
            return _fitted_again(card, model["name"], path, fit)
        given = f"{model['name']}.{published[0].tag}"
    source = given if given is not None else name if stated["source"] == name else stated["source"]
    place, _, _ = pretrained.find(source)
    written = weights.read_config(Path(place), str(source))
    found = written["sha256"]
    if found != stated["sha256"]:
        raise ZooError(
            f"{path}: the weights {source} have the sha256 {found[:16]}…, the card is of {stated['sha256'][:16]}…"
        )
    before, now = model.get("recipe"), written.get("training", {}).get("recipe")
    return source, [Check("model.recipe", "differs", before, now)] if before and before != now else []


def _fitted_again(card: cards.Card, name: str, path: Path, fit: _Fit) -> tuple[Path, list[Check]]:
    """The weights of model `name` by the card's recipe; of a diluted row's model, which has none there, by its own."""
    model, known, planned, folder = card["model"], registry.models.get(name), plan(name, fit.data), fit.folder
    if not _is_diluted(card):
        if "recipe" not in model:
            raise ZooError(f"{path}: cannot be verified: it holds no recipe to train the weights by")
        recipe = Recipe.from_dict(model["recipe"], "the card's recipe")
        if recipe.images > planned.recipe.images and not fit.train:
            raise ZooError(
                f"{path}: its recipe trains on {recipe.images:,} images, that of {planned.name} on "
                f"{planned.recipe.images:,}; --train trains as long as that"
            )
        planned = Plan(known, recipe, type(known.config).from_dict(model["config"], "the card's config"))
    Trainer(planned, Options(out=folder, data_dir=fit.data_dir, quiet=not fit.train, grids=0)).run()
    now = weights.read_config(folder / "weights")["sha256"]
    before = model["weights"]["sha256"]
    return folder / "weights", [Check("weights sha256", "agrees" if now == before else "differs", before, now)]


def _checks(card: cards.Card, again: cards.Card, path: Path, out: Path) -> Iterator[Check]:
    """again: the card computed anew, its file of nats in `out`."""
    yield from _facts(card, again)
    samples = _samples(card, again)
    yield samples
    if "nats_file" in card or "nats_file" in again:
        yield _nats_file(card, again, path, out)
    for group in ("metrics", "weaker_likelihoods"):
        before = [_key(entry) for entry in card.get(group, [])]
        now = {_key(entry): entry for entry in again.get(group, [])}
        skipped = {name: e for e in now.values() if e.get("status") == "skipped" for name in e["params"]["ids"]}
        for key in now.keys() - set(before):
            if not any(skipped.get(name) is now[key] for name, *_ in before):
                yield Check(now[key]["id"], "differs", None, now[key]["value"], "missing from the card")
        for entry in card.get(group, []):
            check = _metric(entry, now.get(_key(entry), skipped.get(entry["id"])))
            elsewhere = samples.status == "skipped" and again.get("sampling")
            if check.status == "differs" and elsewhere and not entry["relation"]:
                check = replace(check, status="skipped", note=samples.note)  # of samples that cannot be drawn here
            weaker = group != "metrics"  # of one name with the strongest
            yield replace(check, what=f"{check.what} [{entry['params'].get('method')}]") if weaker else check


def _facts(card: cards.Card, again: cards.Card) -> Iterator[Check]:
    """What the card says of anything but its numbers, where it is not so."""
    config = again["model"]["config"]
    name = again["model"]["name"]
    if name in registry.models.offers():  # a field may have come since
        kind = type(registry.models.get(name).config)
        before = kind.from_dict(card["model"].get("config") or {}, "the card's config").to_dict()
    else:
        before = card["model"].get("config")
    if before != config:
        yield Check("model.config", "differs", before, config)
    before, now = (whole["model"].get("weights") or {} for whole in (card, again))
    for key in sorted({*before, *now} - {"source", "sha256"}):  # which were compared before anything was computed
        if before.get(key) != now.get(key):
            yield Check(f"model.weights.{key}", "differs", before.get(key), now.get(key))
    for part, passing in PASSING.items():
        mine, theirs = ((whole.get(part) or {}) if part else whole for whole in (card, again))
        for key in sorted({*mine, *theirs} - set(passing)):
            if mine.get(key) != theirs.get(key):
                yield Check(".".join(filter(None, (part, key))), "differs", mine.get(key), theirs.get(key))
    mine, theirs = card["environment"], again["environment"]
    for key in sorted(mine.keys() ^ theirs.keys()):
        yield Check(f"environment.{key}", "differs", mine.get(key), theirs.get(key), "one of the two does not say it")
    if mine.get("precision") != theirs["precision"]:
        yield Check("environment.precision", "differs", mine.get("precision"), theirs["precision"])
    drawn = (card.get("sampling") or {}).get("device", mine.get("device"))
    if str(drawn).partition(":")[0] != str(mine.get("device")).partition(":")[0]:
        yield Check("environment.device", "differs", mine.get("device"), drawn, "samples were drawn on another device")
    mine, theirs = (whole.get("performance") or {} for whole in (card, again))
    for key in COUNTED:
        if mine.get(key) != theirs.get(key):
            yield Check(f"performance.{key}", "differs", mine.get(key), theirs.get(key))


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["id"], entry["version"], entry["params"].get("reference"), entry["params"].get("method")


def _samples(card: cards.Card, again: cards.Card) -> Check:
    before, now = card.get("sampling"), again.get("sampling")
    if bool(before) != bool(now):
        return Check("samples", "differs", bool(before), bool(now), "whether the task draws samples")
    if not before or not now:
        return Check("samples", "agrees", note="the card is of no samples that were drawn")
    if "device" not in before:
        return Check("samples", "differs", None, now["device"], "on which device they were drawn is missing")
    same = before.get("sha256") == now["sha256"]
    devices = [str(entry.get("device")).partition(":")[0] for entry in (before, now)]
    if not same and devices[0] != devices[1]:
        return Check(
            "samples sha256", "skipped", note=f"drawn on {devices[0]}, now on {devices[1]}: other random numbers"
        )
    return Check("samples sha256", "agrees" if same else "differs", before.get("sha256"), now["sha256"])


def _nats_file(card: cards.Card, again: cards.Card, path: Path, out: Path) -> Check:
    """The file beside the card is the one that it names, and holds the nats that come out now."""
    if "nats_file" not in card or "nats_file" not in again:
        told = [bool(entry.get("nats_file")) for entry in (card, again)]
        return Check("nats file", "differs", *told, "whether there are nats of each image")
    file = path.parent / Path(card["nats_file"]["name"]).name
    if not file.is_file():
        return Check("nats file", "skipped", note=f"{file.name} does not lie beside the card")
    before, now = card["nats_file"]["sha256"], weights.sha256_of(file)
    if now != before:
        return Check("nats file", "differs", before, now)
    theirs = np.load(out / again["nats_file"]["name"])
    try:
        mine = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        same = mine.shape == theirs.shape and bool(np.allclose(mine, theirs, rtol=TOLERANCE, atol=1e-9))
    except (ValueError, EOFError, TypeError):
        same = False
    if not same and any(entry["relation"] == "≈" for entry in card["metrics"]):
        return Check("nats file", "skipped", before, now, "estimates: each image's is another draw")
    return Check("nats file", "agrees" if same else "differs", before, now, "" if same else "other nats come out now")


def _metric(entry: dict[str, Any], now: dict[str, Any] | None) -> Check:
    reference = entry["params"].get("reference")
    what = f"{entry['id']} ({reference})" if reference else entry["id"]
    if now is None:
        return Check(what, "differs", entry["value"], None, "it is not computed any more, or by another method")
    values = entry["value"], now["value"]
    if now.get("status") == "skipped":
        return Check(what, "skipped", *values, now["params"].get("reason", ""))
    if entry.get("status") == "skipped":
        return Check(what, "differs", *values, "the card says that it was skipped, and here it can be computed")
    if odd := sorted(entry.keys() ^ now.keys()):
        return Check(what, "differs", *values, f"one of the two does not say its {', '.join(odd)}")
    if (None in values) and values != (None, None):
        return Check(what, "differs", *values)
    if now["comparable_key"] != entry["comparable_key"]:
        return Check(what, "differs", *values, "another protocol: the comparable keys are not equal")
    for part in ("relation", "unit", "higher_is_better", "status"):
        if entry.get(part) != now.get(part):
            return Check(what, "differs", *values, f"the {part} was {entry.get(part)} and is {now.get(part)}")
    loose = DIFFERENCES * abs(now["value"] or 0.0)
    estimated = entry["relation"] == "≈"  # of random draws, which another machine may draw otherwise
    for part in ("interval", "params"):
        before, after = _flat(entry[part]), _flat(now[part])
        for name in sorted({*before, *after}):
            mine, theirs = before.get(name), after.get(name)
            if not _alike(mine, theirs, loose) and not (estimated and isinstance(mine, float)):
                what_of = ".".join(filter(None, ("interval" if part == "interval" else "", name)))
                return Check(what, "differs", *values, f"{what_of} was {mine} and is {theirs}")
    if values == (None, None):
        return Check(what, "agrees", *values, now["params"].get("reason", ""))
    close = math.isclose(*values, rel_tol=TOLERANCE, abs_tol=1e-9)
    if estimated and (entry["interval"] or now["interval"]):
        return Check(what, "agrees" if _both_inside(entry, now) else "differs", *values, "an estimate: by its interval")
    return Check(what, "agrees" if close else "differs", *values)


def _both_inside(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two estimates lie in the intervals of both, which are of about one width."""
    ends = [(entry["interval"]["low"], entry["interval"]["high"]) for entry in (before, now) if entry["interval"]]
    if len(ends) < 2:
        return False
    widths = sorted(high - low for low, high in ends)
    inside = all(low <= entry["value"] <= high for low, high in ends for entry in (before, now))
    return inside and widths[1] <= 2 * widths[0]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries and lists, by their path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= _flat(item, f"{name}.{key}" if name else str(key))
    return found


def _alike(before: Any, now: Any, loose: float) -> bool:
    """Equal, numbers up to `loose`: errors of fits and intervals are differences of what was rounded."""
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=TOLERANCE, abs_tol=max(loose, 1e-9))
    return type(before) is type(now) and bool(before == now)
