"""IWAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class IWAEConfig(NetworkConfig):
    """samples: k of the paper, how many z each image of a training batch gets.

    gradient: of the encoder; that of the paper, or the one reparameterised twice, whose variance does not grow beside
    its mean as k does.
    latent: dimension of z. pixels, components, weight_decay: as in VAEConfig.
    """

    latent: int = 50
    samples: int = 50
    gradient: Literal["reparameterization", "doubly_reparameterized"] = "reparameterization"
    pixels: Literal["auto", "bernoulli", "categorical", "logistic"] = "auto"
    components: int = 1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "components", "samples"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


SPECS = (
    ModelSpec(
        name="iwae",
        family="autoencoder",
        summary="Importance-weighted autoencoder: a VAE trained on the bound by k samples",
        target="zoo_autoencoder.iwae.model:IWAE",
        config=IWAEConfig(),
        tiny=IWAEConfig(hidden=(32,), latent=2, samples=5),
        likelihood="bound",
        paper=Paper(
            title="Importance Weighted Autoencoders",
            authors="Burda, Grosse, Salakhutdinov",
            year=2015,
            url="https://arxiv.org/abs/1509.00519",
        ),
        pretrained=(
            Pretrained(
                tag="mnist_bin",
                source="weights/iwae.mnist_bin",
                sha256="841a89ee74b13928518747779e016d31db2836eca33a50818a8c9d5ae3967a19",
            ),
            Pretrained(
                tag="digits",
                source="weights/iwae.digits",
                sha256="c943f67d8a4ca64c5a40b0ca81d0c84e03b2c4ae8b11920956de016104bc8f28",
            ),
        ),
    ),
)
