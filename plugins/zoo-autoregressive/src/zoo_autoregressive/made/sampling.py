"""The conditionals of a MADE one after the other, all at about the cost of one pass, not of D passes.

A pixel adds its own column of W^1 to the running sums of the first layer. Then the units of its degree, in every layer,
have seen all their inputs, and are computed, once. What is not final yet needs no hiding: where it could be seen, the
masked weights are 0. So a pixel costs a handful of small products, and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import torch
from torch import Tensor

from zoo_autoregressive.made.network import MaskedAutoencoder


def pixel_by_pixel(model: MaskedAutoencoder, n: int, mask: int = 0) -> Generator[Tensor, Tensor, None]:
    """Yields the logits of one pixel after the other, in the mask's order, `(n, P)`; is sent the levels, `(n,)`."""
    dims, bias = model.images.dims, model.bias.view(-1, model.outputs)  # c, (D, P)
    layers = sorted_by_degree(model, mask)
    read = [layer.masked(mask) for layer in model.readouts()]
    if layers:
        read[0] = taken(read[0], 1, layers[-1].units)
    rows = torch.cat([bias.new_empty(bias.numel(), 0), *read], 1)  # [V, A]
    rows = rows.unflatten(0, (dims, model.outputs)).transpose(1, 2)  # (D*P, F) -> (D, F, P)

    widths = [len(layer.degrees) for layer in layers]
    top = sum(widths[-1:])
    memory = bias.new_zeros(n, top + dims * model.inputs)  # [h^L, x]: what the outputs see, without x if not direct
    features, inputs = memory[:, : rows.shape[1]], memory[:, top:]  # (n, F), (n, D*E)
    states = [bias.new_zeros(n, width) for width in widths[:-1]] + [memory[:, :top]]
    due = units_by_degree(dims, layers, states)
    columns: tuple[Tensor, ...] = ()
    if layers:
        states[0] += layers[0].bias
        columns = layers[0].weight.t().contiguous().split(model.inputs)  # W^1 * M: D of (E, H^1)
    code = model.to_inputs(torch.arange(model.images.levels, device=bias.device))  # (K, E)

    biases, parts, all_rows = bias.unbind(), inputs.split(model.inputs, 1), rows.unbind()
    for d, pixel in enumerate(model.numberings[mask].place.argsort().tolist()):
        level = yield torch.addmm(biases[pixel], features, all_rows[pixel])  # (n, P)
        x_d = parts[pixel].copy_(code.index_select(0, level.int()))  # (n, E)
        if columns:
            states[0].addmm_(x_d, columns[pixel])
        for units in due[d]:
            if units.weight is not None:
                torch.addmm(units.bias, units.below, units.weight, out=units.state)
            model.activation(units.state)


class Layer(NamedTuple):
    """A hidden layer under one mask, its units sorted by degree. units: which these are; None: all in their places."""

    degrees: Tensor  # (H,)
    units: Tensor | None  # (H,)
    weight: Tensor  # W * M, (H, below)
    bias: Tensor  # (H,)


def sorted_by_degree(model: MaskedAutoencoder, mask: int) -> list[Layer]:
    """So that units which are computed together lie together."""
    layers: list[Layer] = []
    below: Tensor | None = None
    for linear, degrees in zip(model.hidden, model.numberings[mask].degrees):
        places = degrees.argsort(stable=True)
        units = None if torch.equal(places, torch.arange(len(places))) else places.to(linear.weight.device)
        weight = taken(taken(linear.masked(mask), 0, units), 1, below)
        layers.append(Layer(degrees[places], units, weight, taken(linear.bias, 0, units)))
        below = units
    return layers


def taken(tensor: Tensor, dim: int, units: Tensor | None) -> Tensor:
    return tensor if units is None else tensor.index_select(dim, units)


class Units(NamedTuple):
    """The units of one layer and one degree: where their values go, and W^T, b and h of the layer below, if any."""

    state: Tensor  # (n, U)
    bias: Tensor  # (U,)
    weight: Tensor | None = None  # (H, U)
    below: Tensor | None = None  # (n, H)


def units_by_degree(dims: int, layers: list[Layer], states: list[Tensor]) -> list[list[Units]]:
    """For each step, the units that are final once its pixel is known, lower layers first. states: h^l, `(n, H^l)`."""
    due: list[list[Units]] = [[] for _ in range(dims)]
    for i, (layer, state) in enumerate(zip(layers, states)):
        counts = torch.bincount(layer.degrees, minlength=dims)[1:].tolist()  # of degrees 1 .. D-1
        weights = layer.weight.t().split(counts, 1) if i else [None] * len(counts)
        for d, (part, bias, weight) in enumerate(zip(state.split(counts, 1), layer.bias.split(counts), weights)):
            if counts[d]:
                due[d].append(Units(part, bias, weight, states[i - 1] if i else None))
    return due
