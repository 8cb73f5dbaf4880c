"""CAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class CAEConfig(DeterministicConfig):
    """An autoencoder whose code changes little with the image.

    contraction: lambda, the weight of the Jacobian's squared norm, where the error of reconstruction is summed over
    subpixels. The paper's is one layer with tied weights; with weights that are not tied a penalty on the encoder alone
    can be had for nothing, by a smaller encoder and a larger decoder, so they need a weight_decay.
    """

    hidden: tuple[int, ...] = ()
    latent: int = 60
    code: Literal["linear", "sigmoid", "tanh", "relu"] = "sigmoid"
    tied: bool = True
    contraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("contraction", self.contraction >= 0, "0 or more")
        held = self.tied or self.weight_decay > 0 or not self.contraction
        self.expect("tied", held, "true, or weight_decay > 0: else the encoder shrinks and the decoder grows")


SPECS = (
    ModelSpec(
        name="cae",
        family="autoencoder",
        summary="Contractive autoencoder: a penalty on the Jacobian of the code",
        target="zoo_autoencoder.cae.model:CAE",
        config=CAEConfig(),
        tiny=CAEConfig(latent=4, density=DensityConfig(components=2)),
        likelihood="none",
        paper=Paper(
            title="Contractive Auto-Encoders: Explicit Invariance During Feature Extraction",
            authors="Rifai, Vincent, Muller, Glorot, Bengio",
            year=2011,
            url="https://icml.cc/2011/papers/455_icmlpaper.pdf",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/cae.digits",
                sha256="04ad903b393bd510ffea8f489d30b4f4fc1e492a8b4a04e501e2c31f89eef8f3",
            ),
        ),
    ),
)
