"""What lies beside a card: its pictures, the nats of its images, the log of its training; only what is its own.

beside = Beside([Path("runs/quick")])
beside.pictures(card)       # [Picture("samples", "9f86d081884c7d65", 265, 265), ...]
beside.images               # {"9f86d081884c7d65": "data:image/png;base64,..."}: equal pictures are there once
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo_bench.cards import files
from zoo_bench.cards.types import Card, file_name
from zoo_core.errors import ZooError

SAMPLES, REAL, OVERVIEW = "samples", "real images", "heat maps"
KINDS = {"": SAMPLES, ".neighbours": "nearest training images", ".heatmap": "heat map"}
LARGE = 48 * 2**10  # bytes of a PNG; smaller ones are taken as they are
WIDTH = 1200  # pixels of a large picture, at most
COLOURS = 96  # of a large picture's palette
MOST = 24 * 2**20  # bytes of all pictures together
POINTS = 160  # of a curve
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """kind: one of `KINDS`, `REAL`, `OVERVIEW`. image: its key in `Beside.images`. width, height: as it is shown."""

    kind: str
    image: str
    width: int
    height: int


class Beside:
    """The folders that cards were read from (`files.read_all`), and what has been taken from them so far.

    left_out: pictures that would have made the page larger than `MOST`, or are no PNG.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.images: dict[str, str] = {}
        self.left_out = 0
        self._bytes = 0
        self._homes: dict[int, tuple[Card, Path | None]] = {}
        self._seen: dict[str, Picture | None] = {}
        found: dict[Path, None] = {}
        for folder in map(Path, folders):
            if folder.is_file():
                found[folder.parent] = None
                continue
            for file in files.files_in(folder):
                found[file.parent] = None
        self._folders = list(found)

    def home(self, card: Card) -> Path | None:
        """The folder that this very card lies in."""
        if id(card) not in self._homes:
            self._homes[id(card)] = card, self._home(card)  # holds the card, so that nothing else gets its id
        return self._homes[id(card)][1]

    def _home(self, card: Card) -> Path | None:
        name = f"{card.stem}.json"
        if Path(name).name != name:  # a name with a slash leads out of the folder
            return None
        for folder in self._folders:
            with contextlib.suppress(OSError, ZooError):
                if files.read(folder / name) == card:
                    return folder
        return None

    def pictures(self, card: Card) -> list[Picture]:
        """The samples, nearest neighbours and heat maps of a card."""
        home = self.home(card)
        if home is None:
            return []
        found = []
        for suffix, kind in KINDS.items():
            path = home / f"{card.stem}{suffix}.png"
            picture = self.picture(path, kind) if path.is_file() else None
            found += [picture] if picture else []
        return found

    def overview(self, members: Sequence[Card], task_id: str) -> list[Picture]:
        """The heat maps of all models of a task, which lie above its cards."""
        homes = dict.fromkeys(home for home in map(self.home, members) if home is not None)
        paths = [home.parent / f"{file_name(task_id)}.heatmaps.png" for home in homes]
        found = [self.picture(path, OVERVIEW) for path in paths if path.is_file()]
        return [picture for picture in found if picture]

    def picture(self, path: Path, kind: str) -> Picture | None:
        """A PNG, for the page; None where it is none or there is no room left."""
        return self.take(path.read_bytes(), kind)

    def take(self, content: bytes, kind: str) -> Picture | None:
        """A PNG by its bytes."""
        key = hashlib.sha256(content).hexdigest()[:16]
        if key not in self._seen:
            self._seen[key] = self._embed(content, key, kind)
        known = self._seen[key]
        return known and Picture(kind, key, known.width, known.height)

    def _embed(self, content: bytes, key: str, kind: str) -> Picture | None:
        if len(content) < 33 or not content.startswith(_PNG) or content[12:16] != b"IHDR":
            self.left_out += 1
            return None
        width, height = struct.unpack(">II", content[16:24])
        if len(content) > LARGE:
            try:
                content = smaller(content, palette="heat map" in kind)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                self.left_out += 1
                return None
        if self._bytes + len(content) > MOST:
            self.left_out += 1
            return None
        self._bytes += len(content)
        self.images[key] = "data:image/png;base64," + base64.b64encode(content).decode()
        scale = min(1.0, WIDTH / width)
        return Picture(kind, key, max(1, round(width * scale)), max(1, round(height * scale)))

    def curve(self, card: Card) -> dict[str, list[float]] | None:
        """What was logged while this card's weights were trained, by images seen: `{"images": [...], "loss": [...]}`.

        From the card, or from the run beside it if its weights are the card's.
        """
        if card.training is not None and card.training.curve:
            return thinned(_lines(card.training.curve))
        home, model = self.home(card), card.model
        if home is None or model.weights is None:
            return None
        run = home.parent / "runs" / f"{model.name}.{model.tag}"
        try:
            written = json.loads((run / "weights" / "config.json").read_text())
            stated = model.weights.sha256
            if written["sha256"] != stated and _content_sha256(run / "weights") != stated:
                return None
            text = (run / "log.jsonl").read_text()
            return thinned([json.loads(line) for line in text.splitlines() if line.endswith("}")])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def spread(self, card: Card) -> dict[str, float] | None:
        """Percentiles of the card's negative log-likelihoods over its images, in bits/dim, from the file it names."""
        home, file, data = self.home(card), card.nats_file, card.data
        if home is None or file is None or data is None or Path(file.name).name != file.name:
            return None
        try:
            content = (home / file.name).read_bytes()
            if hashlib.sha256(content).hexdigest() != file.sha256:
                return None
            nats = np.load(io.BytesIO(content), allow_pickle=False)
        except (OSError, ValueError):
            return None
        bits = -nats / (math.prod(data.shape) * math.log(2))
        if nats.ndim != 1 or not len(nats) or not np.isfinite(bits).all():
            return None
        shares = (5, 25, 50, 75, 95)
        return {f"{q} %": round(float(value), 4) for q, value in zip(shares, np.percentile(bits, shares))}


