"""Images and specifications for tests of extractors."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from zoo_bench.features import smallcnn
from zoo_bench.features import specs as extractor_specs

from zoo_core import ImageSpec

SPECS = {spec.name: spec for spec in extractor_specs.EXTRACTORS}
DIGITS, BYTES = smallcnn.RECIPES["digitscnn"].images, smallcnn.RECIPES["mnistcnn"].images
COLOUR = ImageSpec(channels=3, height=12, width=10)
SHIPPED = {"pixels": DIGITS, "digitscnn": DIGITS, "mnistcnn": BYTES, "fashioncnn": BYTES, "efficientnet_lite0": COLOUR}
needs_data = pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="set ZOO_DATA to a folder with the IDX files")


def pictures(images: ImageSpec, n: int, seed: int = 0) -> torch.Tensor:
    """Blobs: smooth enough for classifiers to answer with many different features."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, images.channels, 4, 4, generator=generator)
    v = torch.nn.functional.interpolate(coarse, (images.height, images.width), mode="bilinear").clamp(0, 1)
    return (v**2 * (images.levels - 1)).round().to(torch.uint8)


def random_states() -> tuple[object, ...]:
    return (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
