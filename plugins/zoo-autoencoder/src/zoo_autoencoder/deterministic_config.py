"""What the autoencoders without a likelihood have in common, told without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.config import Config


@dataclass(frozen=True, kw_only=True)
class DensityConfig(Config):
    """The mixture of Gaussians that is fitted to the codes of the training images after training (`code_density.py`).

    components: K. covariance: of each component. floor: added to every variance, where codes have variance 1; it is
    what keeps a component from shrinking onto one code. iterations: of EM, at most.
    """

    components: int = 10
    covariance: Literal["full", "diagonal"] = "full"
    floor: float = 1e-3
    iterations: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("components", self.components >= 1, "at least 1")
        self.expect("floor", self.floor > 0, "a variance above 0, or a component could shrink onto one code")
        self.expect("iterations", self.iterations >= 1, "at least 1")


@dataclass(frozen=True, kw_only=True)
class DeterministicConfig(NetworkConfig):
    """An encoder, a decoder, and a density of the codes.

    latent: numbers in a code. code: what the code's units are. loss: "cross_entropy" with logistic pixels, "squared"
    with linear ones. tied: the decoder's weights are the encoder's, transposed; MLPs only. weight_decay: AdamW's.
    """

    latent: int = 20
    code: Literal["linear", "sigmoid", "tanh", "relu"] = "linear"
    loss: Literal["squared", "cross_entropy"] = "cross_entropy"
    tied: bool = False
    weight_decay: float = 0.0
    density: DensityConfig = DensityConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("latent", self.latent >= 1, "at least 1")
        self.expect("tied", not self.tied or self.network == "mlp", 'false where network = "conv"')
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")
