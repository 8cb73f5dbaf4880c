"""What the two players of an adversarial network minimise, given the discriminator's outputs d(v).

    non-saturating   D: -E[log s(d(x))] - E[log(1 - s(d(G(z))))]        G: -E[log s(d(G(z)))]
    minimax          D: the same, which is -V(D, G)                     G: E[log(1 - s(d(G(z))))]
    least squares    D: 1/2 E[(d(x) - b)^2] + 1/2 E[(d(G(z)) - a)^2]    G: 1/2 E[(d(G(z)) - c)^2]
    Wasserstein      D: E[d(G(z))] - E[d(x)]                            G: -E[d(G(z))]
    hinge            D: E[max(0, 1 - d(x))] + E[max(0, 1 + d(G(z)))]    G: -E[d(G(z))]
    relativistic     D: -E[log s(d(x) - d(G(z)))], x and z in pairs     G: -E[log s(d(G(z)) - d(x))]

s(d) = 1 / (1 + e^-d). In order: Goodfellow et al., "Generative Adversarial Nets", 2014,
https://arxiv.org/abs/1406.2661, section 3 and equation 1; Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative
Adversarial Networks", 2017, https://arxiv.org/abs/1611.04076, equation 2; Arjovsky, Chintala, Bottou, "Wasserstein
GAN", 2017, https://arxiv.org/abs/1701.07875, equation 2; Lim, Ye, "Geometric GAN", 2017,
https://arxiv.org/abs/1705.02894; Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from
standard GAN", 2018, https://arxiv.org/abs/1807.00734.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


class Losses(ABC):
    """Both players' losses, means over images, from the discriminator's outputs `(N,)`.

    paired: whether the generator's depends on the real images too. shift_free: whether a constant added to every
    output changes nothing; then a discriminator's last bias never learns and should not exist.
    """

    paired = False
    shift_free = False

    @abstractmethod
    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        """The discriminator's loss, 0-d."""

    @abstractmethod
    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss, 0-d. real: the outputs of real images, where `paired`."""

    def readout(self, output: Tensor) -> Tensor:
        """The output as it is logged: a probability where it is a logit, else itself."""
        return output


class NonSaturating(Losses):
    """The generator's gradient does not vanish where the discriminator is sure."""

    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        return F.softplus(-real).mean() + F.softplus(generated).mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return F.softplus(-generated).mean()

    def readout(self, output: Tensor) -> Tensor:
        return output.sigmoid()


class Minimax(NonSaturating):
    """The game of value V itself: the generator minimises what the discriminator maximises."""

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -F.softplus(generated).mean()


@dataclass(frozen=True)
class LeastSquares(Losses):
    """a, b: the discriminator's targets for generated and for real images; c: the generator's."""

    a: float
    b: float
    c: float

    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        return ((real - self.b).square().mean() + (generated - self.a).square().mean()) / 2

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return (generated - self.c).square().mean() / 2


class Wasserstein(Losses):
    """Dual form of the distance between the distributions, if d is 1-Lipschitz, which something else has to see to."""

    shift_free = True

    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        return generated.mean() - real.mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -generated.mean()


class Hinge(Losses):
    """The discriminator wants a margin, and no more than that."""

    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + generated).mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        return -generated.mean()


class RelativisticPairing(Losses):
    """Each generated image against a real one: only which of the two looks more real counts."""

    paired = True
    shift_free = True

    def discriminator(self, real: Tensor, generated: Tensor) -> Tensor:
        return F.softplus(generated - real).mean()

    def generator(self, generated: Tensor, real: Tensor | None = None) -> Tensor:
        assert real is not None, "this loss is of pairs"
        return F.softplus(real - generated).mean()
