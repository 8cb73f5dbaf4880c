"""GMM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core import ModelSpec, Paper, Pretrained
from zoo_mixture.start_config import StartConfig


@dataclass(frozen=True, kw_only=True)
class GMMConfig(StartConfig):
    """A mixture of Gaussians.

    covariance: of each component; full has D(D+1)/2 numbers, diagonal D, spherical 1.
    floor: added to every variance in training, on top of the dequantisation's 1/(12 levels^2), where pixels are in
    [0, 1]; scikit-learn calls it reg_covar.
    """

    covariance: Literal["full", "diagonal", "spherical"] = "full"
    floor: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("floor", 0 <= self.floor < float("inf"), "a variance, 0 or more")


SPECS = (
    ModelSpec(
        name="gmm",
        family="mixture",
        summary="Mixture of Gaussians by EM: full, diagonal or spherical covariances",
        target="zoo_mixture.gmm.model:GMM",
        config=GMMConfig(),
        tiny=GMMConfig(components=3),
        likelihood="density",
        paper=Paper(
            title="Maximum Likelihood from Incomplete Data via the EM Algorithm",
            authors="Arthur Dempster, Nan Laird, Donald Rubin",
            year=1977,
            url="https://doi.org/10.1111/j.2517-6161.1977.tb01600.x",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/gmm.digits",
                sha256="a39e6a5441dda70a54cd935cd72730185581e2aa551a247463363b07f1305d50",
            ),
        ),
    ),
)
