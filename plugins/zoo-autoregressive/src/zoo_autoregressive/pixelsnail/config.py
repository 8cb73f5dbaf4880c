"""PixelSNAIL, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoregressive.network_config import PixelInputConfig
from zoo_core import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class PixelSNAILConfig(PixelInputConfig):
    """Blocks of gated causal convolutions, each followed by attention over all earlier pixels.

    width: features of a pixel. blocks: how many, each with `residuals` gated residual blocks and one attention.
    kernel: rows and columns, up to and including the pixel's own, that a gated convolution sees.
    keys, values: features of a pixel's key and value. dropout: share of the features inside a gated block dropped in
    training.
    """

    width: int = 32
    blocks: int = 2
    residuals: int = 1
    kernel: int = 2
    keys: int = 16
    values: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("width", "blocks", "residuals", "keys", "values")
        self.expect("kernel", self.kernel >= 2, "at least 2 rows and columns, the pixel's own among them")
        self.expect_share("dropout")


SPECS = (
    ModelSpec(
        name="pixelsnail",
        family="autoregressive",
        summary="Gated causal convolutions and self-attention over all earlier pixels",
        target="zoo_autoregressive.pixelsnail.model:PixelSNAIL",
        config=PixelSNAILConfig(),
        tiny=PixelSNAILConfig(width=8, blocks=1, keys=4, values=4),
        likelihood="exact",
        paper=Paper(
            title="PixelSNAIL: An Improved Autoregressive Generative Model",
            authors="Xi Chen, Nikhil Mishra, Mostafa Rohaninejad, Pieter Abbeel",
            year=2017,
            url="https://arxiv.org/abs/1712.09763",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/pixelsnail.digits",
                sha256="c15fee33d077f54e2a361df3684619c2246399edaac9ada8ada49a813394fcb8",
            ),
        ),
    ),
)
