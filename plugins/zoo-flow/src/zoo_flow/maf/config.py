"""MAF, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig


@dataclass(frozen=True, kw_only=True)
class MAFConfig(FlowConfig):
    """A stack of Gaussian MADEs.

    blocks: how many MADEs, each in the reverse order of the one before. hidden: widths of the hidden layers of each;
    a layer of fewer units than pixels leaves an output blind to some of the pixels before its own. pixels, alpha: see
    `FlowConfig`.
    """

    blocks: int = 5
    hidden: tuple[int, ...] = (1024,)
    activation: Literal["relu", "tanh", "elu"] = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("blocks", self.blocks >= 1, "at least 1")
        self.expect("hidden", min(self.hidden, default=0) >= 1, "one or more widths of at least 1")


SPECS = (
    ModelSpec(
        name="maf",
        family="flow",
        summary="MAF: a stack of masked networks with Gaussian conditionals, sampled at the cost of a pass",
        target="zoo_flow.maf.model:MAF",
        config=MAFConfig(),
        tiny=MAFConfig(blocks=3, hidden=(24, 24)),
        likelihood="density",
        paper=Paper(
            title="Masked Autoregressive Flow for Density Estimation",
            authors="George Papamakarios, Theo Pavlakou, Iain Murray",
            year=2017,
            url="https://arxiv.org/abs/1705.07057",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/maf.digits",
                sha256="63ce70ba54ccb81eaf9db131d953a8fee18d83a96f37f8f16997ef5fcad0a143",
            ),
            Pretrained(
                tag="moons",
                source="weights/maf.moons",
                sha256="47ab8db2f0c2bc8ac23cba588dfa0cebd0de7c5ddcd03ada8a77ddb484a3dde7",
            ),
            Pretrained(
                tag="rings",
                source="weights/maf.rings",
                sha256="ba7260f5f8880a21076563d7974a2bccff8c68932729d4ed4c945dbd47401d3a",
            ),
        ),
    ),
)
