"""How much noise there is at each of T steps, and the Gaussians that follow from it.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, https://arxiv.org/abs/2006.11239 ("DDPM");
Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, https://arxiv.org/abs/2102.09672.

    q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I),   alpha_t = 1 - beta_t,   abar_t = alpha_1 ... alpha_t   (eq. 4)
    q(x_{t-1} | x_t, x_0) = N(mu~_t(x_t, x_0), beta~_t I)                                                        (eq. 6)

Tables are indexed by t = 0 .. T, with abar_0 = 1: index 0 is the image itself.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

PAPER_STEPS, PAPER_FIRST, PAPER_LAST = 1000, 1e-4, 0.02  # DDPM, section 4
COSINE_OFFSET, MAX_BETA = 0.008, 0.999  # Nichol, Dhariwal, section 3.2


class Schedule(nn.Module):
    """The tables of a noise schedule, `(T + 1,)` each; buffers that follow the model but are not stored with it.

    signal, noise: sqrt(abar_t) and sqrt(1 - abar_t). beta, beta_tilde: variances of a step and of the way back.
    from_image, from_noisy: the coefficients of x_0 and x_t in mu~_t (eq. 7); at t = 1 they are 1 and 0.
    """

    signal: Tensor
    noise: Tensor
    beta: Tensor
    beta_tilde: Tensor
    from_image: Tensor
    from_noisy: Tensor

    def __init__(self, kind: Literal["linear", "cosine"], steps: int) -> None:
        super().__init__()
        self.steps = steps
        beta = (linear if kind == "linear" else cosine)(steps)  # (T,)
        log_abar = torch.log1p(-beta).cumsum(0)
        rest = -torch.expm1(log_abar)  # 1 - abar_t for t = 1 .. T, without cancellation
        log_before, rest_before = shifted(log_abar), shifted(rest)  # the same for t - 1
        tables = {
            "signal": with_start(1.0, (0.5 * log_abar).exp()),
            "noise": with_start(0.0, rest.sqrt()),
            "beta": with_start(0.0, beta),
            "beta_tilde": with_start(0.0, beta * rest_before / rest),
            "from_image": with_start(1.0, (0.5 * log_before).exp() * beta / rest),
            "from_noisy": with_start(0.0, (1 - beta).sqrt() * rest_before / rest),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)


def linear(steps: int) -> Tensor:
    """beta_1 .. beta_T, float64 `(T,)`: DDPM's, from 1e-4 to 0.02 in 1,000 steps.

    For another T, the paper's curve of log abar is read at T points, so abar_T is 4e-5 for any T.
    """
    paper = torch.linspace(PAPER_FIRST, PAPER_LAST, PAPER_STEPS, dtype=torch.float64)
    log_abar = with_start(0.0, torch.log1p(-paper).cumsum(0))  # (1001,)
    place = torch.arange(steps + 1, dtype=torch.float64) * (PAPER_STEPS / steps)
    left = place.floor().clamp(max=PAPER_STEPS - 1).long()
    read = log_abar[left] + (place - left) * (log_abar[left + 1] - log_abar[left])
    return -torch.expm1(read.diff())


def cosine(steps: int) -> Tensor:
    """beta_1 .. beta_T, float64 `(T,)`: abar_t = f(t) / f(0), f(t) = cos^2((t/T + s) / (1 + s) pi / 2), s = 0.008.

    Equation 17 of Nichol and Dhariwal; betas are at most 0.999.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).square()
    return (1 - f[1:] / f[:-1]).clamp(max=MAX_BETA)


def with_start(value: float, table: Tensor) -> Tensor:
    """A table for t = 1 .. T with t = 0 put before it."""
    return torch.cat([torch.tensor([value], dtype=table.dtype), table])


def shifted(table: Tensor) -> Tensor:
    """From values at t = 1 .. T those at t - 1; 0 at t = 0."""
    return with_start(0.0, table[:-1])
