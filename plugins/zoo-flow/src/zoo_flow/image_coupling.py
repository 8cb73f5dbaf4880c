"""Affine couplings of images: some pixels or channels stay as they are and say how the others are scaled and shifted.

Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, https://arxiv.org/abs/1605.08803, with b = 1
where a pixel is known:

    y = b x + (1 - b) (x exp(s(b x)) + t(b x)),    log |det dy/dx| = sum of (1 - b) s(b x)     (equations 6 and 9)
    s = scale tanh(.) + log_scale, both learned for each channel

log_scale, and the bias of t, are the activation normalisation of Kingma, Dhariwal, "Glow", 2018,
https://arxiv.org/abs/1807.03039, section 3.1: where they are initialised from the first batch, the changed half begins
with mean 0 and variance 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from zoo_flow.image_networks import Network
from zoo_flow.squeeze import Halves, checkerboard_mask

# The mean and the standard deviation of each channel over the first batch, where the second argument, `(1, 1, H, W)` or
# None for everywhere, is 1: `multiscale.py` makes them. (N, C, H, W) -> (C,), (C,)
Moments = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Coupling(nn.Module):
    """x `(N, channels, H, W)`, given a known tensor of the same places.

    network: `(N, inputs, H, W)` to `(N, 2 channels, H, W)`, a module that is a `Network` too.
    """

    network: Network

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, known: Tensor, x: Tensor, moments: Moments | None = None) -> tuple[Tensor, Tensor]:
        """y and the log-determinant `(N,)`. moments: initialise from them first."""
        if moments is not None:
            self.normalise(*moments(x, None))
        s, t = self.scale_and_shift(known)
        return torch.addcmul(t, x, s.exp()), s.sum((1, 2, 3))

    def inverse(self, known: Tensor, y: Tensor) -> Tensor:
        s, t = self.scale_and_shift(known)
        return (y - t) * s.neg().exp()

    def scale_and_shift(self, known: Tensor) -> Halves:
        """s and t, in the precision of `known`, whatever the network's is."""
        raw, t = self.network(known).to(known.dtype).chunk(2, 1)
        return torch.addcmul(self.log_scale, self.scale, raw.tanh()), t

    @torch.no_grad()
    def normalise(self, mean: Tensor, deviation: Tensor) -> None:
        """Let the output begin with mean 0 and variance 1 where the input has these."""
        self.log_scale.copy_(deviation.log().neg().view(-1, 1, 1))
        self.network.start_at(-mean / deviation)


class Checkerboard(Coupling):
    """Equation 9 as it stands, on images of any size: pixels of one colour are known. `(N, C, H, W)` in and out."""

    known: Tensor
    changed: Tensor

    def __init__(self, network: nn.Module, channels: int, height: int, width: int, *, odd: bool) -> None:
        super().__init__(network, channels)
        mask = checkerboard_mask(height, width, odd)
        self.register_buffer("known", mask, persistent=False)
        self.register_buffer("changed", 1 - mask, persistent=False)

    def forward(  # type: ignore[override]
        self, x: Tensor, moments: Moments | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """context: what else the network sees, `(N, inputs - C, H, W)`."""
        if moments is not None:
            self.normalise(*moments(x, self.changed))
        s, t = self.masked(x, context)
        return torch.addcmul(t, x, s.exp()), s.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:  # type: ignore[override]
        s, t = self.masked(y, context)
        return (y - t) * s.neg().exp()

    def masked(self, x: Tensor, context: Tensor | None) -> Halves:
        s, t = self.scale_and_shift(with_context(self.known * x, context))
        return self.changed * s, self.changed * t


def alternate(
    couplings: Iterable[nn.Module], a: Tensor, b: Tensor, moments: Moments | None = None, context: Tensor | None = None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The first coupling changes b given a, the second a given b, and so on. Both halves and the log-determinants."""
    log_dets = []
    for i, coupling in enumerate(couplings):
        if i % 2 == 0:
            b, log_det = coupling(with_context(a, context), b, moments)
        else:
            a, log_det = coupling(with_context(b, context), a, moments)
        log_dets.append(log_det)
    return a, b, log_dets


def unalternate(couplings: nn.ModuleList, a: Tensor, b: Tensor) -> Halves:
    """The inverse of `alternate`, without a context."""
    for i in reversed(range(len(couplings))):
        if i % 2 == 0:
            b = couplings[i].inverse(a, b)
        else:
            a = couplings[i].inverse(b, a)
    return a, b


def with_context(known: Tensor, context: Tensor | None) -> Tensor:
    return known if context is None else torch.cat([known, context], 1)
