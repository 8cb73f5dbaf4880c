"""Compute a result card again and say, number by number, whether it agrees.

    from zoo_bench.verify import verify
    all(check.agrees for check in verify("made.digits.quick-v1-digits.seed0.json"))   # zoo verify CARD

The weights are those that the card names, by their sha256; the task is found by its id, version and sha256, so a suite
that was edited without a new version is refused; data by the hashes of their splits; samples by their seed. Models that
are fitted in one pass have no published weights: they are trained again by the recipe in the card.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zoo_bench import cards, evaluation, suites
from zoo_bench import data as datasets
from zoo_bench.progress import quiet_bar
from zoo_bench.recipe import Plan, Recipe
from zoo_bench.suites import Suite, Task
from zoo_bench.trainer import Options, Trainer
from zoo_core import registry, weights
from zoo_core.errors import ZooError

Status = Literal["agrees", "differs", "skipped"]
FACTS = {
    "model": ("name", "family", "config", "conditioning", "params"),
    "data": ("name", "split", "sha256", "n", "shape", "levels", "splits"),
}
TOLERANCE = 1e-6  # relative; the same sums in another order move the last digits of float32
LOOSE = 1e-3


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
    data_dir: str | Path | None = None,
    device: str | None = None,
    bar: evaluation.Bar = quiet_bar,
) -> list[Check]:
    """Recompute the card in `path`; `ZooError` where that cannot be done, with the reason.

    weights_folder: where the weights are, for a card of a training of one's own; their sha256 must be the card's.
    """
    path = Path(path)
    card = cards.read(path)
    _refuse(card, path)
    suite, task = find_task(card, path)
    _same_data(card, task, data_dir, path)
    with tempfile.TemporaryDirectory(prefix="zoo-verify-") as temporary:
        name, fitted = _weights(card, path, weights_folder, data_dir, Path(temporary, "run"))
        again = evaluation.evaluate(
            name,
            suite.id if suite.name in _names() else None,
            data_dir=data_dir,
            out=Path(temporary, "card"),
            device=device,
            tag=card["model"]["tag"],
            seed=cards.seed(card) if card.get("sampling") else None,
            bar=bar,
        )
    if again["task"]["id"] != card["task"]["id"]:
        raise ZooError(f"{path}: these weights are evaluated on {again['task']['id']}, the card is of another task")
    return [*fitted, *_checks(card, again, path)]


def _refuse(card: cards.Card, path: Path) -> None:
    """What no weights can bring back."""
    family = card["model"].get("family")
    if card["status"] != "ok":
        raise ZooError(f"{path}: the card says that the evaluation {card['status']}: there is nothing to verify")
    if card.get("partial"):
        raise ZooError(f"{path}: a partial card stands in no table; verify a whole one")
    if family == "samples":
        raise ZooError(f"{path}: cannot be verified: no weights; score the samples again with zoo evaluate --samples")
    if family == "constructed" and card["model"]["name"] not in registry.models.offers():
        raise ZooError(f"{path}: cannot be verified by itself: it is {card['model'].get('made_of', 'constructed')}")
    if family == "floor" or not card["model"].get("weights"):
        raise ZooError(f"{path}: cannot be verified: no weights; this row is made anew by zoo bench")


def _names() -> set[str]:
    return {name.partition("@")[0] for name in suites.list_suites()}


def find_task(card: cards.Card, path: Path) -> tuple[Suite, Task]:
    """The task by the card's id, version and sha256; an edited one is refused."""
    said = card["task"]
    name, _, task_id = said["id"].partition("/")
    if name.partition("@")[0] in _names():
        suite = suites.load(name)  # another version is an error of its own
        tasks = [task for task in suite.tasks if task.id == task_id]
        if not tasks:
            raise ZooError(f"{path}: suite {suite.id} has no task {task_id!r}")
        task = tasks[0]
    else:
        suite, task = suites.any_data(card["data"]["name"])
    if suite.version != said["version"] or task.sha256() != said["sha256"]:
        raise ZooError(
            f"{path}: task {said['id']} is defined otherwise here (sha256 {task.sha256()[:16]}…, the card says "
            f"{said['sha256'][:16]}…): one of the two was edited without a new version"
        )
    return suite, task


def _same_data(card: cards.Card, task: Task, data_dir: str | Path | None, path: Path) -> None:
    """The splits hash to what the card says; before any work."""
    for split, stated in card["data"]["splits"].items():
        found = datasets.load(task.data, split, data_dir).sha256
        if found != stated:
            raise ZooError(
                f"{path}: split {split!r} of {task.data} hashes to {found[:16]}…, the card says {stated[:16]}…: "
                "other data, so no number can be compared"
            )


def _weights(
    card: cards.Card, path: Path, given: str | Path | None, data_dir: str | Path | None, folder: Path
) -> tuple[str | Path, list[Check]]:
    """The card's weights, by name or folder; trained again where the model is fitted in one pass."""
    model, stated = card["model"], card["model"]["weights"]
    known = registry.models.get(model["name"])
    name = f"{model['name']}.{model['tag']}"
    if given is None and stated["source"] == "recipe":
        published = [entry for entry in known.pretrained if entry.sha256 == stated["sha256"]]
        if not published and known.family not in ("baseline", "constructed"):
            raise ZooError(
                f"{path}: cannot be verified: no weights are published with sha256 {stated['sha256'][:16]}…; "
                "give the run's folder with --weights"
            )
        if not published:
            return _fitted_again(card, data_dir, folder)
        given = f"{model['name']}.{published[0].tag}"
    source = given if given is not None else name if stated["source"] == name else stated["source"]
    place, _, _ = registry.find_weights(source)
    found = weights.read_config(Path(place), str(source))["sha256"]
    if found != stated["sha256"]:
        raise ZooError(
            f"{path}: the weights {source} have the sha256 {found[:16]}…, the card is of {stated['sha256'][:16]}…"
        )
    return source, []


