"""[elu(x), elu(-x)]: an activation that keeps both signs of its input.

Shang, Sohn, Almeida, Lee, "Understanding and Improving Convolutional Neural Networks via Concatenated Rectified Linear
Units", 2016, https://arxiv.org/abs/1603.05201, with the exponential linear unit in place of the rectified one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ConcatELU(torch.autograd.Function):
    """Where x is negative, elu(x) = exp(x) - 1, and where it is not, elu(-x) = exp(-x) - 1: one exponential for both.

    exp(x) - 1 is at least x, so elu(x) is the larger of x and exp(-|x|) - 1. Its slope is 1 + min(elu(x), 0). With
    torch's `elu`, which takes expm1 of every input, this activation would cost a CPU as much as the convolutions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        tail = x.abs().neg_().exp_().sub_(1)
        y = torch.cat([torch.maximum(x, tail), torch.maximum(-x, tail)], 1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        positive, negative = ((y.clamp(max=0) + 1) * gradient).chunk(2, 1)
        return positive - negative


def concat_elu(x: Tensor, sizes: list[int] | None = None) -> Tensor:
    """`(N, F, ...)` -> `(N, 2F, ...)`. sizes: of the groups of features; each group's two halves stay together."""
    if sizes is None or len(sizes) == 1:
        y: Tensor = ConcatELU.apply(x)  # type: ignore[no-untyped-call]
        return y
    return torch.cat([concat_elu(part) for part in x.split(sizes, 1)], 1)


def put_concat_elu(out: Tensor, x: Tensor) -> None:
    """concat_elu of one group's features `(n, F)` into `out`, `(n, 2F)`; without a derivative."""
    tail = x.abs().neg_().exp_().sub_(1)
    positive, negative = out.chunk(2, 1)
    torch.maximum(x, tail, out=positive)
    torch.maximum(x.neg(), tail, out=negative)
