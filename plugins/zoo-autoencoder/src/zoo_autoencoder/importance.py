"""Bounds by many samples of the posterior, streamed: memory grows with neither samples nor images nor pixels.

Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2015, https://arxiv.org/abs/1509.00519 ("IWAE"):

    IWAE_n(x) = E[log 1/n sum_i w_i],  w_i = p(x, z_i) / q(z_i|x),  z_i ~ q(z|x)                          (equation 8)

A model cuts its images by `images_per_pass`, encodes each part once, and gives `streamed` (or `averaged`) a function
that scores as many fresh draws of the posterior as it is asked for:

    for part in x.split(importance.images_per_pass(numbers)):
        mean, log_var = self.posterior(part)
        score = lambda s: self.log_weight(part, mean, log_var, importance.noise(mean, s, generator))  # (N, s)
        bounds.append(importance.streamed(n, importance.samples_per_pass(len(part), numbers), score))

numbers: what the decoder holds of one code where it is widest, its outputs usually.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Numbers that one pass holds: 8 MB in float32, near the size of a processor's cache; larger passes are not faster.
OUTPUTS = 2**21
# Samples come in multiples of this many, so that the noise is the same for any OUTPUTS: torch fills normal noise in
# groups of 16 numbers, and consecutive draws equal one long draw only if each is made of whole groups.
GROUP = 16

Score = Callable[[int], Tensor]  # s -> one number for each of N images and s draws, `(N, s)`


def streamed(n: int, size: int, log_weights: Score) -> Tensor:
    """log 1/n sum_i w_i (IWAE, equation 8), `size` draws at a time, by a running log-sum-exp. nats, float64 `(N,)`."""
    total: Tensor | None = None
    for count in parts(n, size):
        part = log_weights(count).double().logsumexp(1)
        total = part if total is None else torch.logaddexp(total, part)
    assert total is not None
    return total - math.log(n)


def bound(log_weights: Tensor) -> Tensor:
    """log 1/S sum_i w_i of weights in one piece, with their gradient: for training. `(N, S)` -> nats, `(N,)`."""
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])


def averaged(n: int, size: int, values: Score) -> Tensor:
    """1/n sum_i v_i, `size` draws at a time. float64 `(N,)`."""
    total: Tensor | None = None
    for count in parts(n, size):
        part = values(count).double().sum(1)
        total = part if total is None else total + part
    assert total is not None
    return total / n


def parts(n: int, size: int) -> Iterator[int]:
    """`n` draws as numbers of at most `size`."""
    for start in range(0, n, size):
        yield min(size, n - start)


def noise(like: Tensor, s: int, generator: torch.Generator | None) -> Tensor:
    """`s` standard normal draws for each row of `like` `(N, latent)`: `(N, s, latent)`.

    Parts of whole groups, drawn one after another, are what one long draw is.
    """
    eps = torch.randn((s, *like.shape), generator=generator, device=like.device, dtype=like.dtype)
    return eps.transpose(0, 1).contiguous()


def rows(numbers: int) -> int:
    """Codes that one pass decodes."""
    return max(1, OUTPUTS // numbers)


def images_per_pass(numbers: int) -> int:
    """Images that one pass scores, leaving room for a group of samples of each."""
    return max(1, rows(numbers) // GROUP)


def samples_per_pass(images: int, numbers: int) -> int:
    """Draws for each of `images` that one pass scores, whole groups."""
    return GROUP * max(1, rows(numbers) // (GROUP * max(1, images)))
