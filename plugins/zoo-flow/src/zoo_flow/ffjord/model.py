"""FFJORD: noise at time 0 is carried to images at time 1 by a vector field that a network computes.

Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, "FFJORD: Free-form Continuous Dynamics for Scalable Reversible
Generative Models", 2018, https://arxiv.org/abs/1810.01367; Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary
Differential Equations", 2018, https://arxiv.org/abs/1806.07366, theorem 1 (instantaneous change of variables):

    dz/dt = f(t, z),      d log p(z(t)) / dt = -tr(df/dz)
    log p(y) = log p_z(z(0)) - integral over [0, 1] of tr(df/dz) dt,       y = z(1)
    tr J = E[e^T J e],  E[e] = 0,  Cov[e] = I,  one e for all of a solve                        (FFJORD, section 3.1)

Where there are few dimensions the trace is exact: D axes for e. Penalties, an option, make fields that are easier to
solve: Finlay, Jacobsen, Nurbekyan, Oberman, "How to train your neural ODE: the world of Jacobian and kinetic
regularization", 2020, https://arxiv.org/abs/2002.02798: the integrals of |f|^2 and of |J|_F^2 = E|J e|^2.

A solver has errors, so what it says of an image is an estimate, neither exact nor a bound. Departures: a training takes
equal steps and differentiates through them (`solver.py` says why), the paper an adaptive solver and the adjoint method;
one flow at one resolution, no hierarchy of them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from zoo_core.errors import ZooError, did_you_mean
from zoo_core.images import Batch, Labels, Rng, Text, check, dequantise, quantise
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_flow.ffjord.config import FIXED, FFJORDConfig
from zoo_flow.ffjord.field import ConvField, DenseField
from zoo_flow.ffjord.solver import Solver, State
from zoo_flow.flow import Invertible
from zoo_flow.pixel_maps import pixel_map

TRACES = ("auto", "exact", "hutchinson")
EXACT, EXACT_IN_TRAINING = 64, 4  # dimensions up to which "auto" is exact
ROWS = 16_384  # images times directions in one evaluation of the field


class FFJORD(Invertible):
    """f is `field`; states are flat, `(N, D)`.

    Directions e `(K, N, D)` stand for the trace, tr J = sum_k e_k^T J e_k: the D axes, or K probes over sqrt(K).
    """

    config: FFJORDConfig

    def __init__(self, images: ImageSpec, config: FFJORDConfig) -> None:
        super().__init__(images, config)
        self.pixels = Standardised(config)
        kind = DenseField if config.network == "dense" else ConvField
        self.field = kind(images, config.hidden, config.activation, config.gain)

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y to noise by the config's solver, with the exact trace, whatever it costs: `log_density_estimate` offers
        others."""
        return self.to_noise(y, self.axes(len(y)), self.solver())

    def untransform(self, z: Tensor) -> Tensor:
        return self.carried(z, 0.0, 1.0, self.solver()).view(-1, *self.images.shape)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Maximum likelihood of images dequantised anew, by one probe each, or by the exact trace in 4 dimensions."""
        batch = batch.with_(u=step.rand(batch, *self.images.shape))
        if self.images.dims > EXACT_IN_TRAINING:
            if self.config.probe == "gaussian":
                e = step.randn(batch, self.images.dims)
            else:
                e = 2 * step.randint(2, batch, self.images.dims).to(self.dtype) - 1
            batch = batch.with_(e=e)
        metrics = step.minimize(self.loss, batch)
        assert isinstance(metrics, dict)
        return {**metrics, "bits_per_dim": metrics["nll"] / (self.images.dims * math.log(2))}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """-E_u[log p((x + u) / K)] + D log K, "nll", and penalties; nats per image.

        "kinetic", "jacobian": the integrals of |f|^2 and |J|_F^2, unweighted.
        """
        config = self.config
        v, log_volume = dequantise(batch.x, self.images, u=batch.extra["u"])
        y, of_pixels = self.pixels(v)
        e = batch.extra["e"].unsqueeze(0) if "e" in batch.extra else self.axes(len(v))
        zeros = y.new_zeros(len(y))

        def slope(t: Tensor, state: State) -> State:
            f, je = self.pushed(t, state[0], e)
            return f, (e * je).sum((0, 2)), f.square().sum(1), je.square().sum((0, 2))

        solver = Solver(config.train_solver, config.train_steps)
        z, log_det, *work = solver.solve(slope, (y.flatten(1), zeros, zeros, zeros), 1.0, 0.0)
        kinetic, jacobian = (-part.mean() for part in work)  # time ran backwards
        nll = -(self.log_base(z) + of_pixels + log_det).mean() - log_volume
        loss = nll + config.kinetic * kinetic + config.jacobian * jacobian
        return {"loss": loss, "nll": nll.detach(), "kinetic": kinetic.detach(), "jacobian": jacobian.detach()}

    def log_prob_estimate(
        self,
        x: Tensor,
        *,
        labels: Labels = None,
        text: Text = None,
        generator: Rng = None,
        draws: int | None = None,
        trace: str | None = None,
        probes: int | None = None,
        **solver: Any,
    ) -> Tensor:
        """An estimate of log P(x): the density averaged over `draws` points of the image's cell. nats, `(N,)`.

        With one draw it is that of a bound, as a flow's likelihood is usually given; with many, of log P(x) itself.
        All options default to the config's; those but `draws` are of `log_density_estimate`.
        """
        self.check(x, labels, text)
        draws = _count("draws", self.config.draws if draws is None else draws)
        options = {"generator": generator, "trace": trace, "probes": probes, **solver}
        values = []
        for u in self.points(len(x), draws, generator):
            v, log_volume = dequantise(x, self.images, u=u)
            values.append(self.log_density_estimate(v, **options) + log_volume)
        return torch.stack(values).logsumexp(0) - math.log(draws)

    def estimate_protocol(self) -> dict[str, float | int | str]:
        """How `log_prob_estimate` makes its estimate where no option says otherwise."""
        config = self.config
        if config.solver in FIXED:
            solver: dict[str, float | int | str] = {"solver": config.solver, "steps": config.steps}
        else:
            solver = {"solver": config.solver, "rtol": config.rtol, "atol": config.atol}
        trace: dict[str, float | int | str] = {"trace": "exact"}
        if not self.is_exact(config.trace):
            trace = {"trace": "hutchinson", "probes": config.probes, "probe": config.probe}
        told = f"{config.solver}, {trace['trace']} trace"
        return {"estimator": told, **solver, **trace, "draws": config.draws}

    @torch.no_grad()
    def log_density_estimate(
        self, v: Tensor, *, generator: Rng = None, trace: str | None = None, probes: int | None = None, **solver: Any
    ) -> Tensor:
        """An estimate of log p(v) of real images v `(N, C, H, W)`, pixels at [0, 1]. nats, `(N,)`.

        trace: "exact" takes D directions in each evaluation of the field, "hutchinson" `probes` of them, and "auto" is
        exact up to 64 dimensions. solver, steps, rtol, atol: of the integration.
        """
        y, of_pixels = self.pixels(self.check_real(v).to(self.dtype))
        trace = self.config.trace if trace is None else trace
        if trace not in TRACES:
            raise ZooError(f"FFJORD: unknown trace {trace!r}{did_you_mean(str(trace), TRACES)}")
        probes = _count("probes", self.config.probes if probes is None else probes)
        e = self.axes(len(v)) if self.is_exact(trace) else self.probes(probes, len(v), generator)
        z, log_det = self.to_noise(y, e, self.solver(**solver))
        return self.log_base(z) + of_pixels + log_det

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Labels = None,
        text: Text = None,
        generator: Rng = None,
        temperature: float = 1.0,
        **solver: Any,
    ) -> Tensor:
        """z ~ p_z scaled by `temperature`, carried to time 1. uint8 `(n, C, H, W)`.

        solver, steps, rtol, atol: of the integration; the config's by default.
        """
        self.check_request(n, labels, text)
        self.check_temperature(temperature)
        y = self.carried(temperature * self.draw_base(n, generator), 0.0, 1.0, self.solver(**solver))
        return quantise(self.pixels.inverse(y).view(-1, *self.images.shape), self.images)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The noise of the centre of each image's cell, `(N, D)`; no trace is computed."""
        y, _ = self.pixels((check(x, self.images).to(self.dtype) + 0.5) / self.images.levels)
        return self.carried(y.flatten(1), 1.0, 0.0, self.solver())

    @torch.no_grad()
    def trajectory(self, z: Tensor, n: int) -> Tensor:
        """Noise z `(N, D)` at n equidistant times from 0 to 1, as real images `(n, N, C, H, W)`, pixels at [0, 1]."""
        if type(n) is not int or n < 2:
            raise ZooError(f"FFJORD.trajectory: expected n >= 2, both ends included, a whole number, got {n!r}")
        path = [self.check_noise("trajectory", z)]
        for i in range(n - 1):
            path.append(self.carried(path[-1], i / (n - 1), (i + 1) / (n - 1), self.solver()))
        return torch.stack([self.pixels.inverse(y).view(-1, *self.images.shape) for y in path])

    def solver(self, **options: Any) -> Solver:
        """The config's solver, with the options that are given."""
        known = ("solver", "steps", "rtol", "atol")
        for name in options:
            if name not in known:
                raise ZooError(f"FFJORD: unknown option {name!r}{did_you_mean(name, known)}")
        method, steps, rtol, atol = (
            getattr(self.config, name) if options.get(name) is None else options[name] for name in known
        )
        return Solver(method, steps, rtol, atol)

    def carried(self, z: Tensor, start: float, end: float, solver: Solver) -> Tensor:
        """States `(N, D)` from one time to another, without their density."""

        def slope(t: Tensor, state: State) -> State:
            return (self.field(t, state[0])[0].to(z.dtype),)

        return solver.solve(slope, (z,), start, end)[0]

    def to_noise(self, y: Tensor, e: Tensor, solver: Solver) -> tuple[Tensor, Tensor]:
        """y `(N, C, H, W)` to noise `(N, D)`, and log |det dz/dy| `(N,)` by directions e `(K, N, D)`."""
        parts = e.split(max(1, ROWS // max(len(y), 1)))

        def slope(t: Tensor, state: State) -> State:
            total = torch.zeros_like(state[1])
            for part in parts:
                f, je = self.pushed(t, state[0], part)
                total = total + (part * je).sum((0, 2))
            return f, total

        z, log_det = solver.solve(slope, (y.flatten(1), y.new_zeros(len(y))), 1.0, 0.0)
        return z, log_det

    def pushed(self, t: Tensor, z: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """f and J e in the state's precision: what autocast makes of the network is integrated in full."""
        f, je = self.field(t, z, e)
        assert je is not None
        return f.to(z.dtype), je.to(z.dtype)

    def is_exact(self, trace: str) -> bool:
        """Whether a trace of this name is exact here."""
        return trace == "exact" or (trace == "auto" and self.images.dims <= EXACT)

    def axes(self, n: int) -> Tensor:
        """The directions whose trace is exact, `(D, n, D)`."""
        return torch.eye(self.images.dims, device=self.device, dtype=self.dtype).unsqueeze(1).expand(-1, n, -1)

    def probes(self, k: int, n: int, generator: Rng) -> Tensor:
        """k draws of Hutchinson's noise for each of n images, over sqrt(k): `(k, n, D)`."""
        shape = (k, n, self.images.dims)
        if self.config.probe == "gaussian":
            e = torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)
        else:
            e = 2 * torch.randint(2, shape, generator=generator, device=self.device).to(self.dtype) - 1
        return e / math.sqrt(k)

    def points(self, n: int, draws: int, generator: Rng) -> Tensor:
        """Dequantisation noise for each of n images, `(draws, n, C, H, W)`, each draw uniform on [0, 1)^D.

        The first points of a Sobol sequence, shifted at random (modulo 1, for each image anew): they cover the cell
        more evenly than independent ones, which images of more dimensions than torch has a sequence for get.
        """
        independent = draws == 1 or self.images.dims > SobolEngine.MAXDIM
        shape = (draws if independent else 1, n, *self.images.shape)
        u = torch.rand(shape, generator=generator, device=self.device, dtype=self.dtype)
        if independent:
            return u
        sobol = SobolEngine(self.images.dims).draw(draws, dtype=u.dtype).to(u.device)
        return (u + sobol.view(draws, 1, *self.images.shape)) % 1


class Standardised:
    """The config's pixel map, over the standard deviation that it gives to uniform pixels (a logit for a small alpha):
    the field begins at 0, so y should not be far from noise."""

    def __init__(self, config: FFJORDConfig) -> None:
        self.map = pixel_map(config)
        self.scale = math.pi / math.sqrt(3) if config.pixels == "logit" else 1 / math.sqrt(12)

    def __call__(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v `(N, C, H, W)` to y, and log |dy/dv| `(N,)`."""
        y, log_det = self.map(v)
        return y / self.scale, log_det - math.prod(v.shape[1:]) * math.log(self.scale)

    def inverse(self, y: Tensor) -> Tensor:
        return self.map.inverse(y * self.scale)


def _count(name: str, n: int) -> int:
    if type(n) is not int or n < 1:
        raise ZooError(f"FFJORD: expected {name} >= 1, a whole number, got {n!r}")
    return n
