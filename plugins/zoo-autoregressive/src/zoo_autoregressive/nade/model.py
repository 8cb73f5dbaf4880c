"""NADE: the neural autoregressive distribution estimator, hidden layers that share all weights but those of new pixels.

Larochelle, Murray, "The Neural Autoregressive Distribution Estimator", 2011,
https://proceedings.mlr.press/v15/larochelle11a.html.

    p(x_d = 1 | x_<d) = sigma(b_d + V_d h_d)                                                                (eq. 9)
    h_d = sigma(c + W_{.,<d} x_<d)                                                                         (eq. 10)

The D (sub)pixels stand in raster order, the channels of a pixel innermost (R, G, B).
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import Autoregressive
from zoo_autoregressive.nade.activations import activations
from zoo_autoregressive.nade.config import NADEConfig
from zoo_core import ImageSpec, ZooError
from zoo_core.images import Labels

MOST_WEIGHTS = 2**28  # of W and V each: 1 GB, and four times that in training


class NADE(Autoregressive):
    """With more than 2 levels, V_d and b_d have a row and a number for each level, and x a number (or K) a pixel.

    encoder: W^T, `((D-1)*E, H)`; of nobody is the last pixel a parent. decoder: V, `(D, P, H)`. hidden_bias: c.
    """

    config: NADEConfig

    def __init__(self, images: ImageSpec, config: NADEConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        dims, width = images.dims, config.hidden
        if dims * max(self.inputs, self.outputs) * width > MOST_WEIGHTS:
            raise ZooError(
                f"NADE: {width:,} hidden units for {dims:,} pixels of {images.levels} levels make more than "
                f'{MOST_WEIGHTS:,} weights; take fewer units, smaller images, fewer levels or inputs="scaled"'
            )
        self.bias = nn.Parameter(torch.zeros(dims * self.outputs))  # b
        if dims > 1:  # a lone pixel has no parents: b is all there is to learn
            bound = dims**-0.5
            self.encoder = nn.Parameter(torch.empty((dims - 1) * self.inputs, width).uniform_(-bound, bound))
            self.hidden_bias = nn.Parameter(torch.zeros(width))
            self.decoder = nn.Parameter(torch.zeros(dims, self.outputs, width))

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        dims = self.images.dims
        bias = self.bias.view(dims, self.outputs)
        if dims == 1:
            return bias.expand(len(s), -1, -1)
        x = self.to_inputs(s[:, :-1])  # (N, D-1, E)
        return bias + activations(x, self.encoder, self.hidden_bias, self.decoder)

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """A drawn pixel adds its column of W to the sums of all hidden units: together, the cost of one pass."""
        biases = self.bias.view(self.images.dims, self.outputs).unbind()
        if self.images.dims == 1:
            yield biases[0].expand(n, -1)
            return
        sums = self.hidden_bias.repeat(n, 1)  # c + W x, (n, H)
        h = torch.empty_like(sums)
        code = self.to_inputs(torch.arange(self.images.levels, device=sums.device))  # (K, E)
        columns = self.encoder.split(self.inputs)  # D-1 of (E, H)
        rows = self.decoder.transpose(1, 2).unbind()  # D of (H, P)
        for bias, row, column in zip(biases, rows, columns):
            level = yield torch.addmm(bias, torch.sigmoid(sums, out=h), row)  # (n, P)
            sums.addmm_(code.index_select(0, level.int()), column)
        yield torch.addmm(biases[-1], torch.sigmoid(sums, out=h), rows[-1])
