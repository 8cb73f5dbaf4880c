"""An energy trained by denoising score matching: the way back to the image is where the energy falls. No chains.

P. Vincent, "A Connection Between Score Matching and Denoising Autoencoders", 2011,
https://doi.org/10.1162/NECO_a_00142, section 4, for one level sigma of noise, weighted by sigma^2:

    v~ = v + sigma eps,    loss = E|| eps - sigma grad E(v~) ||^2,    least where -grad E is the score of noisy images

Z. Li, Y. Chen, F. Sommer, "Learning Energy-Based Models in High-Dimensional Spaces with Multi-scale Denoising Score
Matching", 2019, https://arxiv.org/abs/1910.07762, sections 2.2 and 2.3, for many levels and one energy, that of images
with noise sigma_0, each level's error divided by its sigma:

    loss = E_sigma|| (v - v~ + sigma_0^2 grad E(v~)) / sigma ||^2 = E_sigma|| eps - (sigma_0^2 / sigma) grad E(v~) ||^2

In many dimensions noise of one level lies in a thin shell, outside of which nothing would be learnt of E. Where noise
has another level than sigma_0 the law of v~ is that of exp(-E / T), T = sigma^2 / sigma_0^2, as far as one image is
concerned: so samples are drawn by Langevin dynamics at temperatures that fall to 1,

    v <- v - (c^2 sigma_0^2 / 2) grad E(v) + c sigma n,    sigma from the highest down to sigma_0

and end with one step of denoising, v + sigma_0^2 score(v).

Departures: the loss is a mean over pixels, not a sum; images are dequantised; the density is E's on the cube, at whose
faces the chains are mirrored, while training looks beyond them; plain networks, not residual ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_core.images import Batch, Rng, dequantise
from zoo_core.specs import ImageSpec
from zoo_core.step import Step
from zoo_energy import langevin
from zoo_energy.dsm_ebm.config import DSMEBMConfig
from zoo_energy.energy_model import EnergyModel, Schedule

LAST = 10  # one of so many steps is at temperature 1


class DSMEBM(EnergyModel):
    """The network's output is E, in nats: its gradient is matched, so its scale is known."""

    config: DSMEBMConfig
    sigmas: Tensor

    def __init__(self, images: ImageSpec, config: DSMEBMConfig) -> None:
        super().__init__(images, config)
        ends = math.log(config.lowest), math.log(config.highest)
        self.register_buffer("sigmas", torch.linspace(*ends, config.levels).exp(), persistent=False)

    @property
    def steps(self) -> int:
        return self.config.steps

    def schedule(self, steps: int, temperature: float) -> Schedule:
        """Rates are all equal: that of a Langevin step of noise c sigma at temperature T is c^2 sigma^2 / (2 T)."""
        c, sigma, start = self.config.step_size, self.config.sigma, self.config.start or self.config.highest
        falling = steps - math.ceil(steps / LAST)
        spreads = [start * (sigma / start) ** (i / falling) for i in range(falling)]
        spreads += [sigma] * (steps - falling)
        return [((c * sigma) ** 2 / 2, c * spread * temperature**0.5) for spread in spreads]

    def walk(
        self, v: Tensor, schedule: Schedule, generator: Rng, free: Tensor | None = None, last: bool = True
    ) -> Tensor:
        """As for every energy; the last step is followed by denoising."""
        v = super().walk(v, schedule, generator, free)
        if not (last and self.config.denoise):
            return v
        clean = v - self.config.sigma**2 * langevin.gradient(self.potential, v)
        return clean if free is None else torch.where(free, clean, v)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self.estimated.fill_(False)  # a log Z from before is of another energy
        shape = self.images.shape
        batch = batch.with_(
            u=step.rand(batch, *shape),
            eps=step.randn(batch, *shape),
            sigma=self.sigmas[step.randint(self.config.levels, batch)],
        )
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        return metrics

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """|| eps - (sigma_0^2 / sigma) grad E(v~) ||^2, mean over images and pixels; 1 for a constant energy."""
        v = dequantise(batch.x, self.images, u=batch.extra["u"])[0]
        eps, sigma = batch.extra["eps"], batch.extra["sigma"].view(-1, 1, 1, 1)
        slope = langevin.gradient(self.potential, v + sigma * eps, create_graph=True)
        return {"loss": (eps - self.config.sigma**2 / sigma * slope).square().mean()}
