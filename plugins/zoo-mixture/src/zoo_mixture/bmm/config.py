"""BMM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import ModelSpec, Paper, Pretrained
from zoo_mixture.start_config import StartConfig


@dataclass(frozen=True, kw_only=True)
class BMMConfig(StartConfig):
    """A mixture of images with independent pixels. Of each cluster at the start, the histograms are what counts.

    noise: the fixed share of the background in every pixel; the fewer images a component has, the more of it pays.
    """

    components: int = 40
    noise: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("noise", 0 < self.noise < 1, "a share between 0 and 1, both excluded")


SPECS = (
    ModelSpec(
        name="bmm",
        family="mixture",
        summary="Mixture of Bernoullis or categoricals by EM: exact likelihood",
        target="zoo_mixture.bmm.model:BMM",
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
    ),
)
