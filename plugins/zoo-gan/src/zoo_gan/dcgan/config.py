"""DCGAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.strided_config import StridedConfig


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(StridedConfig):
    """Nothing of its own: what `StridedConfig` and `AdversarialConfig` say."""


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
            Pretrained(
                tag="fashion",
                source="weights/dcgan.fashion",
                sha256="3a3b497c41a22050eb2d6f64ba7787eec667e2a72a93360cb05d0e10078c28d6",
            ),
        ),
    ),
)
