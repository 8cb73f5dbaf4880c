"""NICE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig


@dataclass(frozen=True, kw_only=True)
class NICEConfig(FlowConfig):
    """Additive couplings between two halves of the pixels.

    couplings: how many; each moves the half that the one before it left alone. hidden: widths of the hidden layers of
    m, a network of its own for each coupling. prior: of the noise, independent in each dimension. pixels, alpha: see
    `FlowConfig`.
    """

    pixels: Literal["logit", "centre"] = "centre"
    couplings: int = 4
    hidden: tuple[int, ...] = (1000, 1000, 1000, 1000, 1000)
    prior: Literal["logistic", "gaussian"] = "logistic"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("couplings", self.couplings >= 2, "at least 2, or half of the pixels are left alone")
        self.expect("hidden", min(self.hidden, default=0) >= 1, "one or more widths of at least 1")


SPECS = (
    ModelSpec(
        name="nice",
        family="flow",
        summary="NICE: additive couplings of two halves of the pixels, a constant Jacobian",
        target="zoo_flow.nice.model:NICE",
        config=NICEConfig(),
        tiny=NICEConfig(couplings=3, hidden=(32,)),
        likelihood="density",
        paper=Paper(
            title="NICE: Non-linear Independent Components Estimation",
            authors="Laurent Dinh, David Krueger, Yoshua Bengio",
            year=2014,
            url="https://arxiv.org/abs/1410.8516",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/nice.digits",
                sha256="21317e50990b9eb6fb4ed19c7f4f6b9409e717b3ca36732e552515e2126e6c15",
            ),
            Pretrained(
                tag="moons",
                source="weights/nice.moons",
                sha256="37fbf87ff436bfc1cf9c3660fbfe75255d3b63aca8b5c9eb846c5511a9371c89",
            ),
            Pretrained(
                tag="rings",
                source="weights/nice.rings",
                sha256="deedfefd17b4db896d8e401d3aefbab8c465ac95f174c4bab565b952e2cdec18",
            ),
        ),
    ),
)
