"""The Markovian hierarchical VAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoencoder.hierarchy_config import HierarchyConfig
from zoo_autoencoder.network_config import NetworkConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class HVAEConfig(HierarchyConfig, NetworkConfig):
    """The networks between the image and z_1 are those of `NetworkConfig`.

    latents: dimensions of z_1, ..., z_T, the image's side first. between: widths of the hidden layers between z_t and
    z_{t+1}, in either direction.
    """

    latents: tuple[int, ...] = (100, 50)
    between: tuple[int, ...] = (100, 100)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("latents", min(self.latents, default=0) >= 1, "one or more dimensions of at least 1")
        self.expect("between", min(self.between, default=1) >= 1, "widths of at least 1")


SPECS = (
    ModelSpec(
        name="hvae",
        family="autoencoder",
        summary="Hierarchical VAE: a Markov chain of latents, of any length",
        target="zoo_autoencoder.hvae.model:HVAE",
        config=HVAEConfig(),
        tiny=HVAEConfig(hidden=(32,), latents=(3, 2), between=(16,)),
        likelihood="bound",
        paper=Paper(
            title="Stochastic Backpropagation and Approximate Inference in Deep Generative Models",
            authors="Rezende, Mohamed, Wierstra",
            year=2014,
            url="https://arxiv.org/abs/1401.4082",
        ),
        pretrained=(
            Pretrained(
                tag="mnist_bin",
                source="weights/hvae.mnist_bin",
                sha256="589d9cb82b10af25159f797fabf321d75c4be00741c250bb48edbea6b18028e2",
            ),
            Pretrained(
                tag="digits",
                source="weights/hvae.digits",
                sha256="2397977a9e17a815ba8d8254b68f115abf3400d974e05e8f97ea6b83dba6dfd8",
            ),
        ),
    ),
)
