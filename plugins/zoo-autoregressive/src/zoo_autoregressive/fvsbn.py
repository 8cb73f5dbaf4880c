"""FVSBN: a fully visible sigmoid belief network, a logistic regression for each pixel on all pixels before it.

Frey, Hinton, Dayan, "Does the Wake-sleep Algorithm Produce Good Density Estimators?", 1996,
https://www.cs.toronto.edu/~hinton/absps/wsperf.htm.

    p(x_d = 1 | x_<d) = sigma(c_d + sum_{e<d} A_de x_e)
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from zoo_autoregressive.autoregressive import Autoregressive
from zoo_autoregressive.configs import FVSBNConfig
from zoo_autoregressive.masked import MaskedLinear, earlier
from zoo_core import ImageSpec
from zoo_core.images import Labels


class FVSBN(Autoregressive):
    """With more than 2 levels, a softmax regression: c_d and A_de x_e have a number for each level.

    The first pixel has no parents, so that c_1 is the table of its log probabilities. For all weights together the loss
    is convex; the start at 0, where all images are equally likely, is as good as any.
    """

    config: FVSBNConfig

    def __init__(self, images: ImageSpec, config: FVSBNConfig) -> None:
        super().__init__(images, config, inputs=config.inputs, weight_decay=config.weight_decay)
        pixels = torch.arange(images.dims)
        parents = pixels[:-1].repeat_interleave(self.inputs)  # of nobody is the last pixel a parent
        self.linear = MaskedLinear(earlier(pixels.repeat_interleave(self.outputs), parents))  # A and c
        nn.init.zeros_(self.linear.weight)

    def logits(self, s: Tensor, labels: Labels = None) -> Tensor:
        x = self.to_inputs(s[:, :-1]).flatten(1)  # (N, D-1, E) -> (N, (D-1)*E)
        return self.linear(x).unflatten(1, (self.images.dims, self.outputs))

    def pixel_by_pixel(self, n: int, labels: Labels = None) -> Generator[Tensor, Tensor, None]:
        """A drawn pixel adds its columns of A to the logits of all later ones: together, the cost of one pass."""
        logits = self.linear.bias.repeat(n, 1)  # (n, D*P)
        columns = self.linear.masked().t().contiguous().split(self.inputs)  # D-1 of (E, D*P)
        code = self.to_inputs(torch.arange(self.images.levels, device=logits.device))  # (K, E)
        end = 0
        for pixel, column in zip(logits.split(self.outputs, 1), columns):
            end += self.outputs
            level = yield pixel
            x_d = code.index_select(0, level.int())  # (n, E)
            logits[:, end:].addmm_(x_d, column[:, end:])
        yield logits[:, end:]