def _fitted_again(card: cards.Card, data_dir: str | Path | None, folder: Path) -> tuple[Path, list[Check]]:
    model = card["model"]
    known = registry.models.get(model["name"])
    recipe = Recipe.from_dict(model["recipe"], "the card's recipe")
    config = type(known.config).from_dict(model["config"], "the card's config")
    Trainer(Plan(known, recipe, config), Options(out=folder, data_dir=data_dir, quiet=True, grids=0)).run()
    now = weights.read_config(folder / "weights")["sha256"]
    before = model["weights"]["sha256"]
    return folder / "weights", [Check("weights sha256", "agrees" if now == before else "differs", before, now)]


def _checks(card: cards.Card, again: cards.Card, path: Path) -> Iterator[Check]:
    yield from _facts(card, again)
    samples = _samples(card, again)
    yield samples
    if "nats_file" in card:
        yield _nats_file(card, path)
    for group in ("metrics", "weaker_likelihoods"):
        now = {_key(entry): entry for entry in again.get(group, [])}
        there = {_key(entry) for entry in card.get(group, [])}
        for key in now.keys() - there:
            yield Check(now[key]["id"], "differs", None, now[key]["value"], "missing from the card")
        for entry in card.get(group, []):
            check = _metric(entry, now.get(_key(entry)))
            elsewhere = samples.status == "skipped" and again.get("sampling")
            if check.status == "differs" and elsewhere and not entry["relation"]:
                check = replace(check, status="skipped", note=samples.note)  # of samples that cannot be drawn here
            weaker = group != "metrics"  # of one name with the strongest
            yield replace(check, what=f"{check.what} [{entry['params']['method']}]") if weaker else check


def _facts(card: cards.Card, again: cards.Card) -> Iterator[Check]:
    """What the card says of the model and the data, where it is not what they are."""
    config = registry.models.get(again["model"]["name"]).config
    for part, names in FACTS.items():
        for name in names:
            before, now = card[part].get(name), again[part].get(name)
            if name == "config" and before is not None:  # a field may have come since
                before, now = (type(config).from_dict(entry, "the card's config").to_dict() for entry in (before, now))
            if before != now:
                yield Check(f"{part}.{name}", "differs", before, now)


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["id"], entry["version"], entry["params"].get("reference"), entry["params"].get("method")


def _samples(card: cards.Card, again: cards.Card) -> Check:
    before, now = card.get("sampling"), again.get("sampling")
    if bool(before) != bool(now):
        return Check("samples", "differs", bool(before), bool(now), "whether the task draws samples")
    if not before or not now:
        return Check("samples sha256", "skipped", note="the task draws no samples")
    same = before["sha256"] == now["sha256"]
    devices = [str(entry["device"]).partition(":")[0] for entry in (before, now)]
    if not same and devices[0] != devices[1]:
        return Check(
            "samples sha256", "skipped", note=f"drawn on {devices[0]}, now on {devices[1]}: other random numbers"
        )
    return Check("samples sha256", "agrees" if same else "differs", before["sha256"], now["sha256"])


def _nats_file(card: cards.Card, path: Path) -> Check:
    """The file beside the card is the one that it names; its mean is checked through the metrics."""
    file = path.parent / Path(card["nats_file"]["name"]).name
    if not file.is_file():
        return Check("nats file", "skipped", note=f"{file.name} does not lie beside the card")
    now = weights.sha256_of(file)
    before = card["nats_file"]["sha256"]
    return Check("nats file", "agrees" if now == before else "differs", before, now)


def _metric(entry: dict[str, Any], now: dict[str, Any] | None) -> Check:
    reference = entry["params"].get("reference")
    what = f"{entry['id']} ({reference})" if reference else entry["id"]
    if now is None:
        return Check(what, "differs", entry["value"], None, "it is not computed any more, or by another method")
    if now.get("status") == "skipped" or (entry.get("status") == "skipped" and entry["value"] is None):
        reason = now["params"].get("reason") or entry["params"].get("reason") or ""
        return Check(what, "skipped", entry["value"], now["value"], reason)
    values = entry["value"], now["value"]
    if now["comparable_key"] != entry["comparable_key"]:
        return Check(what, "differs", *values, "another protocol: the comparable keys are not equal")
    if now["relation"] != entry["relation"]:
        return Check(what, "differs", *values, f"the relation was {entry['relation']} and is {now['relation']}")
    if None in values:
        return Check(what, "agrees" if values == (None, None) else "differs", *values)
    for part in ("unit", "interval"):
        if not _alike(entry[part], now[part]):
            return Check(what, "differs", *values, f"the {part} was {entry[part]} and is {now[part]}")
    for name in entry["params"].keys() & now["params"].keys():
        if not _alike(entry["params"][name], now["params"][name]):
            told = f"{name} was {entry['params'][name]} and is {now['params'][name]}"
            return Check(what, "differs", *values, told)
    close = math.isclose(*values, rel_tol=TOLERANCE, abs_tol=1e-9)
    if not close and entry["relation"] == "≈" and entry["interval"]:
        inside = entry["interval"]["low"] <= now["value"] <= entry["interval"]["high"]
        return Check(what, "agrees" if inside else "differs", *values, "an estimate: by its interval")
    return Check(what, "agrees" if close else "differs", *values)


def _alike(before: Any, now: Any) -> bool:
    """Equal, numbers up to `LOOSE`: errors of fits and intervals are differences of what was rounded."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_alike(before[key], now[key]) for key in before)
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_alike, before, now))
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=LOOSE, abs_tol=LOOSE)
    return bool(before == now)
