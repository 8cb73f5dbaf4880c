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
    beta: the weight of the divergence from the prior. warmup: the share of the training over which that weight rises
    from 0. free_bits: nats of each latent at no price. gradient: how that of the encoder is estimated. All four are
    for the ELBO (`objective.py`), and what `elbo` and `iwae` report stays the bound.
    weight_decay: AdamW's.
    """

    latent: int = 50
    pixels: Literal["auto", "bernoulli", "categorical", "logistic"] = "auto"
    components: int = 1
    samples: int = 1
    objective: Literal["elbo", "iwae"] = "elbo"
    beta: float = 1.0
    warmup: float = 0.0
    free_bits: float = 0.0
    gradient: Literal["reparameterization", "score_function"] = "reparameterization"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "components", "samples"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("weight_decay", "beta", "free_bits"):
            self.expect(name, getattr(self, name) >= 0, "0 or more")
        self.expect("warmup", 0 <= self.warmup <= 1, "a share of the training, 0 (none) to 1")
        if self.objective == "iwae":
            for name, plain in (("beta", 1), ("warmup", 0), ("free_bits", 0), ("gradient", "reparameterization")):
                self.expect(name, getattr(self, name) == plain, f"{plain} with objective = 'iwae', which has no other")

    @property
    def altered(self) -> bool:
        """Whether training maximises something else than a bound."""
        return self.beta != 1 or self.warmup > 0 or self.free_bits > 0


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
                tag="fashion",
                source="weights/vae.fashion",
                sha256="255ff632cf84c8b1eeda969f33e69ffc79f223a6184f4a0e53cdebd3be5ba4e9",
            ),
            Pretrained(
                tag="mnist_bin",
                source="weights/vae.mnist_bin",
                sha256="5ff98f7ed9566131e6ae89cfd908484a80661d2eb038dead2747c4d8630c4af8",
            ),
            Pretrained(
                tag="digits",
                source="weights/vae.digits",
                sha256="aeb154c0ad469d1617020627c9b55e7c6dc1443f933f978fb78897eb6b8f0308",
            ),
        ),
    ),
)
