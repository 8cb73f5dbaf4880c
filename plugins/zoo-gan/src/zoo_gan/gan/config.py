"""GAN, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_gan.adversarial_config import AdversarialConfig


@dataclass(frozen=True, kw_only=True)
class GANConfig(AdversarialConfig):
    """hidden: widths of the generator's layers from z to the image; the discriminator has them in reverse.

    pieces: linear pieces of each of the discriminator's maxout units. dropout: in the discriminator, after each hidden
    layer.
    loss: of the generator; that of the game, or the one whose gradient does not vanish.
    """

    hidden: tuple[int, ...] = (256, 256)
    pieces: int = 2
    dropout: float = 0.0
    loss: Literal["nonsaturating", "minimax"] = "nonsaturating"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("hidden", len(self.hidden) > 0 and min(self.hidden) >= 1, "one or more widths of at least 1")
        self.expect("pieces", self.pieces >= 2, "at least 2: a unit of one piece is linear")
        self.expect("dropout", 0 <= self.dropout < 1, "a probability in [0, 1)")


SPECS = (
    ModelSpec(
        name="gan",
        family="gan",
        summary="The first GAN: fully connected, maxout discriminator; the minimax or the non-saturating loss",
        target="zoo_gan.gan.model:GAN",
        config=GANConfig(),
        tiny=GANConfig(latent=8, hidden=(16, 16)),
        likelihood="none",
        paper=Paper(
            title="Generative Adversarial Nets",
            authors="Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio",
            year=2014,
            url="https://arxiv.org/abs/1406.2661",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/gan.digits",
                sha256="be0061532bb221d494da0109cd67660b9b8d8e9541038b7ce8137fe2bb98deaa",
            ),
            Pretrained(
                tag="moons",
                source="weights/gan.moons",
                sha256="f1c41e633723b90184450c0e9f5bc74ffc0d1847646207fbd8b51a444f1dd097",
            ),
            Pretrained(
                tag="rings",
                source="weights/gan.rings",
                sha256="896abbc10cdd28f463e106e9c74f9637dc0be07a5748f8b50e264eef47a6949d",
            ),
        ),
    ),
)