def smaller(content: bytes, *, palette: bool) -> bytes:
    """A large PNG at `WIDTH` pixels at most; as it was if that is smaller. palette: `COLOURS` colours are enough."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        picture = image.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, max(1, round(picture.height * WIDTH / picture.width))), Image.Resampling.BOX)
    colours = picture.getcolors(256)  # None where there are more: a palette would lose some
    if colours or palette:
        picture = picture.quantize(len(colours or ()) or COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return min(buffer.getvalue(), content, key=len)


def _lines(curve: dict[str, Any] | list[Any]) -> list[Any]:
    """The lines of a log that a card holds as columns, or as lines."""
    if isinstance(curve, list):
        return curve
    columns = {name: values for name, values in curve.items() if isinstance(values, list)}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def thinned(lines: Sequence[Any]) -> dict[str, list[float]] | None:
    """Columns of a log, means of equal stretches of lines, `POINTS` at most; None where there is nothing to draw."""
    lines = [line for line in lines if isinstance(line, dict) and "images" in line]
    if len(lines) < 2:
        return None
    names = [name for name in lines[0] if name != "seconds"]
    columns = {name: [line.get(name) for line in lines] for name in names}
    whole = {name: np.array(values) for name, values in columns.items() if all(map(_is_finite, values))}
    edges = np.linspace(0, len(lines), min(POINTS, len(lines)) + 1).astype(int)
    mean = {
        name: [float(f"{np.mean(values[a:b]):.6g}") for a, b in itertools.pairwise(edges)]
        for name, values in whole.items()
    }
    return mean if "images" in mean and len(mean) > 1 else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _content_sha256(folder: Path) -> str:
    """What `zoo bench` knows the weights of a run by."""
    from zoo_core.weights import content_sha256

    return content_sha256(folder)
