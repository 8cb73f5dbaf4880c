"""R3GAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.adversarial_config import AdversarialConfig


@dataclass(frozen=True, kw_only=True)
class R3GANConfig(AdversarialConfig):
    """width: channels at half the image's resolution, doubled at each further halving; of a small image, units.

    blocks: residual blocks at each resolution. expansion: how much wider a block is inside. group: channels of a group
    of its 3x3 convolution; 0 for one group of all.
    gamma: factor of both gradient penalties. gamma_start, burn_in: gamma falls to it from `gamma_start` along half a
    cosine, over this share of the training; 0 for the same gamma always.
    """

    latent: int = 64
    beta1: float = 0.0
    beta2: float = 0.99
    width: int = 64
    blocks: int = 2
    expansion: int = 2
    group: int = 16
    gamma: float = 1.0
    gamma_start: float = 10.0
    burn_in: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "blocks", "expansion"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        inside = self.width * self.expansion
        divides = self.group >= 0 and (not self.group or inside <= self.group or inside % self.group == 0)
        self.expect("group", divides, f"a divisor of width * expansion = {inside}, or 0 for one group of all")
        for name in ("gamma", "gamma_start"):
            self.expect(name, getattr(self, name) >= 0, "0 (no penalty) or more")
        self.expect("burn_in", 0 <= self.burn_in <= 1, "a share of the training, in [0, 1]")


SPECS = (
    ModelSpec(
        name="r3gan",
        family="gan",
        summary="GAN of pairs, real against generated, with R1 and R2 penalties: residual networks, no normalisation",
        target="zoo_gan.r3gan.model:R3GAN",
        config=R3GANConfig(),
        tiny=R3GANConfig(width=16, latent=8, blocks=1),
        likelihood="none",
        paper=Paper(
            title="The GAN is dead; long live the GAN! A Modern GAN Baseline",
            authors="Huang, Gokaslan, Kuleshov, Tompkin",
            year=2024,
            url="https://arxiv.org/abs/2501.05441",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/r3gan.digits",
                sha256="7d66715e8a1c4b6f6802b3653d11307495aba8e1f98075592c50a8d5ec24f23a",
            ),
            Pretrained(
                tag="fashion",
                source="weights/r3gan.fashion",
                sha256="d1a55655b90cbded9d1e30f0acb0043ac67937f60417bc1339401c00b60e1f01",
            ),
            Pretrained(
                tag="moons",
                source="weights/r3gan.moons",
                sha256="57db9c219674225a9433974872b643a8ea68f9d6e42b6b7644719cf0e4d886d9",
            ),
            Pretrained(
                tag="rings",
                source="weights/r3gan.rings",
                sha256="e8d6a6e827d9f488b3c4695578ad4a762a5f888730d9cd8d0d087a8561b78a23",
            ),
        ),
    ),
)
