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
            sha256="5375eb220306ce249e39473226804bea5408a6c379fe9ea39770c0a5785afb07",
        ),
        Pretrained(
            tag="digits",
            source="weights/fvsbn.digits",
            sha256="53a76b4565dd5e97f2c69d66fae626edc58a4c7be2fef097bc9a34bbe3139934",
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
            sha256="0f180d4b3bc4faa6a62fd94e452a8011fec7115a9a29f3436cb4c66bbdc5fd7b",
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
            sha256="64b0e6ce5fd2b4a6805243be413e0b7dad66bf5a42aec6e458eafb6ce25896a4",
        ),
        Pretrained(
            tag="mnist_bin",
            source="weights/gated_pixelcnn.mnist_bin",
            sha256="6c5dfe0ffec99562a6d12503ce14ced9c1eb3d5f5a0f7a2f0919537c86e4844d",
        ),
        Pretrained(
            tag="digits",
            source="weights/gated_pixelcnn.digits",
            sha256="ded2ff4de39df2d1ae0cd9b00f9449cfad52969f87af1423c0489e5228d4cd30",
        ),
        Pretrained(
            tag="fashion",
            source="weights/gated_pixelcnn.fashion",
            sha256="1542828fb912c7099d174446eba1e43e67dee4b6c7ecdb61c5e07474e494995e",
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
