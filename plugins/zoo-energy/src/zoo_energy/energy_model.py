"""What models whose energy is a network share: a density on the cube, chains that sample it, an estimate of log Z.

    p(v) = exp(-E(v)) / Z  on [0, 1]^D,    Z = integral over the cube,    score(v) = grad log p(v) = -grad E(v)
    P(x) = integral of p over x's cell = K^-D E_u[p((x + u) / K)],    u ~ U[0, 1)^D

Y. LeCun, S. Chopra, R. Hadsell, M. Ranzato, F. J. Huang, "A Tutorial on Energy-Based Learning", 2006,
http://yann.lecun.com/exdb/publis/pdf/lecun-06.pdf. The cube is the whole domain: nothing of the mass lies outside of
the images' cells.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from zoo_core.chunks import rand, randn
from zoo_core.errors import Diverged, ZooError
from zoo_core.images import Batch, Labels, Rng, Text, dequantise, quantise
from zoo_core.model import GenerativeModel
from zoo_core.precision import full_float32
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_energy import annealing, langevin
from zoo_energy.cube import TruncatedNormal, fold
from zoo_energy.energy_config import EnergyConfig
from zoo_energy.hmc import Path
from zoo_energy.networks import EnergyNetwork

Schedule = list[tuple[float, float]]  # rate and spread of each step: langevin.py
NARROWEST, ROWS = 0.03, 1000  # of the base that log Z is estimated from; images in one pass of a likelihood


class EnergyModel(GenerativeModel):
    """Energy, score, samples, completions and likelihood; how the network is trained is a subclass's.

    unit: E in nats is the network's output divided by this.
    """

    config: EnergyConfig
    estimated: Tensor
    log_z: Tensor
    log_z_error: Tensor
    effective: Tensor
    acceptance: Tensor

    def __init__(self, images: ImageSpec, config: EnergyConfig) -> None:
        super().__init__(images, config)
        self.network = EnergyNetwork(images, config)
        self.register_buffer("estimated", torch.tensor(False))
        for name in ("log_z", "log_z_error", "effective", "acceptance"):
            self.register_buffer(name, torch.zeros(()))

    @property
    def unit(self) -> float:
        return 1.0

    @property
    @abstractmethod
    def steps(self) -> int:
        """Langevin steps of a sample, unless others are asked for."""

    @abstractmethod
    def schedule(self, steps: int, temperature: float) -> Schedule:
        """Rate and spread of each of the steps that take noise to a sample; of the network's output, not of nats."""

    def inside(self, u: Tensor) -> Tensor:
        """Where a chain is that has stepped to `u`, `(N, C, H, W)`, if that is outside of the cube: mirrored."""
        return fold(u)

    def potential(self, v: Tensor) -> Tensor:
        """The network's output, `(N,)`, in float32 also where the network computes in half precision."""
        out = self.network(v)
        return out.float() if out.element_size() < 4 else out  # type: ignore[no-any-return]

    def energy(self, v: Tensor) -> Tensor:
        """-log p(v) + log Z of real images `(N, C, H, W)`, pixels at [0, 1]. nats, `(N,)`."""
        return self.potential(self.check_real(v)) / self.unit

    def score(self, v: Tensor) -> Tensor:
        """grad log p(v), of v's shape."""
        return -langevin.gradient(self.potential, self.check_real(v)) / self.unit

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Labels = None,
        text: Text = None,
        generator: Rng = None,
        steps: int | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Langevin dynamics from uniform noise. uint8 `(n, C, H, W)`.

        steps: None for the model's own. temperature: of exp(-E / temperature), by the variance of the noise.
        """
        self.check_request(n, labels, text)
        schedule = self.planned("sample", steps, temperature)
        return quantise(self.walk(self.noise(n, generator), schedule, generator), self.images)

    @torch.no_grad()
    def complete(
        self, x: Tensor, mask: Tensor, *, generator: Rng = None, steps: int | None = None, temperature: float = 1.0
    ) -> Tensor:
        """`x` where the bool `mask` is True; elsewhere Langevin dynamics from noise, with the known pixels held fixed.

        With more and smaller steps its law comes to p(unknown | known), of the v to which the known pixels were
        dequantised. steps, temperature: as for `sample`.
        """
        self.check(x)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        schedule = self.planned("complete", steps, temperature)
        u = rand(len(x), *self.images.shape, generator=generator, device=self.device, dtype=self.dtype)
        known = dequantise(x, self.images, u=u)[0]
        v = torch.where(mask, known, self.noise(len(x), generator))
        return torch.where(mask, x, quantise(self.walk(v, schedule, generator, free=~mask), self.images))

    @torch.no_grad()
    def log_prob_estimate(
        self, x: Tensor, *, labels: Labels = None, text: Text = None, generator: Rng = None, draws: int = 16
    ) -> Tensor:
        """log P(x) by the log Z that was estimated when training ended. nats, float64 `(N,)`.

        The integral over the cell is a mean over `draws` of the dequantisation: its logarithm is too small in
        expectation, as that of the estimate of Z is; how much by, `estimate_protocol` helps to tell.
        """
        self.check(x, labels, text)
        if type(draws) is not int or draws < 1:
            raise ZooError(f"log_prob_estimate: expected draws >= 1, a whole number, got {draws!r}")
        self._must_be_estimated()
        total: Tensor | None = None
        for _ in range(draws):
            u = torch.rand(x.shape, generator=generator, device=x.device, dtype=self.dtype)
            v, log_volume = dequantise(x, self.images, u=u)
            value = torch.cat([-self.energy(part).double() for part in v.split(ROWS)])
            total = value if total is None else torch.logaddexp(total, value)
        assert total is not None
        return total - math.log(draws) + log_volume - self.log_z.double()

    def estimate_protocol(self) -> dict[str, Any]:
        """How log Z was estimated, and what tells how far to trust it."""
        self._must_be_estimated()
        ais = self.config.ais
        return {
            "estimator": "AIS",
            "transitions": f"HMC of {ais.leapfrog} leapfrog steps" if ais.leapfrog > 1 else "MALA",
            "base": "normal on the cube, of the training images' mean and variance for each pixel",
            "distributions": ais.distributions,
            "chains": ais.chains,
            "log_z": float(self.log_z),
            "log_z_standard_error": float(self.log_z_error),
            "effective_sample_size": float(self.effective),
            "acceptance": float(self.acceptance),
        }

    def finish(self, step: Step) -> None:
        """log Z by annealed importance sampling (`annealing.py`), with noise of its own seed."""
        ais, generator = self.config.ais, torch.Generator(self.device).manual_seed(0)
        path = Path(self.base(step), self.energy)
        with full_float32():
            found = annealing.estimate(
                path, chains=ais.chains, distributions=ais.distributions, leapfrog=ais.leapfrog, generator=generator
            )
        if not torch.isfinite(found.log_z):
            raise Diverged(f"log Z is {float(found.log_z)}: the energy is not finite; lower the learning rate")
        self.log_z.copy_(found.log_z)
        self.log_z_error.copy_(found.standard_error)
        self.effective.copy_(found.effective)
        self.acceptance.copy_(found.acceptance)
        self.estimated.fill_(True)

    def base(self, step: Step) -> TruncatedNormal:
        """Each pixel's mean and standard deviation over the dequantised training images, in closed form."""
        moments = step.mean(functools.partial(_moments, levels=self.images.levels))
        std = (moments["square"] - moments["mean"].square()).clamp_min(NARROWEST**2).sqrt()
        return TruncatedNormal(moments["mean"].to(self.dtype), std.to(self.dtype))

    def noise(self, n: int, generator: Rng) -> Tensor:
        """Where chains begin: uniform on the cube, `(n, C, H, W)`."""
        return rand(n, *self.images.shape, generator=generator, device=self.device, dtype=self.dtype)

    def walk(
        self, v: Tensor, schedule: Schedule, generator: Rng, free: Tensor | None = None, last: bool = True
    ) -> Tensor:
        """Where chains at `v` are after the steps of `schedule`.

        free: bool, where pixels may change. last: whether what follows a sample's last step is done too.
        """

        def noise() -> Tensor:
            return randn(len(v), *self.images.shape, generator=generator, device=v.device, dtype=v.dtype)

        return langevin.walk(self.potential, v, noise, schedule, free, self.inside)

    def planned(self, where: str, steps: int | None, temperature: float) -> Schedule:
        """The schedule that was asked for; `ZooError` for one without steps."""
        steps = self.steps if steps is None else steps
        if type(steps) is not int or steps < 1:
            raise ZooError(
                f"{type(self).__name__}.{where}: expected steps >= 1, a whole number of Langevin steps (its own: "
                f"{self.steps}), got {steps!r}; without any there is only noise"
            )
        number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not number or not 0 <= temperature < math.inf:
            raise ZooError(
                f"{type(self).__name__}.{where}: expected temperature, a number >= 0 (1: the model's own; 0: descent "
                f"without noise), got {temperature!r}"
            )
        return self.schedule(steps, temperature)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _must_be_estimated(self) -> None:
        if not self.estimated:
            raise ZooError(
                f"{type(self).__name__}: log Z is estimated when a training ends, and this model's was not, or not "
                "since its last training step; call step.finish(); energies and samples need none"
            )


def _moments(part: Batch, levels: int) -> dict[str, Tensor]:
    """Means of v and v^2 over images, v = (x + u) / K and u uniform, float64 `(C, H, W)` each."""
    middle = (part.x.double() + 0.5) / levels
    return {"mean": middle.mean(0), "square": middle.square().mean(0) + 1 / (12 * levels**2)}
