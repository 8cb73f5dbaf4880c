"""Stacked MNIST: three images of MNIST, one in each channel: 1,000 kinds of image, about equally common.

L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein, "Unrolled Generative Adversarial Networks", 2017,
https://arxiv.org/abs/1611.02163, section 3.3. How many of the kinds a model draws is asked by `metrics/modes.py`.

The three are drawn independently, with replacement, from the split of the same name and by a generator of the split's
own, so that no split has a digit of another; there are as many images as that split has. They have no labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo_bench.datasets.load import load
from zoo_core.specs import DatasetSpec

SEEDS = {"train": 0, "validation": 1, "test": 2}


def read_split(spec: DatasetSpec, split: str, data_dir: Path | None) -> tuple[np.ndarray[Any, Any], None]:
    """uint8 images `(N, 3, 28, 28)`, and no labels."""
    single = load(spec.channels_of, split, data_dir).pinned.x.numpy()[:, 0]  # (N, 28, 28)
    n, channels = len(single), spec.images.channels
    return single[np.random.RandomState(SEEDS[split]).randint(n, size=(n, channels))], None
