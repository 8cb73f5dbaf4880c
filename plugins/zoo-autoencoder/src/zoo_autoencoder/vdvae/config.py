"""The very deep VAE, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_autoencoder.hierarchy_config import HierarchyConfig
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class VDVAEConfig(HierarchyConfig):
    """The resolutions: the image's own, then each smaller by the next of `pooling`, rounded up.

    up: residual blocks of the bottom-up path at each resolution, the image's first; one more leads to the next.
    down: top-down blocks, each with a layer of latents, at each resolution, the image's first.
    width: channels. bottleneck: channels within a block. latents: channels of z at every place of a block's map.
    """

    pooling: tuple[int, ...] = (2, 2, 2)
    up: tuple[int, ...] = (1, 1, 1, 1)
    down: tuple[int, ...] = (3, 2, 2, 1)
    width: int = 32
    bottleneck: int = 16
    latents: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("pooling", min(self.pooling, default=2) >= 2, "factors of at least 2")
        count = len(self.pooling) + 1
        for name in ("up", "down"):
            blocks = getattr(self, name)
            fits = len(blocks) == count and min(blocks) >= 1
            self.expect(name, fits, f"{count} numbers of at least 1, one for each resolution")
        for name in ("width", "bottleneck", "latents"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")


SPECS = (
    ModelSpec(
        name="vdvae",
        family="autoencoder",
        summary="Very deep VAE: convolutional residual blocks with latents at several resolutions",
        target="zoo_autoencoder.vdvae.model:VDVAE",
        config=VDVAEConfig(),
        tiny=VDVAEConfig(pooling=(2,), up=(1, 1), down=(1, 1), width=6, bottleneck=4, latents=1),
        likelihood="bound",
        paper=Paper(
            title="Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images",
            authors="Child",
            year=2021,
            url="https://arxiv.org/abs/2011.10650",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/vdvae.digits",
                sha256="c3b2f1ecbbe68b5a58715376466111a23dc7a94f7510ffa7f85971cd6758d832",
            ),
        ),
    ),
)
