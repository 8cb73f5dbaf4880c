"""The digits turned and scaled: what a model makes of images that it has, or has not, met such changes of.

Each image is changed once, by an angle or a factor drawn from a pinned seed: turned by -60 to 60 degrees, or scaled by
0.5 to 1.5, about its middle. A pixel takes the bilinear mean of where it came from, with 0 outside, rounded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.datasets.load import digits
from zoo_core.specs import DatasetSpec

Array = np.ndarray[Any, Any]
SEEDS = {"train": 0, "validation": 1, "test": 2}
ANGLES, FACTORS = (-60.0, 60.0), (0.5, 1.5)  # degrees; times the size


def rotated(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, Array]:
    x, labels = digits(spec, split, data_dir)
    angles = np.deg2rad(np.random.RandomState(SEEDS[split]).uniform(*ANGLES, len(x)))
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1)
    return moved(x, turns.reshape(-1, 2, 2)), labels


def rescaled(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, Array]:
    x, labels = digits(spec, split, data_dir)
    factors = np.random.RandomState(10 + SEEDS[split]).uniform(*FACTORS, len(x))
    return moved(x, np.eye(2) / factors[:, None, None]), labels


def transformed(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, Array]:
    """The digits as they are, turned and scaled, one after the other: three times as many."""
    parts = [read(spec, split, data_dir) for read in (digits, rotated, rescaled)]
    return np.concatenate([x for x, _ in parts]), np.concatenate([labels for _, labels in parts])


def moved(x: Array, inverse: Array) -> Array:
    """Images `(N, C, H, W)` under linear maps about their middle. inverse: where a pixel comes from, `(N, 2, 2)`."""
    n, _, height, width = x.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.stack([*np.mgrid[:height, :width]], -1).reshape(-1, 2) - middle  # (H W, 2)
    origins = np.einsum("nab,pb->npa", inverse, places) + middle  # (N, H W, 2)
    corner = np.floor(origins).astype(int)
    share = origins - corner
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = np.arange(n)[:, None]
    total = np.zeros((n, height * width, x.shape[1]))
    for down in (0, 1):
        for right in (0, 1):
            i = np.clip(corner[..., 0] + down + 1, 0, height + 1)
            j = np.clip(corner[..., 1] + right + 1, 0, width + 1)
            weight = np.abs(1 - down - share[..., 0]) * np.abs(1 - right - share[..., 1])
            total += weight[..., None] * padded[rows, :, i, j]
    return np.floor(total + 0.5).astype(np.uint8).transpose(0, 2, 1).reshape(x.shape)
