"""Small colour pictures with captions: the emoji of Debian's package fonts-noto-color-emoji, with their Unicode names.

Every code point of its own that the font draws, at the font's one size, scaled to 32 x 32 by Lanczos' filter on white.

Pictures that are nearly equal stay together in one split. A picture belongs to the group of every other that differs
from it by less than `NEAR`, root mean square (clock faces, arrows), or whose name is the same but for a colour, a phase
of the moon or the number of a skin tone. The first code point decides for its group: about eight tenths are for
training, one is for validation, one for the test.
"""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo_bench.datasets import files
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec

Array = np.ndarray[Any, Any]

FONT, PACKAGE = "NotoColorEmoji.ttf", "fonts-noto-color-emoji"
SYSTEM = Path("/usr/share/fonts/truetype/noto")
SHA256 = "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec"  # of the font in PACKAGE 2.042
PIXELS, WIDTH, HEIGHT = 109, 136, 128  # the font's one size, and of its pictures
SIDE = 32
NEAR = 20.0  # levels of 255
# Named by Unicode 15, so not by every Python that zoo runs on: left out, or the set would depend on the Python.
NEWER = {
    0x1F6DC, *range(0x1FA75, 0x1FA78), 0x1FA87, 0x1FA88, *range(0x1FAAD, 0x1FAB0), *range(0x1FABB, 0x1FABE), 0x1FABF,
    0x1FACE, 0x1FACF, 0x1FADA, 0x1FADB, 0x1FAE8, 0x1FAF7, 0x1FAF8,
}  # fmt: skip
COLOURS = {"red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "heavy"}
PHASES = {"new", "full", "waxing", "waning", "crescent", "gibbous", "first", "last", "quarter"}
RANGES = (range(0xA9, 0xAF), range(0x2000, 0x3300), range(0x1F000, 0x1FB00))


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, None, list[str]]:
    """uint8 images `(N, 3, 32, 32)`, no labels, and captions, in the order of their code points."""
    points, pictures = render(find(data_dir))
    groups = near_duplicates(pictures, [kin(point) for point in points])
    rows = [i for i, group in enumerate(groups) if split_of(points[group]) == split]
    return pictures[rows].transpose(0, 3, 1, 2), None, [unicodedata.name(chr(points[i])).lower() for i in rows]


def find(data_dir: Path | None) -> Path:
    """The font's file, checked."""
    path = files.find([FONT], ["emoji", "."], data_dir) or SYSTEM / FONT
    if not path.is_file():
        raise ZooError(
            f"emoji: the font {FONT} is neither in {SYSTEM} nor in a folder 'emoji' in {files.places(data_dir)}; "
            f"it comes with Debian's package {PACKAGE} 2.042: apt-get install {PACKAGE}"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise ZooError(
            f"{path}: another version of the font draws other pictures: expected that of {PACKAGE} 2.042 (sha256 "
            f"{SHA256[:16]}…), got {digest[:16]}…; put the right file into a folder 'emoji' of --data-dir or ZOO_DATA"
        )
    return path


def render(path: Path) -> tuple[list[int], Array]:
    """The code points that the font draws, each differently, and uint8 pictures `(N, 32, 32, 3)`."""
    font = ImageFont.truetype(str(path), PIXELS, layout_engine=ImageFont.Layout.BASIC)
    points, pictures, seen = [], [], set()
    for point in (point for section in RANGES for point in section):
        if point in NEWER or not unicodedata.name(chr(point), ""):
            continue
        left, top, right, bottom = font.getbbox(chr(point))
        if right <= left or bottom <= top:
            continue
        canvas = Image.new("RGB", (WIDTH, WIDTH), "white")
        ImageDraw.Draw(canvas).text((0, (WIDTH - HEIGHT) // 2 - top), chr(point), font=font, embedded_color=True)
        picture = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        if picture.min() == 255 or picture.tobytes() in seen:
            continue
        seen.add(picture.tobytes())
        points.append(point)
        pictures.append(picture)
    return points, np.stack(pictures)


def near_duplicates(pictures: Array, names: list[str]) -> list[int]:
    """For each picture the first of its group: connected components of "has the same name or differs by < `NEAR`"."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)  # sums of squares of bytes: exact integers
    squares = (flat**2).sum(1)
    near = squares[:, None] + squares - 2 * flat @ flat.T < NEAR**2 * flat.shape[1]  # (N, N)
    near |= np.equal.outer(names, names)
    first = list(range(len(pictures)))
    for start in range(len(pictures)):
        waiting = [start] if first[start] == start else []
        while waiting:
            for other in np.flatnonzero(near[waiting.pop()]):
                if first[other] > start:
                    first[other] = start
                    waiting.append(int(other))
    return first


def kin(point: int) -> str:
    """The name without what may differ within a group."""
    words = unicodedata.name(chr(point)).lower().split()
    moon = PHASES if "moon" in words else set()
    return " ".join(word for word in words if word not in COLOURS | moon and not word.startswith("type-"))


def split_of(point: int) -> str:
    """Of the group whose first code point this is."""
    tenth = hashlib.sha256(f"{point:X}".encode()).digest()[0] % 10
    return {0: "test", 1: "validation"}.get(tenth, "train")
