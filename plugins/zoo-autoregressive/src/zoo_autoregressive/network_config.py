"""What the configs of the family's networks hold and check alike. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """weight_decay: AdamW's, on weights but not on biases."""

    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")

    def expect_sizes(self, *names: str) -> None:
        for name in names:
            self.expect(name, getattr(self, name) >= 1, "at least 1")

    def expect_odd(self, *names: str) -> None:
        """Of kernels, which are centred on a pixel."""
        for name in names:
            size = getattr(self, name)
            self.expect(name, size >= 3 and size % 2 == 1, "an odd number of pixels, at least 3")

    def expect_share(self, name: str) -> None:
        self.expect(name, 0 <= getattr(self, name) < 1, "a share in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class PixelInputConfig(NetworkConfig):
    """inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each; few images make one-hot overfit."""

    inputs: Literal["scaled", "onehot"] = "scaled"
