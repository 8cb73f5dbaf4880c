"""What a VAE may be trained on besides the bound itself, and another estimator of the bound's gradient.

I. Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", 2017,
https://openreview.net/forum?id=Sy2fzU9gl, equation 4:

    E_q[log p(x|z)] - beta KL(q(z|x) || p(z))

C. K. Sønderby et al., "Ladder Variational Autoencoders", 2016, https://arxiv.org/abs/1602.02282, the section on
warm-up: beta rises linearly from 0 over the first part of training, so that latents are not given up early.

D. P. Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
https://arxiv.org/abs/1606.04934, equation 15, free bits: each latent j may hold lambda nats at no price,

    E_x[E_q[log p(x|z)]] - sum_j max(lambda, E_x[KL(q(z_j|x) || p(z_j))]),    E_x: the mean over a batch

The score function's estimator, "policy gradient" or REINFORCE: J. Paisley, D. Blei, M. Jordan, "Variational Bayesian
Inference with Stochastic Search", 2012, https://arxiv.org/abs/1206.6430; R. Ranganath, S. Gerrish, D. Blei, "Black Box
Variational Inference", 2014, https://arxiv.org/abs/1401.0118; A. Mnih, K. Gregor, "Neural Variational Inference and
Learning in Belief Networks" ("NVIL"), 2014, https://arxiv.org/abs/1402.0030, section 2.3:

    grad_phi E_q[f(z)] = E_q[(f(z) - c - C(x)) grad_phi log q(z|x)],    f = log p(x|z)

for any c, C that do not depend on z: the control variate (c + C(x)) grad log q has the mean 0. It needs no derivative
of f. c is a running mean, C(x) a network that regresses f - c; the divergence keeps its closed form and derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_autoencoder.gaussian import log_density
from zoo_autoencoder.vae.config import VAEConfig


def weight(config: VAEConfig, progress: float) -> float:
    """What the divergence is multiplied by after a share `progress` of the training."""
    rise = min(1.0, progress / config.warmup) if config.warmup else 1.0
    return config.beta * rise


def free_bits(divergence: Tensor, above: Tensor, free: float) -> Tensor:
    """sum_j of KL_j where its mean over the whole batch is `above` `free` nats, of `free` elsewhere. nats, `(N,)`.

    divergence, above: `(N, latent)`. That the comparison is made for the whole batch and travels with it keeps
    micro-batches and processes equal to it: the mean of this over the batch is sum_j max(free, mean KL_j).
    """
    return torch.where(above, divergence, free).sum(1)


def score_function(fit: Tensor, z: Tensor, mean: Tensor, log_var: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    """E_q[f], and what has its value and the estimator's gradient, NVIL's in the encoder's parameters. `(N,)` each.

    fit: f = log p(x|z), `(N, S)`. z: `(N, S, latent)`, without a gradient. guess: c + C(x), `(N,)`; its own gradient is
    that of the squared error to f.
    """
    log_q = log_density(z, mean.unsqueeze(1), log_var.unsqueeze(1))  # (N, S)
    signal = (fit - guess.unsqueeze(1)).detach()
    moves = signal * (log_q - log_q.detach())
    regression = 0.5 * (fit.detach() - guess.unsqueeze(1)).square()
    learns = regression - regression.detach()
    return fit.mean(1), (fit + moves - learns).mean(1)
