"""`moons` and `rings`: images of two pixels whose distribution is known, so that models are compared with the truth.

An image (a, b) is a point of a 256 x 256 grid: pixel a to the right, pixel b upwards. The truth is the explicit

    P(a, b)  =  1/Z  sum_c exp(-((a - c_a)^2 + (b - c_b)^2) / (2 NOISE^2)),   c on the curves, evenly spaced,

that is, curves blurred by Gaussian noise, taken at the grid's points and normalised over them; the splits are drawn
from it. The moons are two interleaved half circles, the rings two concentric circles of equal weight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo_core.specs import DatasetSpec
from zoo_core.step import seed_from

Array = np.ndarray[Any, Any]

LEVELS = 256
NOISE = 10.0  # standard deviation of the blur, in levels
POINTS = 500  # on each curve: closer together than a level
SIZES = {"train": 60_000, "validation": 5_000, "test": 10_000}


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[Array, None]:
    """uint8 images `(N, 1, 1, 2)`, drawn from the truth by numpy's RandomState, whose streams never change."""
    cumulative = np.cumsum(np.exp(log_pmf(spec)))  # (K * K,)
    seed = seed_from(spec.name, split) % 2**32
    u = np.random.RandomState(seed).random_sample(SIZES[split]) * cumulative[-1]
    cells = np.searchsorted(cumulative, u, side="right")
    return np.stack(np.divmod(cells, LEVELS), axis=1).astype(np.uint8).reshape(-1, 1, 1, 2), None


def log_pmf(spec: DatasetSpec) -> Array:
    """log P of every image, nats, float64 `(256, 256)`; finite everywhere."""
    curves = CURVES[spec.name]()  # (points, 2)
    across, up = (np.exp(-0.5 * ((np.arange(LEVELS)[:, None] - curves[:, i]) / NOISE) ** 2) for i in (0, 1))
    mass = across @ up.T  # (K, points) @ (points, K) -> (K, K)
    return np.asarray(np.log(mass) - np.log(mass.sum()))


def moons() -> Array:
    """Two half circles of radius 58, one open downwards, the other upwards, each reaching into the other."""
    t = np.pi * (np.arange(POINTS) + 0.5) / POINTS
    upper = np.stack([99 + 58 * np.cos(t), 113 + 58 * np.sin(t)], axis=1)
    lower = np.stack([157 - 58 * np.cos(t), 143 - 58 * np.sin(t)], axis=1)
    return np.concatenate([upper, lower])


def rings() -> Array:
    """Two circles around the centre, of radius 40 and 92."""
    t = 2 * np.pi * np.arange(POINTS) / POINTS
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.concatenate([127.5 + radius * circle for radius in (40, 92)])


CURVES = {"moons": moons, "rings": rings}
