"""What the config of every adversarial network has, known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.config import Config

AUGMENTATIONS = ("brightness", "saturation", "contrast", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(Config):
    """latent: dimension of z.

    dither: width, in levels, of the uniform noise on every pixel that the discriminator sees; 0 for none.
    beta1, beta2: Adam's. ratio: the discriminator's learning rate over the generator's.
    n_critic: steps of the discriminator for one of the generator.
    augment: what every image goes through before the discriminator sees it, real or generated, any of `AUGMENTATIONS`.
    strength: of these, over the paper's; 0 leaves images as they are.
    """

    latent: int = 100
    dither: float = 1.0
    beta1: float = 0.5
    beta2: float = 0.999
    ratio: float = 1.0
    n_critic: int = 1
    augment: tuple[str, ...] = ()
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "n_critic"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("dither", self.dither >= 0, "0 (none) or more levels")
        for name in ("beta1", "beta2"):
            self.expect(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        self.expect("ratio", self.ratio > 0, "a number above 0")
        known = set(self.augment) <= set(AUGMENTATIONS) and len(set(self.augment)) == len(self.augment)
        self.expect("augment", known, f"any of {', '.join(AUGMENTATIONS)}, each at most once")
        self.expect("strength", 0 <= self.strength <= 1, "a number in [0, 1]")
