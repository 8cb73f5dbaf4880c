"""RealNVP with variational dequantisation, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoo_core.config import Config
from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.realnvp.config import RealNVPConfig


@dataclass(frozen=True, kw_only=True)
class DequantiserConfig(Config):
    """q(u|x): so many `couplings` by checkerboard, 0 for uniform noise; their networks as those of `realnvp`."""

    couplings: int = 4
    network: Literal["conv", "mlp"] = "conv"
    width: int = 32
    blocks: int = 1
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("width", self.width >= 1, "at least 1")
        for name in ("couplings", "blocks"):
            self.expect(name, getattr(self, name) >= 0, "0 or more")
        self.expect("hidden", all(units >= 1 for units in self.hidden), "numbers of at least 1")


@dataclass(frozen=True, kw_only=True)
class RealNVPVDConfig(Config):
    """flow: the density, a `realnvp`, with a smaller alpha: what it has outside of [0, 1]^D no image's cell counts.

    dequantiser: q(u|x).
    """

    flow: RealNVPConfig = field(default_factory=lambda: RealNVPConfig(alpha=1e-3))
    dequantiser: DequantiserConfig = field(default_factory=DequantiserConfig)


SPECS = (
    ModelSpec(
        name="realnvp_vd",
        family="flow",
        summary="RealNVP with variational dequantisation: a flow learns the noise that is added to pixels",
        target="zoo_flow.realnvp_vd.model:RealNVPVD",
        config=RealNVPVDConfig(),
        tiny=RealNVPVDConfig(
            flow=RealNVPConfig(alpha=1e-3, scales=0, couplings=3, width=8, blocks=1),
            dequantiser=DequantiserConfig(couplings=2, width=8, blocks=0),
        ),
        likelihood="bound",
        paper=Paper(
            title="Flow++: Improving Flow-Based Generative Models with Variational Dequantization "
            "and Architecture Design",
            authors="Ho, Chen, Srinivas, Duan, Abbeel",
            year=2019,
            url="https://arxiv.org/abs/1902.00275",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/realnvp_vd.digits",
                sha256="18e2b6e4b4802a3c5f04abf7c54fab740449ac07186f56f1ecc61cdea92c528b",
            ),
            Pretrained(
                tag="moons",
                source="weights/realnvp_vd.moons",
                sha256="9426a7eea482ffb515e537b5f1e0c98fa5df601e74f99a9c39de331e9cff8310",
            ),
            Pretrained(
                tag="rings",
                source="weights/realnvp_vd.rings",
                sha256="64dc610e4e0660c89135ce0a44998372407807a8c734a614ee4f4f49fbfb4bc1",
            ),
        ),
    ),
)
