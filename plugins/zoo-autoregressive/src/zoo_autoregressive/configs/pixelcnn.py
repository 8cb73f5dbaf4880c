"""PixelCNN and Gated PixelCNN, as far as they are known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig(Config):
    """Masked convolutions.

    width: h, features inside a residual block; between blocks there are 2h. blocks: how many of them.
    kernel: of the blocks, input_kernel: of the first layer; odd. head: features of the last hidden layer.
    inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each.
    weight_decay: AdamW's, on weights but not on biases.
    """

    width: int = 16
    blocks: int = 15
    kernel: int = 3
    input_kernel: int = 7
    head: int = 32
    inputs: Literal["scaled", "onehot"] = "scaled"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "blocks", "head"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("kernel", "input_kernel"):
            size = getattr(self, name)
            self.expect(name, size >= 3 and size % 2 == 1, "an odd number of pixels, at least 3")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class GatedPixelCNNConfig(Config):
    """Gated convolutions in two stacks.

    width: p, features of each stack. layers: gated layers. kernel: n, input_kernel: that of the first layer; odd.
    head: features of the last hidden layer. conditional: take labels.
    inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each.
    weight_decay: AdamW's, on weights but not on biases.
    """

    width: int = 32
    layers: int = 4
    kernel: int = 3
    input_kernel: int = 7
    head: int = 32
    conditional: bool = False
    inputs: Literal["scaled", "onehot"] = "scaled"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "layers", "head"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("kernel", "input_kernel"):
            size = getattr(self, name)
            self.expect(name, size >= 3 and size % 2 == 1, "an odd number of pixels, at least 3")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


SPECS = (
    ModelSpec(
        name="pixelcnn",
        family="autoregressive",
        summary="Masked convolutions: all conditionals in one pass; has a blind spot",
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
    ),
    ModelSpec(
        name="gated_pixelcnn",
        family="autoregressive",
        summary="PixelCNN with gates and two stacks: no blind spot; with labels if wanted",
        target="zoo_autoregressive.gated_pixelcnn:GatedPixelCNN",
        config=GatedPixelCNNConfig(),
        tiny=GatedPixelCNNConfig(width=18, layers=2, head=24, conditional=True),
        likelihood="exact",
        conditioning="class",
        paper=Paper(
            title="Conditional Image Generation with PixelCNN Decoders",
            authors="Aäron van den Oord, Nal Kalchbrenner, Oriol Vinyals, Lasse Espeholt, Alex Graves, "
            "Koray Kavukcuoglu",
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
    ),
)
