"""A masked network, each of whose outputs sees the dimensions before its own, and the way back, at the cost of a pass.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509, equations 8 and 9: hidden unit k has a degree m(k), the number of the last input that
it may see; a unit sees units of its own degree and below, an output d those of degrees below d.

The way back, z to x with z_d = f(x_d; parameters of d given x_1 .. x_{d-1}), needs x_1 before x_2 and so on. D passes
would do. But once x_d is known, the units of degree d, in every layer, have seen all their inputs: they are computed
then, once, and nothing else is. Together that is one pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_, "elu": F.elu_}


class MaskedLinear(nn.Module):
    """b + (W * M) x. mask: bool `(out, in)`, which follows from the config and is not saved."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        outputs, inputs = mask.shape
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def masked(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked(), self.bias)


class MADE(nn.Module):
    """P numbers for each of D dimensions, given the dimensions before it, all in one pass. They start at 0."""

    def __init__(self, dims: int, hidden: tuple[int, ...], outputs: int, activation: str) -> None:
        super().__init__()
        self.dims, self.outputs, self.activation = dims, outputs, ACTIVATIONS[activation]
        place = torch.arange(1, dims + 1)
        self.degrees = [spread(dims, width) for width in hidden]
        pairs = itertools.pairwise([place, *self.degrees])
        self.hidden = nn.ModuleList(MaskedLinear(above[:, None] >= below) for below, above in pairs)
        self.output = MaskedLinear(place.repeat(outputs)[:, None] > self.degrees[-1])
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x `(N, D)` to the parameters, `(N, P, D)`."""
        h = x
        for layer in self.hidden:
            h = self.activation(layer(h))
        return self.output(h).unflatten(1, (self.outputs, self.dims))

    @torch.no_grad()
    def solve(self, z: Tensor, univariate: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """x `(N, D)` with x_d = univariate(z_d, its parameters given x_1 .. x_{d-1}); no gradients.

        univariate: z_d `(N,)` and parameters `(P, N)` to x_d `(N,)`. What is not final yet is 0, and its weights are.
        """
        with torch.autocast(z.device.type, enabled=False):
            x, *hidden = [z.new_zeros(rows, len(z)) for rows in (self.dims, *map(len, self.degrees))]  # (D, N), (H, N)
            due = self._due([x, *hidden])
            weight = self.output.masked().unflatten(0, (self.outputs, self.dims)).transpose(0, 1).contiguous()
            bias = self.output.bias.view(self.outputs, self.dims, 1).transpose(0, 1)  # (D, P, 1); weight: (D, P, H)
            for x_d, z_d, b, w, final in zip(x, z.t().contiguous(), bias, weight, due):
                x_d.copy_(univariate(z_d, torch.addmm(b, w, hidden[-1])))
                for units in final:
                    torch.addmm(units.bias, units.weight, units.below, out=units.state)
                    self.activation(units.state)
            return x.t().contiguous()

    def _due(self, states: list[Tensor]) -> list[list[Units]]:
        """For each dimension, the units that are final once it is known, lower layers first. states: x, h^1, ..."""
        due: list[list[Units]] = [[] for _ in range(self.dims)]
        for layer, degrees, below, state in zip(self.hidden, self.degrees, states, states[1:]):
            counts = torch.bincount(degrees, minlength=self.dims)[1:].tolist()  # of degrees 1 .. D-1
            parts = (layer.bias.unsqueeze(1), layer.masked(), state)
            for d, (bias, weight, own) in enumerate(zip(*(part.split(counts) for part in parts))):
                if len(own):
                    due[d].append(Units(bias, weight, below, own))
        return due


class Units(NamedTuple):
    """The units of one layer and one degree: h = g(b + W h_below), in place."""

    bias: Tensor  # (U, 1)
    weight: Tensor  # (U, H_below)
    below: Tensor  # (H_below, N)
    state: Tensor  # (U, N)


def spread(dims: int, width: int) -> Tensor:
    """Degrees spread evenly over 1 .. D-1 and sorted, int64 `(width,)`: units of one degree lie together."""
    return 1 + torch.arange(width) * (dims - 1) // width
