"""What `decode` of a mixture takes: weights of its components, and whatever a model adds to them."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.model import GenerativeModel

RESPONSIBILITIES = "a responsibility of each component"


def check_codes(model: GenerativeModel, z: Tensor, width: int, what: str = RESPONSIBILITIES) -> Tensor:
    """Codes in float64 where the model is; `ZooError` unless they are real numbers `(N, width)`, which are `what`."""
    if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != width or not z.is_floating_point():
        given = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
        raise ZooError(f"{type(model).__name__}.decode: expected codes (N, {width}), real numbers: {what}; got {given}")
    return z.to(model.device, torch.float64)
