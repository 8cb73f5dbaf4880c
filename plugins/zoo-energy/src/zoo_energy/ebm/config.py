"""EBM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_energy.energy_config import AISConfig, EnergyConfig


@dataclass(frozen=True, kw_only=True)
class EBMConfig(EnergyConfig):
    """An energy and the chains that it is trained by; the defaults are the paper's on CIFAR-10.

    chains: "persistent" continues chains of a replay buffer; "short_run" begins each with noise.
    steps: Langevin steps of a training step. step_size, noise: v <- v - step_size grad f(v) + noise n, of the network's
    output f; the energy in nats is f / T at the temperature T = noise^2 / (2 step_size).
    border: of a step that leaves [0, 1]: "clip", the paper's, or "mirror", which keeps the law of the chains right.
    buffer: states kept, per process. reinit: share of chains that begin with noise again.
    alpha: of the penalty on the magnitudes of f. data_noise: standard deviation of Gaussian noise on the images.
    sampling_steps: of a sample; 0 for as many as a chain lives in training: steps, or steps / reinit where persistent.
    beta1: of AdamW. limit: training stops where the mean of f, of images or of samples, is beyond this.
    """

    chains: Literal["persistent", "short_run"] = "persistent"
    steps: int = 60
    step_size: float = 10.0
    noise: float = 0.005
    border: Literal["clip", "mirror"] = "clip"
    buffer: int = 10_000
    reinit: float = 0.05
    alpha: float = 1.0
    data_noise: float = 0.0
    sampling_steps: int = 0
    beta1: float = 0.0
    limit: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(
            "steps", self.steps >= 1, "at least 1 Langevin step: without any there are no samples to learn from"
        )
        for name in ("step_size", "noise", "limit"):
            self.expect(name, 0 < getattr(self, name) < float("inf"), "a number above 0")
        self.expect("buffer", self.buffer >= 1, "room for at least 1 chain")
        self.expect("reinit", 0 < self.reinit <= 1, "a share in (0, 1]")
        for name in ("alpha", "data_noise", "sampling_steps"):
            self.expect(name, getattr(self, name) >= 0, "0 or more")
        self.expect("beta1", 0 <= self.beta1 < 1, "a share in [0, 1)")

    @property
    def temperature(self) -> float:
        """T: what the network's output is divided by to be nats."""
        return self.noise**2 / (2 * self.step_size)

    @property
    def life(self) -> int:
        """Langevin steps that a chain lives in training, on average."""
        return self.steps if self.chains == "short_run" else round(self.steps / self.reinit)


SPECS = (
    ModelSpec(
        name="ebm",
        family="energy",
        summary="Convolutional energy, trained against samples of its own Langevin chains",
        target="zoo_energy.ebm.model:EBM",
        config=EBMConfig(),
        tiny=EBMConfig(
            network="mlp",
            hidden=(32, 32),
            steps=10,
            step_size=0.005,
            noise=0.1,
            border="mirror",
            buffer=500,
            alpha=0.01,
            sampling_steps=50,
            ais=AISConfig(chains=1000, distributions=100),
        ),
        likelihood="estimate",
        paper=Paper(
            title="Implicit Generation and Modeling with Energy-Based Models",
            authors="Yilun Du, Igor Mordatch",
            year=2019,
            url="https://arxiv.org/abs/1903.08689",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/ebm.digits",
                sha256="47fe3f3dbe1597f1eb3437961aaf9b80834973fa1758796297579205fefaf4f1",
            ),
            Pretrained(
                tag="digits_short",
                source="weights/ebm.digits_short",
                sha256="0542e43b05e5bca2f9bf77cd438883cf8a945f25d83d37e187104a56b62c2729",
            ),
            Pretrained(
                tag="fashion",
                source="weights/ebm.fashion",
                sha256="8d719d4a272f61fe175c49b84498b32c9a34a22dc6b49f76a67d014e3747f4a5",
            ),
            Pretrained(
                tag="moons",
                source="weights/ebm.moons",
                sha256="0ab3d55ca7d72baf800179ab7ad80e025a22690a7c8b311b2ee39512c62ac172",
            ),
            Pretrained(
                tag="rings",
                source="weights/ebm.rings",
                sha256="cbf50e7374b2a812976183697555ee6ceab8792b162a5067bead735b1a6bf10b",
            ),
        ),
    ),
)
