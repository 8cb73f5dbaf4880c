"""VBGMM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import ModelSpec, Paper, Pretrained
from zoo_mixture.start_config import StartConfig


@dataclass(frozen=True, kw_only=True)
class VBGMMConfig(StartConfig):
    """A variational mixture of Gaussians with full covariances, under a Dirichlet and K Gaussian-Wishart priors.

    concentration: alpha_0; the less, the fewer components are used. mean_precision: beta_0, as how many images the
    prior counts that has every mean at the training images' mean. degrees: nu_0 + 1 - D, above 0; as how many images
    the prior of the covariances counts, beyond the D - 1 that it takes at least. variance: of a pixel, the inverse of
    the prior's mean precision, where pixels are in [0, 1]: W_0^-1 = nu_0 variance I.
    """

    concentration: float = 0.1
    mean_precision: float = 1.0
    degrees: float = 1.0
    variance: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("concentration", "mean_precision", "degrees", "variance"):
            self.expect(field, 0 < getattr(self, field) < float("inf"), "a number above 0")


SPECS = (
    ModelSpec(
        name="vbgmm",
        family="mixture",
        summary="Variational mixture of Gaussians: prunes components, Student-t predictive",
        target="zoo_mixture.vbgmm.model:VBGMM",
        config=VBGMMConfig(),
        tiny=VBGMMConfig(components=3),
        likelihood="density",
        paper=Paper(
            title="A Variational Bayesian Framework for Graphical Models",
            authors="Hagai Attias",
            year=1999,
            url="https://papers.nips.cc/paper/1726-a-variational-baysian-framework-for-graphical-models",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/vbgmm.digits",
                sha256="e6968124fe67826dc411a3aecf31cc9be30969c8ed2e3d00a917c09a64bd28dd",
            ),
        ),
    ),
)
