"""What the family offers, told without torch: config and spec of each model that is one file, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import Config, ModelSpec, Paper, Pretrained
from zoo_mixture.gmm import config as gmm
from zoo_mixture.gmm.config import GMMConfig

__all__ = ["SPECS", "BMMConfig", "GMMConfig"]


@dataclass(frozen=True, kw_only=True)
class BMMConfig(Config):
    """A mixture of images with independent pixels.

    components: K. noise: the fixed share of the background in every pixel; the fewer images a component has, the more
    of it pays. lloyd: rounds of k-means between the k-means++ seeds and EM.
    """

    components: int = 40
    noise: float = 0.2
    lloyd: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("components", self.components >= 1, "at least 1")
        self.expect("noise", 0 < self.noise < 1, "a share between 0 and 1, both excluded")
        self.expect("lloyd", self.lloyd >= 0, "0 or more rounds")


BMM = ModelSpec(
    name="bmm",
    family="mixture",
    summary="Mixture of Bernoullis or categoricals by EM: exact likelihood",
    target="zoo_mixture.bmm:BMM",
    config=BMMConfig(),
    tiny=BMMConfig(components=3),
    likelihood="exact",
    paper=Paper(
        title="Maximum Likelihood from Incomplete Data via the EM Algorithm",
        authors="Arthur Dempster, Nan Laird, Donald Rubin",
        year=1977,
        url="https://doi.org/10.1111/j.2517-6161.1977.tb01600.x",
    ),
    pretrained=(
        Pretrained(
            tag="mnist_bin",
            source="weights/bmm.mnist_bin",
            sha256="b3d12aa1bc357f2055156ec24d13f7127965eda299e91c89983861fc77f0743b",
        ),
        Pretrained(
            tag="digits",
            source="weights/bmm.digits",
            sha256="6894e0ba7ffc7e6644abc77c9eb1cf2c3bdcca52b1a7e6940bb8802df52f5b96",
        ),
    ),
)

SPECS = (*gmm.SPECS, BMM)
