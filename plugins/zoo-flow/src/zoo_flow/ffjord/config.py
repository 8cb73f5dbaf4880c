"""FFJORD, as far as it is known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_core.errors import ZooError, did_you_mean
from zoo_core.specs import ModelSpec, Paper, Pretrained
from zoo_flow.flow_config import FlowConfig

FIXED = ("euler", "midpoint", "rk4")  # so many equal steps
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "adaptive_heun")  # torchdiffeq's, to a tolerance


def check_solver(where: str, solver: str, steps: int, rtol: float, atol: float) -> None:
    """`ZooError` unless these describe a solver that can be run."""
    if solver not in FIXED + ADAPTIVE:
        near = did_you_mean(str(solver), FIXED + ADAPTIVE)
        kinds = f"equal steps: {', '.join(FIXED)}; adaptive: {', '.join(ADAPTIVE)}"
        raise ZooError(f"{where}: unknown solver {solver!r}{near} ({kinds})")
    if type(steps) is not int or steps < 1:
        raise ZooError(f"{where}: expected steps >= 1, a whole number, got {steps!r}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not isinstance(value, (int, float)) or not 0 < value < 1:
            raise ZooError(f"{where}: expected {name}, a tolerance above 0 and below 1, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class FFJORDConfig(FlowConfig):
    """The vector field, how a training integrates it, and what evaluation does unless it is told otherwise.

    alpha: smaller than in other flows: less of the density lies beyond [0, 1], where there is no image, and the edges
    of the outermost levels become smooth tails of the logit.
    network: "dense", layers of `hidden` units, or "conv", 3x3 convolutions down to half the resolution for each further
    width of `hidden` and up again.
    gain: of the weights at first, standard deviations of gain / sqrt(fan-in). With a small one fields stay smooth for
    long, which suits images of many pixels; the rings of a toy are then blurred into a disc.
    probe: the law of Hutchinson's noise, of which "rademacher" has the smaller variance.
    train_solver, train_steps: of a training, by one probe per image, or by the exact trace up to 4 dimensions. With too
    few steps a field is learned that exploits their error: the loss falls far below what an adaptive solver finds.
    kinetic, jacobian: weights of the integrals of |f|^2 and |df/dz|_F^2 over time in the loss, both 0 in the paper.
    solver, rtol, atol: of samples, codes and estimates; steps: where the solver has equal ones.
    trace: of estimates; "auto" is exact up to 64 dimensions. probes: of Hutchinson's estimate, averaged.
    draws: of the dequantisation noise, over which an estimate averages the density.
    """

    alpha: float = 1e-3
    network: Literal["dense", "conv"] = "dense"
    hidden: tuple[int, ...] = (64, 64, 64)
    activation: Literal["tanh", "softplus"] = "tanh"
    gain: float = 1.0
    probe: Literal["rademacher", "gaussian"] = "rademacher"
    train_solver: str = "rk4"
    train_steps: int = 4
    kinetic: float = 0.0
    jacobian: float = 0.0
    solver: str = "dopri5"
    steps: int = 40
    rtol: float = 1e-5
    atol: float = 1e-5
    trace: Literal["auto", "exact", "hutchinson"] = "auto"
    probes: int = 1
    draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("hidden", len(self.hidden) >= 1 and min(self.hidden) >= 1, "widths, each at least 1")
        why = "an adaptive solver takes other steps on each process, so that one would wait for another for ever"
        self.expect("train_solver", self.train_solver in FIXED, f"equal steps ({', '.join(FIXED)}): {why}")
        for name in ("train_steps", "probes", "draws"):
            self.expect(name, getattr(self, name) >= 1, "at least 1")
        self.expect("gain", self.gain > 0, "a number above 0")
        for name in ("kinetic", "jacobian"):
            self.expect(name, getattr(self, name) >= 0, "0 or more")
        check_solver("FFJORDConfig", self.solver, self.steps, self.rtol, self.atol)


SPECS = (
    ModelSpec(
        name="ffjord",
        family="flow",
        summary="FFJORD: noise carried to images by an ordinary differential equation",
        target="zoo_flow.ffjord.model:FFJORD",
        config=FFJORDConfig(),
        tiny=FFJORDConfig(hidden=(16, 16), train_solver="midpoint", train_steps=4, solver="rk4", steps=10, draws=8),
        likelihood="estimate",
        paper=Paper(
            title="FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models",
            authors="Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud",
            year=2018,
            url="https://arxiv.org/abs/1810.01367",
        ),
        pretrained=(
            Pretrained(
                tag="digits",
                source="weights/ffjord.digits",
                sha256="c7b95efc415e5bef5f669d455e2eea986306a3f990ccacf7c19db52ff526c448",
            ),
            Pretrained(
                tag="moons",
                source="weights/ffjord.moons",
                sha256="e43199b5143183c81e48a73b494c0890dab9d9749301250765946aca67b7f8a3",
            ),
            Pretrained(
                tag="rings",
                source="weights/ffjord.rings",
                sha256="539bcdd291f04382c0d793b606ac98bd4242a345bc67483ff75faac74f346a23",
            ),
        ),
    ),
)
