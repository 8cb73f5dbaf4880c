"""What the family offers, told without torch: config and spec of each model that is one file, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoregressive.image_gpt import config as image_gpt
from zoo_autoregressive.image_gpt.config import ImageGPTConfig
from zoo_autoregressive.made import config as made
from zoo_autoregressive.made.config import MADEConfig, MADEOrdersConfig
from zoo_autoregressive.nade import config as nade
from zoo_autoregressive.nade.config import NADEConfig
from zoo_autoregressive.network_config import PixelInputConfig
from zoo_autoregressive.pixelcnnpp import config as pixelcnnpp
from zoo_autoregressive.pixelcnnpp.config import PixelCNNPPConfig
from zoo_autoregressive.pixelrnn import config as pixelrnn
from zoo_autoregressive.pixelrnn.config import PixelRNNConfig, RowLSTMConfig
from zoo_autoregressive.pixelsnail import config as pixelsnail
from zoo_autoregressive.pixelsnail.config import PixelSNAILConfig
from zoo_core import ModelSpec, Paper, Pretrained

__all__ = [
    "SPECS",
    "FVSBNConfig",
    "GatedPixelCNNConfig",
    "ImageGPTConfig",
    "MADEConfig",
    "MADEOrdersConfig",
    "NADEConfig",
    "PixelCNNConfig",
    "PixelCNNPPConfig",
    "PixelRNNConfig",
    "PixelSNAILConfig",
    "RowLSTMConfig",
]


@dataclass(frozen=True, kw_only=True)
class FVSBNConfig(PixelInputConfig):
    """A linear (logistic or softmax) regression for each pixel."""


FVSBN = ModelSpec(
    name="fvsbn",
    family="autoregressive",
    summary="Fully visible sigmoid belief network: a logistic regression per pixel on those before it",
    target="zoo_autoregressive.fvsbn:FVSBN",
    config=FVSBNConfig(),
    tiny=FVSBNConfig(),
    likelihood="exact",
    paper=Paper(
        title="Does the Wake-sleep Algorithm Produce Good Density Estimators?",
        authors="Brendan J. Frey, Geoffrey E. Hinton, Peter Dayan",
        year=1996,
        url="https://www.cs.toronto.edu/~hinton/absps/wsperf.htm",
    ),
    pretrained=(
        Pretrained(
            tag="mnist_bin",
            source="weights/fvsbn.mnist_bin",
            sha256="5245edf64f61312ee4b0c7219f2a8d66a31a9e523252cb8b076e67b1647e0955",
        ),
        Pretrained(
            tag="digits",
            source="weights/fvsbn.digits",
            sha256="cdda4cad7cd3930413839febf7238fda5c84b8dc83c3eb0635f6a677c4318428",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig(PixelInputConfig):
    """Masked convolutions.

    width: h, features inside a residual block; between blocks there are 2h. blocks: how many of them.
    kernel: of the blocks, input_kernel: of the first layer; odd. head: features of the last hidden layer.
    """

    width: int = 16
    blocks: int = 15
    kernel: int = 3
    input_kernel: int = 7
    head: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("width", "blocks", "head")
        self.expect_odd("kernel", "input_kernel")


PIXELCNN = ModelSpec(
    name="pixelcnn",
    family="autoregressive",
    summary="Masked convolutions: all conditionals in one pass, with a blind spot",
    target="zoo_autoregressive.pixelcnn:PixelCNN",
    config=PixelCNNConfig(),
    tiny=PixelCNNConfig(width=6, blocks=2, head=12),
    likelihood="exact",
    paper=Paper(
        title="Pixel Recurrent Neural Networks",
        authors="Aäron van den Oord, Nal Kalchbrenner, Koray Kavukcuoglu",
        year=2016,
        url="https://arxiv.org/abs/1601.06759",
    ),
    pretrained=(
        Pretrained(
            tag="digits",
            source="weights/pixelcnn.digits",
            sha256="a9ea218f7e16fd566e2661ef8f62ba3be435450ca1bb267a1ea163acf8c3a14e",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class GatedPixelCNNConfig(PixelInputConfig):
    """Gated convolutions in two stacks.

    width: p, features of each stack. layers: gated layers. kernel: n, input_kernel: that of the first layer; odd.
    head: features of the last hidden layer. conditional: take labels.
    """

    width: int = 32
    layers: int = 4
    kernel: int = 3
    input_kernel: int = 7
    head: int = 32
    conditional: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("width", "layers", "head")
        self.expect_odd("kernel", "input_kernel")


GATED_PIXELCNN = ModelSpec(
    name="gated_pixelcnn",
    family="autoregressive",
    summary="PixelCNN with gates and two stacks, without a blind spot; optionally class-conditional",
    target="zoo_autoregressive.gated_pixelcnn:GatedPixelCNN",
    config=GatedPixelCNNConfig(),
    tiny=GatedPixelCNNConfig(width=18, layers=2, head=24, conditional=True),
    likelihood="exact",
    conditioning="class",
    paper=Paper(
        title="Conditional Image Generation with PixelCNN Decoders",
        authors="Aäron van den Oord, Nal Kalchbrenner, Oriol Vinyals, Lasse Espeholt, Alex Graves, Koray Kavukcuoglu",
        year=2016,
        url="https://arxiv.org/abs/1606.05328",
    ),
    pretrained=(
        Pretrained(
            tag="digits_transformed",
            source="weights/gated_pixelcnn.digits_transformed",
            sha256="f7f4c09b8aae584ecef452b1736562e92d955b6ed2d1985d284daf218dd7fb9f",
        ),
        Pretrained(
            tag="mnist_bin",
            source="weights/gated_pixelcnn.mnist_bin",
            sha256="a4c5e9de1c9a57a01bdee2ba5f96880bff35ff6d05abe7e1e3021a5531cd8b62",
        ),
        Pretrained(
            tag="digits",
            source="weights/gated_pixelcnn.digits",
            sha256="81c2228f927f341fe17c2348037dcfc61d38027f0d44caf394f7eeb6106a4e44",
        ),
        Pretrained(
            tag="fashion",
            source="weights/gated_pixelcnn.fashion",
            sha256="3cac19f31334e22f32f5577316f7ebac01a5b26d0ef75a1ae95219dfe257f205",
        ),
    ),
)

SPECS = (  # simplest first
    FVSBN,
    *nade.SPECS,
    *made.SPECS,
    *pixelrnn.SPECS,
    PIXELCNN,
    GATED_PIXELCNN,
    *pixelcnnpp.SPECS,
    *pixelsnail.SPECS,
    *image_gpt.SPECS,
)
