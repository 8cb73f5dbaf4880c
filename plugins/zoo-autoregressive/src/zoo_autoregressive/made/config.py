"""The two MADEs, as far as they are known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoregressive.network_config import PixelInputConfig
from zoo_core import ModelSpec, Paper, Pretrained, ZooError


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(PixelInputConfig):
    """A masked autoencoder.

    hidden: units of each hidden layer. direct: connect each output to the earlier inputs too.
    seed: of what is drawn, degrees of hidden units and orders.
    dropout: share of hidden units dropped in training.
    """

    hidden: tuple[int, ...] = (500,)
    direct: bool = True
    seed: int = 0
    activation: Literal["relu", "elu", "tanh", "sigmoid"] = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden and not self.direct:
            name = type(self).__name__
            raise ZooError(f"{name}.hidden: a model without hidden layers needs direct=True, or pixels see nothing")
        self.expect("hidden", all(width >= 1 for width in self.hidden), "at least 1 unit a layer")
        self.expect_share("dropout")


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
        self.expect_sizes("masks")
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
        self.expect_sizes("orders")


_PAPER = Paper(
    title="MADE: Masked Autoencoder for Distribution Estimation",
    authors="Mathieu Germain, Karol Gregor, Iain Murray, Hugo Larochelle",
    year=2015,
    url="https://arxiv.org/abs/1502.03509",
)

SPECS = (
    ModelSpec(
        name="made",
        family="autoregressive",
        summary="Masked autoencoder: one pass gives all the conditionals",
        target="zoo_autoregressive.made.model:MADE",
        config=MADEConfig(),
        tiny=MADEConfig(hidden=(32, 32)),
        likelihood="exact",
        paper=_PAPER,
        pretrained=(
            Pretrained(
                tag="mnist_bin",
                source="weights/made.mnist_bin",
                sha256="aa50aadcb7725d23f52f3a1c42cadaac32d361e15b054ac3d250334e5b9b4a4e",
            ),
            Pretrained(
                tag="digits",
                source="weights/made.digits",
                sha256="3d2b3f408d6cbbaa7adb04836267f57904a92d9be4666a68a971dddc0435076f",
            ),
        ),
    ),
    ModelSpec(
        name="made_orders",
        family="autoregressive",
        summary="Masked autoencoder in several random orders of the pixels at once",
        target="zoo_autoregressive.made.orders:MADEOrders",
        config=MADEOrdersConfig(),
        tiny=MADEOrdersConfig(hidden=(32, 32), orders=3),
        likelihood="exact",
        paper=_PAPER,
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/made_orders.digits",
                sha256="e1f20387bc4f1ce2c66405d7e4f30936c1572dcae8b657c7fef1502c0195430b",
            ),
        ),
    ),
)
