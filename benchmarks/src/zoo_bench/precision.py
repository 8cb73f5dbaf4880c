"""A metric is not more precise for one user than for another: what training may round, numbers may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Products of float32 in float32, where `torch.set_float32_matmul_precision` allows TF32 or bfloat16. Restored."""
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept)
