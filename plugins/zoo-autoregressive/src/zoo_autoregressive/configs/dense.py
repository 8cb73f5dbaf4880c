"""FVSBN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class FVSBNConfig(Config):
    """A linear (logistic or softmax) regression for each pixel.

    inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each; few images make one-hot overfit.
    weight_decay: AdamW's, on weights but not on biases.
    """

    inputs: Literal["scaled", "onehot"] = "scaled"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


SPECS = (
    ModelSpec(
        name="fvsbn",
        family="autoregressive",
        summary="Fully visible sigmoid belief network: each pixel a linear regression on those before it",
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
    ),
)
