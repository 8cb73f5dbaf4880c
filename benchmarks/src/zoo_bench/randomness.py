"""Leave every global random state as it was found: other people's code draws from them without asking."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved() -> Iterator[None]:
    """torch (with all its CUDA devices), numpy and Python are in the same random state after the block as before."""
    ours = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []  # named, lest torch warn of many
    try:
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        random.setstate(ours[0])
        np.random.set_state(ours[1])  # noqa: NPY002
