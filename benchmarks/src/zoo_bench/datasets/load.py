"""Data sets: found, checked by the sha256 of their pixels, split the pinned way, binarised where their name says so.

Files are looked for in `--data-dir` or `ZOO_DATA`, the cache, system folders, and last fetched. A stochastically
binarised set redraws its training images for every batch; validation, test and EM's full passes use one pinned draw.

A name is that of a registered set, or says where your own pictures are: `folder:photos?size=32`, `hf:org/repo?grey=1`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench.datasets import folders, hub, pictures
from zoo_core import registry
from zoo_core.errors import ZooError, did_you_mean
from zoo_core.images import Batch
from zoo_core.specs import DatasetSpec, ImageSpec, load_target
from zoo_core.step import seed_from


@dataclass(frozen=True)
class Dataset:
    """One split in memory.

    pixels: uint8 `(N, C, H, W)`, grey bytes where the set is binarised. pinned: the split as it is scored.
    """

    spec: DatasetSpec
    split: str
    pixels: Tensor
    pinned: Batch

    @property
    def images(self) -> ImageSpec:
        return self.spec.images

    @property
    def sha256(self) -> str:
        """Of the pixels as scored; part of every comparable key."""
        return pixel_sha256(self.pinned.x.numpy())

    def __len__(self) -> int:
        return len(self.pixels)

    def draw(self, rows: Tensor, seed: int) -> Batch:
        """A training batch of these rows: binarised anew, with noise seeded by `seed`, where the set asks for it."""
        x = self.pixels.index_select(0, rows)  # an eighth of the time that pixels[rows] takes
        if self.spec.binarised:
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
            x = (noise.mul_(255) < x).view(torch.uint8)
        return pick(self.pinned, rows, x)


def pick(batch: Batch, rows: Tensor, x: Tensor | None = None) -> Batch:
    """These rows of a batch, int64 `(n,)`, with their labels and captions. x: in place of its own images."""
    labels = None if batch.labels is None else batch.labels[rows]
    text = None if batch.text is None else [batch.text[row] for row in rows.tolist()]
    return Batch(batch.x.index_select(0, rows) if x is None else x, labels, text)


KINDS = {"folder": folders.spec_of, "hf": hub.spec_of}


def is_own(name: str) -> bool:
    """Whether a name says where pictures are (`folder:photos`), instead of naming a registered set."""
    return name.partition(":")[0] in KINDS and ":" in name


def find(name: str) -> DatasetSpec:
    """The specification of a data set; its `name` is the canonical one, from which it can be found again."""
    if is_own(name):
        source = pictures.parse(name)
        return KINDS[source.kind](source)
    return registry.datasets.get(name)


def named(name: str, *, size: int | None = None, grey: bool | None = None) -> str:
    """The canonical name of a data set with these options in it: `folder:photos?size=32&grey=1`."""
    if is_own(name):
        source = pictures.parse(name)
        changes: dict[str, Any] = {"size": size, "grey": grey}
        changes = {key: value for key, value in changes.items() if value is not None}
        return pictures.parse(replace(source, **changes).name).name
    if size is not None or grey is not None:
        raise ZooError(f"data set {name!r} has its own size and colours; --size and --grey are for folder: and hf:")
    return name


def public(name: str) -> str:
    """A data set's name as a card shows it: without the folders above your own."""
    if not is_own(name):
        return name
    source = pictures.parse(name)
    if source.kind != "folder" and not source.place.startswith(("/", ".", "~")):
        return name
    return replace(source, place=Path(source.place).resolve().name or "root").name


def tag(name: str) -> str:
    """A data set's name as part of file names: `folder-photos`; that of a registered set is its tag as it is."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", public(name).partition("?")[0]).strip("-") if is_own(name) else name


def truth(spec: DatasetSpec) -> np.ndarray[Any, Any] | None:
    """log P of every image where the set's distribution is known, float64 `(levels,) * dims`; else None."""
    return _truth(spec.name) if spec.truth else None


