"""Compare two result cards image by image: the paired difference of their negative log-likelihoods.

    from zoo_bench import compare
    print(compare("made.json", "gmm.json"))      # zoo compare made.digits gmm.digits

With d_i = -ln P_a(x_i) + ln P_b(x_i) over the same n test images, the difference is mean(d) ± 1.96 sd(d) / sqrt(n).
Most of what makes an image hard is common to both models and falls out: the interval is narrower than the cards' own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.cards import files
from zoo_bench.cards.card import content
from zoo_bench.cards.types import Card, DataEntry, Metric
from zoo_core import weights
from zoo_core.errors import ZooError, did_you_mean

Array = np.ndarray[Any, Any]
PAIRED = ("nats", "bits_per_dim")  # what is known image by image


@dataclass(frozen=True)
class Comparison:
    """a minus b, in nats per image; below zero, a finds the images more likely.

    relations: of a and b (`=`, `≤`, `≈`). methods: how each was computed. dims: D, for bits/dim.
    """

    a: str
    b: str
    task: str
    relations: tuple[str, str]
    methods: tuple[str, str]
    difference: float
    half_width: float
    n: int
    dims: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference, nats per image."""
        return self.difference - self.half_width, self.difference + self.half_width

    @property
    def bits_per_dim(self) -> tuple[float, float]:
        """The difference and half its interval's width in bits/dim: nats / (D ln 2)."""
        scale = self.dims * math.log(2)
        return self.difference / scale, self.half_width / scale

    @property
    def better(self) -> str | None:
        """The one that is proven better; None where nothing is."""
        low, high = self.interval
        if high < 0 and self.relations in (("=", "="), ("≤", "=")):
            return self.a
        if low > 0 and self.relations in (("=", "="), ("=", "≤")):
            return self.b
        return None

    @property
    def verdict(self) -> str:
        """What the numbers prove, in a sentence."""
        if self.better:
            return f"{self.better} is better: it finds the images more likely"
        if "≈" in self.relations:
            return "nothing is proven: an estimate (≈) may lie on either side of the truth"
        if self.relations == ("≤", "≤"):
            return "nothing is proven: both are bounds (≤), and bounds are not ordered"
        if self.relations == ("=", "="):
            return "no difference is proven: the interval holds 0"
        bound, exact = (self.a, self.b) if self.relations[0] == "≤" else (self.b, self.a)
        return f"nothing is proven: {bound} is known by a bound (≤) only, which is not below the value of {exact}"

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        bits, half = self.bits_per_dim
        return {
            "a": self.a,
            "b": self.b,
            "task": self.task,
            "relations": list(self.relations),
            "methods": list(self.methods),
            "n": self.n,
            "nats": {"difference": self.difference, "low": self.interval[0], "high": self.interval[1]},
            "bits_per_dim": {"difference": bits, "low": bits - half, "high": bits + half},
            "level": 0.95,
            "better": self.better,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        bits, half = self.bits_per_dim
        width = max(len(self.a), len(self.b))
        return "\n".join(
            [
                f"{self.task}, {self.n:,} images, negative log-likelihood (lower is better)",
                *(
                    f"  {letter}  {name:<{width}}  {relation}  [{method}]"
                    for letter, name, relation, method in zip("ab", (self.a, self.b), self.relations, self.methods)
                ),
                f"  a - b = {self.difference:+.4f} ± {self.half_width:.4f} nats/image",
                f"        = {bits:+.5f} ± {half:.5f} bits/dim  (95 %, paired over images)",
                self.verdict,
            ]
        )


def compare(card_a: str | Path, card_b: str | Path, metric: str = "nats") -> Comparison:
    """The paired comparison of two cards' files; `ZooError` where they are not comparable says which field differs."""
    paths = Path(card_a), Path(card_b)
    found = [files.read(path) for path in paths]
    if metric not in PAIRED:
        raise ZooError(f"metric {metric!r} has no value for each image; compare by {' or '.join(PAIRED)}")
    entries = [_entry(card, metric, path) for card, path in zip(found, paths)]
    edited = found[0].task.sha256 != found[1].task.sha256
    if edited or entries[0].comparable_key != entries[1].comparable_key:
        raise ZooError(
            f"{paths[0].name} and {paths[1].name} are not comparable: {difference(found[0], found[1], *entries)}"
        )
    a, b = (-_nats(card, path) for card, path in zip(found, paths))
    if len(a) != len(b):
        raise ZooError(f"not comparable: the nats of {len(a)} images and of {len(b)}")
    d = a - b
    n = len(d)
    half = 1.96 * float(d.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    names = _names(found)
    return Comparison(
        *names,
        task=found[0].task.id,
        relations=(str(entries[0].relation), str(entries[1].relation)),
        methods=(str(entries[0].params.method), str(entries[1].params.method)),
        difference=float(d.mean()),
        half_width=half,
        n=n,
        dims=math.prod(_data(found[0]).shape),
    )


def difference(a: Card, b: Card, in_a: Metric, in_b: Metric) -> str:
    """Which part of two metrics' identities is not equal: keys are hashes, so the cards' own fields are compared."""
    mine, theirs = _identity(a, in_a), _identity(b, in_b)
    differ = [f"{key} ({mine[key]} and {theirs[key]})" for key in mine if mine[key] != theirs[key]]
    return f"they differ in {', '.join(differ)}" if differ else "their keys differ in what the cards do not show"


def _identity(card: Card, entry: Metric) -> dict[str, Any]:
    """All that a card shows of a metric's identity, what decides most first."""
    data = _data(card)
    return {
        "task": card.task.id,
        "task version": card.task.version,
        "conditioning": card.model.conditioning,
        "split": data.split,
        "n": data.n,
        "split hash": f"{str(data.sha256)[:16]}…",
        "metric": entry.id,
        "metric version": entry.version,
        "shape": list(data.shape),
        "levels": data.levels,
        "task definition": f"{str(card.task.sha256)[:16]}…",
    }


def _data(card: Card) -> DataEntry:
    if card.data is None:
        raise ZooError(f"{card.name}: its card does not say on which data it was measured")
    return card.data


def _entry(card: Card, metric: str, path: Path) -> Metric:
    for name in (metric, *PAIRED):  # one is the other in another unit, and a task may ask for one alone
        for entry in card.metrics:
            if entry.id == name:
                return entry
    why = f"its evaluation failed: {card.error}" if card.status == "failed" else "the model offers no likelihood"
    if card.seed and card.metrics:
        why = "likelihoods are in the card of the first sampling seed"
    raise ZooError(f"{path}: has no {metric} ({why})")


def _nats(card: Card, path: Path) -> Array:
    """log P of each image, float64 `(n,)`, from the file beside the card."""
    stated = card.nats_file
    if stated is None:
        raise ZooError(f"{path}: has no nats per image beside it; evaluate again with --out")
    file = path.parent / Path(stated.name).name
    if not file.is_file():
        raise ZooError(f"{file} is missing: it holds the nats per image of {path.name}; evaluate again with --out")
    weights.check_sha256(file, stated.sha256, str(file))
    nats: Array = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False).astype(np.float64)
    if nats.shape != (_data(card).n,):
        raise ZooError(f"{file}: expected the nats of {_data(card).n} images, got the shape {nats.shape}")
    if not np.isfinite(nats).all():
        impossible = int((~np.isfinite(nats)).sum())
        raise ZooError(
            f"{path}: {impossible} of {len(nats)} images have no probability at all under {card.name}, so there "
            "is no finite difference"
        )
    return nats


def _names(found: list[Card]) -> tuple[str, str]:
    """What tells the two apart: names, and the beginning of the weights' hash where those are equal."""
    a, b = (card.name + (" (partial)" if card.partial else "") for card in found)
    if a != b:
        return a, b
    marks = [card.model.weights.sha256[:8] if card.model.weights is not None else "?" for card in found]
    return f"{a} ({marks[0]})", f"{b} ({marks[1]})"


def find(name: str, folders: Iterable[str | Path], metric: str = "nats") -> Path:
    """The file of the card called `name`: a path, or `made.digits`, looked for in folders of cards."""
    if Path(name).is_file():
        return Path(name)
    if name.endswith(".json") or "/" in name:
        raise ZooError(f"{name} does not exist; give a card's file, or a name such as made.digits")
    there: dict[str, list[Path]] = {}
    seen: set[str] = set()
    folders = list(folders)
    for folder in map(Path, folders):
        for file in files.files_in(folder):
            card = files.read(file)
            mark = content(card)  # a copy counts once
            if card.partial:  # a trial is compared when its file is named
                continue
            if mark not in seen and any(entry.id in (metric, *PAIRED) for entry in card.metrics):
                seen.add(mark)
                there.setdefault(card.name, []).append(file)
    if name not in there:
        places = ", ".join(map(str, folders)) or "runs"
        hint = did_you_mean(name, there) if there else "; zoo evaluate NAME --out runs writes one"
        raise ZooError(f"no card of {name!r} with {metric} in {places}{hint}")
    if len(there[name]) > 1:
        several = ", ".join(map(str, there[name]))
        raise ZooError(f"several cards are of {name!r}: {several}; give the file of one")
    return there[name][0]
