"""Result cards: one JSON file per model, task and seed, written atomically the moment it exists.

A metric's identity is its name, its version and its whole protocol; `comparable_key` is the hash of that identity, and
only values with equal keys may stand in one column. A card that is half read is no card: unknown schemas are refused.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import fastjsonschema

import zoo_core
from zoo_bench import processes
from zoo_bench.datasets.load import public
from zoo_bench.training.checkpoint import write_json
from zoo_core.errors import ZooError

SCHEMA = 1
Card = dict[str, Any]

_PACKAGES = ("zoo-core", "zoo-bench", "torch", "accelerate", "numpy", "scikit-learn")


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def comparable_key(identity: Mapping[str, Any]) -> str:
    """The key of {task, split hashes, metric and version, N, extractor and resize, conditioning}."""
    return digest(dict(identity))


def metric(
    name: str,
    version: int,
    value: float | None,
    *,
    unit: str,
    relation: str | None,
    interval: Mapping[str, Any] | None,
    identity: Mapping[str, Any],
    higher_is_better: bool = False,
    **params: Any,
) -> dict[str, Any]:
    """One entry of a card's `metrics`. identity: what else makes it comparable (task, hashes, N, ...)."""
    return {
        "id": name,
        "version": version,
        "value": value,
        "unit": unit,
        "relation": relation,
        "higher_is_better": higher_is_better,
        "interval": dict(interval) if interval else None,
        "params": params,
        "comparable_key": comparable_key({"metric": name, "version": version, **identity}),
    }


def head(task: Mapping[str, Any], error: str | None = None, *, partial: bool = False) -> Card:
    """What every card begins with. task: `Suite.entry`. error: why there are no numbers, if there are none."""
    status = "ok" if error is None else "failed"
    return {"schema_version": SCHEMA, "status": status, "error": error, "partial": partial, "task": dict(task)}


def wished(engine: str, asked: Sequence[str]) -> dict[str, Any]:
    """What a card says of an evaluation that was asked for more than its task."""
    return {**({} if engine == "zoo" else {"engine": engine}), **({"asked": list(asked)} if asked else {})}


def title(card: Card, entry: Mapping[str, Any]) -> str:
    """What a metric is called: log P(x | label) is another quantity than log P(x), and has another name."""
    given = {"class": " given labels", "text": " given captions"}.get(card["model"].get("conditioning"), "")
    return f"{entry['id']}{given if entry['relation'] or 'n_reference' in entry['params'] else ''}"


def stem(card: Card) -> str:
    """`made.digits.quick-v1-digits.seed0`, the name of a card's file; partial ones end in `.partial`."""
    name = f"{card['model']['name']}.{card['model']['tag'] or 'untagged'}"
    return f"{name}.{file_name(card['task']['id'])}.seed{seed(card)}" + (".partial" if card.get("partial") else "")


def file_name(task_id: str) -> str:
    """`quick@1/digits` as part of a file's name: `quick-v1-digits`."""
    return task_id.replace("/", "-").replace("@", "-v")


def write(card: Card, folder: str | Path, *, replace: bool = True) -> Path:
    """Write a card below `folder`; returns its path. Without `replace`, never over the card of other weights."""
    check(card)
    path = Path(folder) / f"{stem(card)}.json"
    if not replace and path.exists() and _weights(read(path)) != _weights(card):
        raise ZooError(f"{path} is the card of other weights; choose another --out, or remove it")
    write_json(path, card)
    return path


