"""Monotone rational-quadratic splines with linear tails, there and back.

Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032, section 3.1:
between the knots (x_k, y_k), with slopes delta_k, s = (y_{k+1} - y_k) / (x_{k+1} - x_k) and xi in [0, 1] along the bin,

    g = y_k + (y_{k+1} - y_k) (s xi^2 + delta_k xi (1 - xi)) / q,    q = s + (delta_{k+1} + delta_k - 2 s) xi (1 - xi)
    dg/dx = s^2 (delta_{k+1} xi^2 + 2 s xi (1 - xi) + delta_k (1 - xi)^2) / q^2

and outside of [-B, B] the identity, slope 1 at both ends included. Back: xi is the root in [0, 1] of a xi^2 + b xi + c,

    xi = 2 c / (-b - sqrt(b^2 - 4 a c)),  a = h (s - delta_k) + e,  b = h delta_k - e,  c = -s (y - y_k)

with h = y_{k+1} - y_k, e = (y - y_k) (delta_{k+1} + delta_k - 2 s): the form of the root that holds where a is 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_flow.nsf.config import LEAST


class Knots(NamedTuple):
    """Of K bins, `(..., K + 1)` each: x and y from -B to B, rising; slopes, above 0 and 1 at either end."""

    x: Tensor
    y: Tensor
    slopes: Tensor


def parameters(bins: int) -> int:
    """How many numbers a spline takes: K widths, K heights, K - 1 slopes."""
    return 3 * bins - 1


def knots(theta: Tensor, bound: float) -> Knots:
    """The knots that numbers without bounds stand for, `(..., 3K - 1)`; zeros stand for the identity.

    Widths and heights by softmax, slopes by softplus, as in the paper; none is less than `LEAST` (the authors' code).
    """
    bins = (theta.shape[-1] + 1) // 3
    widths, heights, slopes = theta.split([bins, bins, bins - 1], -1)
    slopes = LEAST + F.softplus(slopes + math.log(math.expm1(1 - LEAST)))  # 1 for 0
    return Knots(_edges(widths, bound), _edges(heights, bound), F.pad(slopes, (1, 1), value=1.0))


def _edges(logits: Tensor, bound: float) -> Tensor:
    """-B, ..., B, `(..., K + 1)`, in bins of sizes that are a softmax of `(..., K)`."""
    bins = logits.shape[-1]
    sizes = LEAST + (1 - LEAST * bins) * logits.softmax(-1)
    inner = bound * (2 * sizes[..., :-1].cumsum(-1) - 1)
    return F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


class Bin(NamedTuple):
    """The piece of a spline that a number falls into: its lower corner, its width and height, its slopes."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    low: Tensor  # delta_k
    high: Tensor  # delta_{k+1}


def spline(x: Tensor, at: Knots) -> tuple[Tensor, Tensor]:
    """y = g(x) and log dg/dx, of x `(...)`."""
    bound = at.x[..., -1]
    inside = x.clamp(-bound, bound)
    b = _bin(inside, at.x, at)
    s, xi = b.height / b.width, (inside - b.x) / b.width
    mixed = xi * (1 - xi)
    denominator = s + (b.high + b.low - 2 * s) * mixed
    y = b.y + b.height * (s * xi.square() + b.low * mixed) / denominator
    slope = b.high * xi.square() + 2 * s * mixed + b.low * (1 - xi).square()
    log_slope = 2 * (s.log() - denominator.log()) + slope.log()
    within = x.abs() < bound
    return torch.where(within, y, x), torch.where(within, log_slope, 0.0)


def inverse(y: Tensor, at: Knots) -> Tensor:
    """x with g(x) = y, of y `(...)`."""
    bound = at.y[..., -1]
    inside = y.clamp(-bound, bound)
    b = _bin(inside, at.y, at)
    s, rise = b.height / b.width, inside - b.y
    bend = rise * (b.high + b.low - 2 * s)
    one, two, three = b.height * (s - b.low) + bend, b.height * b.low - bend, -s * rise  # a, b, c
    root = (two.square() - 4 * one * three).clamp_min(0).sqrt()
    x = b.x + b.width * (2 * three / (-two - root))
    return torch.where(y.abs() < bound, x, y)


def _bin(value: Tensor, edges: Tensor, at: Knots) -> Bin:
    """The bin of each value between its edges, those of x or of y."""
    k = (value.unsqueeze(-1) >= edges[..., 1:-1]).sum(-1)[..., None, None]  # (..., 1, 1), 0 .. K-1
    table = torch.stack(at, -2)  # (..., 3, K+1)
    pick = k.expand(*k.shape[:-2], 3, 1)
    x, y, low = table.gather(-1, pick).squeeze(-1).unbind(-1)
    right, top, high = table.gather(-1, pick + 1).squeeze(-1).unbind(-1)
    return Bin(x, y, right - x, top - y, low, high)
