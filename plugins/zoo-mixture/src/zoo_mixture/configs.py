"""What the family offers, told without torch: config and spec of each model that is one file, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import Config, ModelSpec, Paper, Pretrained
from zoo_mixture.gmm import config as gmm
from zoo_mixture.gmm.config import GMMConfig
from zoo_mixture.mfa import config as mfa
from zoo_mixture.mfa.config import MFAConfig

__all__ = ["SPECS", "BMMConfig", "GMMConfig", "MFAConfig"]


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
            sha256="8c9642bef148f4802ecdcb87356715ad24730d34b3f7cbf4df59470bbdca4d8d",
        ),
        Pretrained(
            tag="digits",
            source="weights/bmm.digits",
            sha256="1107d80a1882ff2e84cef7c78f4d98f1aecc34a6d408569731a2adb753987dba",
        ),
    ),
)

SPECS = (*gmm.SPECS, BMM, *mfa.SPECS)
