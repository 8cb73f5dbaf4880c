"""MADE: an autoencoder whose masked weights leave each output nothing but the inputs before it.

Germain, Gregor, Murray, Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015,
https://arxiv.org/abs/1502.03509.

    -log p(x) = sum_d -log p(x_d | x_<d)                                                                     (eq. 5)

The D (sub)pixels stand in raster order, the channels of a pixel innermost (R, G, B). One mask, in this natural order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import Autoregressive, to_images, to_sequence
from zoo_autoregressive.configs import MADEConfig
from zoo_autoregressive.made_sampling import pixel_by_pixel
from zoo_autoregressive.masked import MaskedLinear, earlier
from zoo_core import ImageSpec
from zoo_core.images import Labels

__all__ = ["MADE", "hidden_degrees", "to_images", "to_sequence"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # g, in place: each is differentiated by its result
    "relu": torch.relu_,
    "elu": F.elu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}


class MADE(Autoregressive):
    """Hidden layers h^l = g(b^l + (W^l * M^l) h^{l-1}) over h^0 = x, and outputs c + (V * M^V) h^L + (A * M^A) x.

    The outputs are the logits of a Bernoulli (2 levels) or of a categorical distribution (more). Without the direct
    connections A, a hidden layer that lacks some degree leaves blind spots: outputs that miss an earlier input.
    """

    config: MADEConfig

    def __init__(self, images: ImageSpec, config: MADEConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        dims = images.dims
        self.activation = ACTIVATIONS[config.activation]
        # A lone pixel has no parents: no degree is left for a hidden unit, and c is all there is to learn.
        self.degrees = hidden_degrees(dims, config) if dims > 1 else []

        pixels = torch.arange(1, dims + 1)
        x, outputs = pixels.repeat_interleave(self.inputs), pixels.repeat_interleave(self.outputs)
        layers = zip([x, *self.degrees], self.degrees)
        masks = (earlier(above + 1, below) for below, above in layers)  # a unit sees its own degree too; eqs. 8 and 12
        self.hidden = nn.ModuleList(MaskedLinear(mask) for mask in masks)  # W, b
        self.bias = nn.Parameter(torch.zeros(dims * self.outputs))  # c
        self.output: MaskedLinear | None = None
        self.direct: MaskedLinear | None = None
        if self.degrees:
            self.output = MaskedLinear(earlier(outputs, self.degrees[-1]), bias=False)  # V; eqs. 9 and 13
        if config.direct and dims > 1:
            self.direct = MaskedLinear(earlier(outputs, x), bias=False)  # A; strictly lower triangular
        for layer in self.readouts():  # at 0, so that an input which the data never use says nothing
            nn.init.zeros_(layer.weight)

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        x = self.to_inputs(s).flatten(1)  # (N, D, E) -> (N, D*E)
        h = x
        for layer in self.hidden:
            h = F.dropout(self.activation(layer(h)), self.config.dropout, self.training)
        logits = self.bias.expand(len(s), -1)
        if self.output is not None:
            logits = logits + self.output(h)
        if self.direct is not None:
            logits = logits + self.direct(x)
        return logits.unflatten(1, (self.images.dims, self.outputs))

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """All pixels at about the cost of one pass: nothing is computed twice."""
        return pixel_by_pixel(self, n)

    def readouts(self) -> list[MaskedLinear]:
        """V and A, as far as there are such: what the outputs see h^L and x through."""
        return [layer for layer in (self.output, self.direct) if layer is not None]


def hidden_degrees(dims: int, config: MADEConfig) -> list[Tensor]:
    """m^l(k), the number of the last input that unit k of layer l may see: 1 .. D-1, int64 `(H^l,)`, for each layer.

    Evenly spread, or drawn from min_k m^{l-1}(k) .. D-1, so that no unit is left without inputs (section 4.2). Units
    of a layer are interchangeable, so they are sorted by degree: what the sampler computes together lies together.
    """
    generator = torch.Generator().manual_seed(config.seed)
    layers: list[Tensor] = []
    for width in config.hidden:
        if config.degrees == "even":
            degrees = 1 + torch.arange(width) * (dims - 1) // width
        else:
            lowest = int(layers[-1][0]) if layers else 1
            degrees = torch.randint(lowest, dims, (width,), generator=generator).sort().values
        layers.append(degrees)
    return layers
