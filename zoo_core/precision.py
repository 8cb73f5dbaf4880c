"""A number is not more precise for one user than for another: what training may round, it may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """float32 in float32, where a program allows TF32 or bfloat16 for its training. Restored afterwards.

    By torch's `fp32_precision` (2.9 and later), which also stands where the older settings were used; these cannot be
    asked for once a program has used the newer one.
    """
    backends, cudnn = torch.backends, torch.backends.cudnn
    named = ((backends.cuda, "matmul"), (backends.mkldnn, "matmul"), (cudnn, "conv"), (cudnn, "rnn"))
    operations: list[Any] = [getattr(backend, name, None) for backend, name in named]
    with ExitStack() as restored:
        if all(hasattr(operation, "fp32_precision") for operation in operations):
            for operation in operations:
                restored.callback(setattr, operation, "fp32_precision", operation.fp32_precision)
                operation.fp32_precision = "ieee"
        else:
            restored.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            restored.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
            torch.set_float32_matmul_precision("highest")
            cudnn.allow_tf32 = False
        yield
