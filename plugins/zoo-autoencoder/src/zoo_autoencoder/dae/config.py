"""DAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class DAEConfig(DeterministicConfig):
    """An autoencoder that sees corrupted images.

    corruption: "gaussian" noise, "masking" (subpixels set to 0), or "salt_and_pepper" (set to 0 or 1, evenly). level:
    the noise's standard deviation, where pixels are in [0, 1]; or the share of the subpixels that are hit.
    """

    corruption: Literal["gaussian", "masking", "salt_and_pepper"] = "gaussian"
    level: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corruption == "gaussian":
            self.expect("level", self.level > 0, "a standard deviation above 0")
        else:
            self.expect("level", 0 < self.level < 1, f"a share of the subpixels in (0, 1) for {self.corruption}")


SPECS = (
    ModelSpec(
        name="dae",
        family="autoencoder",
        summary="Denoising autoencoder: Gaussian, masking or salt-and-pepper corruption",
        target="zoo_autoencoder.dae.model:DAE",
        config=DAEConfig(),
        tiny=DAEConfig(hidden=(32,), latent=3, density=DensityConfig(components=2)),
        likelihood="none",
        paper=Paper(
            title="Extracting and Composing Robust Features with Denoising Autoencoders",
            authors="Vincent, Larochelle, Bengio, Manzagol",
            year=2008,
            url="https://doi.org/10.1145/1390156.1390294",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/dae.digits",
                sha256="0d2b368fe5123317ec3fa9c25b3572565d0e16647c45122488a8a83fb4c3d57f",
            ),
        ),
    ),
)
