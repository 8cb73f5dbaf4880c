"""The two recurrent layers of PixelRNN, over all pixels of a batch at once.

van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, https://arxiv.org/abs/1601.06759,
sections 3.1 to 3.3. Feature maps are `(H, W, N, features)`: the pixels of a row, or of a diagonal, lie together, and
each step of a recurrence is one product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_autoregressive.causal import MaskedConv
from zoo_autoregressive.pixelrnn.lstm import Reorder, diagonals, recur, rows

FORGET_BIAS = 1.0  # so that at first cells keep what they hold (Gers, Schmidhuber, Cummins, 2000)


class RecurrentLayer(nn.Module, ABC):
    """x `(H, W, N, 2h)` -> the features to add to it, a 1x1 convolution of an LSTM's h (figure 5, right).

    wide, hidden: the groups of x's and of the LSTM's features, int64. states, inputs: taps of K^ss and of K^is, whose
    last one is the pixel itself. directions: LSTMs of their own weights. K^ss and K^is are one tensor, as on images of
    one row no state would ever reach a K^ss of its own.
    """

    mask: Tensor

    def __init__(self, wide: Tensor, hidden: Tensor, *, states: int, inputs: int, directions: int) -> None:
        super().__init__()
        self.hidden = len(hidden)
        self.shape = directions, states, inputs
        self.order = torch.argsort(hidden.repeat(4), stable=True)  # the 4h sums of the gates, those of a group together
        own = wide <= hidden.repeat(4)[:, None]  # mask B, (4h, 2h)
        earlier = own.new_ones(len(own), states * self.hidden + (inputs - 1) * len(wide))
        mask = torch.cat([earlier, own], 1)
        bound = mask.shape[1] ** -0.5
        self.weight = nn.Parameter(torch.empty(directions, *mask.shape).uniform_(-bound, bound))  # [K^ss, K^is]
        bias = torch.zeros(directions, 4, self.hidden)
        bias[:, 1] = FORGET_BIAS
        self.bias = nn.Parameter(bias.flatten())
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        self.up = MaskedConv(hidden, wide, bias=False)

    def parts(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each direction K^ss `(states, h, 4h)`, K^is `(4h, inputs * 2h)` and its biases `(4h,)`."""
        directions, states, _ = self.shape
        parts = []
        for weight, bias in zip(self.weight * self.mask, self.bias.chunk(directions)):
            state = weight[:, : states * self.hidden].unflatten(1, (states, self.hidden)).permute(1, 2, 0)
            parts.append((state, weight[:, states * self.hidden :], bias))
        return parts

    @abstractmethod
    def states(self, x: Tensor) -> Tensor:
        """h, `(H, W, N, h)`."""

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(self.up, self.states(x))


class RowLSTM(RecurrentLayer):
    """From row to row, all pixels of a row at once; K^ss reaches kernel // 2 to either side in the row above.

    K^is is masked: it reaches kernel // 2 to the left in its own row, and not to the right.
    """

    def __init__(self, wide: Tensor, hidden: Tensor, kernel: int) -> None:
        super().__init__(wide, hidden, states=kernel, inputs=kernel // 2 + 1, directions=1)

    def states(self, x: Tensor) -> Tensor:
        (state, weight, bias), (height, width, n, _), (_, kernel, taps) = *self.parts(), x.shape, self.shape
        padded = F.pad(x, (0, 0, 0, 0, taps - 1, 0))
        window = torch.cat([padded[:, k : k + width] for k in range(taps)], -1)  # (H, W, N, taps * 2h)
        gates = F.linear(window, weight, bias).flatten(0, 1)  # (H W, N, 4h)
        h = recur(gates, state.contiguous(), rows(height, width, n, kernel).steps, carry=kernel // 2)
        return h.view(height, width, n, -1)


class DiagonalBiLSTM(RecurrentLayer):
    """From diagonal to diagonal, from the upper left and from the upper right; K^ss sees the pixels above and beside.

    The right-to-left LSTM sees pixels to the right, so that its h is moved down by one row, where all it saw is past.
    """

    def __init__(self, wide: Tensor, hidden: Tensor) -> None:
        super().__init__(wide, hidden, states=2, inputs=1, directions=2)

    def states(self, x: Tensor) -> Tensor:
        forward, backward = self.parts()
        h = self._run(x, *forward, mirrored=False)
        if len(x) == 1:
            return h
        above = self._run(x[:-1], *backward, mirrored=True)
        return torch.cat([h[:1], h[1:] + above])

    def _run(self, x: Tensor, state: Tensor, weight: Tensor, bias: Tensor, mirrored: bool) -> Tensor:
        height, width, n, _ = x.shape
        path = diagonals(height, width, n, mirrored)
        order = torch.tensor(path.pixels, device=x.device)
        inverse = order.argsort()
        gates = F.linear(Reorder.apply(x.flatten(0, 1), order, inverse), weight, bias)  # (H W, N, 4h)
        h = recur(gates, state.contiguous(), path.steps, carry=1)
        h = Reorder.apply(h, inverse, order)
        return h.view(height, width, n, -1)


def pointwise(conv: MaskedConv, x: Tensor) -> Tensor:
    """A 1x1 convolution of features that are the last dimension: `(..., I)` -> `(..., O)`."""
    return F.linear(x, conv.masked()[:, :, 0, 0], conv.bias)
