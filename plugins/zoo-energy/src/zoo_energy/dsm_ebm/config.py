"""DSM-EBM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_energy.energy_config import AISConfig, EnergyConfig


@dataclass(frozen=True, kw_only=True)
class DSMEBMConfig(EnergyConfig):
    """An energy and the noise that it learns to remove; standard deviations where pixels are in [0, 1].

    sigma: sigma_0, the noise of the images whose density the energy is. lowest, highest: of the noise in training, in
    `levels` geometric steps; one level is Vincent's objective, for which all three are equal.
    start: the level at which sampling begins; 0 for `highest`. steps: Langevin steps of a sample, the last tenth at
    temperature 1. step_size: the noise of one, in units of the level's standard deviation. denoise: whether a sample
    ends with v + sigma_0^2 score(v), the mean of images given the noisy v.
    """

    sigma: float = 0.1
    lowest: float = 0.05
    highest: float = 1.2
    levels: int = 128
    start: float = 0.0
    steps: int = 500
    step_size: float = 0.5
    denoise: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sigma", "lowest", "step_size"):
            self.expect(name, 0 < getattr(self, name) < float("inf"), "a number above 0")
        self.expect("highest", self.lowest <= self.highest < float("inf"), f"at least lowest, {self.lowest}")
        self.expect("sigma", self.lowest <= self.sigma <= self.highest, "between lowest and highest")
        self.expect("levels", self.levels >= 1, "at least 1")
        self.expect("levels", self.levels > 1 or self.lowest == self.highest, "more than 1, where noise has a range")
        self.expect("start", self.start == 0 or self.sigma <= self.start < float("inf"), "0, or at least sigma")
        self.expect("steps", self.steps >= 1, "at least 1 Langevin step")


SPECS = (
    ModelSpec(
        name="dsm_ebm",
        family="energy",
        summary="Energy by denoising score matching at many noise levels; sampled by annealed Langevin dynamics",
        target="zoo_energy.dsm_ebm.model:DSMEBM",
        config=DSMEBMConfig(head="quadratic"),
        tiny=DSMEBMConfig(
            network="mlp",
            hidden=(32, 32),
            steps=50,
            sigma=0.2,
            lowest=0.1,
            highest=0.5,
            levels=10,
            ais=AISConfig(chains=1000, distributions=100),
        ),
        likelihood="estimate",
        paper=Paper(
            title="Learning Energy-Based Models in High-Dimensional Spaces with Multi-scale Denoising Score Matching",
            authors="Zengyi Li, Yubei Chen, Friedrich T. Sommer",
            year=2019,
            url="https://arxiv.org/abs/1910.07762",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/dsm_ebm.digits",
                sha256="b0e47f0f668bdd28aed01e2328867a8a1263c924e730453f88e609fc625fd6f5",
            ),
            Pretrained(
                tag="moons",
                source="weights/dsm_ebm.moons",
                sha256="f0c36284fa64f182adc78f3c5db4e68081deead2e79926672ec8c28ec6b1ac74",
            ),
            Pretrained(
                tag="rings",
                source="weights/dsm_ebm.rings",
                sha256="582b860e06194673660918b47ffb5799f60dbf901eaf4166308e91ec7fe7e4e0",
            ),
        ),
    ),
)
