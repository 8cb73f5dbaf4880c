"""Diagonal Gaussians by mean and log variance: noise made into a sample, and how far two of them are apart.

Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, https://arxiv.org/abs/1312.6114 ("AEVB").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def reparameterise(mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
    """z = mu + sigma * eps (AEVB, section 2.4). mean, log_var: `(N, latent)`. eps, z: `(N, S, latent)`."""
    return mean.unsqueeze(1) + (0.5 * log_var).exp().unsqueeze(1) * eps


def kl_per_latent(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) of each latent (AEVB, appendix B). nats, of the shape of `mean`."""
    return -0.5 * (1 + log_var - mean.square() - log_var.exp())


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) || p(z)) = -1/2 sum_j (1 + log sigma_j^2 - mu_j^2 - sigma_j^2) (AEVB, appendix B). nats, `(N,)`."""
    return kl_per_latent(mean, log_var).sum(1)


def kl_between(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_log_var: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) || N(prior_mean, e^prior_log_var)), summed over the last dimension. nats."""
    difference = (mean - prior_mean).square() * (-prior_log_var).exp()
    return 0.5 * (prior_log_var - log_var + (log_var - prior_log_var).exp() + difference - 1).sum(-1)


def log_density(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; mean, e^log_var), summed over the last dimension. nats."""
    return -0.5 * (math.log(2 * math.pi) + log_var + (z - mean).square() * torch.exp(-log_var)).sum(-1)
