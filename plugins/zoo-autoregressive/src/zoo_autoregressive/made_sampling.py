"""The conditionals of a MADE one after the other, all at about the cost of one pass, not of D passes.

A pixel adds its own column of W^1 to the running sums of the first layer. Then the units of its degree, in every layer,
have seen all their inputs, and are computed, once. What is not final yet needs no hiding: where it could be seen, the
masked weights are 0. So a pixel costs a handful of small products, and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from zoo_autoregressive.made import MADE


def pixel_by_pixel(model: MADE, n: int) -> Generator[Tensor, Tensor, None]:
    """Yields the logits of one pixel after the other, `(n, P)`; is sent the levels drawn for it, uint8 `(n,)`."""
    dims, bias = model.images.dims, model.bias.view(-1, model.outputs)  # c, (D, P)
    rows = torch.cat([bias.new_empty(bias.numel(), 0), *(layer.masked() for layer in model.readouts())], 1)  # [V, A]
    rows = rows.unflatten(0, (dims, model.outputs)).transpose(1, 2)  # (D*P, F) -> (D, F, P)

    widths = [len(degrees) for degrees in model.degrees]
    top = sum(widths[-1:])
    memory = bias.new_zeros(n, top + dims * model.inputs)  # [h^L, x]: what the outputs see, without x if not direct
    features, inputs = memory[:, : rows.shape[1]], memory[:, top:]  # (n, F), (n, D*E)
    states = [bias.new_zeros(n, width) for width in widths[:-1]] + [memory[:, :top]]
    due = units_by_degree(model, states)
    columns: tuple[Tensor, ...] = ()
    if widths:
        states[0] += model.hidden[0].bias
        columns = model.hidden[0].masked().t().contiguous().split(model.inputs)  # W^1 * M: D of (E, H^1)
    code = model.to_inputs(torch.arange(model.images.levels, device=bias.device))  # (K, E)

    for d, (x_d, bias_d, rows_d) in enumerate(zip(inputs.split(model.inputs, 1), bias.unbind(), rows.unbind())):
        level = yield torch.addmm(bias_d, features, rows_d)  # (n, P)
        x_d.copy_(code.index_select(0, level.int()))  # (n, E)
        if columns:
            states[0].addmm_(x_d, columns[d])
        for units in due[d]:
            if units.weight is not None:
                torch.addmm(units.bias, units.below, units.weight, out=units.state)
            model.activation(units.state)


class Units(NamedTuple):
    """The units of one layer and one degree: where their values go, and W^T, b and h of the layer below, if any."""

    state: Tensor  # (n, U)
    bias: Tensor  # (U,)
    weight: Tensor | None = None  # (H, U)
    below: Tensor | None = None  # (n, H)


def units_by_degree(model: MADE, states: list[Tensor]) -> list[list[Units]]:
    """For each pixel, the units that are final once it is known, lower layers first. states: h^l, `(n, H^l)`."""
    dims = model.images.dims
    due: list[list[Units]] = [[] for _ in range(dims)]
    for layer, (state, degrees) in enumerate(zip(states, model.degrees)):
        counts = torch.bincount(degrees, minlength=dims)[1:].tolist()  # of degrees 1 .. D-1; units are sorted by degree
        parts = zip(counts, state.split(counts, 1), model.hidden[layer].bias.split(counts))
        if layer:
            weights = model.hidden[layer].masked().t().split(counts, 1)
            for d, ((count, part, bias), weight) in enumerate(zip(parts, weights)):
                if count:
                    due[d].append(Units(part, bias, weight, states[layer - 1]))
        else:
            for d, (count, part, bias) in enumerate(parts):
                if count:
                    due[d].append(Units(part, bias))
    return due
