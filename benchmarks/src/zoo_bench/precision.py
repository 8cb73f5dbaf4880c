"""A metric is not more precise for one user than for another: what training may round, numbers may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Products of float32 in float32, where a program allows TF32 or bfloat16 for its training. Restored afterwards.

    By torch's `fp32_precision` (2.9 and later), which also stands where `torch.set_float32_matmul_precision` was used;
    the older setting cannot be asked for once a program has used the newer one.
    """
    backends = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    if not all(hasattr(backend, "fp32_precision") for backend in backends):
        kept = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(kept)
        return
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision
