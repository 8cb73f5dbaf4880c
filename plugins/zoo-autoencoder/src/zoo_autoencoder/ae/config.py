"""AE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class AEConfig(DeterministicConfig):
    """An autoencoder with nothing added; `network` says of what."""


SPECS = (
    ModelSpec(
        name="ae",
        family="autoencoder",
        summary="Autoencoder: codes and reconstructions; draws from a mixture of Gaussians fitted to its codes",
        target="zoo_autoencoder.ae.model:AE",
        config=AEConfig(),
        tiny=AEConfig(hidden=(32,), latent=3, density=DensityConfig(components=2)),
        likelihood="none",
        paper=Paper(
            title="Reducing the Dimensionality of Data with Neural Networks",
            authors="Hinton, Salakhutdinov",
            year=2006,
            url="https://doi.org/10.1126/science.1127647",
        ),
        pretrained=(
            Pretrained(
                tag="fashion",
                source="weights/ae.fashion",
                sha256="76072f9279edb40b6543d997a59cd5ad7c4605e2cca8ba0be9b4f671a69190e4",
            ),
            Pretrained(
                tag="digits",
                source="weights/ae.digits",
                sha256="f3501051eb89fdd869fd47bb9134139a2b7c15681d5d2f40ac30877c0150a370",
            ),
        ),
    ),
)
