"""Initial value problems dz/dt = f(t, z): by equal steps, or to a tolerance by torchdiffeq.

Equal steps are written out here and not left to torchdiffeq, whose fixed grids compare times on the device, a wait for
the GPU in every step; its midpoint and rk4 (the 3/8 rule) give the same numbers. A training differentiates through
them: the gradient is that of the very loss computed, whatever the step, and memory grows with the steps. The adjoint
method (Chen, Rubanova, Bettencourt, Duvenaud, 2018, https://arxiv.org/abs/1806.07366, section 2) needs little memory,
but its gradient has a solver's error of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from zoo_core.errors import Diverged
from zoo_flow.ffjord.config import FIXED, check_solver

State = tuple[Tensor, ...]
Slope = Callable[[Tensor, State], State]

# Rows a_ij of the stages after the first, and the weights b_i; a stage's time is its row's sum.
TABLEAUS: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    "euler": ((), (1.0,)),
    "midpoint": (((0.5,),), (0.0, 1.0)),
    "rk4": (((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)),
}
MOST_EVALUATIONS = 20_000  # of an adaptive solver; a smooth field takes fewer than a thousand


@dataclass(frozen=True)
class Solver:
    """How to integrate. steps: where they are equal. rtol, atol: where they are not."""

    method: str
    steps: int = 40
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        check_solver("solver", self.method, self.steps, self.rtol, self.atol)

    def solve(self, slope: Slope, state: State, start: float, end: float) -> State:
        """The state at time `end`, of `state` at `start`; `end` may be earlier. `Diverged` if not finite."""
        if not len(state[0]):
            return state  # of no images, whose errors a solver cannot weigh
        solve = self._equal if self.method in FIXED else self._adaptive
        state = solve(slope, state, start, end)
        if not torch.is_grad_enabled() and not all(bool(part.isfinite().all()) for part in state):
            raise Diverged(f"{self._told}: the solution is not finite; {_ADVICE}")
        return state

    def _equal(self, slope: Slope, state: State, start: float, end: float) -> State:
        rows, weights = TABLEAUS[self.method]
        h = (end - start) / self.steps
        for step in range(self.steps):
            t = start + step * h
            slopes = [slope(state[0].new_full((), t), state)]
            for row in rows:
                slopes.append(slope(state[0].new_full((), t + h * sum(row)), _moved(state, slopes, row, h)))
            state = _moved(state, slopes, weights, h)
        return state

    def _adaptive(self, slope: Slope, state: State, start: float, end: float) -> State:
        evaluations = 0

        def counted(t: Tensor, state: State) -> State:
            nonlocal evaluations
            evaluations += 1
            if evaluations > MOST_EVALUATIONS:
                raise Diverged(f"{self._told}: more than {MOST_EVALUATIONS:,} evaluations of the field; {_ADVICE}")
            return slope(t, state)

        times = torch.tensor([start, end], device=state[0].device, dtype=state[0].dtype)
        options = {"step_t": times[1:]}  # a step ends there: what lies between steps is interpolated, of low order
        try:
            path = odeint(counted, state, times, rtol=self.rtol, atol=self.atol, method=self.method, options=options)
        except AssertionError as error:  # torchdiffeq's: "underflow in dt", "non-finite values in state"
            reason = str(error).partition(":")[0]
            raise Diverged(f"{self._told}: {reason}: the field is too stiff for it; {_ADVICE}") from error
        return tuple(part[-1] for part in path)

    @property
    def _told(self) -> str:
        how = f"{self.steps} steps" if self.method in FIXED else f"rtol {self.rtol:g}, atol {self.atol:g}"
        return f"solver {self.method} ({how})"


_ADVICE = (
    "a larger rtol and atol, equal steps (solver='rk4', steps=100) or float64 may do, or a training with a lower "
    "learning rate or a penalty (config: kinetic, jacobian)"
)


def _moved(state: State, slopes: list[State], weights: tuple[float, ...], h: float) -> State:
    """state + h sum_i w_i k_i."""
    used = [(weight * h, k) for weight, k in zip(weights, slopes, strict=True) if weight]
    return tuple(part + sum(w * k[i] for w, k in used) for i, part in enumerate(state))
