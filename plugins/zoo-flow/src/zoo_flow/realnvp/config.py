"""RealNVP, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig


@dataclass(frozen=True, kw_only=True)
class RealNVPConfig(FlowConfig):
    """scales: how often the image is squeezed, each time between `couplings` by checkerboard and as many by channels.

    couplings: at each scale, of each kind; at the last one, which is not squeezed, one more, all by checkerboard.
    network: residual convolutions of `width` channels and so many `blocks`, or, without squeezes only, fully connected
    layers `hidden` over all pixels. alpha, pixels: as in every flow.
    """

    scales: int = 2
    couplings: int = 3
    network: Literal["conv", "mlp"] = "conv"
    width: int = 32
    blocks: int = 2
    hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("scales", self.scales >= 0, "0 (no squeeze) or more")
        for name in ("couplings", "width"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("blocks", self.blocks >= 0, "0 or more")
        self.expect("hidden", all(units >= 1 for units in self.hidden), "numbers of at least 1")
        fits = self.network == "conv" or self.scales == 0
        self.expect("network", fits, f"'conv' with scales={self.scales} ('mlp' goes with scales=0)")


SPECS = (
    ModelSpec(
        name="realnvp",
        family="flow",
        summary="RealNVP: affine couplings by checkerboards and channels, at several scales",
        target="zoo_flow.realnvp.model:RealNVP",
        config=RealNVPConfig(),
        tiny=RealNVPConfig(scales=0, couplings=2, width=8, blocks=1),
        likelihood="density",
        paper=Paper(
            title="Density estimation using Real NVP",
            authors="Dinh, Sohl-Dickstein, Bengio",
            year=2017,
            url="https://arxiv.org/abs/1605.08803",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/realnvp.digits",
                sha256="9bd30d46b270f35a1757ad0b99af6b0c5d6c82a828e457b177c15841007dc384",
            ),
            Pretrained(
                tag="fashion",
                source="weights/realnvp.fashion",
                sha256="3e216590a8e11f978c324365bc9af16ffcd974813b04d40042f02a5368067e77",
            ),
            Pretrained(
                tag="moons",
                source="weights/realnvp.moons",
                sha256="b9dc35598a48d798b4cd005b15dae7c75a5539da8f9ec266223f32c7f7efb257",
            ),
            Pretrained(
                tag="rings",
                source="weights/realnvp.rings",
                sha256="5857e4447c2c9107a7382864d70ce2930b59636ba02e9ae159cd4b39654e0408",
            ),
        ),
    ),
)