def read(path: str | Path) -> Card:
    """A card; `ZooError` where the file is none (`card.schema.json` says what one is), or is of a newer schema."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        card = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError) as error:  # invalid JSON or UTF-8, NaN
        raise ZooError(f"{path}: not a result card (invalid JSON: {error}); mend it, or remove it") from error
    version = card.get("schema_version") if isinstance(card, dict) else None
    if not isinstance(version, int):
        raise ZooError(f"{path}: not a result card (no schema_version); mend it, or remove it")
    if version > SCHEMA:
        raise ZooError(
            f"{path}: schema {version}; this zoo ({zoo_core.__version__}) reads up to {SCHEMA}; "
            "upgrade with: pip install -U zoo-bench"
        )
    try:
        check(card)
    except ZooError as error:
        raise ZooError(f"{path}: not a result card ({error}); mend it, or remove it") from error
    return dict(card)


def check(card: Any) -> None:
    """`ZooError` for what is no card: `card.schema.json`, and what a schema cannot say."""
    try:
        _schema()(card, name_prefix="card")
    except fastjsonschema.JsonSchemaValueException as error:
        raise ZooError(error.message) from error
    for group in ("metrics", "weaker_likelihoods"):
        for i, entry in enumerate(card.get(group, [])):
            interval = entry["interval"]
            if interval and interval["low"] > interval["high"]:
                raise ZooError(f"card.{group}[{i}].interval: its low end lies above its high one")
    keys = [entry["comparable_key"] for entry in card["metrics"]]
    if twice := next((entry for entry in card["metrics"] if keys.count(entry["comparable_key"]) > 1), None):
        raise ZooError(f"card.metrics holds {twice['id']!r} twice under one comparable_key")


@functools.cache
def _schema() -> Callable[..., Any]:
    schema = importlib.resources.files("zoo_bench.cards").joinpath("card.schema.json").read_text(encoding="utf-8")
    check: Callable[..., Any] = fastjsonschema.compile(json.loads(schema), use_default=False)
    return check


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _bounded(text: str) -> int:
    return int(text) if len(text) < 30 else int(_no_number(text))


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant[:40]} is no number of a card; what has no value is null")


def files_in(folder: Path) -> list[Path]:
    """The cards in a folder: what lies in folders called `cards`, and the cards in itself, whatever they are called.

    A run's folder holds other JSON too (run.json, config.json), which has no `schema_version`.
    """
    own = [path for path in folder.glob("*.json") if '"schema_version"' in path.read_text(errors="replace")[:4000]]
    return sorted({*own, *folder.glob("*.seed*.json"), *folder.rglob("cards/*.json")})


def content(card: Card) -> str:
    """A digest of all that a card says about its result: two cards with equal ones are copies of each other.

    How long it took, on which machine and by which command is not in it, nor what another library says to it.
    """
    model = {key: value for key, value in card["model"].items() if key not in ("training_seconds", "training_device")}
    metrics = [
        {**entry, "params": {key: value for key, value in entry["params"].items() if key != "torch_fidelity"}}
        for entry in card["metrics"]
    ]
    parts = ("status", "error", "task", "data", "sampling", "weaker_likelihoods")
    return digest([model, metrics, *(card.get(part) for part in parts)])


def row_of(card: Card) -> str:
    """A digest of what the cards of one row share: the model, its weights, how its samples were drawn; not the seed.

    Images from elsewhere that do not say which weights drew them are a row of their own: nobody knows what they share.
    """
    model, sampling = card["model"], card.get("sampling") or {}
    weights = model.get("weights") or {}
    drawn = {key: value for key, value in sampling.items() if key not in ("seed", "sha256", "device")}
    if model["family"] == "samples" and "weights" not in sampling:
        drawn = sampling
    own = None if weights else model.get("config")
    given = model.get("conditioning") or "none"
    return digest([model["name"], model["tag"], given, weights.get("source"), weights.get("sha256"), own, drawn])


def read_all(paths: str | Path | Iterable[str | Path]) -> list[Card]:
    """All cards in files and folders, in order of their names; copies (`content`) count once, two different cards of
    one result (model, weights, task and seed) are an error."""
    found: dict[str, Path] = {}
    cards = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if not path.exists():
            raise ZooError(f"{path} does not exist; give result cards or folders that hold some")
        files = [path] if path.is_file() else files_in(path)
        for file in files:
            card = read(file)
            of = (card.get("data") or {}).get("sha256"), None if card["status"] == "ok" else card["error"]
            identity = digest([stem(card), row_of(card), *of])
            if identity in found:
                if content(read(found[identity])) == content(card):
                    continue
                raise ZooError(f"{file} and {found[identity]} are two cards of one result; remove one of them")
            found[identity] = file
            cards.append(card)
    return cards


def _weights(card: Card) -> str | None:
    weights = card["model"].get("weights")
    return weights["sha256"] if weights else None


def seed(card: Card) -> int:
    """The seed that the samples were drawn from; 0 where there are none."""
    return int(card["sampling"]["seed"]) if card.get("sampling") else 0


def is_complete(card: Card) -> bool:
    """Whether the card may stand in a table: partial runs never do."""
    return card["status"] == "ok" and not card.get("partial")


def environment(device: str = "cpu", precision: str = "float32") -> dict[str, Any]:
    """What the numbers were computed with."""
    import torch

    return {
        **_git(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "device": device,
        "processes": processes.start().num_processes,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _git() -> dict[str, Any]:
    """The commit of this source tree, if it is one, and whether the tree differs from it."""

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"git": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"git": None, "dirty": None}


def command() -> str:
    """The command line of this process, without the folders that the program and your own files lie in."""
    program = Path(sys.argv[0]).name
    arguments = []
    for argument in sys.argv[1:]:
        before, found, place = argument.partition("folder:")
        own = Path(argument).name if Path(argument).is_absolute() else argument
        arguments.append(before + public(found + place) if place else own)
    return shlex.join(["zoo" if program == "__main__.py" else program, *arguments])
