"""What `zoo judge` is asked to compare, as 8-bit images: weights (`made.digits`), sample files and folders, `real`.

    NAME=PLACE gives a place a name of your choice: vae=./a.npz flow=./b.npz

Sample files are those that `samples.py` reads: `.npz`, `.npy`, folders of PNG files. `real` are images of the test
split of the data set that the weights were trained on, or of `--data`.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo_bench.cards.card import digest
from zoo_bench.datasets import load as datasets
from zoo_bench.evaluation import samples
from zoo_bench.evaluation.entries import learned_numbers
from zoo_bench.judging.questions import Alternative, Array
from zoo_bench.progress import quiet_bar
from zoo_core import pretrained, registry, sampling, weights
from zoo_core.errors import ZooError
from zoo_core.model import GenerativeModel
from zoo_core.specs import ImageSpec
from zoo_core.step import seed_from

REAL = "real"
Bar = Callable[[str, int], Callable[[int], Any]]


_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Wanted:
    """An alternative as it was asked for. place: where it is; source: how cards call that, without the folders above;
    content: sha256 of its weights or files; data: what the weights learned."""

    name: str
    place: str
    source: str
    kind: str
    content: str
    data: str | None = None
    facts: tuple[tuple[str, Any], ...] = ()


def wanted(texts: Sequence[str], data: str | None) -> tuple[list[Wanted], str | None]:
    """The alternatives, and the data set they are about; nothing is drawn yet."""
    if len(texts) < 2:
        raise ZooError(f"expected at least two alternatives to compare, got {len(texts)}; one may be the word real")
    found = [_wanted(text) for text in texts]
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ZooError(f"two alternatives are called {twice[0]!r}; name one of them: NAME=PLACE")
    learned = sorted({each.data for each in found if each.data})
    if data is None and len(learned) == 1:
        data = learned[0]
    if REAL in [each.kind for each in found] and data is None:
        known = f"the weights learned {' and '.join(learned)}" if learned else "sample files do not say"
        raise ZooError(f"real images of which data set? {known}; add --data NAME")
    return found, data


def _wanted(text: str) -> Wanted:
    given, equals, place = text.partition("=")
    name, place = (given, place) if equals else ("", text)
    if equals and (not given or not place):
        raise ZooError(f"{text!r}: expected NAME=PLACE")
    if not re.fullmatch(r"[\w.+ -]*", name) or name.startswith("."):  # it becomes a part of file names
        raise ZooError(f"{text!r}: expected a name of letters, digits, spaces and _ . + -, got {name!r}")
    if place == REAL:
        return Wanted(name or REAL, REAL, REAL, REAL, "")
    path = Path(place)
    is_folder = path.is_dir() and ("/" in place or place not in registry.list_models(pretrained=True))
    if path.suffix in (".npz", ".npy") or (is_folder and not _holds_weights(path)):
        if not path.exists():
            raise ZooError(f"{place}: there is no such file")
        return Wanted(name or path.resolve().stem, place, path.resolve().name, "samples", _content(path))
    folder, _, _ = pretrained.find(place)
    known = weights.read_config(Path(folder), place)
    training = known.get("training", {})
    own = "/" not in place and not place.startswith("hf:")
    data = training.get("recipe", {}).get("data") or (place.partition(".")[2] if own else None)
    source = place if own or place.startswith("hf:") else Path(place).name
    tag = place.partition(".")[2] if own else (data and datasets.tag(data))
    facts = {
        "model": known["model"],
        "tag": tag,
        "data": data,
        "weights": training.get("weights"),
        "images_seen": training.get("images_seen"),
        "training_device": training.get("device", "cpu"),
        "training_seconds": training.get("seconds"),
    }
    fallback = place if own else f"{known['model']}.{tag or 'untagged'}"
    return Wanted(name or fallback, place, source, "weights", known["sha256"], data, tuple(facts.items()))


def _holds_weights(folder: Path) -> bool:
    return (folder / weights.CONFIG).is_file() or (folder / "weights" / weights.CONFIG).is_file()


def _content(path: Path) -> str:
    """sha256 of a file; of a folder, of its files' names and bytes."""
    if path.is_file():
        return weights.sha256_of(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return digest([[file.name, weights.sha256_of(file)] for file in files])


def draw(
    each: Wanted,
    n: int,
    *,
    seed: int,
    data: str | None,
    data_dir: Path | None = None,
    device: str = "cpu",
    bar: Bar = quiet_bar,
) -> tuple[Alternative, Array]:
    """n images, 8-bit `(n, C, H, W)`: drawn from a model, or so many of those there are, chosen by the seed."""
    facts = {**dict(each.facts), "n": n}
    if each.kind == "weights":
        folder, pinned, expected = pretrained.find(each.place)
        model = weights.load_folder(folder, device=device, sha256=pinned, origin=each.name, expected=expected)
        if not isinstance(model, GenerativeModel):
            raise ZooError(f"{each.name} draws no images; `zoo list` shows the models that do")
        x = sampling.draw(model, n, seed=seed, progress=bar(f"sampling {each.name}", n))
        pixels, levels = x.numpy(), model.images.levels
        facts |= {
            "config": model.config.to_dict(),
            "conditioning": model.conditioning,
            "params": learned_numbers(model),
        }
    else:
        if each.kind == REAL:
            loaded = datasets.load(data or "", "test", data_dir)
            pixels, levels = loaded.pinned.x.numpy(), loaded.images.levels
        else:
            pixels, levels = read(Path(each.place))
        if len(pixels) < n:
            raise ZooError(
                f"{each.name}: has {len(pixels)} images, the study needs {n} (none is shown twice); "
                "ask for fewer questions (--n) or smaller grids (--grid)"
            )
        order = np.random.default_rng(seed_from(seed, "judge", each.name)).permutation(len(pixels))
        pixels = pixels[order[:n]]
    if pixels.shape[1] not in (1, 3):
        raise ZooError(f"{each.name}: expected images of 1 or 3 channels, got {pixels.shape[1]}")
    shown = np.rint(pixels * (255 / (levels - 1))).astype(np.uint8)
    return Alternative(each.name, each.source, each.kind, each.content, datasets.pixel_sha256(shown), facts), shown


def read(path: Path) -> tuple[Array, int]:
    """uint8 `(N, C, H, W)` and the levels of samples, whatever size they say they have."""
    images = _stated(path)
    return samples.read(path, images).x.numpy(), images.levels


def _stated(path: Path) -> ImageSpec:
    """What the images in a sample file look like, by its first; it is `samples.read` that checks them all."""
    levels, shape = 256, (1, 1, 1)
    try:
        if path.is_dir():
            first = min(path.glob("*.[pP][nN][gG]"), default=None)
            if first is not None:
                with Image.open(first) as image:
                    shape = (image.height, image.width, 1 if image.mode in ("1", "L") else 3)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                levels = int(file["levels"]) if "levels" in file else 256
                shape = file["images" if "images" in file else "arr_0"].shape[1:]
        else:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape[1:]
            beside = path.with_name(f"{path.name}.json")
            levels = int(json.loads(beside.read_text()).get("levels", 256)) if beside.is_file() else 256
        if len(shape) == 3:
            c, h, w = shape if shape[2] not in (1, 3) and shape[0] in (1, 3) else (shape[2], *shape[:2])
            return ImageSpec(channels=c, height=h, width=w, levels=levels)
    except _BROKEN:
        pass
    return ImageSpec(channels=1, height=1, width=1)  # no images at all: `samples.read` finds the words for it


def check_same_shape(found: Sequence[tuple[Alternative, Array]]) -> tuple[int, int, int]:
    """The shape of all images; an error where one is told by its size or colours."""
    shapes: dict[str, tuple[int, int, int]] = {each.name: pixels.shape[1:] for each, pixels in found}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise ZooError(f"images must be of one size and one number of channels, else they are told apart by it: {told}")
    return next(iter(shapes.values()))
