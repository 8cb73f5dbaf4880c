"""What the MADEs share: one set of weights, of which each mask uses a part.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509.

Under a mask, each input and output has the number of its pixel in an order, each hidden unit a degree: the number of
the last pixel that it may see. Other degrees make other masks (connectivity-agnostic training), other
orders too (order-agnostic training).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import PixelModel
from zoo_autoregressive.made.config import MaskedConfig
from zoo_autoregressive.masked import MaskedLinear, each_earlier
from zoo_core import ImageSpec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # g, in place: each is differentiated by its result
    "relu": torch.relu_,
    "elu": F.elu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}


class Numbering(NamedTuple):
    """What makes a mask. place: of each pixel in the order, 1 .. D, `(D,)`. degrees: `(H^l,)` for each layer."""

    place: Tensor
    degrees: list[Tensor]


class MaskedAutoencoder(PixelModel):
    """Hidden layers h^l = g(b^l + (W^l * M^l) h^{l-1}) over h^0 = x, and outputs c + (V * M^V) h^L + (A * M^A) x.

    The outputs are the logits of a Bernoulli (2 levels) or of a categorical distribution (more). Without the direct
    connections A, a hidden layer that lacks some degree leaves blind spots: outputs that miss an earlier input.
    numberings: one for each mask.
    """

    config: MaskedConfig

    def __init__(self, images: ImageSpec, config: MaskedConfig, numberings: Sequence[Numbering]) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        dims = images.dims
        self.activation = ACTIVATIONS[config.activation]
        # A lone pixel has no parents: no degree is left for a hidden unit, and c is all there is to learn.
        self.numberings = list(numberings) if dims > 1 else [Numbering(torch.ones(1, dtype=torch.int64), [])]

        x = [numbering.place.repeat_interleave(self.inputs) for numbering in self.numberings]
        outputs = [numbering.place.repeat_interleave(self.outputs) for numbering in self.numberings]
        self.hidden = nn.ModuleList()  # W, b
        below = x
        for units in zip(*(numbering.degrees for numbering in self.numberings)):  # of one layer, under each mask
            masks = each_earlier([own + 1 for own in units], below)  # a unit sees its own degree too; eqs. 8 and 12
            self.hidden.append(MaskedLinear(*masks))
            below = list(units)
        self.bias = nn.Parameter(torch.zeros(dims * self.outputs))  # c
        self.output: MaskedLinear | None = None
        self.direct: MaskedLinear | None = None
        if self.hidden:
            self.output = MaskedLinear(*each_earlier(outputs, below), bias=False)  # V; eqs. 9 and 13
        if config.direct and dims > 1:
            self.direct = MaskedLinear(*each_earlier(outputs, x), bias=False)  # A; strictly lower triangular
        for layer in self.readouts():  # at 0, so that an input which the data never use says nothing
            nn.init.zeros_(layer.weight)

    def logits_under(self, s: Tensor, mask: int) -> Tensor:
        """All conditionals under one mask, each given the pixels before it in that mask's order. `(N, D, P)`."""
        x = self.to_inputs(s).flatten(1)  # (N, D, E) -> (N, D*E)
        h = x
        for layer in self.hidden:
            h = F.dropout(self.activation(layer(h, mask)), self.config.dropout, self.training)
        logits = self.bias.expand(len(s), -1)
        if self.output is not None:
            logits = logits + self.output(h, mask)
        if self.direct is not None:
            logits = logits + self.direct(x, mask)
        return logits.unflatten(1, (self.images.dims, self.outputs))

    def log_pixels_under(self, s: Tensor) -> Tensor:
        """log p(x_d | the pixels before it) under every mask. nats, `(M, N, D)`."""
        return torch.stack([self.log_levels(self.logits_under(s, m), s) for m in range(len(self.numberings))])

    def readouts(self) -> list[MaskedLinear]:
        """V and A, as far as there are such: what the outputs see h^L and x through."""
        return [layer for layer in (self.output, self.direct) if layer is not None]


def even_degrees(dims: int, widths: Sequence[int]) -> list[Tensor]:
    """Degrees spread evenly over 1 .. D-1, int64 `(H^l,)`, for each layer."""
    return [1 + torch.arange(width) * (dims - 1) // width for width in widths]


def drawn_degrees(dims: int, widths: Sequence[int], generator: torch.Generator, *, sort: bool) -> list[Tensor]:
    """Degrees drawn from min_k m^{l-1}(k) .. D-1, so that no unit is left without inputs (deep MADE).

    sort: within each layer, which changes nothing for a lone mask: units are interchangeable. From mask to mask a unit
    is the same one, and its degree must be free to change.
    """
    layers: list[Tensor] = []
    for width in widths:
        lowest = int(layers[-1].min()) if layers else 1
        degrees = torch.randint(lowest, dims, (width,), generator=generator)
        layers.append(degrees.sort().values if sort else degrees)
    return layers
