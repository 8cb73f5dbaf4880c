"""ImageGPT, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoregressive.network_config import PixelInputConfig
from zoo_core import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class ImageGPTConfig(PixelInputConfig):
    """A decoder-only transformer over the sequence of (sub)pixels.

    width: of a token. blocks: attention and MLP, one after the other. heads: of each attention; they share the width.
    inputs: a learned vector for each level (one-hot), or one vector times the pixel in [0, 1] (scaled), which knows
    that neighbouring levels are alike. positions: where the learned position embeddings start: at waves over rows,
    columns and channels (grid), or at noise, as in the paper, so that even the grid must be learned (noise).
    dropout: share of the embedding and of each residual branch dropped in training.
    weight_decay: AdamW's, on weights, embeddings included, but not on biases and norms.
    """

    width: int = 64
    blocks: int = 4
    heads: int = 2
    inputs: Literal["scaled", "onehot"] = "onehot"
    positions: Literal["grid", "noise"] = "grid"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_sizes("heads", "blocks")
        self.expect(
            "width", self.width >= 2 and self.width % self.heads == 0, f"2 or more, a multiple of {self.heads} heads"
        )
        self.expect_share("dropout")


SPECS = (
    ModelSpec(
        name="image_gpt",
        family="autoregressive",
        summary="ImageGPT: a decoder-only transformer over the sequence of pixels",
        target="zoo_autoregressive.image_gpt.model:ImageGPT",
        config=ImageGPTConfig(),
        tiny=ImageGPTConfig(width=16, blocks=2, heads=2),
        likelihood="exact",
        paper=Paper(
            title="Generative Pretraining from Pixels",
            authors="Mark Chen, Alec Radford, Rewon Child, Jeff Wu, Heewoo Jun, David Luan, Ilya Sutskever",
            year=2020,
            url="https://proceedings.mlr.press/v119/chen20s.html",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/image_gpt.digits",
                sha256="7448d00a39455b08868a1bced4cea5d41aef8d856e6651ed920e9476cbbcb094",
            ),
            Pretrained(
                tag="mnist_bin",
                source="weights/image_gpt.mnist_bin",
                sha256="746bf8e5af86d7d273d950bf401ba045c70a681e19e8a8e295641ef06ea8142b",
            ),
        ),
    ),
)
