"""MFA, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import Config, ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class MFAConfig(Config):
    """A mixture of factor analysers.

    components: K. latent: factors of each component, fewer than dimensions. noise: the variances Psi, of each component
    and dimension ("diagonal"), of each component ("isotropic", the mixture of probabilistic PCAs), or of each dimension
    for all components together ("shared", as in the paper). floor: a variance, added to the images' in training on top
    of the dequantisation's 1/(12 levels^2), where pixels are in [0, 1]; no noise variance is less than both. lloyd:
    rounds of k-means between the k-means++ seeds and EM.
    """

    components: int = 20
    latent: int = 6
    noise: Literal["diagonal", "isotropic", "shared"] = "diagonal"
    floor: float = 1e-4
    lloyd: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("components", self.components >= 1, "at least 1")
        self.expect("latent", self.latent >= 1, "at least 1")
        self.expect("floor", 0 <= self.floor < float("inf"), "a variance, 0 or more")
        self.expect("lloyd", self.lloyd >= 0, "0 or more rounds")


SPECS = (
    ModelSpec(
        name="mfa",
        family="mixture",
        summary="Mixture of factor analysers by EM: Gaussians of low rank plus noise, for whole images",
        target="zoo_mixture.mfa.model:MFA",
        config=MFAConfig(),
        tiny=MFAConfig(components=3, latent=1),
        likelihood="density",
        paper=Paper(
            title="The EM Algorithm for Mixtures of Factor Analyzers",
            authors="Zoubin Ghahramani, Geoffrey Hinton",
            year=1996,
            url="https://www.cs.toronto.edu/~hinton/absps/tr-96-1.pdf",
        ),
        pretrained=(
            Pretrained(
                tag="fashion",
                source="weights/mfa.fashion",
                sha256="cb9befeba4d802129d215558bd34ad092c12193e7f3ca193e570bd374aa7516c",
            ),
            Pretrained(
                tag="digits",
                source="weights/mfa.digits",
                sha256="1a9820c71b7d48b78387be72f6e8f63e9c972f90c2c86b596b0b04dd80a24cbd",
            ),
        ),
    ),
)
