"""The machine itself: an energy of visible and hidden units, what one layer says about the other, and Gibbs steps.

P. Smolensky, "Information Processing in Dynamical Systems: Foundations of Harmony Theory", 1986 (his harmony is minus
this energy). G. Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010,
https://www.cs.toronto.edu/~hinton/absps/guideTR.pdf:

    E(v, h) = -b.v - c.h - h.W v,      P(v, h) = exp(-E(v, h)) / Z
    F(v) = -log sum_h exp(-E(v, h)) = -b.v - sum_j log(1 + exp(c_j + W_j.v)),      P(v) = exp(-F(v)) / Z
    P(h_j = 1 | v) = sigmoid(c_j + W_j.v),      P(v_i = 1 | h) = sigmoid(b_i + h.W_i)

Pixels of more than two levels are softmax units, one of L states each: R. Salakhutdinov, A. Mnih, G. Hinton,
"Restricted Boltzmann Machines for Collaborative Filtering", 2007, https://doi.org/10.1145/1273496.1273596, section 2.1:

    P(v_i = l | h) = softmax_l(b_il + h.W_il)

Between a base of independent units, biases a and d (beta = 0), and the machine (beta = 1) lie machines of their own: R.
Salakhutdinov, I. Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008,
https://doi.org/10.1145/1390156.1390266, where d = 0:

    -F_beta(v) = ((1 - beta) a + beta b).v + sum_j log(1 + exp((1 - beta) d_j + beta (c_j + W_j.v)))
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.pixels import Bernoulli, Categorical
from zoo_core.specs import ImageSpec


class Base(NamedTuple):
    """Independent units: visible, a, `(V,)`, and hidden, d, `(hidden,)`, both as logits."""

    visible: Tensor
    hidden: Tensor


class Machine(nn.Module):
    """Visible units V: a number for each binary pixel, `levels` of them, one-hot, for each softmax pixel.

    weight: W, `(hidden, V)`, from N(0, 0.01^2) as the guide has it. visible_bias: b. hidden_bias: c.
    """

    def __init__(self, images: ImageSpec, hidden: int) -> None:
        super().__init__()
        self.images, self.hidden = images, hidden
        self.states = 1 if images.levels == 2 else images.levels  # numbers for each pixel
        visible = images.dims * self.states
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    @property
    def noise(self) -> int:
        """Uniform numbers that a Gibbs step takes for each image: one for each hidden unit and each pixel."""
        return self.hidden + self.images.dims

    def units(self, x: Tensor) -> Tensor:
        """Integer images as visible units, 0 or 1. `(N, C, H, W) -> (N, V)`."""
        x = x.flatten(1)
        if self.states > 1:
            x = (x.unsqueeze(2) == torch.arange(self.states, device=x.device)).flatten(1)  # (N, D) -> (N, D levels)
        return x.to(self.weight.dtype)

    def pixels(self, v: Tensor) -> Tensor:
        """Visible units as uint8 images. `(N, V) -> (N, C, H, W)`."""
        x = v if self.states == 1 else v.view(len(v), -1, self.states).argmax(2)
        return x.to(torch.uint8).view(-1, *self.images.shape)

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The free energy F(v), nats, `(N,)`, and `inputs`; of the parameters' dtype also under autocast."""
        inputs = self.inputs(v)
        return -(v * self.visible_bias).sum(1) - F.softplus(inputs).sum(1), inputs

    def inputs(self, v: Tensor) -> Tensor:
        """c + W v, the logits of the hidden units. `(N, V) -> (N, hidden)`."""
        return F.linear(v, self.weight, self.hidden_bias).to(self.weight.dtype)

    def outputs(self, h: Tensor) -> Tensor:
        """b + h W, the logits of the visible units. `(N, hidden) -> (N, V)`."""
        return torch.addmm(self.visible_bias, h, self.weight)

    def gibbs(self, inputs: Tensor, u: Tensor, beta: float = 1.0, base: Base | None = None) -> Tensor:
        """v' from h from v, where `inputs` is that of v; with `base`, of the machine that is `beta` of the way from it.

        u: uniform noise, `(N, noise)`. Returns `(N, V)`.
        """
        if base is not None:
            inputs = torch.lerp(base.hidden, inputs, beta)
        h = (u[:, : self.hidden] < inputs.sigmoid()).to(self.weight.dtype)
        logits = self.outputs(h)
        if base is not None:
            logits = torch.lerp(base.visible, logits, beta)
        return self.pick(logits, u[:, self.hidden :])

    def pick(self, logits: Tensor, u: Tensor) -> Tensor:
        """Visible units with these logits, `(N, V)` or `(V,)`, by uniform noise `(N, D)`. `(N, V)`."""
        return self.units(self.distribution(logits.expand(len(u), -1)).icdf(u))

    def distribution(self, logits: Tensor) -> Bernoulli | Categorical:
        """Of pixels, `(N, D)`."""
        return Bernoulli(logits) if self.states == 1 else Categorical(logits.unflatten(1, (-1, self.states)))

    def log_partition_of(self, base: Base) -> Tensor:
        """log Z at beta = 0, in closed form. nats, 0-d."""
        a = base.visible
        each = F.softplus(a) if self.states == 1 else a.view(-1, self.states).logsumexp(1)  # (D,)
        return each.sum() + F.softplus(base.hidden).sum()
