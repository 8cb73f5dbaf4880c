"""CVAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoencoder.vae.config import VAEConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class CVAEConfig(VAEConfig):
    """All of a VAE's; the classes are those of the images."""


SPECS = (
    ModelSpec(
        name="cvae",
        family="autoencoder",
        summary="Conditional variational autoencoder: encoder and decoder know the class",
        target="zoo_autoencoder.cvae.model:CVAE",
        config=CVAEConfig(),
        tiny=CVAEConfig(hidden=(32,), latent=2),
        likelihood="bound",
        conditioning="class",
        paper=Paper(
            title="Learning Structured Output Representation using Deep Conditional Generative Models",
            authors="Sohn, Lee, Yan",
            year=2015,
            url="https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/cvae.digits",
                sha256="71b3b0a337a5b234cbb3c9a4ee5cc702073fa8251f5dbc945e73cc452ce72ba4",
            ),
        ),
    ),
)
