"""WGAN-GP, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.strided_config import StridedConfig


@dataclass(frozen=True, kw_only=True)
class WGANGPConfig(StridedConfig):
    """penalty: lambda of the paper, the weight of the gradient penalty.

    norm: of the generator. critic_norm: of the critic; batch normalisation is none of the choices, since the penalty is
    on the gradient of each image by itself.
    """

    penalty: float = 10.0
    critic_norm: Literal["layer", "none"] = "layer"
    beta1: float = 0.0
    beta2: float = 0.9
    n_critic: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("penalty", self.penalty > 0, "a number above 0, or nothing keeps the critic 1-Lipschitz")


SPECS = (
    ModelSpec(
        name="wgan_gp",
        family="gan",
        summary="Wasserstein GAN with gradient penalty: a 1-Lipschitz critic instead of a discriminator",
        target="zoo_gan.wgan_gp.model:WGANGP",
        config=WGANGPConfig(),
        tiny=WGANGPConfig(width=8, latent=8, depth=2),
        likelihood="none",
        paper=Paper(
            title="Improved Training of Wasserstein GANs",
            authors="Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville",
            year=2017,
            url="https://arxiv.org/abs/1704.00028",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/wgan_gp.digits",
                sha256="77faaaa323a7a447dd64c7510b6cc665d9f432d0963ff11497d4d878fbdaa43f",
            ),
            Pretrained(
                tag="moons",
                source="weights/wgan_gp.moons",
                sha256="d8be4b4c0dab63374fa5591bb2c96186efaea668993e202c3f9395ed8be32945",
            ),
            Pretrained(
                tag="rings",
                source="weights/wgan_gp.rings",
                sha256="d53f2c40a0c0038b415b13c3bacb9ed96e48be6ba835b372fb6275f88781f6fb",
            ),
        ),
    ),
)
