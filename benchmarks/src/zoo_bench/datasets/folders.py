"""`folder:PATH`: a data set of your own pictures (png, jpg, webp, bmp, gif), in memory.

    zoo train ddpm --data folder:photos --size 32         # the same as --data "folder:photos?size=32"

Splits are the sub-folders `train`, `validation` and `test`. A split that has no folder takes its tenth of the training
pictures, by the sha256 of each file, so that equal files are in one split and a new file moves no other. Where every
picture lies in a sub-folder, and there are two or more, the sub-folders are the classes, by name. Where a picture
`a.png` has a text `a.txt` beside it, that is its caption; then each must have one. Hidden files and files of other
kinds are passed over.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from zoo_bench.datasets import pictures
from zoo_bench.datasets.pictures import SPLITS, SUFFIXES, Source
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec, ImageSpec


@dataclass(frozen=True)
class Entry:
    """One picture: where it is, its split and its class (the empty string outside every sub-folder)."""

    path: Path
    split: str
    label: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds: its pictures in order of their paths, classes, one shape `(C, H, W)`, captions or not."""

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    captions: bool


def spec_of(source: Source) -> DatasetSpec:
    """The specification of a folder: its pictures are looked at, not yet decoded."""
    found = scan(source)
    channels, height, width = found.shape
    return DatasetSpec(
        name=source.name,
        summary=f"{len(found.entries):,} pictures in the folder {Path(source.place).resolve().name}",
        target="zoo_bench.datasets.folders:read_split",
        images=ImageSpec(channels=channels, height=height, width=width, classes=len(found.classes)),
        splits=dict.fromkeys(SPLITS, ""),
        licence="your own",
        class_names=found.classes,
        captions=found.captions,
    )


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> pictures.Split:
    """uint8 images `(N, C, H, W)`, labels and captions as far as there are some."""
    source = pictures.parse(spec.name)
    found = scan(source)
    entries = [entry for entry in found.entries if entry.split == split]
    if not entries:
        counts = Counter(entry.split for entry in found.entries)
        there = ", ".join(f"{counts[name]} in {name}" for name in SPLITS)
        raise ZooError(
            f"{source.name}: no picture falls into split {split!r} ({there}); sort them into folders of these names"
        )
    items = ((str(entry.path), entry.path.read_bytes()) for entry in entries)
    pixels = pictures.decode_all(items, len(entries), found.shape, source)
    labels = [found.classes.index(entry.label) for entry in entries] if found.classes else None
    return pixels, labels, [_read(_caption(entry.path)) for entry in entries] if found.captions else None


@functools.lru_cache(maxsize=8)
def scan(source: Source) -> Folder:
    """Find a folder's pictures and what can be said without decoding them; read once in a process."""
    root = Path(source.place).expanduser()
    if not root.is_dir():
        raise ZooError(f"{source.name}: the folder {root} does not exist (a relative path starts at {Path.cwd()})")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not _hidden(path, root)]
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not paths:
        others = ", ".join(sorted({path.suffix or path.name for path in files})[:5])
        raise ZooError(
            f"{source.name}: no pictures ({', '.join(suffix[1:] for suffix in SUFFIXES)}) in {root}"
            + (f"; it holds {others}" if others else ", which is empty")
        )
    there = {path.relative_to(root).parts[0] for path in paths} & set(SPLITS)
    entries: list[Entry] = []
    sizes: dict[tuple[int, int], Path] = {}
    for path in paths:
        folders = path.relative_to(root).parts[:-1]
        content = path.read_bytes()
        sizes.setdefault(pictures.measure(content, str(path)), path)
        own = folders[0] if folders and folders[0] in there else None
        inside = folders[1:] if own else folders
        split = own if own and own != "train" else pictures.split_of(content, there)
        entries.append(Entry(path, split, inside[0] if inside else ""))
    height, width = (source.size, source.size) if source.size else _one_size(source, sizes)
    return Folder(tuple(entries), _classes(source, entries), (source.channels, height, width), _captions(paths))


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _one_size(source: Source, sizes: dict[tuple[int, int], Path]) -> tuple[int, int]:
    if len(sizes) > 1:
        ((h1, w1), first), ((h2, w2), second) = list(sizes.items())[:2]
        raise ZooError(
            f"{source.name}: pictures of different sizes: {first} is {w1} x {h1}, {second} is {w2} x {h2}; "
            "choose one with --size, e.g. --size 32"
        )
    return next(iter(sizes))


def _classes(source: Source, entries: list[Entry]) -> tuple[str, ...]:
    outside = [entry.path for entry in entries if not entry.label]
    names = sorted({entry.label for entry in entries} - {""})
    if source.labels and (outside or len(names) < 2):
        why = f"{outside[0]} is in none" if outside else f"there is only {names[0]!r}"
        raise ZooError(f"{source.name}: labels come from two or more sub-folders, one per class, but {why}")
    return () if outside or len(names) < 2 or source.labels is False else tuple(names)


def _caption(path: Path) -> Path:
    return path.with_suffix(".txt")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: the caption is not in UTF-8 ({error})") from error


def _captions(paths: list[Path]) -> bool:
    without = [path for path in paths if not _caption(path).is_file()]
    if without and len(without) < len(paths):
        raise ZooError(f"{without[0]} has no caption {_caption(without[0]).name}, though others have; write one")
    return not without
