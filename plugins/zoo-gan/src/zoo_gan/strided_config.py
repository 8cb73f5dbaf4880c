"""What shapes strided convolutional networks, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_gan.adversarial_config import AdversarialConfig


@dataclass(frozen=True, kw_only=True)
class StridedConfig(AdversarialConfig):
    """width: channels of the discriminator's first layer, doubled at each halving; the generator is its mirror image.

    depth: at least so many hidden layers in each network; what an image is too small for as strided convolutions
    becomes fully connected layers.
    norm: batch normalisation, or none (then a batch may be split in any way without changing the training).
    dropout: in the discriminator, after each hidden layer.
    """

    width: int = 64
    depth: int = 3
    norm: Literal["batch", "none"] = "batch"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "depth"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("dropout", 0 <= self.dropout < 1, "a probability in [0, 1)")
