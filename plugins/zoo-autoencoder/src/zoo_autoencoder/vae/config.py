"""VAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class VAEConfig(NetworkConfig):
    """latent: dimension of z.

    pixels: the distribution of a pixel given z; "auto" is Bernoulli for 2 levels, logistic for more.
    components: of the mixture of logistics, where pixels are logistic.
    samples, objective: how many z each image of a training batch gets, and which bound is maximised with them.
    weight_decay: AdamW's.
    """

    latent: int = 50
    pixels: Literal["auto", "bernoulli", "categorical", "logistic"] = "auto"
    components: int = 1
    samples: int = 1
    objective: Literal["elbo", "iwae"] = "elbo"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "components", "samples"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")


SPECS = (
    ModelSpec(
        name="vae",
        family="autoencoder",
        summary="Variational autoencoder: MLPs, Gaussian posterior, ELBO and importance-weighted bound",
        target="zoo_autoencoder.vae.model:VAE",
        config=VAEConfig(),
        tiny=VAEConfig(hidden=(32,), latent=2),
        likelihood="bound",
        paper=Paper(
            title="Auto-Encoding Variational Bayes",
            authors="Kingma, Welling",
            year=2013,
            url="https://arxiv.org/abs/1312.6114",
        ),
        pretrained=(
            Pretrained(
                tag="mnist_bin",
                source="weights/vae.mnist_bin",
                sha256="cf57d09a17f1fde358c8728b6af9d3efafb046246715cd665517d746301919d4",
            ),
            Pretrained(
                tag="digits",
                source="weights/vae.digits",
                sha256="93797427d5a568973fb6fee7afff110e5bc30772f2499c7217d8940406a17aba",
            ),
        ),
    ),
)
