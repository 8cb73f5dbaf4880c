"""NSF, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig

LEAST = 1e-3  # width and height of a bin as shares of the spline's, and slope at a knot


@dataclass(frozen=True, kw_only=True)
class NSFConfig(FlowConfig):
    """Monotone rational-quadratic splines of the pixels.

    kind: "coupling", RQ-NSF (C), each half of the pixels given the other; or "autoregressive", RQ-NSF (AR), each pixel
    given all before it. steps: pairs of couplings, or autoregressive layers. mixing: between steps, "lu": a linear map
    of all pixels, L U, after a permutation (of the couplings; autoregressive layers reverse the order); "permute": that
    alone, without parameters.
    bins: K of each spline. bound: B, the splines are the identity outside of [-B, B]; the default is a little more than
    the logit with the default alpha gives for black and white, -2.94 and 2.94.
    hidden: width of the network that gives a coupling its knots. blocks: its residual blocks; the masked network of an
    autoregressive layer has so many hidden layers of that width. pixels, alpha: see `FlowConfig`.
    """

    kind: Literal["coupling", "autoregressive"] = "coupling"
    steps: int = 5
    mixing: Literal["lu", "permute"] = "lu"
    bins: int = 8
    bound: float = 3.0
    hidden: int = 128
    blocks: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("steps", self.steps >= 1, "at least 1")
        self.expect("bins", 2 <= self.bins <= 0.5 / LEAST, f"2 to {0.5 / LEAST:.0f}")
        self.expect("bound", 0 < self.bound < float("inf"), "a number above 0")
        self.expect("hidden", self.hidden >= 1, "at least 1")
        self.expect("blocks", self.blocks >= 1, "at least 1")


SPECS = (
    ModelSpec(
        name="nsf",
        family="flow",
        summary="Neural spline flow: monotone rational-quadratic splines in couplings of two halves of the pixels",
        target="zoo_flow.nsf.model:NSF",
        config=NSFConfig(),
        tiny=NSFConfig(steps=1, bins=3, hidden=24, blocks=1),
        likelihood="density",
        paper=Paper(
            title="Neural Spline Flows",
            authors="Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios",
            year=2019,
            url="https://arxiv.org/abs/1906.04032",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/nsf.digits",
                sha256="03bb3d1c898b2df275199dc66089ddd5c3f5596d9ab9c2bed7d84e336039b72c",
            ),
            Pretrained(
                tag="moons",
                source="weights/nsf.moons",
                sha256="3ae29a13be974ed062dc72a73b9261bd60b382c0220e9068caf9dec09de5b135",
            ),
            Pretrained(
                tag="rings",
                source="weights/nsf.rings",
                sha256="bcb80aa30734ee2bbfc915393c5c576cd9c34da8f010d86755321aeeec7e7c21",
            ),
        ),
    ),
)
