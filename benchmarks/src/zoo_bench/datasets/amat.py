"""Statically binarised MNIST: the files of Larochelle and Murray, one image a line, 784 numbers 0 or 1.

Larochelle, Murray, "The Neural Autoregressive Distribution Estimator", 2011; binarised once and for ever by
Salakhutdinov and Murray (2008). 50,000 / 10,000 / 10,000 images without labels, read where the user has the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.datasets import files
from zoo_core.errors import ZooError
from zoo_core.specs import DatasetSpec

URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
FOLDERS = ("mnist_bin_static", "binarized_mnist", "BinaryMNIST", ".")
FILES = {split: f"binarized_mnist_{word}.amat" for split, word in
         (("train", "train"), ("validation", "valid"), ("test", "test"))}  # fmt: skip
ROWS = {"train": 50_000, "validation": 10_000, "test": 10_000}
COLUMNS = 784


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[np.ndarray[Any, Any], None]:
    """uint8 images `(N, 1, 28, 28)` of 0 and 1; there are no labels."""
    path = files.find([FILES[split]], FOLDERS, data_dir)
    if path is None:
        raise ZooError(
            f"{FILES[split]} is in none of {files.places(data_dir)}; put {', '.join(FILES.values())} (from {URL}) "
            f"into a folder {FOLDERS[0]!r} and name its parent with --data-dir or ZOO_DATA. mnist_bin, redrawn for "
            "training, is another data set with other numbers"
        )
    return parse(path.read_bytes(), path, ROWS[split]).reshape(-1, 1, 28, 28), None


def parse(content: bytes, path: Path, rows: int) -> np.ndarray[Any, Any]:
    """The 0s and 1s of a text of `rows` lines, uint8 `(rows, 784)`."""
    lines = content.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) != rows:
        raise ZooError(
            f"{path}: expected {rows:,} lines, one per image, got {len(lines):,}: truncated, or another split"
        )
    array = np.empty((rows, COLUMNS), np.uint8)
    for i, line in enumerate(lines):
        symbols = np.frombuffer(b"".join(line.split()), np.uint8)
        if len(symbols) != COLUMNS:
            raise ZooError(
                f"{path}, line {i + 1}: expected {COLUMNS} numbers 0 or 1, got {len(symbols)}; fetch it again"
            )
        array[i] = symbols
    array -= ord("0")
    if (array > 1).any():
        row, column = np.argwhere(array > 1)[0] + 1
        raise ZooError(f"{path}, line {row}: expected 0 or 1 in column {column}; fetch it again")
    return array
