"""Glow, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig


@dataclass(frozen=True, kw_only=True)
class GlowConfig(FlowConfig):
    """scales: L of the paper, how often the image is squeezed. depth: K, steps of flow at each scale.

    width: channels of the networks. prior: of the half that a scale finishes, given the half that goes on: "normal",
    N(0, I), or "learned", a normal whose mean and scale are a convolution of that other half. pixels: centred as in the
    paper, or "logit" (with alpha).
    """

    scales: int = 2
    depth: int = 8
    width: int = 64
    prior: Literal["normal", "learned"] = "learned"
    pixels: Literal["logit", "centre"] = "centre"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scales", "depth", "width"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")


SPECS = (
    ModelSpec(
        name="glow",
        family="flow",
        summary="Glow: activation normalisation, invertible 1x1 convolutions, affine couplings",
        target="zoo_flow.glow.model:Glow",
        config=GlowConfig(),
        tiny=GlowConfig(scales=1, depth=2, width=8),
        likelihood="density",
        paper=Paper(
            title="Glow: Generative Flow with Invertible 1x1 Convolutions",
            authors="Kingma, Dhariwal",
            year=2018,
            url="https://arxiv.org/abs/1807.03039",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/glow.digits",
                sha256="8ab88451745c2b65df6643c9c8ffdafd700a1a24da4adb261ca073f6d09af6e0",
            ),
            Pretrained(
                tag="fashion",
                source="weights/glow.fashion",
                sha256="b46dc5eac0396afd755696bb755674b4ba6f8d15270506470082c6c3fcd66015",
            ),
        ),
    ),
)
