"""p(x|z): what a decoder's numbers mean, for every model of this family that has a likelihood of pixels.

Given z the places of an image are independent; a place has a Bernoulli, a categorical, or a mixture of logistics
integrated over each level (`zoo_core.pixels`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from zoo_core import pixels
from zoo_core.specs import ImageSpec

PixelChoice = Literal["auto", "bernoulli", "categorical", "logistic"]


class Observation:
    """The pixel distribution of images of one kind. per_place: numbers that describe a place's pixel."""

    def __init__(self, images: ImageSpec, choice: PixelChoice = "auto", components: int = 1) -> None:
        self.images, self.components = images, components
        self.kind = pixel_kind(images, choice)
        self.per_place = pixels.parameters(self.kind, images, components)
        self.outputs = self.per_place * images.height * images.width

    def distribution(self, params: Tensor) -> pixels.PixelDistribution:
        """p(x|z) from a decoder's numbers `(M, outputs)`, channels first."""
        params = params.view(len(params), -1, self.images.height, self.images.width)
        return pixels.from_parameters(self.kind, params, self.images, self.components)

    def log_likelihood(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x|z). x: uint8 `(N, C, H, W)`. params: `(N, S, outputs)`, S codes each. Returns nats, `(N, S)`."""
        if self.kind == "bernoulli":
            return bernoulli_log_prob(x.flatten(1), params)  # (N, D), (N, S, D) -> (N, S)
        copies = x.unsqueeze(1).expand(-1, params.shape[1], -1, -1, -1).flatten(0, 1)  # (N, C, H, W) -> (N S, C, H, W)
        nats = self.distribution(params.flatten(0, 1)).log_prob(copies)
        return nats.flatten(1).sum(1).view(params.shape[:2])


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """sum_d x_d l_d - log(1 + e^l_d) (AEVB, appendix C.1). x: `(N, D)`. logits: `(N, S, D)`. Returns nats, `(N, S)`.

    AEVB: Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision under autocast
    return _Bernoulli.apply(logits, x.to(logits.dtype))  # type: ignore[no-any-return]


class _Bernoulli(torch.autograd.Function):
    """The sum, and its gradient x_d - sigmoid(l_d), in few passes over the logits: they are half of the work."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        """In a hundredth of the logarithms:

            sum_d (x_d - 1/2) l_d - |l_d| / 2 - log(1 + e^-|l_d|)

        The last terms are logarithms of numbers in (1, 2], so a product of a hundred of them still fits a float32.
        """
        ctx.save_for_backward(logits, x)
        size = logits.abs()
        with torch.autocast(logits.device.type, enabled=False):  # or the product's nats had three digits
            total = torch.bmm(logits, (x - 0.5).unsqueeze(2)).squeeze(2) - 0.5 * size.sum(-1)
        for part in size.neg_().exp_().add_(1).split(100, dim=-1):
            total -= part.prod(-1).log_()
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        logits, x = ctx.saved_tensors
        return logits.sigmoid().sub_(x.unsqueeze(1)).mul_(-gradient.unsqueeze(2)), None


def pixel_kind(images: ImageSpec, choice: PixelChoice) -> pixels.PixelKind:
    """The kind that `choice` names; "auto" takes what knows that levels have an order, wherever there are several."""
    if choice != "auto":
        return choice
    return "bernoulli" if images.levels == 2 else "logistic"
