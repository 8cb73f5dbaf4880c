"""DCGAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(Config):
    """width: channels of the discriminator's first layer, doubled at each halving; the generator is its mirror image.

    latent: dimension of z. depth: at least so many hidden layers in each network; what an image is too small for as
    strided convolutions becomes fully connected layers.
    norm: batch normalisation, or none (then a batch may be split in any way without changing the training).
    dither: width, in levels, of the uniform noise on every pixel that the discriminator sees; 0 for none.
    dropout: in the discriminator, after each hidden layer. beta1: Adam's.
    ratio: the discriminator's learning rate over the generator's.
    """

    width: int = 64
    latent: int = 100
    depth: int = 3
    norm: Literal["batch", "none"] = "batch"
    dither: float = 1.0
    dropout: float = 0.0
    beta1: float = 0.5
    ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "latent", "depth"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("dither", self.dither >= 0, "0 (none) or more levels")
        self.expect("dropout", 0 <= self.dropout < 1, "a probability in [0, 1)")
        self.expect("beta1", 0 <= self.beta1 < 1, "a number in [0, 1)")
        self.expect("ratio", self.ratio > 0, "a number above 0")


SPECS = (
    ModelSpec(
        name="dcgan",
        family="gan",
        summary="Deep convolutional GAN: strided convolutions, batch normalisation, the non-saturating loss",
        target="zoo_gan.dcgan.model:DCGAN",
        config=DCGANConfig(),
        tiny=DCGANConfig(width=8, latent=8, depth=2),
        likelihood="none",
        paper=Paper(
            title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
            authors="Radford, Metz, Chintala",
            year=2016,
            url="https://arxiv.org/abs/1511.06434",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/dcgan.digits",
                sha256="59d5079298a1e9866fb06b23a36e155cb286e75b596e148968c88b417a90f138",
            ),
            Pretrained(
                tag="moons",
                source="weights/dcgan.moons",
                sha256="054b6458e1c122abbc2e71e2ee5ad4083a060f15908c783a0c4e9fe56f00a53c",
            ),
            Pretrained(
                tag="rings",
                source="weights/dcgan.rings",
                sha256="a9f509a1414bdafff9259190daab871b913feaf089a920707c44fa414390defb",
            ),
        ),
    ),
)
