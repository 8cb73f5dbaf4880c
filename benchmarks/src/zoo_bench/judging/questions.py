"""What a study asks: its definition, which alternatives meet in which question, and the pictures of a question."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from zoo_bench.cards.card import digest
from zoo_core.errors import ZooError
from zoo_core.step import seed_from

Array = np.ndarray[Any, Any]
Mode = Literal["contrast", "ranking"]

VERSION = 1
CANDIDATES = 5_000  # sets of alternatives among which a plan looks for the next


@dataclass(frozen=True)
class Alternative:
    """What is judged. source: how it was named; content: sha256 of the weights or the file; pixels: of its images."""

    name: str
    source: str
    kind: str  # "weights", "samples" or "real"
    content: str
    pixels: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Definition:
    """All that decides what a score means. shape: `(C, H, W)`; per_question: alternatives; grid: images of each."""

    mode: Mode
    question: str
    n: int
    per_question: int
    grid: int
    seed: int
    data: str | None
    shape: tuple[int, int, int]
    alternatives: tuple[Alternative, ...]

    def sha256(self) -> str:
        """Of the definition: mode, question, N, seed, and the alternatives' pixels; not of how the files were named."""
        own = {key: value for key, value in asdict(self).items() if key not in ("alternatives", "data")}
        return digest({**own, "version": VERSION, "pixels": [each.pixels for each in self.alternatives]})

    @property
    def names(self) -> list[str]:
        return [alternative.name for alternative in self.alternatives]


def plan(m: int, n: int, per_question: int, seed: int) -> list[tuple[int, ...]]:
    """Which of m alternatives meet in each of n questions: as evenly as can be, and soon all linked to each other.

    The first questions are a chain through all; then come those that have met least, ties broken by the seed.
    """
    generator = np.random.default_rng(seed_from(seed, "judge", "plan"))
    least = math.ceil((m - 1) / (per_question - 1))
    if n < least:
        raise ZooError(f"{n} questions of {per_question} cannot link {m} alternatives; ask for --n {least} or more")
    order, met = generator.permutation(m), np.zeros((m, m), dtype=np.int64)
    chain = [
        tuple(sorted(int(order[(start + i) % m]) for i in range(per_question)))
        for start in range(0, m - 1, per_question - 1)
    ]
    if math.comb(m, per_question) <= CANDIDATES:
        candidates = list(itertools.combinations(range(m), per_question))
    else:
        candidates = [tuple(sorted(generator.permutation(m)[:per_question].tolist())) for _ in range(CANDIDATES)]
    rows = np.array(candidates)
    chosen: list[tuple[int, ...]] = []
    while len(chosen) < n:
        if len(chosen) < len(chain):
            group = chain[len(chosen)]
        else:
            load = met[rows[:, :, None], rows[:, None, :]].sum((1, 2))
            group = candidates[int(generator.choice(np.flatnonzero(load == load.min())))]
        met[np.ix_(group, group)] += 1
        chosen.append(group)
    return chosen


def needed(groups: Sequence[tuple[int, ...]], m: int, grid: int) -> list[int]:
    """How many images each alternative must bring: none is shown in two questions."""
    return [grid * sum(i in group for group in groups) for i in range(m)]


def png(pixels: Array) -> bytes:
    """8-bit images `(g, C, H, W)` as one picture: the image, or a square of them with clear lines between."""
    g, c, h, w = pixels.shape
    columns = math.ceil(math.sqrt(g))
    if g == 1:
        canvas = pixels[0].transpose(1, 2, 0)
    else:
        rows = math.ceil(g / columns)
        canvas = np.zeros((rows * (h + 1) - 1, columns * (w + 1) - 1, c + 1), np.uint8)
        for i, image in enumerate(pixels):
            top, left = i // columns * (h + 1), i % columns * (w + 1)
            canvas[top : top + h, left : left + w, :c] = image.transpose(1, 2, 0)
            canvas[top : top + h, left : left + w, c] = 255
    file = io.BytesIO()
    Image.fromarray(canvas[:, :, 0] if canvas.shape[2] == 1 else canvas).save(file, format="PNG")
    return file.getvalue()
