"""What models whose energy is a network have in common, told without torch: the network, and how log Z is estimated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoo_core.config import Config


@dataclass(frozen=True, kw_only=True)
class AISConfig(Config):
    """Annealed importance sampling when training ends: chains, and distributions between the base and the model.

    leapfrog: steps of each Hamiltonian transition; 1 is the Metropolis-adjusted Langevin algorithm.
    """

    chains: int = 200
    distributions: int = 1000
    leapfrog: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("chains", self.chains >= 2, "at least 2, or the weights have no spread")
        self.expect("distributions", self.distributions >= 2, "at least 2, the base and the model")
        self.expect("leapfrog", self.leapfrog >= 1, "at least 1 step")


@dataclass(frozen=True, kw_only=True)
class EnergyConfig(Config):
    """A network from an image to a number (`networks.py`).

    network: "conv" is a 3×3 convolution to `widths[0]` channels, then one of stride 2 to each further width; "mlp" sees
    an image as a vector, and has no convolutions.
    hidden: widths of the fully connected layers that follow.
    head: "linear", or "quadratic", in which a far away image can have an energy that grows as a parabola.
    """

    network: Literal["conv", "mlp"] = "conv"
    widths: tuple[int, ...] = (32, 64, 128)
    hidden: tuple[int, ...] = (128,)
    activation: Literal["silu", "softplus"] = "silu"
    head: Literal["linear", "quadratic"] = "linear"
    ais: AISConfig = field(default_factory=AISConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("widths", min(self.widths, default=0) >= 1, "one or more numbers of channels of at least 1")
        least = 0 if self.network == "conv" else 1
        self.expect("hidden", len(self.hidden) >= least, "at least one width, where there are no convolutions")
        self.expect("hidden", min(self.hidden, default=1) >= 1, "widths of at least 1")
