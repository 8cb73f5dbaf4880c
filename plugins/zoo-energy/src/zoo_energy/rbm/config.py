"""RBM, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.config import Config
from zoo_core.specs import ModelSpec, Paper, Pretrained


@dataclass(frozen=True, kw_only=True)
class RBMConfig(Config):
    """hidden: how many binary hidden units.

    algorithm: where a step's Gibbs chains begin: at the batch's images (contrastive divergence, "cd"), or where they
    stood after the step before ("pcd", one chain for each image of a batch). k: Gibbs steps of a training step.
    optimizer, momentum (of "sgd"), weight_decay (of the weights, not of the biases): how the gradient is followed.
    distributions, chains: of the annealed importance sampling that estimates log Z once, at the end of a training.
    steps: Gibbs steps of `sample` and `complete`. anneal: the share of them over which the machine is heated down from
    independent pixels to itself; 0 for a plain chain.
    """

    hidden: int = 500
    algorithm: Literal["cd", "pcd"] = "pcd"
    k: int = 1
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.5
    weight_decay: float = 0.0
    distributions: int = 10_000
    chains: int = 100
    steps: int = 500
    anneal: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hidden", "k", "distributions", "steps"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("chains", self.chains >= 2, "at least 2, or there is no standard error")
        self.expect("momentum", 0 <= self.momentum < 1, "a share of the step before, 0 (none) or more, below 1")
        self.expect("weight_decay", self.weight_decay >= 0, "0 or more")
        self.expect("anneal", 0 <= self.anneal <= 1, "a share of the steps, 0 (none) to 1")


SPECS = (
    ModelSpec(
        name="rbm",
        family="energy",
        summary="Restricted Boltzmann machine: contrastive divergence, persistent chains; log Z by annealing",
        target="zoo_energy.rbm.model:RBM",
        config=RBMConfig(),
        tiny=RBMConfig(hidden=16, optimizer="adam", distributions=500, chains=500, steps=100),
        likelihood="estimate",
        paper=Paper(
            title="Training Products of Experts by Minimizing Contrastive Divergence",
            authors="Hinton",
            year=2002,
            url="https://doi.org/10.1162/089976602760128018",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/rbm.digits",
                sha256="813da601eed0ba779b19ca3ec39b6d6706cb6c282b5ca453024165c82dcdcf3c",
            ),
            Pretrained(
                tag="mnist_bin",
                source="weights/rbm.mnist_bin",
                sha256="53e49e27922de4cd955c1c874d7f8eb8c5cc68e7f9c557f98f2a26f2fa4382f8",
            ),
            Pretrained(
                tag="moons",
                source="weights/rbm.moons",
                sha256="b8b7b01a797831d6fee08b17da4068779a15a52b50c8f356233a401ee02e5260",
            ),
            Pretrained(
                tag="rings",
                source="weights/rbm.rings",
                sha256="483aa09e4630949342ab93a6fc22aef9ea8ebb68705df5d0e9399f41fa6dc619",
            ),
        ),
    ),
)
