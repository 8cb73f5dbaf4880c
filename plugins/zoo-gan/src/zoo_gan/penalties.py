"""Penalties on the gradient of a discriminator's output by the image it sees.

    gradient penalty   E[(||grad_v d(v)||_2 - 1)^2],   v = m x + (1 - m) G(z),   m ~ U[0, 1] for each image
    R1, R2             E[||grad_v d(v)||^2],           v real (R1), v generated (R2)

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs", 2017,
https://arxiv.org/abs/1704.00028, equation 3; Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually
Converge?", 2018, https://arxiv.org/abs/1801.04406, section 4.1, where a factor gamma / 2 stands before R1 and R2.

All keep the graph, so that the discriminator learns from them, and all want outputs that each depend on one image:
batch normalisation would mix the gradients of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def watched(v: Tensor) -> Tensor:
    """v, cut off from what made it, for a discriminator whose gradient by it is asked for. Give this, not v itself.

    It is no leaf of the graph: torch's counter of operations cannot follow gradients by the leaf that a network was
    given.
    """
    leaf = v.detach().requires_grad_()
    return leaf.view_as(leaf)


def gradient(output: Tensor, v: Tensor) -> Tensor:
    """grad_v d(v) of each image, `(N, D)`, differentiable. output: d(v), `(N,)`; v: `watched`, `(N, ...)`."""
    (found,) = torch.autograd.grad(output.sum(), v, create_graph=True)
    return found.flatten(1)


def zero_centred(output: Tensor, v: Tensor) -> Tensor:
    """R1 of real images, R2 of generated ones, without their factor. 0-d."""
    return gradient(output, v).square().sum(1).mean()


def one_centred(output: Tensor, v: Tensor) -> Tensor:
    """E[(||grad_v d(v)||_2 - 1)^2], 0-d. A gradient of exactly 0 stays where it is: its norm has no derivative."""
    squared = gradient(output, v).square().sum(1)
    return ((squared + 1e-12).sqrt() - 1).square().mean()


def interpolated(d: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, mix: Tensor) -> Tensor:
    """The gradient penalty of WGAN-GP, 0-d. d: from images to outputs `(N,)`. mix: in [0, 1), `(N,)`."""
    m = mix.view(-1, *[1] * (real.dim() - 1))
    v = watched(m * real + (1 - m) * generated)
    return one_centred(d(v), v)
