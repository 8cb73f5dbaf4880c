"""Layers whose weight matrix has the spectral norm 1, by power iteration.

Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018,
https://arxiv.org/abs/1802.05957, section 2 and algorithm 1:

    W_SN = W / sigma(W),    sigma(W) = u^T W v

    v <- W^T u / |W^T u|,   u <- W v / |W v|        once in a training step, starting where the last step ended

u and v are constants to the gradient, so that of sigma is u v^T. A convolution's kernel is a matrix, out x (in h w).

The iteration is called for (`power_iteration`), never made by a forward pass: a loss is then a function of its batch,
whatever the number of passes, micro-batches and processes, and evaluation is training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, as far as it is known: u and v, unit vectors, are the state."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.register_buffer("u", F.normalize(torch.randn(rows), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(columns), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        return weight / self.sigma(weight).clamp_min(torch.finfo(weight.dtype).tiny)

    def sigma(self, weight: Tensor) -> Tensor:
        """u^T W v, 0-d; by products of single numbers, which autocast leaves in float32."""
        return (self.u.unsqueeze(1) * weight.flatten(1) * self.v).sum()

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One power iteration towards the first pair of singular vectors."""
        if weight.is_meta:  # shapes alone, as where parameters are counted: nothing to iterate, and no autocast
            return
        matrix = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
            self.u.copy_(F.normalize(matrix @ self.v, dim=0))


class SpectralLinear(nn.Linear):
    """A linear map that lengthens no difference of inputs, once u and v are the singular vectors."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)
        self.norm = SpectralNorm(self.weight)

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.norm(self.weight), self.bias)


class SpectralConv2d(nn.Conv2d):
    """A convolution with a kernel of spectral norm 1. As a map of images, its norm is that of its overlaps at most."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int, padding: int) -> None:
        super().__init__(before, after, kernel, stride=stride, padding=padding)
        self.norm = SpectralNorm(self.weight)

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(h, self.norm(self.weight), self.bias, self.stride, self.padding)


class SpectralEmbedding(nn.Embedding):
    """A vector for each class; their matrix, classes x features, has spectral norm 1."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__(classes, features)
        self.norm = SpectralNorm(self.weight)

    def forward(self, labels: Tensor) -> Tensor:
        return F.embedding(labels, self.norm(self.weight))


def power_iteration(network: nn.Module, times: int = 1) -> None:
    """One power iteration (or several) in each layer of a network that is spectrally normalised."""
    for layer in network.modules():
        if isinstance(layer, (SpectralLinear, SpectralConv2d, SpectralEmbedding)):
            for _ in range(times):
                layer.norm.iterate(layer.weight)
