"""The ladder VAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.hierarchy_config import HierarchyConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class LadderVAEConfig(HierarchyConfig):
    """latents: dimensions of z_1, ..., z_L, the image's side first.

    widths: units of the MLP of each layer, as many as there are layers. depth: hidden layers of each MLP.
    """

    latents: tuple[int, ...] = (64, 32, 16, 8, 4)
    widths: tuple[int, ...] = (512, 256, 128, 64, 32)
    depth: int = 2
    activation: Literal["tanh", "relu", "leaky_relu", "silu"] = "leaky_relu"
    warmup: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("latents", min(self.latents, default=0) >= 1, "one or more dimensions of at least 1")
        count = len(self.latents)
        fits = len(self.widths) == count and min(self.widths, default=0) >= 1
        self.expect("widths", fits, f"{count} widths of at least 1, one for each layer of latents")
        self.expect("depth", self.depth >= 1, "at least 1")


SPECS = (
    ModelSpec(
        name="ladder_vae",
        family="autoencoder",
        summary="Ladder VAE: a precision-weighted merge of bottom-up evidence and top-down prior",
        target="zoo_autoencoder.ladder_vae.model:LadderVAE",
        config=LadderVAEConfig(),
        tiny=LadderVAEConfig(latents=(3, 2), widths=(32, 16), depth=1),
        likelihood="bound",
        paper=Paper(
            title="Ladder Variational Autoencoders",
            authors="Sønderby, Raiko, Maaløe, Sønderby, Winther",
            year=2016,
            url="https://arxiv.org/abs/1602.02282",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/ladder_vae.digits",
                sha256="b9e85128d427abeb1011c02e6cd109be8869d5343746a800f6cad0fed4508ec2",
            ),
        ),
    ),
)
