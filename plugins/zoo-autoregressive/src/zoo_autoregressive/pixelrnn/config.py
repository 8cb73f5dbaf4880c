"""PixelRNN with Row LSTM and with Diagonal BiLSTM, as far as they are known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class PixelRNNConfig(Config):
    """Layers of LSTMs over the pixels of an image.

    width: h, units of an LSTM; between layers there are 2h features. layers: how many LSTMs.
    input_kernel: of the first convolution; odd. head: features of the last hidden layer.
    dropout: share of features dropped in training, of those that go into a layer or the head, never along a recurrence.
    inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each.
    weight_decay: AdamW's, on weights but not on biases.
    """

    width: int = 16
    layers: int = 2
    input_kernel: int = 7
    head: int = 32
    dropout: float = 0.0
    inputs: Literal["scaled", "onehot"] = "scaled"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "layers", "head"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        _expect_kernel(self, "input_kernel")
        self.expect("dropout", 0 <= self.dropout < 1, "a share in [0, 1)")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class RowLSTMConfig(PixelRNNConfig):
    """kernel: pixels of the row above, and of the own row before masking, that an LSTM looks at; odd."""

    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect_kernel(self, "kernel")


def _expect_kernel(config: Config, field: str) -> None:
    size = getattr(config, field)
    config.expect(field, size >= 3 and size % 2 == 1, "an odd number of pixels, at least 3")


_PAPER = Paper(
    title="Pixel Recurrent Neural Networks",
    authors="Aäron van den Oord, Nal Kalchbrenner, Koray Kavukcuoglu",
    year=2016,
    url="https://arxiv.org/abs/1601.06759",
)

SPECS = (
    ModelSpec(
        name="pixelrnn_row",
        family="autoregressive",
        summary="Row LSTM: a convolutional LSTM from row to row, with a blind spot",
        target="zoo_autoregressive.pixelrnn.model:RowPixelRNN",
        config=RowLSTMConfig(),
        tiny=RowLSTMConfig(width=6, layers=1, head=12),
        likelihood="exact",
        paper=_PAPER,
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/pixelrnn_row.digits",
                sha256="b6baab9ffce617d1c45047792b22aefdb8733428e5486fc1a96f91741b17fdcc",
            ),
        ),
    ),
    ModelSpec(
        name="pixelrnn_diag",
        family="autoregressive",
        summary="Diagonal BiLSTM: LSTMs along both diagonals, which see all earlier pixels",
        target="zoo_autoregressive.pixelrnn.model:DiagonalPixelRNN",
        config=PixelRNNConfig(),
        tiny=PixelRNNConfig(width=6, layers=1, head=12),
        likelihood="exact",
        paper=_PAPER,
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/pixelrnn_diag.digits",
                sha256="9ef33eb04d6ab40e80a89f891c87733146d1be43991f6b7cbdeba176d51ae1dd",
            ),
        ),
    ),
)
