"""The restricted Boltzmann machine, trained by contrastive divergence or by persistent chains.

The gradient of -log P(x) is dF(x) - E_P[dF(v)] (F: the free energy, `machine.py`). Two ways to replace the expectation:

G. Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", 2002,
https://doi.org/10.1162/089976602760128018: v from k Gibbs steps that begin at x (CD-k).

T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient", 2008,
https://doi.org/10.1145/1390156.1390290: v from k Gibbs steps that begin where the chain stood in the step before (PCD).

log P(x) = -F(x) - log Z, with log Z estimated at the end by annealed importance sampling (`annealing.py`). The
gradient takes probabilities of the hidden units given v, not states: h is summed out in F.

Departures: P(v) begins at the frequencies of the first batch; annealing begins at those of the training set.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from zoo_core import chunks
from zoo_core.errors import Diverged, ZooError
from zoo_core.images import Batch, ImageSpec
from zoo_core.model import GenerativeModel
from zoo_core.precision import full_float32
from zoo_core.step import Step, seed_from
from zoo_energy.rbm import annealing
from zoo_energy.rbm.annealing import LogPartition
from zoo_energy.rbm.config import RBMConfig
from zoo_energy.rbm.machine import Base, Machine

# Added to each level's share of the images: a level that none of them has at a pixel must not be impossible. First for
# those of the first batch, where training begins, then for the training set.
FEW, MANY = 1e-2, 1e-3
# How much of a running mean is the last batch.
RECENT = 0.05
# In units of the energy that independent uniform pixels have: a gap between images and chains that is no fluctuation.
RUNAWAY = 10.0


class RBM(GenerativeModel):
    """pixel_frequencies: of each level at each pixel in training images, `(D, levels)`, where chains begin.
    hidden_frequencies: how often hidden units are on for training images, `(hidden,)`; annealing begins at both.

    log_z, log_z_standard_error, effective_sample_size: see `LogPartition`; the last is 0 until `finish` ran.
    """

    config: RBMConfig
    pixel_frequencies: Tensor
    hidden_frequencies: Tensor
    initialised: Tensor
    log_z: Tensor
    log_z_standard_error: Tensor
    effective_sample_size: Tensor

    def __init__(self, images: ImageSpec, config: RBMConfig) -> None:
        super().__init__(images, config)
        self.machine = Machine(images, config.hidden)
        self.register_buffer("pixel_frequencies", torch.full((images.dims, images.levels), 1 / images.levels))
        self.register_buffer("hidden_frequencies", torch.full((config.hidden,), 0.5))
        self.register_buffer("initialised", torch.tensor(False))
        self.register_buffer("log_z", torch.tensor(0.0))
        self.register_buffer("log_z_standard_error", torch.tensor(0.0))
        self.register_buffer("effective_sample_size", torch.tensor(0.0))
        self._started = False

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """k Gibbs steps of all chains, then one step down F(x) - F(v)."""
        self.start(batch, step)
        batch = batch.with_(negative=self.negative(batch, step))
        metrics: dict[str, Tensor] = step.minimize(self.loss, batch)  # type: ignore[assignment]
        self.watch(metrics["loss"], step.index)
        self.hidden_frequencies.lerp_(metrics.pop("hidden"), RECENT)  # about: for pictures on the way
        return metrics

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """F(x) - F(v), mean over images x and states v of the chains, whose gradient is that of the method.

        Near 0 at all times where chains follow the machine: it says nothing about the likelihood. "energy": F(x).
        "hidden": P(h_j = 1 | x), `(hidden,)`.
        """
        both = torch.cat([batch.x, batch.extra["negative"]])
        energy, inputs = self.machine(self.machine.units(both))
        data, chains = energy.chunk(2)
        hidden = inputs.detach()[: len(data)].sigmoid().mean(0)
        return {"loss": (data - chains).mean(), "energy": data.mean().detach(), "hidden": hidden}

    @torch.no_grad()
    def negative(self, batch: Batch, step: Step) -> Tensor:
        """Where the chains are after k Gibbs steps, uint8 `(N, C, H, W)`; all noise is the step's.

        Chain i goes with image i of the process's batch. The last ones rest where a batch is smaller than those before;
        further ones begin at the base where it is larger.
        """
        machine, n, x = self.machine, len(batch), batch.x
        persistent = self.config.algorithm == "pcd"
        if persistent:
            x = step.state.get("chains", x[:0])
            if len(x) < n:
                new = machine.pixels(machine.pick(self.base.visible, step.rand(batch, self.images.dims)))
                x = torch.cat([x, new[len(x) :]])
            x, resting = x[:n], x[n:]
        v = machine.units(x)
        for _ in range(self.config.k):
            v = machine.gibbs(machine.inputs(v), step.rand(batch, machine.noise))
        x = machine.pixels(v)
        if persistent:
            step.state["chains"] = torch.cat([x, resting])
        return x

    @torch.no_grad()
    def start(self, batch: Batch, step: Step) -> None:
        """Before the first step the machine is independent pixels with the frequencies of its batch."""
        if not self._started and not self.initialised:
            self.pixel_frequencies.copy_(smoothed(step.mean(self.frequencies, batch), FEW))
            self.machine.visible_bias.copy_(self.base.visible)
            self.initialised.fill_(True)
        self._started = True
        self.effective_sample_size.fill_(0)  # an estimate made before is of another machine

    @property
    def base(self) -> Base:
        """Independent units with the frequencies of training images."""
        logs = self.pixel_frequencies.log()
        visible = logs[:, 1] - logs[:, 0] if self.machine.states == 1 else logs.flatten()
        return Base(visible, self.hidden_frequencies.clamp(MANY, 1 - MANY).logit())

    def frequencies(self, batch: Batch) -> Tensor:
        """Of each level at each pixel, `(D, levels)`."""
        x, dtype = batch.x.flatten(1), self.pixel_frequencies.dtype
        return torch.stack([(x == level).to(dtype).mean(0) for level in range(self.images.levels)], 1)

    def watch(self, gap: Tensor, index: int) -> None:
        """`Diverged` for an energy that runs away: images far from chains. Read at every 50th step only on a GPU."""
        limit = RUNAWAY * self.images.dims * math.log(self.images.levels)
        if (gap.device.type == "cpu" or index % 50 == 0) and not abs(float(gap)) <= limit:
            raise Diverged(
                f"the energy runs away at step {index}: F(x) - F(v), images less chains, is {float(gap):.4g} nats, "
                f"beyond {limit:.4g}; lower the learning rate or the momentum, raise k or weight_decay"
            )

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Weight decay is for the weights alone, as in the guide."""
        machine, config = self.machine, self.config
        groups = [
            {"params": [machine.weight], "weight_decay": config.weight_decay},
            {"params": [machine.visible_bias, machine.hidden_bias], "weight_decay": 0.0},
        ]
        if config.optimizer == "adam":
            return {"model": AdamW(groups, lr=lr, fused=True)}
        return {"model": SGD(groups, lr=lr, momentum=config.momentum)}

    def finish(self, step: Step) -> None:
        """The frequencies of the training set; then log Z, by pinned noise, equal on every process."""
        pixels, hidden = step.mean(lambda batch: (self.frequencies(batch), self.encode(batch.x).mean(0)))
        self.pixel_frequencies.copy_(smoothed(pixels, MANY))
        self.hidden_frequencies.copy_(hidden)
        with full_float32():
            found = self.log_partition()
        if not math.isfinite(found.log_z):
            raise Diverged(f"log Z is {found.log_z}: the energy is not finite; lower the learning rate")
        self.log_z.fill_(found.log_z)
        self.log_z_standard_error.fill_(found.standard_error)
        self.effective_sample_size.fill_(found.effective_sample_size)

    @torch.no_grad()
    def log_partition(
        self, *, distributions: int | None = None, chains: int | None = None, generator: torch.Generator | None = None
    ) -> LogPartition:
        """log Z by annealed importance sampling, with its standard error and effective sample size.

        distributions, chains: the config's if not given. generator: pinned noise if not given.
        """
        distributions = self._count("log_partition", "distributions", distributions)
        chains = self._count("log_partition", "chains", chains, least=2)
        if generator is None:
            generator = torch.Generator(self.device).manual_seed(seed_from("rbm", "log_z"))
        noise = functools.partial(torch.rand, chains, generator=generator, **self._real)
        return annealing.log_partition(self.machine, self.base, noise, distributions)

    @torch.no_grad()
    def log_prob_estimate(
        self,
        x: Tensor,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """-F(x) - log Z, with the log Z that `finish` estimated. nats, `(N,)`.

        generator: unused, all noise is in log Z; for another estimate of that subtract `log_partition` from `-energy`.
        """
        self.check(x, labels, text)
        self._estimated("log_prob_estimate")
        return self.machine(self.machine.units(x))[0].neg() - self.log_z

    def estimate_protocol(self) -> dict[str, float | int | str]:
        """How good the estimate of log Z is that `log_prob_estimate` subtracts."""
        self._estimated("estimate_protocol")
        return {
            "estimator": "AIS",
            "distributions": self.config.distributions,
            "chains": self.config.chains,
            "log_z": float(self.log_z),
            "log_z_standard_error": float(self.log_z_standard_error),
            "effective_sample_size": float(self.effective_sample_size),
        }

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """F(x) of integer images: -log P(x) but for log Z, the same for all. nats, `(N,)`."""
        return self.machine(self.machine.units(self.check(x)))[0]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        anneal: float | None = None,
    ) -> Tensor:
        """Chains of `steps` Gibbs steps, of which a share `anneal` leads from independent units to the machine."""
        self.check_request(n, labels, text)
        betas = self._betas("sample", steps, anneal)
        noise = self._noise(n, generator)
        v = self.machine.pick(self.base.visible, noise(self.images.dims))
        return self.machine.pixels(annealing.chain(self.machine, self.base, v, betas, noise, None))

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        mask: Tensor,
        *,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        anneal: float | None = None,
    ) -> Tensor:
        """`x` where the bool `mask` is True, elsewhere where the chains of `sample` end that hold the known pixels."""
        self.check(x)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        betas = self._betas("complete", steps, anneal)
        noise = self._noise(len(x), generator)
        known = mask.flatten(1).repeat_interleave(self.machine.states, 1)  # (N, D) -> (N, V)
        v = torch.where(known, self.machine.units(x), self.machine.pick(self.base.visible, noise(self.images.dims)))
        return self.machine.pixels(annealing.chain(self.machine, self.base, v, betas, noise, known))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """P(h_j = 1 | x), `(N, hidden)`."""
        return self.machine.inputs(self.machine.units(self.check(x))).sigmoid()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The mean of P(v | h) for hidden units z in [0, 1], `(N, hidden)`, to the nearest level. uint8."""
        if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != self.config.hidden or not z.is_floating_point():
            given = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z).__name__
            raise ZooError(f"decode: expected hidden units (N, {self.config.hidden}), real numbers, got {given}")
        mean = self.machine.distribution(self.machine.outputs(z.to(self.machine.weight.dtype))).mean()  # (N, D)
        return mean.round().to(torch.uint8).view(-1, *self.images.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`, one mean-field pass up and down. uint8 `(N, C, H, W)`."""
        return self.decode(self.encode(x))

    def _noise(self, n: int, generator: torch.Generator | None) -> annealing.Noise:
        return functools.partial(chunks.rand, n, generator=generator, **self._real)

    @property
    def _real(self) -> dict[str, Any]:
        """What real numbers of this model are."""
        return {"device": self.device, "dtype": self.machine.weight.dtype}

    def _betas(self, where: str, steps: int | None, anneal: float | None) -> list[float]:
        steps = self._count(where, "steps", steps)
        anneal = self.config.anneal if anneal is None else anneal
        if isinstance(anneal, bool) or not isinstance(anneal, (int, float)) or not 0 <= anneal <= 1:
            raise ZooError(f"{where}: expected anneal, a share of the steps, 0 (none) to 1, got {anneal!r}")
        rising = round(anneal * steps)
        return annealing.path(rising) + [1.0] * (steps - rising)

    def _count(self, where: str, name: str, value: int | None, least: int = 1) -> int:
        value = getattr(self.config, name) if value is None else value
        if type(value) is not int or value < least:
            raise ZooError(f"{where}: expected {name} of at least {least}, a whole number, got {value!r}")
        return value

    def _estimated(self, where: str) -> None:
        if not bool(self.effective_sample_size):
            raise ZooError(
                f"{where}: log Z has not been estimated for these weights, so their likelihood is not known; call "
                "step.finish() after the last training step, or subtract log_partition().log_z from -energy(x)"
            )


def smoothed(share: Tensor, more: float) -> Tensor:
    """`(D, levels)`, with so much more of each level, adding up to 1 again."""
    return (share + more) / (1 + more * share.shape[1])
