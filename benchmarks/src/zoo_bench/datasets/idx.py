"""MNIST and Fashion-MNIST: IDX files (format: http://yann.lecun.com/exdb/mnist/), found or fetched, and checked."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.datasets import files
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec

# Where each set lies below a data folder: this repository's layout, then torchvision's, then the folder itself.
_FOLDERS = {"mnist": ("mnist", "MNIST/raw", "."), "fashion": ("fashion-mnist", "FashionMNIST/raw", ".")}
_URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
# md5 of the decompressed files, as published
_MD5 = {
    ("mnist", "train-images-idx3-ubyte"): "6bbc9ace898e44ae57da46a324031adb",
    ("mnist", "train-labels-idx1-ubyte"): "a25bea736e30d166cdddb491f175f624",
    ("mnist", "t10k-images-idx3-ubyte"): "2646ac647ad5339dbf082846283269ea",
    ("mnist", "t10k-labels-idx1-ubyte"): "27ae3e4e09519cfbb04c329615203637",
    ("fashion", "train-images-idx3-ubyte"): "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    ("fashion", "train-labels-idx1-ubyte"): "9018921c3c673c538a1fc5bad174d6f9",
    ("fashion", "t10k-images-idx3-ubyte"): "8181f5470baa50b63fa0f6fddb340f0a",
    ("fashion", "t10k-labels-idx1-ubyte"): "15d484375f8d13e6eb1aabb0c3f46965",
}
_KINDS = {0x803: "images", 0x801: "labels"}
VALIDATION = 10_000


def read_split(
    spec: DatasetSpec, split: str, data_dir: Path | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """uint8 images `(N, 1, 28, 28)` and labels; validation is the last 10,000 training images."""
    family = spec.name.removesuffix("_bin")
    part = "t10k" if split == "test" else "train"
    x = _read(family, f"{part}-images-idx3-ubyte", data_dir)[:, None]
    y = _read(family, f"{part}-labels-idx1-ubyte", data_dir)
    if split == "test":
        return x, y
    rows = slice(None, -VALIDATION) if split == "train" else slice(-VALIDATION, None)
    return x[rows], y[rows]


def _read(family: str, name: str, data_dir: Path | None) -> np.ndarray[Any, Any]:
    path = find(family, name, data_dir)
    content = _decompress(path)
    array = parse(content, path, "images" if "images" in name else "labels")
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != _MD5[family, name]:
        other = [f"{name} of {set_}" for (set_, name), md5 in _MD5.items() if md5 == digest]
        swapped = f"; it is {other[0]}: the files are swapped" if other else ""
        raise ZooError(
            f"{path}: expected {name} of {family} (md5 {_MD5[family, name]}), got md5 {digest}{swapped}; "
            "fetch the file again"
        )
    return array


def parse(content: bytes, path: Path, kind: str) -> np.ndarray[Any, Any]:
    """The array in an IDX file: two zero bytes, type 8 (uint8), the number of dimensions, their sizes, the data."""
    magic = int.from_bytes(content[:4], "big")
    if len(content) < 8 or magic not in _KINDS:
        raise ZooError(f"{path}: not an IDX file of bytes (it begins with {content[:4].hex() or 'nothing'})")
    if _KINDS[magic] != kind:
        raise ZooError(f"{path}: expected {kind}, but the file holds {_KINDS[magic]}: the files are swapped")
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise ZooError(
            f"{path}: truncated or overlong: expected {expected} bytes for shape {tuple(shape)}, got {len(content)}; "
            "fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _decompress(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ZooError(f"{path}: truncated or damaged gzip file ({error}); fetch the file again") from error


def find(family: str, name: str, data_dir: Path | None) -> Path:
    """The file `name[.gz]` of a set, wherever it lies; else it is fetched into the cache."""
    found = files.find([f"{name}.gz", name], _FOLDERS[family], data_dir)
    if found is not None:
        return found
    folder = _FOLDERS[family][0]

    def right(content: bytes) -> bool:
        return hashlib.md5(gzip.decompress(content), usedforsecurity=False).hexdigest() == _MD5[family, name]

    return files.fetch(
        f"{_URLS[family]}{name}.gz",
        files.cache() / "data" / folder / f"{name}.gz",
        right,
        what=f"{name}.gz of {family}",
        advice=f"it is in none of {files.places(data_dir)}: put the four IDX files into a folder {folder!r} and name "
        "its parent with --data-dir or ZOO_DATA",
    )
