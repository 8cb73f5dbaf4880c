"""An energy-based model: low energies for images, high ones for what its own Langevin chains come up with.

Y. Du, I. Mordatch, "Implicit Generation and Modeling with Energy-Based Models", 2019,
https://arxiv.org/abs/1903.08689, sections 3.1 to 3.3 and algorithm 1, in the symbols used here:

    v_k = v_{k-1} - lambda grad f(v_{k-1}) + sigma n,    n ~ N(0, I),  k = 1 .. steps
    loss = f(v+) - f(v-) + alpha (f(v+)^2 + f(v-)^2)

v+: an image; v-: where a chain ends. The gradient of the first two terms is that of the negative log-likelihood of
p = exp(-f / T) / Z, times T, if chains end in draws of p, where T = sigma^2 / (2 lambda) is the temperature that the
chains have: at 1, lambda would be sigma^2 / 2. The paper's lambda = 10 and sigma = 0.005 are T = 1.25e-6, so that its
energies in nats, f / T, are far larger than its f. `energy`, `score` and likelihoods are of p, in nats.

Where chains begin decides what is learnt: E. Nijkamp, M. Hill, S.-C. Zhu, Y. N. Wu, "Learning Non-Convergent Non-
Persistent Short-Run MCMC Toward Energy-Based Model", 2019, https://arxiv.org/abs/1904.09770. A short run from noise is
a generator, whose samples are good though those of longer runs, of p, are not; persistent chains (T. Tieleman, 2008;
J. Xie, Y. Lu, S.-C. Zhu, Y. N. Wu, "A Theory of Generative ConvNet", 2016, https://arxiv.org/abs/1602.03264, section 3)
come nearer to p with training.

Where a step leaves the cube, the paper clips it to [0, 1]. At a temperature near 0 that matters: the energies of
images that are black at most places push such pixels out at every step, and mirrored they become noise. At temperature
1 `border = "mirror"` keeps the law of the chains right (`cube.py`).

Departures: no spectral normalisation; images are dequantised, so that the density is one; SiLU networks of plain
convolutions, not residual ones. AdamW without decay is the paper's Adam.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from zoo_core.errors import Diverged
from zoo_core.images import Batch, dequantise
from zoo_core.step import Step
from zoo_energy import langevin
from zoo_energy.cube import clip, fold
from zoo_energy.ebm.config import EBMConfig
from zoo_energy.energy_model import EnergyModel, Schedule

WATCHED = 50  # on a GPU, where reading a number waits for all that is still to be computed


class EBM(EnergyModel):
    """Replay buffer in `step.state["replay"]`: states of chains, the newest last."""

    config: EBMConfig

    @property
    def unit(self) -> float:
        return self.config.temperature

    @property
    def steps(self) -> int:
        return self.config.sampling_steps or self.config.life

    def schedule(self, steps: int, temperature: float) -> Schedule:
        return [(self.config.step_size, self.config.noise * temperature**0.5)] * steps

    def inside(self, u: Tensor) -> Tensor:
        return clip(u) if self.config.border == "clip" else fold(u)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """The paper's Adam, of beta_1 = 0: what chains say changes from one step to the next."""
        return {"model": AdamW(self.parameters(), lr=lr, betas=(self.config.beta1, 0.999), weight_decay=0.0)}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Algorithm 1. The negatives are made once for the whole batch, and travel with it."""
        self.estimated.fill_(False)  # a log Z from before is of another energy
        shape = self.images.shape
        batch = batch.with_(u=step.rand(batch, *shape), negative=self.negatives(batch, step))
        if self.config.data_noise:
            batch = batch.with_(eps=step.randn(batch, *shape))
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        self.watch(metrics, step)
        return metrics

    def negatives(self, batch: Batch, step: Step) -> Tensor:
        """Where this batch's chains end, `(N, C, H, W)`; with persistent chains the buffer has them too.

        States are drawn from the whole buffer and what they come to is put behind it, so that a chain goes on until its
        states have all been pushed out; as many of the oldest are.
        """
        shape, config = self.images.shape, self.config
        start = step.rand(batch, *shape)
        replay = step.state.get("replay", start[:0])
        if config.chains == "persistent" and len(replay):
            old = replay[step.randint(len(replay), batch)]
            start = torch.where((step.rand(batch) < config.reinit).view(-1, 1, 1, 1), start, old)
        negative = langevin.walk(
            self.potential,
            start,
            lambda: step.randn(batch, *shape),
            self.schedule(config.steps, 1.0),
            inside=self.inside,
        )
        if config.chains == "persistent":
            surplus = max(0, len(replay) + len(negative) - config.buffer)
            step.state["replay"] = torch.cat([replay[surplus:], negative[-config.buffer :]])
        return negative

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """f(v+) - f(v-) + alpha (f(v+)^2 + f(v-)^2), mean over images; "data" and "negative": means of f."""
        v = dequantise(batch.x, self.images, u=batch.extra["u"])[0]
        if self.config.data_noise:
            v = fold(v + self.config.data_noise * batch.extra["eps"])
        data, negative = self.potential(torch.cat([v, batch.extra["negative"]])).chunk(2)  # (2 N,) -> (N,) twice
        magnitude = data.square() + negative.square()
        loss = (data - negative + self.config.alpha * magnitude).mean()
        return {"loss": loss, "data": data.mean().detach(), "negative": negative.mean().detach()}

    def watch(self, metrics: dict[str, Tensor], step: Step) -> None:
        """`Diverged` for energies that have run away: the chains no longer follow what the network learns."""
        if metrics["data"].device.type != "cpu" and step.index % WATCHED:
            return
        data, negative = float(metrics["data"]), float(metrics["negative"])
        if max(abs(data), abs(negative)) > self.config.limit:
            raise Diverged(
                f"the energy has run away: at step {step.index} the network's output is {data:.4g} for images and "
                f"{negative:.4g} for samples, beyond limit = {self.config.limit:g}; lower the learning rate, raise "
                "alpha, or give the chains more steps"
            )
