"""Ancestral sampling: each pixel is drawn from its distribution given the pixels before it, known ones are kept.

The model says what the distributions are (`Autoregressive.pixel_by_pixel`), the noise is given, so all ways to compute
the same conditionals give the same images.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from zoo_core import ZooError
from zoo_core.pixels import Categorical


@torch.no_grad()
def draw(
    conditionals: Generator[Tensor, Tensor, None],
    levels: int,
    u: Tensor,
    temperature: float = 1.0,
    s: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """x_d = F_d^{-1}(u_d), where F_d is the distribution function of the d-th conditional; known pixels are kept.

    conditionals: in whatever order they come; they yield logits `(N, P)` and are sent the levels drawn, uint8 `(N,)`.
    u: uniform noise in [0, 1), `(N, D)` in that order. s, known: uint8 and bool `(N, D)`, pixels and which to keep.
    temperature: divides all logits. Returns uint8 `(N, D)`.
    """
    if not isinstance(temperature, (int, float, Tensor)) or not 0 < temperature < math.inf:
        raise ZooError(f"temperature: expected a number above 0, got {temperature!r}; 1 samples the model as it is")
    binary = levels == 2
    noise = u.t().contiguous()  # (N, D) -> (D, N)
    if binary:  # F_d^{-1}(u_d) = [logit_d >= -T log(u_d / (1 - u_d))]
        noise = -temperature * noise.logit()
    x = torch.empty_like(noise, dtype=torch.uint8)
    with torch.autocast(u.device.type, enabled=False):  # states of one precision, and small products gain nothing
        logits = next(conditionals)  # (N, P)
        for d, (x_d, noise_d) in enumerate(zip(x.unbind(), noise.unbind())):
            if d:
                logits = conditionals.send(x[d - 1])
            level = logits.squeeze(1) >= noise_d if binary else _cooled(logits, temperature).icdf(noise_d)  # (N,)
            x_d.copy_(level if s is None or known is None else torch.where(known[:, d], s[:, d], level))
    return x.t()


def _cooled(logits: Tensor, temperature: float) -> Categorical:
    """Towards the likeliest level as the temperature falls, which then must not overflow the logits."""
    if temperature == 1:
        return Categorical(logits)
    return Categorical((logits - logits.amax(1, keepdim=True)) / max(temperature, torch.finfo(logits.dtype).tiny))
