"""PixelRNN with Row LSTM and with Diagonal BiLSTM, as far as they are known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoregressive.network_config import PixelInputConfig
from zoo_core import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class PixelRNNConfig(PixelInputConfig):
    """Layers of LSTMs over the pixels of an image.

    width: h, units of an LSTM; between layers there are 2h features. layers: how many LSTMs.
    input_kernel: of the first convolution; odd. head: features of the last hidden layer.
    dropout: share of features dropped in training, of those that go into a layer or the head, never along a recurrence.
    """

    width: int = 16
    layers: int = 2
    input_kernel: int = 7
    head: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("width", "layers", "head")
        self.expect_odd("input_kernel")
        self.expect_share("dropout")


@dataclass(frozen=True, kw_only=True)
class RowLSTMConfig(PixelRNNConfig):
    """kernel: pixels of the row above, and of the own row before masking, that an LSTM looks at; odd."""

    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_odd("kernel")


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
