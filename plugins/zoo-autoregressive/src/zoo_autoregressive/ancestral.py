"""Ancestral sampling of a MADE: all D pixels of an image at about the cost of one pass, not of D passes.

A pixel adds its own column of W^1 to the running sums of the first layer. Then the units of its degree, in every layer,
have seen all their inputs, and are computed, once. What is not final yet needs no hiding: where it could be seen, the
masked weights are 0. So a pixel costs a handful of small products, and nothing is computed twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from zoo_core import ZooError
from zoo_core.images import from_unit
from zoo_core.pixels import Categorical

if TYPE_CHECKING:
    from zoo_autoregressive.made import MADE


@torch.no_grad()
def generate(
    model: MADE, u: Tensor, temperature: float = 1.0, s: Tensor | None = None, known: Tensor | None = None
) -> Tensor:
    """x_d = F_d^{-1}(u_d), where F_d is the distribution function of p(x_d | x_<d); known pixels are kept instead.

    u: uniform noise in [0, 1), `(N, D)` in sampling order. s, known: uint8 and bool `(N, D)`, pixels and which to keep.
    temperature: divides all logits. Returns uint8 `(N, D)`.
    """
    if not 0 < temperature < math.inf:
        raise ZooError(f"temperature: expected a number above 0, got {temperature}; 1 samples the model as it is")
    (n, dims), binary = u.shape, model.images.levels == 2
    noise = u.t().contiguous()  # (N, D) -> (D, N)
    bias = model.bias.view(dims, 1, model.outputs)  # c
    if binary:  # x_d = [logit_d + T log(u_d / (1 - u_d)) >= 0], so the noise can be in the sum from the start
        bias = bias + temperature * noise.logit().unsqueeze(-1)  # (D, N, 1)
    rows = torch.cat([u.new_empty(len(model.bias), 0), *(layer.masked() for layer in model.readouts())], 1)  # [V, A]
    rows = rows.unflatten(0, (dims, model.outputs)).transpose(1, 2)  # (D*P, F) -> (D, F, P)

    widths = [len(degrees) for degrees in model.degrees]
    top = sum(widths[-1:])
    memory = u.new_zeros(n, top + dims * model.inputs)  # [h^L, x]: what the outputs see, without x if not direct
    features, inputs = memory[:, : rows.shape[1]], memory[:, top:]  # (N, F), (N, D*E)
    states = [u.new_zeros(n, width) for width in widths[:-1]] + [memory[:, :top]]
    due = units_by_degree(model, states)
    columns: tuple[Tensor, ...] = ()
    if widths:
        states[0] += model.hidden[0].bias
        columns = model.hidden[0].masked().t().contiguous().split(model.inputs)  # W^1 * M: D of (E, H^1)
    zero = u.new_zeros(())
    code = model.to_inputs(torch.arange(model.images.levels, device=u.device))  # (K, E)
    given = model.to_inputs(s) if s is not None else None  # (N, D, E)

    steps = zip(inputs.split(model.inputs, 1), noise.unbind(), bias.unbind(), rows.unbind())
    for d, (x_d, u_d, bias_d, rows_d) in enumerate(steps):
        logits = torch.addmm(bias_d, features, rows_d)  # (N, P)
        if binary and not model.onehot:
            x_d.copy_(logits >= zero)  # (N, 1)
        else:
            level = (logits[:, 0] >= 0) if binary else Categorical(logits / temperature).icdf(u_d)  # (N,)
            x_d.copy_(code.index_select(0, level.long()))  # (N, E)
        if given is not None and known is not None:
            x_d.copy_(torch.where(known[:, d, None], given[:, d], x_d))
        if columns:
            states[0].addmm_(x_d, columns[d])
        for units in due[d]:
            if units.weight is not None:
                torch.addmm(units.bias, units.below, units.weight, out=units.state)
            model.activation(units.state)
    x = inputs.unflatten(1, (dims, model.inputs))
    return x.argmax(-1).to(torch.uint8) if model.onehot else from_unit(x.squeeze(-1), model.images)


class Units(NamedTuple):
    """The units of one layer and one degree: where their values go, and W^T, b and h of the layer below, if any."""

    state: Tensor  # (N, U)
    bias: Tensor  # (U,)
    weight: Tensor | None = None  # (H, U)
    below: Tensor | None = None  # (N, H)


def units_by_degree(model: MADE, states: list[Tensor]) -> list[list[Units]]:
    """For each pixel, the units that are final once it is known, lower layers first. states: h^l, `(N, H^l)`."""
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
