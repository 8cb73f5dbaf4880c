"""SAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class SAEConfig(DeterministicConfig):
    """An autoencoder whose code may be larger than an image, but of which few units are active at a time.

    sparsity: "kl", of each unit's mean activation to `rho`; or "l1", the sum of the units' sizes. beta: its weight,
    where the error of reconstruction is summed over subpixels.
    """

    latent: int = 100
    code: Literal["linear", "sigmoid", "tanh", "relu"] = "sigmoid"
    sparsity: Literal["kl", "l1"] = "kl"
    rho: float = 0.05
    beta: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("rho", 0 < self.rho < 1, "a mean activation in (0, 1), both excluded")
        self.expect("beta", self.beta >= 0, "0 or more")
        if self.sparsity == "kl":
            self.expect("code", self.code == "sigmoid", '"sigmoid" for the KL divergence to a mean activation')
        else:
            held = self.tied or self.weight_decay > 0
            what = "tied = true or weight_decay > 0 with l1: else codes shrink and the decoder grows, for nothing"
            self.expect("sparsity", held, what)


SPECS = (
    ModelSpec(
        name="sae",
        family="autoencoder",
        summary="Sparse autoencoder: mean activations near a target (KL), or an L1 penalty on the code",
        target="zoo_autoencoder.sae.model:SAE",
        config=SAEConfig(),
        tiny=SAEConfig(hidden=(), latent=8, density=DensityConfig(components=2)),
        likelihood="none",
        paper=Paper(
            title="Sparse deep belief net model for visual area V2",
            authors="Lee, Ekanadham, Ng",
            year=2008,
            url="https://proceedings.neurips.cc/paper/2007/hash/4daa3db355ef2b0e64b472968cb70f0d-Abstract.html",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/sae.digits",
                sha256="445c5b7257024af46cacec28b4d18dfecdc8f029b5f50319757d97c7c49fd27c",
            ),
        ),
    ),
)