@functools.lru_cache(maxsize=4)
def _truth(name: str) -> np.ndarray[Any, Any]:
    spec = find(name)
    found: np.ndarray[Any, Any] = load_target(spec.truth, f"data set {name!r}")(spec)
    found.setflags(write=False)  # it is shared
    return found


def load(name: str, split: str = "train", data_dir: str | Path | None = None) -> Dataset:
    """Split `train`, `validation` or `test` of a data set, or several as one, `train+validation`.

    `ZooError` where the files are not what they should be.
    """
    spec = find(name)
    if len(names := split.split("+")) > 1:
        return _joined(split, [load(name, part, data_dir) for part in names])
    if split not in spec.splits:
        raise ZooError(f"data set {name!r} has no split {split!r}{did_you_mean(split, spec.splits)}")
    return _load(spec.name, split, str(data_dir) if data_dir else os.environ.get("ZOO_DATA"))


def _joined(name: str, parts: list[Dataset]) -> Dataset:
    pixels, x = (torch.cat(tensors) for tensors in zip(*((part.pixels, part.pinned.x) for part in parts)))
    labels = [part.pinned.labels for part in parts if part.pinned.labels is not None]
    text = [caption for part in parts for caption in part.pinned.text or ()]
    pinned = Batch(x, torch.cat(labels) if labels else None, text or None)
    return Dataset(parts[0].spec, name, pixels, pinned)


@functools.lru_cache(maxsize=8)
def _load(name: str, split: str, data_dir: str | None) -> Dataset:
    spec = find(name)
    read = load_target(spec.target, f"data set {name!r}")
    pixels, labels, *text = read(spec, split, Path(data_dir) if data_dir else None)
    scored = _binarise(pixels, spec.name, split) if spec.binarised else pixels
    expected, actual = spec.splits[split], pixel_sha256(scored)
    if expected and actual != expected:
        raise ZooError(
            f"data set {name!r}, split {split!r}: the pixels hash to {actual[:16]}…, expected {expected[:16]}…; "
            f"the files are not the published ones ({spec.source or spec.summary})"
        )
    y = None if labels is None else torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64))
    x = torch.from_numpy(np.array(scored))  # copies: a file's bytes are read-only
    pinned = Batch(x, y, text[0] if text else None)
    return Dataset(spec, split, torch.from_numpy(np.array(pixels)) if spec.binarised else x, pinned)


def _binarise(grey: np.ndarray[Any, Any], name: str, split: str) -> np.ndarray[Any, Any]:
    """One pinned draw x ~ Bernoulli(grey / 255). numpy's RandomState promises the same stream for ever."""
    noise = np.random.RandomState(seed_from(name, split) % 2**32).random_sample(grey.shape)
    return (noise * 255 < grey).astype(np.uint8)


def pixel_sha256(pixels: np.ndarray[Any, Any]) -> str:
    """Of uint8 pixels in C order `(N, C, H, W)`."""
    return hashlib.sha256(np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()).hexdigest()


def digits(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """scikit-learn's digits: 1297 / 200 / 300 images by `RandomState(0).permutation(1797)`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    rows = {"train": order[:1297], "validation": order[1297:1497], "test": order[1497:]}[split]
    return bunch.images[rows].astype(np.uint8)[:, None], bunch.target[rows]


def batches(n: int, size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Rows of global batch `start`, `start + 1`, ...: slices of an endless sequence of seeded permutations of n images.

    Every image is seen once before any is seen twice, no batch is short, and batch i depends on nothing but (seed, i).
    """
    orders: dict[int, Tensor] = {}

    def order(epoch: int) -> Tensor:
        if epoch not in orders:
            while len(orders) > 1:
                orders.pop(min(orders))
            generator = torch.Generator().manual_seed(seed_from(seed, "epoch", epoch))
            orders[epoch] = torch.randperm(n, generator=generator)
        return orders[epoch]

    index = start
    while True:
        position, parts, missing = index * size, [], size
        while missing:
            epoch, offset = divmod(position, n)
            parts.append(order(epoch)[offset : offset + missing])
            position += len(parts[-1])
            missing -= len(parts[-1])
        yield torch.cat(parts)
        index += 1
