"""PixelCNN++, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoregressive.network_config import NetworkConfig
from zoo_core import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class PixelCNNPPConfig(NetworkConfig):
    """Two streams of gated residual blocks, down to lower resolutions and up again.

    width: features of each stream. stages: resolutions, each next one half as high and as wide; a stage at which the
    whole image would be one unit has seen nothing and is left out. blocks: of each stage, on the way down and again on
    the way up (the paper's 5). components: logistics in the mixture of a pixel.
    dropout: share of a block's hidden features dropped in training (the paper's 0.5). conditional: take labels.
    """

    width: int = 32
    stages: int = 3
    blocks: int = 2
    components: int = 10
    dropout: float = 0.0
    conditional: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("width", "stages", "blocks", "components")
        self.expect_share("dropout")


SPECS = (
    ModelSpec(
        name="pixelcnnpp",
        family="autoregressive",
        summary="PixelCNN++: two streams at several resolutions, whole pixels by mixtures of discretised logistics",
        target="zoo_autoregressive.pixelcnnpp.model:PixelCNNPP",
        config=PixelCNNPPConfig(),
        tiny=PixelCNNPPConfig(width=12, stages=2, blocks=1, components=4),
        likelihood="exact",
        conditioning="class",
        paper=Paper(
            title="PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood "
            "and Other Modifications",
            authors="Tim Salimans, Andrej Karpathy, Xi Chen, Diederik P. Kingma",
            year=2017,
            url="https://arxiv.org/abs/1701.05517",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/pixelcnnpp.digits",
                sha256="5e892256543d4cadc25914a4333b323bcc4cfb5e865ea5a8640084d35f9f2c31",
            ),
            Pretrained(
                tag="emoji",
                source="weights/pixelcnnpp.emoji",
                sha256="d390f6c165efb2d7ff7adbc73481afb24d5704e71fb3b336e9167c9328d16c66",
            ),
        ),
    ),
)
