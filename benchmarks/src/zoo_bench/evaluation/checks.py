"""One card beside another of the same thing, computed anew: number by number, fact by fact, whether they agree.

Everything that a card says has to come out again, but for what depends on when, where and how fast it was made
(`PASSING`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo_bench.cards.types import Card, Metric
from zoo_bench.cards.unmeasured import ids
from zoo_core import registry, weights

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


def checks(card: Card, again: Card, path: Path, out: Path) -> Iterator[Check]:
    """All that the card says beside what comes out now. again: the card computed anew, its file of nats in `out`."""
    yield from _facts(card, again)
    samples = _samples(card, again)
    yield samples
    if card.nats_file is not None or again.nats_file is not None:
        yield _nats_file(card, again, path, out)
    yield from _group(card.metrics, again.metrics, samples)
    yield from _group(card.weaker_likelihoods, again.weaker_likelihoods, samples, weaker=True)


def _group(
    before: Sequence[Metric], again: Sequence[Metric], samples: Check, *, weaker: bool = False
) -> Iterator[Check]:
    """The metrics of a card beside those that come out again. weaker: they share their names with the strongest."""
    stated = [_key(entry) for entry in before]
    now = {_key(entry): entry for entry in again}
    skipped = {name: entry for entry in now.values() if entry.status == "skipped" for name in ids(entry)}
    for key in now.keys() - set(stated):
        if not any(skipped.get(name) is now[key] for name, *_ in stated):
            yield Check(now[key].id, "differs", None, now[key].value, "missing from the card")
    for entry in before:
        check = _metric(entry, now.get(_key(entry), skipped.get(entry.id)))
        if check.status == "differs" and samples.status == "skipped" and not entry.relation:
            check = replace(check, status="skipped", note=samples.note)  # of samples that cannot be drawn here
        yield replace(check, what=f"{check.what} [{entry.params.method}]") if weaker else check


def _facts(card: Card, again: Card) -> Iterator[Check]:
    """What the card says of anything but its numbers, where it is not so."""
    before, now = card.to_dict(), again.to_dict()
    yield from _config(card, again)
    for part, passing in PASSING.items():
        mine, theirs = ((whole.get(part) or {}) if part else whole for whole in (before, now))
        for key in sorted({*mine, *theirs} - set(passing)):
            if mine.get(key) != theirs.get(key):
                yield Check(".".join(filter(None, (part, key))), "differs", mine.get(key), theirs.get(key))
    mine, theirs = ((whole["model"].get("weights") or {}) for whole in (before, now))
    for key in sorted({*mine, *theirs} - {"source", "sha256"}):  # which were compared before anything was computed
        if mine.get(key) != theirs.get(key):
            yield Check(f"model.weights.{key}", "differs", mine.get(key), theirs.get(key))
    yield from _machine(before, now)
    mine, theirs = ((whole.get("performance") or {}) for whole in (before, now))
    for key in COUNTED:
        if mine.get(key) != theirs.get(key):
            yield Check(f"performance.{key}", "differs", mine.get(key), theirs.get(key))


def _config(card: Card, again: Card) -> Iterator[Check]:
    before, now = card.model.config, again.model.config
    if again.model.name in registry.models.offers():  # a field may have come since
        kind = type(registry.models.get(again.model.name).config)
        before = kind.from_dict(before or {}, "the card's config").to_dict()
    if before != now:
        yield Check("model.config", "differs", before, now)


def _machine(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Check]:
    """What of the environment decides numbers: what is said at all, the precision, and on what samples were drawn."""
    mine, theirs = before["environment"], now["environment"]
    for key in sorted(mine.keys() ^ theirs.keys()):
        yield Check(f"environment.{key}", "differs", mine.get(key), theirs.get(key), "one of the two does not say it")
    if mine.get("precision") != theirs["precision"]:
        yield Check("environment.precision", "differs", mine.get("precision"), theirs["precision"])
    drawn = (before.get("sampling") or {}).get("device", mine.get("device"))
    if str(drawn).partition(":")[0] != str(mine.get("device")).partition(":")[0]:
        yield Check("environment.device", "differs", mine.get("device"), drawn, "samples were drawn on another device")


def _key(entry: Metric) -> tuple[Any, ...]:
    return entry.id, entry.version, entry.params.reference, entry.params.method


def _samples(card: Card, again: Card) -> Check:
    before, now = card.sampling, again.sampling
    if (before is None) != (now is None):
        return Check("samples", "differs", before is not None, now is not None, "whether the task draws samples")
    if before is None or now is None:
        return Check("samples", "agrees", note="the card is of no samples that were drawn")
    if before.device is None:
        return Check("samples", "differs", None, now.device, "on which device they were drawn is missing")
    same = before.sha256 == now.sha256
    devices = [str(entry.device).partition(":")[0] for entry in (before, now)]
    if not same and devices[0] != devices[1]:
        return Check(
            "samples sha256", "skipped", note=f"drawn on {devices[0]}, now on {devices[1]}: other random numbers"
        )
    return Check("samples sha256", "agrees" if same else "differs", before.sha256, now.sha256)


def _nats_file(card: Card, again: Card, path: Path, out: Path) -> Check:
    """The file beside the card is the one that it names, and holds the nats that come out now."""
    if card.nats_file is None or again.nats_file is None:
        has = "whether there are nats of each image"
        return Check("nats file", "differs", card.nats_file is not None, again.nats_file is not None, has)
    file = path.parent / Path(card.nats_file.name).name
    if not file.is_file():
        return Check("nats file", "skipped", note=f"{file.name} does not lie beside the card")
    before, now = card.nats_file.sha256, weights.sha256_of(file)
    if now != before:
        return Check("nats file", "differs", before, now)
    theirs = np.load(out / again.nats_file.name)
    try:
        mine = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        same = mine.shape == theirs.shape and bool(np.allclose(mine, theirs, rtol=TOLERANCE, atol=1e-9))
    except (ValueError, EOFError, TypeError):
        same = False
    if not same and any(entry.relation == "≈" for entry in card.metrics):
        return Check("nats file", "skipped", before, now, "estimates: each image's is another draw")
    return Check("nats file", "agrees" if same else "differs", before, now, "" if same else "other nats come out now")


def _metric(entry: Metric, now: Metric | None) -> Check:
    reference = entry.params.reference
    what = f"{entry.id} ({reference})" if reference else entry.id
    if now is None:
        return Check(what, "differs", entry.value, None, "it is not computed any more, or by another method")
    values = entry.value, now.value
    if now.status == "skipped":
        return Check(what, "skipped", *values, now.params.reason or "")
    if entry.status == "skipped":
        return Check(what, "differs", *values, "the card says that it was skipped, and here it can be computed")
    if (None in values) and values != (None, None):
        return Check(what, "differs", *values)
    if now.comparable_key != entry.comparable_key:
        return Check(what, "differs", *values, "another protocol: the comparable keys are not equal")
    for part in ("relation", "unit", "higher_is_better", "status"):
        if getattr(entry, part) != getattr(now, part):
            return Check(what, "differs", *values, f"the {part} was {getattr(entry, part)} and is {getattr(now, part)}")
    if told := _unlike(entry, now):
        return Check(what, "differs", *values, told)
    if entry.value is None or now.value is None:
        return Check(what, "agrees", *values, now.params.reason or "")
    if entry.relation == "≈" and (entry.interval or now.interval):
        return Check(what, "agrees" if _both_inside(entry, now) else "differs", *values, "an estimate: by its interval")
    close = math.isclose(entry.value, now.value, rel_tol=TOLERANCE, abs_tol=1e-9)
    return Check(what, "agrees" if close else "differs", *values)


def _unlike(entry: Metric, now: Metric) -> str | None:
    """What in the intervals or the params of two entries does not agree."""
    loose = DIFFERENCES * abs(now.value or 0.0)
    estimated = entry.relation == "≈"  # of random draws, which another machine may draw otherwise
    for part in ("interval", "params"):
        before, after = (_flat(whole.to_dict().get(part)) for whole in (entry, now))
        for name in sorted({*before, *after}):
            mine, theirs = before.get(name), after.get(name)
            if not _alike(mine, theirs, loose) and not (estimated and isinstance(mine, float)):
                what = ".".join(filter(None, ("interval" if part == "interval" else "", name)))
                return f"{what} was {mine} and is {theirs}"
    return None


def _both_inside(before: Metric, now: Metric) -> bool:
    """Whether two estimates lie in the intervals of both, which are of about one width."""
    ends = [(entry.interval.low, entry.interval.high) for entry in (before, now) if entry.interval]
    if len(ends) < 2:
        return False
    widths = sorted(high - low for low, high in ends)
    values = [entry.value for entry in (before, now) if entry.value is not None]
    return all(low <= value <= high for low, high in ends for value in values) and widths[1] <= 2 * widths[0]


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
