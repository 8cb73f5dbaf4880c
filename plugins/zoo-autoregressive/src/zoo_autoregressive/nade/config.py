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
                sha256="17aabd98e669d39608977cb53e7ae485c1fa26c45f97946ae7e6ac23c7b2b20d",
            ),
            Pretrained(
                tag="mnist_bin",
                source="weights/nade.mnist_bin",
                sha256="ad2e57687544b293b4f3bcec40f4ac6bc1903aae65bfd0ad265e055d0505139f",
            ),
        ),
    ),
)
