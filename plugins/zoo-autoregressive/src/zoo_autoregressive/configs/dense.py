"""FVSBN and MADE, as far as they are known without torch: fully connected, one weight for each pair of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ModelSpec, Paper, Pretrained, ZooError


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(Config):
    """A masked autoencoder.

    hidden: units of each hidden layer. direct: connect each output to the earlier inputs too.
    seed: of what is drawn, degrees of hidden units and orders.
    inputs: pixels scaled to [0, 1], one input each, or one-hot, K inputs each; few images make one-hot overfit.
    dropout: share of hidden units dropped in training. weight_decay: AdamW's, on weights but not on biases.
    """

    hidden: tuple[int, ...] = (500,)
    direct: bool = True
    seed: int = 0
    inputs: Literal["scaled", "onehot"] = "scaled"
    activation: Literal["relu", "elu", "tanh", "sigmoid"] = "relu"
    dropout: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden and not self.direct:
            name = type(self).__name__
            raise ZooError(f"{name}.hidden: a model without hidden layers needs direct=True, or pixels see nothing")
        self.expect("hidden", all(width >= 1 for width in self.hidden), "at least 1 unit a layer")
        self.expect("dropout", 0 <= self.dropout < 1, "a share in [0, 1)")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class MADEConfig(MaskedConfig):
    """A masked autoencoder in the natural order.

    degrees: of the hidden units, spread evenly over 1 .. D-1 or drawn (from `seed`), as the paper draws them.
    masks: training cycles through so many, the likelihood is their mixture's; more than 1 need drawn degrees.
    """

    degrees: Literal["even", "drawn"] = "even"
    masks: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("masks", self.masks >= 1, "at least 1")
        if self.masks > 1 and (self.degrees == "even" or not self.hidden):
            raise ZooError(
                f"MADEConfig.masks: {self.masks} masks would all be one; give hidden layers and degrees='drawn'"
            )


@dataclass(frozen=True, kw_only=True)
class MADEOrdersConfig(MaskedConfig):
    """A masked autoencoder in several random orders, each with degrees of its own.

    orders: training cycles through so many, the likelihood is their mixture's.
    """

    orders: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("orders", self.orders >= 1, "at least 1")


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


FVSBN = (
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
MADE = (
    ModelSpec(
        name="made",
        family="autoregressive",
        summary="Masked autoencoder: one pass gives all the conditionals",
        target="zoo_autoregressive.made:MADE",
        config=MADEConfig(),
        tiny=MADEConfig(hidden=(32, 32)),
        likelihood="exact",
        paper=Paper(
            title="MADE: Masked Autoencoder for Distribution Estimation",
            authors="Mathieu Germain, Karol Gregor, Iain Murray, Hugo Larochelle",
            year=2015,
            url="https://arxiv.org/abs/1502.03509",
        ),
        pretrained=(
            Pretrained(
                tag="mnist_bin",
                source="weights/made.mnist_bin",
                sha256="8b4cf0eaf035f88b95711d1169a0193c704efa63d636c4cf46862e4258cab930",
            ),
            Pretrained(
                tag="digits",
                source="weights/made.digits",
                sha256="e15b094797fc226738fd998d43a09ab6c6c586ebbfbd253243820f7259809c7a",
            ),
        ),
    ),
    ModelSpec(
        name="made_orders",
        family="autoregressive",
        summary="Masked autoencoder in several random orders of the pixels at once",
        target="zoo_autoregressive.made_orders:MADEOrders",
        config=MADEOrdersConfig(),
        tiny=MADEOrdersConfig(hidden=(32, 32), orders=3),
        likelihood="exact",
        paper=Paper(
            title="MADE: Masked Autoencoder for Distribution Estimation",
            authors="Mathieu Germain, Karol Gregor, Iain Murray, Hugo Larochelle",
            year=2015,
            url="https://arxiv.org/abs/1502.03509",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/made_orders.digits",
                sha256="62209dea9aff00e298fc16477b12f2cbb3b8921d7a015a44cb54cf677b58954d",
            ),
        ),
    ),
)
