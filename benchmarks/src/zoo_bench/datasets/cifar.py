"""CIFAR-10, the binary version (https://www.cs.toronto.edu/~kriz/cifar.html): the archive, or the folder it holds.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A file is 10,000 records: one byte of label,
then 3,072 bytes of pixels, 1,024 red, 1,024 green, 1,024 blue, each row by row. Validation is the last 5,000 images of
the fifth batch.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.datasets import files
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec

Array = np.ndarray[Any, Any]

FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of the archive, as published
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
RECORDS, RECORD = 10_000, 1 + 3 * 32 * 32
VALIDATION = 5_000


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, Array]:
    """uint8 images `(N, 3, 32, 32)` and labels: 45,000 / 5,000 / 10,000."""
    names = [TEST] if split == "test" else list(TRAIN)
    contents = read_files(names, data_dir)
    parsed = [parse(contents[name], name) for name in names]
    x, y = (np.concatenate(parts) for parts in zip(*parsed))
    check_classes(y, "the test file" if split == "test" else "the five training files together")
    if split == "test":
        return x, y
    rows = slice(None, -VALIDATION) if split == "train" else slice(-VALIDATION, None)
    return x[rows], y[rows]


def read_files(names: Iterable[str], data_dir: Path | None) -> Mapping[str, bytes]:
    """The content of the named files, from the folder or, where there is none, from the archive."""
    path = files.find([FOLDER, ARCHIVE], ["cifar10", "cifar-10", "."], data_dir)
    if path is not None and path.is_dir():
        if missing := [name for name in names if not (path / name).is_file()]:
            raise ZooError(f"{path}: {', '.join(missing)} is missing; unpack {ARCHIVE} again")
        return {name: (path / name).read_bytes() for name in names}
    if path is None:
        path = files.fetch(
            URL,
            files.cache() / "data" / "cifar10" / ARCHIVE,
            lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5,
            what=f"CIFAR-10 ({ARCHIVE})",
            advice=f"it is in none of {files.places(data_dir)}: put the archive, or the folder {FOLDER} that it holds, "
            "into a folder and name that with --data-dir or ZOO_DATA",
        )
    return unpack(path, names)


def unpack(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The named files of the published archive; `ZooError` if it is another or a damaged one."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != MD5:
        raise ZooError(
            f"{path}: truncated, or not the published archive: expected md5 {MD5}, got {digest}; fetch it again"
        )
    try:
        with tarfile.open(path) as archive:
            members = {name: archive.extractfile(f"{FOLDER}/{name}") for name in names}
            return {name: member.read() for name, member in members.items() if member is not None}
    except (tarfile.TarError, KeyError, EOFError, zlib.error, OSError) as error:
        raise ZooError(f"{path}: cannot be unpacked ({error}); fetch it again") from error


def parse(content: bytes, name: str) -> tuple[Array, Array]:
    """The images and labels of one file."""
    if len(content) != RECORDS * RECORD:
        hundred = "; it looks like CIFAR-100" if len(content) % (RECORD + 1) == 0 and content else ""
        raise ZooError(
            f"{name} of CIFAR-10: truncated or not the binary version: expected {RECORDS * RECORD:,} bytes "
            f"({RECORDS:,} records of {RECORD:,}), got {len(content):,}{hundred}; unpack {ARCHIVE} again"
        )
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        raise ZooError(f"{name} of CIFAR-10: expected labels 0..9, got {labels.max()}; unpack {ARCHIVE} again")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def check_classes(labels: Array, what: str) -> None:
    """The test file holds 1,000 images of each class, the training files 5,000; swapped or doubled files do not."""
    counts = np.bincount(labels, minlength=10)
    if (counts != len(labels) // 10).any():
        raise ZooError(
            f"CIFAR-10: expected {len(labels) // 10:,} images of each class in {what}, got {counts.tolist()}: "
            f"files are swapped or doubled; unpack {ARCHIVE} again"
        )
