"""The code of an image, by descent: the z whose generated image is nearest.

    encode(x) = argmin_z ||G(z) - x||^2

Zhu, Krähenbühl, Shechtman, Efros, "Generative Visual Manipulation on the Natural Image Manifold", 2016,
https://arxiv.org/abs/1609.03552, section 3.1; Lipton, Tripathi, "Precise Recovery of Latent Vectors from Generative
Adversarial Networks", 2017, https://arxiv.org/abs/1702.04782. The squared error has many local minima, so the descent
starts from several codes and the best end is taken. Codes are kept in the prior's range after each step by moving them
to the nearest possible one; the second paper draws clipped coordinates anew, which the other starts do instead here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam


def invert(
    generate: Callable[[Tensor], Tensor],
    v: Tensor,
    z: Tensor,
    project: Callable[[Tensor], Tensor],
    steps: int,
    lr: float,
) -> Tensor:
    """The best of several descents for each image, `(N, latent)`.

    generate: from codes `(N S, latent)`, S starts for each image in turn, to images like v's. v: `(N, C, H, W)`.
    z: the starts, `(N, S, latent)`. Adam, step size falling to 0 along half a cosine; coordinates and images do not
    influence each other in it.
    """
    n, starts, latent = z.shape
    target = v.repeat_interleave(starts, 0)
    z = z.reshape(n * starts, latent).clone().requires_grad_()
    optimizer = Adam([z], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def error() -> Tensor:
        return (generate(z) - target).square().flatten(1).sum(1)  # (N S,)

    for _ in range(steps):
        with torch.enable_grad():
            (z.grad,) = torch.autograd.grad(error().sum(), z)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            z.copy_(project(z))
    with torch.no_grad():
        best = error().view(n, starts).argmin(1)
    return z.detach().view(n, starts, latent)[torch.arange(n, device=z.device), best]
