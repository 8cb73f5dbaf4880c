"""SNGAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.strided_config import StridedConfig


@dataclass(frozen=True, kw_only=True)
class SNGANConfig(StridedConfig):
    """norm: the generator's; the discriminator's is spectral. conditional: both networks are told the class.

    slope: the discriminator's largest, as far as its layers' matrices say: its output is multiplied by it. With classes
    the bound is twice that, the norms of psi and of V_y. The paper's is 1, for images of 32x32 and more; smaller ones
    are nearer to each other, and the hinge's margin is out of reach.
    """

    latent: int = 128
    beta1: float = 0.0
    beta2: float = 0.9
    n_critic: int = 5
    conditional: bool = False
    slope: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("slope", self.slope > 0, "a number above 0")


SPECS = (
    ModelSpec(
        name="sngan",
        family="gan",
        summary="Spectrally normalised discriminator, hinge loss; optionally class-conditional by a projection",
        target="zoo_gan.sngan.model:SNGAN",
        config=SNGANConfig(),
        tiny=SNGANConfig(width=8, latent=8, depth=2, n_critic=1, conditional=True),
        conditioning="class",
        likelihood="none",
        paper=Paper(
            title="Spectral Normalization for Generative Adversarial Networks",
            authors="Miyato, Kataoka, Koyama, Yoshida",
            year=2018,
            url="https://arxiv.org/abs/1802.05957",
        ),
        pretrained=(
            Pretrained(
                tag="fashion_cond",
                source="weights/sngan.fashion_cond",
                sha256="d9425724a0d7778b704255b826f1703c318a460f6231c38abf9c4997e2a182ee",
            ),
            Pretrained(
                tag="digits",
                source="weights/sngan.digits",
                sha256="98eaebc0c4d961067441537b40464fec98700d55008c13f34bb7ea3b63864ee5",
            ),
            Pretrained(
                tag="digits_cond",
                source="weights/sngan.digits_cond",
                sha256="129bc2be5a678c8b03ea392e7264a849764ff4fc85ff4feb595cf3794d2c28f3",
            ),
            Pretrained(
                tag="moons",
                source="weights/sngan.moons",
                sha256="f4078b0cf7abd2e755104bc1b46b3c30b73f83585ea270027bff3406422ade76",
            ),
            Pretrained(
                tag="rings",
                source="weights/sngan.rings",
                sha256="f542759553b41b9e94037754d4d2008c0d933fbd7af305804240ba9e9e9979a3",
            ),
        ),
    ),
)
