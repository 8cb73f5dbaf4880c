"""SAE: a code of many units, each of which is active for few images.

H. Lee, C. Ekanadham, A. Ng, "Sparse deep belief net model for visual area V2", 2008,
https://proceedings.neurips.cc/paper/2007/hash/4daa3db355ef2b0e64b472968cb70f0d-Abstract.html, hold each unit's mean
activation near a constant. With the cross-entropy of V. Nair, G. Hinton, "3D Object Recognition with Deep Belief Nets",
2009, https://proceedings.neurips.cc/paper/2009/hash/6e7b33fdea3adc80ebd648fffb665bb8-Abstract.html, for autoencoders as
in A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf:

    E[L(x, g(a(x)))] + beta sum_j KL(rho || rho^_j),    rho^_j = E[a_j(x)]
    KL(rho || r) = rho ln(rho / r) + (1 - rho) ln((1 - rho) / (1 - r))

rho^ is the mean over the whole batch. A penalty on a mean is no mean of penalties, so parts of a batch could not each
compute it; but its gradient is that of a mean over images, with rho^ held fixed:

    d/dtheta KL(rho || rho^_j) = KL'(rho^_j) d rho^_j/dtheta = d/dtheta mean_x KL'(rho^_j) a_j(x)
    KL'(r) = - rho / r + (1 - rho) / (1 - r)

"l1": beta mean_x sum_j |a_j(x)| instead.

Departures: rho^ is of a batch, where Ng takes the whole training set and Nair and Hinton a running average; the error
of reconstruction may be a cross-entropy (Ng: squares halved).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_autoencoder.deterministic import DeterministicAutoencoder
from zoo_autoencoder.sae.config import SAEConfig
from zoo_core.images import Batch
from zoo_core.step import Step


class SAE(DeterministicAutoencoder):
    """With either penalty "activation", the mean of all units over the batch, is logged."""

    config: SAEConfig

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """rho^ of the whole batch, then a step; "loss" is the objective itself, "kl" its divergence per unit, nats."""
        if self.config.sparsity == "l1":
            return super().train_step(batch, step)
        rho_hat = step.mean(lambda part: self.codes(self.unit(part.x)).mean(0), batch)  # (latent,)
        slope = divergence_slope(self.config.rho, rho_hat).expand(len(batch), -1)  # (N, latent)
        metrics = super().train_step(batch.with_(slope=slope), step)
        kl, surrogate = divergence(self.config.rho, rho_hat), metrics.pop("surrogate")
        weight = self.config.beta / self.images.dims
        return {**metrics, "loss": metrics["loss"] + weight * (kl.sum() - surrogate), "kl": kl.mean()}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L and the penalty per subpixel; of the divergence what has its gradient, "surrogate", where beta is 1."""
        v = self.unit(batch.x)
        a = self.codes(v)
        out = self.reconstruction(v, self.output(a))
        slope = batch.extra.get("slope")
        penalty = a.abs().sum(1).mean() if slope is None else (slope * a).sum(1).mean()
        out["loss"] = out["loss"] + self.config.beta / self.images.dims * penalty
        name = "l1" if slope is None else "surrogate"
        return {**out, name: penalty.detach(), "activation": a.detach().mean()}


def divergence(rho: float, mean: Tensor) -> Tensor:
    """KL(rho || mean) between coins, nats, elementwise."""
    mean = _inside(mean)
    return rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()


def divergence_slope(rho: float, mean: Tensor) -> Tensor:
    """KL'(mean), elementwise."""
    mean = _inside(mean)
    return (1 - rho) / (1 - mean) - rho / mean


def _inside(mean: Tensor) -> Tensor:
    """Units that no image, or every image, switches on would have an infinite slope."""
    return torch.clamp(mean, 1e-4, 1 - 1e-4)
