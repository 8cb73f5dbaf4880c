"""Draws the wall that the README opens with: real images on top, then a row of samples for each family of models.

    python benchmarks/pictures/wall.py [--data digits] [--out benchmarks/pictures/wall.png]

Families and weights are those of the registry: a family that joins has its row by itself. Of several weights for the
set, those stand for their family whose samples lie nearest to the test images, by the result cards in
benchmarks/results; without cards, the first. Nothing is picked by eye: a row is what seed 0 draws, the real images are
the first of the test split.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from zoo_bench.cards import files
from zoo_bench.cards.types import Card
from zoo_bench.datasets import load as datasets

import zoo_core
from zoo_core import registry
from zoo_core.commands.sample_files import grid
from zoo_core.files import atomic
from zoo_core.sampling import draw

RESULTS = Path(__file__).parents[1] / "results"
WIDTH = 830  # pixels: the column of a README on GitHub
MARGIN, GAP, LABEL = 16, 4, 168  # around the wall, between its images, and for the words to their left
TILE, LINE = 44, 40  # an image with its gap, enlarged by the largest whole factor that fits; a row is no lower
REAL = 12  # between the real images and the others
GROUND, INK, SOFT = "#1c2027", "#f2f2ef", "#a3a8b0"  # a ground of its own: the same on a light and on a dark page
CORNER = 10


@dataclass(frozen=True)
class Row:
    """A family and the weights that stand for it."""

    family: str
    name: str
    sha256: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("wall.png"))
    asked = parser.parse_args()
    write(asked.out, asked.data, rows(asked.data, files.read_all([RESULTS])))
    print(asked.out)


def rows(data: str, cards: Sequence[Card] = ()) -> list[Row]:
    """One row a family with weights for the data set, by name."""
    families: dict[str, list[Row]] = {}
    for spec in registry.models.all():
        for entry in spec.pretrained:
            if entry.tag == data:
                row = Row(spec.family, f"{spec.name}.{entry.tag}", entry.sha256)
                families.setdefault(spec.family, []).append(row)
    distances = _distances([row for members in families.values() for row in members], data, cards)
    return [
        min(members, key=lambda row: distances.get(row.sha256, float("inf"))) for _, members in sorted(families.items())
    ]


def _distances(members: Sequence[Row], data: str, cards: Sequence[Card]) -> dict[str, float]:
    """sha256 to the Fréchet distance to the test images, all under the one key that most of these weights have."""
    wanted = {(row.name.partition(".")[0], row.sha256) for row in members}
    found = [
        (metric.comparable_key, card.model.weights.sha256, metric.value)
        for card in cards
        if card.is_complete and card.data is not None and card.data.name == data
        if card.model.weights is not None and (card.model.name, card.model.weights.sha256) in wanted
        for metric in card.metrics
        if metric.id.startswith("fd_") and metric.params.reference == "test" and metric.value is not None
    ]
    common = Counter(key for key, *_ in found).most_common(1)
    return {sha256: value for key, sha256, value in found if key == common[0][0]}


def write(path: Path, data: str, chosen: Sequence[Row]) -> None:
    """The wall as a PNG that says, as its text `rows`, of which weights it is."""
    notes = PngInfo()
    notes.add_text("rows", told(chosen))
    with atomic(path) as temporary:
        wall(data, chosen).save(temporary, "PNG", optimize=True, pnginfo=notes)


def told(chosen: Sequence[Row]) -> str:
    """What the picture says of itself; a test compares it with the weights that ship."""
    return "\n".join(f"{row.family}: {row.name} {row.sha256[:16]}" for row in chosen)


def wall(data: str, chosen: Sequence[Row]) -> Image.Image:
    """The picture of these rows, real images above them."""
    images = datasets.find(data).images
    scale = max(1, (TILE - GAP) // max(images.height, images.width))
    width, height = scale * images.width + GAP, max(LINE, scale * images.height + GAP)
    n = (WIDTH - 2 * MARGIN - LABEL + GAP) // width
    lines = [("real images", f"{data}, test split", datasets.load(data, "test").pinned.x[:n])]
    lines += [(row.family, row.name, draw(zoo_core.load(row.name), n, seed=0)) for row in chosen]
    canvas = Image.new("RGBA", (WIDTH, 2 * MARGIN + len(lines) * height - GAP + REAL * bool(chosen)), "#0000")
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((0, 0, canvas.width - 1, canvas.height - 1), CORNER, GROUND)
    top, left = MARGIN, WIDTH - MARGIN - n * width + GAP
    for i, (family, name, x) in enumerate(lines):
        middle = top + (height - GAP) // 2
        pen.text((MARGIN, middle), family, INK, _font(family, 17, "-Bold"), anchor="ls")
        pen.text((MARGIN, middle + 5), name, SOFT, _font(name, 13), anchor="lt")
        for column, image in enumerate(enlarged(x, scale, data)):
            canvas.paste(image, (left + column * width, middle - image.height // 2))
        top += height + REAL * (i == 0)
    return canvas


def enlarged(x: Tensor, scale: int, data: str) -> list[Image.Image]:
    """Each image `(C, H, W)` by itself, larger by a whole factor."""
    images = datasets.find(data).images
    cell = scale * max(images.height, images.width)
    framed = (grid(image[None].to(torch.uint8), images, columns=1, cell=cell) for image in x)
    return [picture.crop((1, 1, picture.width - 1, picture.height - 1)) for picture in framed]


def _font(text: str, size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib's wheel, the same on every machine; smaller where the text is too long."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{style}.ttf"), size)
    return font if font.getlength(text) <= LABEL or size <= 6 else _font(text, size - 1, style)


if __name__ == "__main__":
    main()
