"""NADE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoregressive.network_config import PixelInputConfig
from zoo_core import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class NADEConfig(PixelInputConfig):
    """Hidden layers that share their weights, one for each pixel.

    hidden: units of each hidden layer.
    """

    hidden: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("hidden", self.hidden >= 1, "at least 1 unit")


SPECS = (
    ModelSpec(
        name="nade",
        family="autoregressive",
        summary="Neural autoregressive distribution estimator: hidden layers that share their weights",
        target="zoo_autoregressive.nade.model:NADE",
        config=NADEConfig(),
        tiny=NADEConfig(hidden=32),
        likelihood="exact",
        paper=Paper(
            title="The Neural Autoregressive Distribution Estimator",
            authors="Hugo Larochelle, Iain Murray",
            year=2011,
            url="https://proceedings.mlr.press/v15/larochelle11a.html",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/nade.digits",
                sha256="10a5f220cb6d8b41aede83ab350145942f7124b6201a59140259416234fc6db7",
            ),
            Pretrained(
                tag="mnist_bin",
                source="weights/nade.mnist_bin",
                sha256="da36350280f8e3496d82133e8dbc8938ee0a9cc115d3781b1c6924fa700dd77e",
            ),
        ),
    ),
)
