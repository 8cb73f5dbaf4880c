"""LSGAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.strided_config import StridedConfig


@dataclass(frozen=True, kw_only=True)
class LSGANConfig(StridedConfig):
    """a, b: the discriminator's targets for generated and for real images. c: the generator's for its own.

    0, 1, 1 makes generated images pass for real; -1, 1, 0 minimises a chi-square divergence.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("b", self.b != self.a, f"another target than a, {self.a}, or nothing is to be told apart")
        self.expect("c", self.c != self.a, f"another target than a, {self.a}, which is that of an image found out")


SPECS = (
    ModelSpec(
        name="lsgan",
        family="gan",
        summary="Least squares GAN: the discriminator fits targets, far from which the generator is pulled harder",
        target="zoo_gan.lsgan.model:LSGAN",
        config=LSGANConfig(),
        tiny=LSGANConfig(width=8, latent=8, depth=2),
        likelihood="none",
        paper=Paper(
            title="Least Squares Generative Adversarial Networks",
            authors="Mao, Li, Xie, Lau, Wang, Smolley",
            year=2017,
            url="https://arxiv.org/abs/1611.04076",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/lsgan.digits",
                sha256="1cd779cd0207647e3ea29e79851a58dabbd1719acb041d44f04561f78c9ebf37",
            ),
            Pretrained(
                tag="moons",
                source="weights/lsgan.moons",
                sha256="e3523b8208a243cfacc0ec36a42b4a63c8f2171301207cf7cac61ab3ba807b22",
            ),
            Pretrained(
                tag="rings",
                source="weights/lsgan.rings",
                sha256="4ed2734d0e603eecab26e1f1814a1031726076b4ce3ed3eab76e2faf67597be5",
            ),
        ),
    ),
)
