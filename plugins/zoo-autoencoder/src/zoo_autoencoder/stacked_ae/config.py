"""Stacked AE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoencoder.deterministic_config import DensityConfig, DeterministicConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class StackedAEConfig(DeterministicConfig):
    """A deep autoencoder of fully connected layers: the `hidden` ones and the code, each pretrained as an autoencoder.

    pretraining: the share of the image budget that goes into the layers, in equal parts; the rest tunes them together.
    """

    hidden: tuple[int, ...] = (200, 100, 50)
    pretraining: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("network", self.network == "mlp", '"mlp": the greedy layers are fully connected')
        self.expect("tied", not self.tied, "false: tuning needs a decoder of its own")
        self.expect("pretraining", 0 <= self.pretraining < 1, "a share of the training in [0, 1)")


SPECS = (
    ModelSpec(
        name="stacked_ae",
        family="autoencoder",
        summary="Deep autoencoder, trained greedily layer by layer and then as a whole",
        target="zoo_autoencoder.stacked_ae.model:StackedAE",
        config=StackedAEConfig(),
        tiny=StackedAEConfig(hidden=(32,), latent=3, density=DensityConfig(components=2)),
        likelihood="none",
        paper=Paper(
            title="Greedy Layer-Wise Training of Deep Networks",
            authors="Bengio, Lamblin, Popovici, Larochelle",
            year=2007,
            url="https://proceedings.neurips.cc/paper/2006/hash/5da713a690c067105aeb2fae32403405-Abstract.html",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/stacked_ae.digits",
                sha256="d3305f9aa46ecfb73124f98c2f41735d9aa8ddadb0497e44e7dd4c5b1a9bb6b6",
            ),
        ),
    ),
)
