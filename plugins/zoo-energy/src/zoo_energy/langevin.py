"""Langevin dynamics on the cube: down the energy's gradient, with noise.

    v <- v - rate * grad E(v) + spread * n,    n ~ N(0, I)

With spread^2 = 2 * rate that is the Euler-Maruyama discretisation of the diffusion whose law comes to exp(-E); in
general it comes to exp(-E / T) at the temperature T = spread^2 / (2 * rate). A discretisation has a bias: under
E = v^2 / (2 s^2) the variance comes to T s^2 / (1 - rate / (2 s^2)) instead of T s^2. `hmc.py` has the correction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from zoo_energy.cube import fold

Energy = Callable[[Tensor], Tensor]  # (N, C, H, W) -> (N,)


def gradient(energy: Energy, v: Tensor, create_graph: bool = False) -> Tensor:
    """grad E at each of `v`, also where gradients are switched off. create_graph: so that it can be trained."""
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(v).sum(), v, create_graph=create_graph)
    return slope


def with_gradient(energy: Energy, v: Tensor) -> tuple[Tensor, Tensor]:
    """E `(N,)`, and its gradient at each of `v` `(N, C, H, W)`."""
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        e = energy(v)
        (slope,) = torch.autograd.grad(e.sum(), v)
    return e.detach(), slope


@torch.no_grad()
def walk(
    energy: Energy,
    v: Tensor,
    noise: Callable[[], Tensor],
    schedule: Iterable[tuple[float, float]],
    free: Tensor | None = None,
    inside: Callable[[Tensor], Tensor] = fold,
) -> Tensor:
    """Where the chains that begin at `v` `(N, C, H, W)` are after the steps (rate, spread) of `schedule`.

    noise: draws N(0, I) of v's shape. free: bool, where v may move; elsewhere it stays as it is. inside: brings back
    what has left the cube.
    """
    start = v
    for rate, spread in schedule:
        v = inside(torch.add(v, gradient(energy, v), alpha=-rate).add_(noise(), alpha=spread))
        if free is not None:
            v = torch.where(free, v, start)
    return v
