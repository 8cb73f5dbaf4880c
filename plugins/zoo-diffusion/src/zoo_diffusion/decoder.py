"""The discretised Gaussian: how much of a normal density lies in an integer pixel's bin.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, https://arxiv.org/abs/2006.11239, equation 13, for K
levels instead of 256:

    P(x) = integral of N(v; mean, std^2) over the bin of x in [-1, 1], 2/(K-1) wide; the outer bins reach to +-infinity
"""

from __future__ import annotations

import torch
from torch import Tensor


def log_bin(x: Tensor, mean: Tensor, std: Tensor, levels: int) -> Tensor:
    """log P(x) of each subpixel, nats. x: integers `0 .. levels-1`, `(N, C, H, W)`; mean and std fit its shape.

    log [Phi(b) - Phi(a)] = log Phi(b) + log(1 - exp(log Phi(a) - log Phi(b))), mirrored where a + b > 0: far from the
    mean nothing cancels. Edges are made from integers, so neighbours share theirs and a pixel's bins sum to 1.
    """
    mean = mean.to(torch.promote_types(mean.dtype, torch.float32))  # half precision under autocast
    top = levels - 1
    doubled = 2 * x.to(mean.dtype) - top
    a, b = ((doubled - 1) / top - mean) / std, ((doubled + 1) / top - mean) / std
    right = a + b > 0
    log_near = torch.special.log_ndtr(torch.where(right, -a, b))
    log_far = torch.special.log_ndtr(torch.where(right, -b, a))
    inner = log_near + (-torch.expm1(log_far - log_near)).log()
    first, last = torch.special.log_ndtr(b), torch.special.log_ndtr(-a)
    return torch.where(x == 0, first, torch.where(x == top, last, inner))
