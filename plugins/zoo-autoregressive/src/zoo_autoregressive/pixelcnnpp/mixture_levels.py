"""Probabilities of all levels of a pixel, one channel after the other, under a mixture of discretised logistics.

Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and
Other Modifications", 2017, https://arxiv.org/abs/1701.05517, equations 1 to 3. `zoo_core.pixels` gives the likelihood
of one level; a sampler that inverts distribution functions needs that of all K.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core.pixels import DiscretizedLogisticMixture


class ChannelByChannel:
    """The channels' conditionals, one after the other: `logits` of the next channel, then `put` its levels.

    The components are shared by the channels, so the earlier channels also tell which component a pixel comes from:

        p(x_c | x_<c) = sum_i p(i | x_<c) p(x_c | x_<c, i),    p(i | x_<=c) ~ p(i | x_<c) p(x_c | x_<c, i)

    pixel: the channels so far, in [-1, 1], each `(N, H, W)`.
    """

    def __init__(self, mixture: DiscretizedLogisticMixture) -> None:
        self.mixture = mixture
        self.log_posterior = mixture.log_weights  # (N, H, W, M)
        self.pixel: list[Tensor] = []

    def logits(self) -> Tensor:
        """log p(x_c = k | x_<c), `(N, H, W, K)`; for binary pixels log p(1) - log p(0), `(N, H, W, 1)`."""
        mixture, c = self.mixture, len(self.pixel)
        mean = mixture.means[:, c]  # (N, H, W, M)
        if mixture.coefficients is not None:
            for earlier, v in enumerate(self.pixel, c * (c - 1) // 2):
                mean = mean + mixture.coefficients[:, earlier] * v.unsqueeze(-1)  # (eq. 3)
        self.bins = log_bins(mean, mixture.log_scales[:, c], mixture.levels)  # (N, H, W, K, M)
        log_p = (self.log_posterior.unsqueeze(-2) + self.bins).logsumexp(-1)
        return log_p[..., 1:] - log_p[..., :1] if mixture.levels == 2 else log_p

    def put(self, x: Tensor) -> None:
        """x: integers, `(N, H, W)`."""
        index = x.long()[..., None, None].expand(*x.shape, 1, self.bins.shape[-1])  # (N, H, W, 1, M)
        self.log_posterior = (self.log_posterior + self.bins.gather(-2, index).squeeze(-2)).log_softmax(-1)
        self.pixel.append(x.to(self.bins.dtype) * (2 / (self.mixture.levels - 1)) - 1)


def log_bins(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """log [sigma((v + h - mu) / s) - sigma((v - h - mu) / s)] at the K levels (eq. 2). `(..., M)` -> `(..., K, M)`.

    With a and b for the bin's edges, that is log sigma(a) + log sigma(-b) + log(1 - exp(b - a)), where a - b = 2h/s and
    log sigma(-b) = log sigma(b) - b. Neighbours share an edge, so each level costs one sigmoid.
    """
    top = levels - 1
    edges = (2 * torch.arange(1, levels, device=mean.device, dtype=mean.dtype) - 1 - top) / top  # (K-1,)
    inverse_scale = (-log_scale).exp()
    edges = (edges[:, None] - mean.unsqueeze(-2)) * inverse_scale.unsqueeze(-2)  # (..., K-1, M)
    below = F.logsigmoid(edges)  # log P(x < k) for k = 1 .. K-1
    above = below - edges  # log P(x >= k)
    width = (-torch.expm1(-2 / top * inverse_scale)).log().unsqueeze(-2)  # (..., 1, M)
    inner = below[..., 1:, :] + above[..., :-1, :] + width
    return torch.cat([below[..., :1, :], inner, above[..., -1:, :]], -2)
