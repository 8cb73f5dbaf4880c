"""VQ-VAE's two stages, as far as they are known without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from zoo_autoregressive.configs import GatedPixelCNNConfig

from zoo_core.config import Config
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class VQVAECodesConfig(Config):
    """Encoder, quantiser, decoder.

    widths: channels of the feature maps, those of the image's own size first; each further one halves the sides: with
    three a code stands for 4x4 pixels, with one for a pixel. blocks: residual blocks on either side, at the smallest
    size; hidden: channels inside of one.
    quantiser: "vq" takes the nearest of `codes` vectors of `dimension` numbers; "fsq" rounds each of `len(levels)`
    numbers to one of that many levels, so that there are prod(levels) codes. There are at most 256: codes are images.
    commitment: beta, of "vq". decay: gamma, of the codebook's moving averages, per step. restart: a code used less than
    this share of what it would be if all were used alike is moved to where it is needed; 0 for never.
    pixels: the distribution of a pixel given z; "auto" is Bernoulli for 2 levels, logistic for more.
    components: of the mixture of logistics, where pixels are logistic.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    hidden: int = 32
    blocks: int = 2
    quantiser: Literal["vq", "fsq"] = "vq"
    codes: int = 256
    dimension: int = 16
    levels: tuple[int, ...] = (8, 6, 5)
    commitment: float = 0.25
    decay: float = 0.99
    restart: float = 0.05
    pixels: Literal["auto", "bernoulli", "categorical", "logistic"] = "auto"
    components: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hidden", "dimension", "components"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("blocks", "commitment"):
            self.expect(name, getattr(self, name) >= 0, "0 or more")
        self.expect("widths", min(self.widths, default=0) >= 1, "one or more numbers of channels of at least 1")
        limit = "codes are images, whose levels are"
        self.expect("codes", 2 <= self.codes <= 256, f"2 to 256: {limit} at most 256")
        self.expect("levels", min(self.levels, default=0) >= 2, "one or more numbers of levels of at least 2")
        self.expect("levels", math.prod(self.levels) <= 256, f"a product of at most 256: {limit}")
        self.expect("decay", 0 <= self.decay < 1, "a share in [0, 1)")
        self.expect("restart", 0 <= self.restart < 1, "a share in [0, 1)")

    @property
    def alphabet(self) -> int:
        """K, how many codes there are."""
        return self.codes if self.quantiser == "vq" else math.prod(self.levels)


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(Config):
    """first_stage: that of the weights that `init` names. prior: of the codes; if `prior.conditional`, given labels."""

    first_stage: VQVAECodesConfig = field(default_factory=VQVAECodesConfig)
    prior: GatedPixelCNNConfig = field(default_factory=lambda: GatedPixelCNNConfig(inputs="onehot", input_kernel=3))


PAPER = Paper(
    title="Neural Discrete Representation Learning",
    authors="Aäron van den Oord, Oriol Vinyals, Koray Kavukcuoglu",
    year=2017,
    url="https://arxiv.org/abs/1711.00937",
)

TINY = VQVAECodesConfig(widths=(8,), hidden=4, blocks=1, codes=8, dimension=2)

SPECS = (
    ModelSpec(
        name="vqvae_codes",
        family="autoencoder",
        summary="Images as small images of discrete codes: a learned codebook, or finite scalar quantisation",
        target="zoo_autoencoder.vqvae.first_stage:VQVAECodes",
        config=VQVAECodesConfig(),
        tiny=TINY,
        kind="encoder",
        paper=PAPER,
        pretrained=(
            Pretrained(
                tag="fashion",
                source="weights/vqvae_codes.fashion",
                sha256="bcebd0c98554ef5d2d8a8674dcf94e9f0d800932503605c5da2e390c1d99d75e",
            ),
            Pretrained(
                tag="digits",
                source="weights/vqvae_codes.digits",
                sha256="6854756e41a58c2ba1b6bcf49cdde86f406dd274c77b1655e6304b028b0cc4c6",
            ),
        ),
    ),
    ModelSpec(
        name="vqvae",
        family="autoencoder",
        summary="Discrete codes with an autoregressive prior over them, in two stages; optionally class-conditional",
        target="zoo_autoencoder.vqvae.model:VQVAE",
        config=VQVAEConfig(),
        tiny=VQVAEConfig(
            first_stage=TINY, prior=GatedPixelCNNConfig(width=8, layers=2, head=8, inputs="onehot", input_kernel=3)
        ),
        likelihood="bound",
        conditioning="class",
        paper=PAPER,
        pretrained=(
            Pretrained(
                tag="fashion",
                source="weights/vqvae.fashion",
                sha256="f14df49ccd61462dcf52e7e162a3c8c61c9cc808d27bdebce23472eb28a773cf",
            ),
            Pretrained(
                tag="digits",
                source="weights/vqvae.digits",
                sha256="d502c71b10a27dbcaf787db7bbd7bdc4dc73a772f2a9bb30afc4a2c398d2a34a",
            ),
        ),
    ),
)
