"""What the encoders and decoders of this family are made of, told without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """An encoder and the decoder that mirrors it (`networks.py`).

    network: "mlp" sees an image as a vector; "conv" halves its sides once for each of `widths`.
    hidden: widths of the encoder's fully connected layers, the decoder's in reverse; with "conv", those between the
    last feature map and the code. There may be none: an MLP is then a single layer on either side. widths: channels
    after each convolution of stride 2.
    dropout: after each hidden layer of an MLP.
    """

    network: Literal["mlp", "conv"] = "mlp"
    hidden: tuple[int, ...] = (200, 200)
    widths: tuple[int, ...] = (32, 64)
    activation: Literal["tanh", "relu", "leaky_relu", "silu", "sigmoid"] = "tanh"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("hidden", min(self.hidden, default=1) >= 1, "widths of at least 1")
        self.expect("widths", min(self.widths, default=0) >= 1, "one or more numbers of channels of at least 1")
        self.expect("dropout", 0 <= self.dropout < 1, "a probability in [0, 1)")
