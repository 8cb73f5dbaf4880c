"""Files of result cards: written atomically the moment a card exists, and read strictly.

from zoo_bench.cards import files
files.write(card, "runs/quick/cards")
files.read_all(["runs"])
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zoo_core
from zoo_bench.cards.card import content, digest, row_of
from zoo_bench.cards.types import SCHEMA, Card
from zoo_bench.training.checkpoint import write_json
from zoo_core.errors import ZooError


def write(card: Card, folder: str | Path, *, replace: bool = True) -> Path:
    """Write a card below `folder`; returns its path. Without `replace`, never over the card of other weights."""
    path = Path(folder) / f"{card.stem}.json"
    if not replace and path.exists() and _weights(read(path)) != _weights(card):
        raise ZooError(f"{path} is the card of other weights; choose another --out, or remove it")
    write_json(path, card.to_dict())
    return path


def read(path: str | Path) -> Card:
    """A card; `ZooError` where the file is none, or is of a newer schema."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError) as error:  # invalid JSON or UTF-8, NaN
        raise ZooError(f"{path}: not a result card (invalid JSON: {error}); repair or remove it") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise ZooError(f"{path}: not a result card (no schema_version); repair or remove it")
    if version > SCHEMA:
        raise ZooError(
            f"{path}: schema {version}; this zoo ({zoo_core.__version__}) reads up to {SCHEMA}; "
            "upgrade with: pip install -U zoo-bench"
        )
    try:
        return Card.of(found)
    except ZooError as error:
        raise ZooError(f"{path}: not a result card ({error}); repair or remove it") from error


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


def read_all(paths: str | Path | Iterable[str | Path]) -> list[Card]:
    """All cards in files and folders, in order of their names; copies (`content`) count once, two different cards of
    one result (model, weights, task and seed) are an error."""
    found: dict[str, Path] = {}
    cards = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if not path.exists():
            raise ZooError(f"{path} does not exist; give result cards or folders that hold some")
        for file in [path] if path.is_file() else files_in(path):
            card = read(file)
            identity = _identity(card)
            if identity in found:
                if content(read(found[identity])) == content(card):
                    continue
                raise ZooError(f"{file} and {found[identity]} are two cards of one result; remove one of them")
            found[identity] = file
            cards.append(card)
    return cards


def _identity(card: Card) -> str:
    """Of a result: two cards with equal ones are copies, or contradict each other."""
    data = card.data.sha256 if card.data is not None else None
    return digest([card.stem, row_of(card), data, None if card.status == "ok" else card.error])


def _weights(card: Card) -> str | None:
    return card.model.weights.sha256 if card.model.weights is not None else None


def schema() -> dict[str, Any]:
    """The JSON schema of a result card, made from its types."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Card.model_json_schema()}
