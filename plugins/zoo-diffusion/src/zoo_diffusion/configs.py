"""The models of this plugin, as far as they are known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """width: channels at full resolution. multipliers: of the width, one a resolution; each next one is half as high.

    A picture is not halved below 2 pixels a side; multipliers that are left over then are not used.
    blocks: residual blocks a resolution, on the way down and on the way up. attention: at the lowest resolution.
    dropout: inside each residual block.
    """

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 2
    attention: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("width", self.width >= 2 and self.width % 2 == 0, "an even number (sines and cosines), at least 2")
        self.expect("multipliers", min(self.multipliers, default=0) >= 1, "one or more numbers of at least 1")
        self.expect("blocks", self.blocks >= 1, "at least 1")
        self.expect("dropout", 0 <= self.dropout < 1, "a probability in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class DDPMConfig(Config):
    """steps: T. schedule: how the noise grows (`zoo_diffusion.schedule`).

    variance: sigma_t^2 of a reverse step, `beta` or `beta_tilde`, the paper's two (section 3.2).
    prediction: what the network gives out: the noise `eps` (the paper), the image `x`, or `v`, which is between them.
    weighting: `simple` trains on equation 14, `elbo` on the terms of the bound itself (equations 5, 12 and 13).
    scale: pixels are in [-scale, scale]. clip: predicted images are clipped to that, in samples and in the bound.
    elbo_steps: how many terms of the bound `elbo` evaluates when it isn't told; None for all.
    conditional: take labels.
    """

    unet: UNetConfig = UNetConfig()
    steps: int = 1000
    schedule: Literal["linear", "cosine"] = "linear"
    variance: Literal["beta", "beta_tilde"] = "beta"
    prediction: Literal["eps", "x", "v"] = "eps"
    weighting: Literal["simple", "elbo"] = "simple"
    scale: float = 1.0
    clip: bool = True
    elbo_steps: int | None = None
    conditional: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("steps", self.steps >= 2, "at least 2")
        self.expect("scale", self.scale > 0, "a number above 0")
        fits = self.elbo_steps is None or 1 <= self.elbo_steps < self.steps
        self.expect("elbo_steps", fits, f"1 to steps - 1 = {self.steps - 1}, or null for all")


SPECS = (
    ModelSpec(
        name="ddpm",
        family="diffusion",
        summary="Denoising diffusion: U-Net, ancestral sampling, variational bound; optionally class-conditional",
        target="zoo_diffusion.ddpm:DDPM",
        config=DDPMConfig(),
        tiny=DDPMConfig(unet=UNetConfig(width=16, multipliers=(1, 2), blocks=1), steps=8),
        likelihood="bound",
        conditioning="class",
        paper=Paper(
            title="Denoising Diffusion Probabilistic Models",
            authors="Ho, Jain, Abbeel",
            year=2020,
            url="https://arxiv.org/abs/2006.11239",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/ddpm.digits",
                sha256="22cd23e48c82fd33d0bc4627391537347327b4748d163e26f3c5024721cb214f",
            ),
            Pretrained(
                tag="digits_cond",
                source="weights/ddpm.digits_cond",
                sha256="f4c7577f9b4d3de967805a712d92ec5e9914ade29c68a7230743a27e1fc08554",
            ),
        ),
    ),
)
