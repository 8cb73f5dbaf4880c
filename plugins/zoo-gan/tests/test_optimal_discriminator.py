"""Trained against a known distribution q, the discriminator becomes the best one there is, and the game has its value.

p and q are `moons` and `rings`, whose probabilities are known, on grids of images of two pixels. The generator is fixed
and draws from q.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam
from zoo_bench.datasets import load as data
from zoo_bench.datasets import toys
from zoo_gan.adversarial import Adversarial
from zoo_gan.configs import GANConfig, LSGANConfig
from zoo_gan.gan.model import GAN
from zoo_gan.lsgan.model import LSGAN

from zoo_core import Batch, ImageSpec, LocalStep


def toy(name: str, levels: int, even: float = 0.0) -> Tensor:
    """P of the images of `moons` or `rings` on a grid of fewer levels, `(levels^2,)`, mixed with the uniform one."""
    side = toys.LEVELS // levels
    fine = torch.from_numpy(np.exp(toys.log_pmf(data.find(name))))
    return (1 - even) * fine.view(levels, side, levels, side).sum((1, 3)).flatten() + even / levels**2


def images(levels: int) -> ImageSpec:
    return ImageSpec(channels=1, height=1, width=2, levels=levels)


def every(levels: int) -> Tensor:
    """All images of the grid, uint8 `(levels^2, 1, 1, 2)`, in the order of `toy`."""
    grid = torch.arange(levels, dtype=torch.uint8)
    return torch.cartesian_prod(grid, grid).view(-1, 1, 1, 2)


class Known(nn.Module):
    """A generator without parameters: z uniform on [-1, 1] to images that are distributed as P."""

    def __init__(self, p: Tensor, levels: int) -> None:
        super().__init__()
        self.register_buffer("cumulative", p.cumsum(0) / p.sum())
        self.levels = levels

    def cells(self, z: Tensor) -> Tensor:
        found = torch.searchsorted(self.cumulative, (z[:, 0].double() + 1) / 2)
        return found.clamp_max(len(self.cumulative) - 1)

    def forward(self, z: Tensor) -> Tensor:
        cells = self.cells(z)
        x = torch.stack([cells // self.levels, cells % self.levels], 1).view(-1, 1, 1, 2)
        return x.to(torch.get_default_dtype()) * 2 / (self.levels - 1) - 1


def train_discriminator(model: Adversarial, p: Tensor, q: Tensor, *, steps: int, n: int, lr: float) -> None:
    """The discriminator's own loss, real images from p, generated ones from q, both drawn at even quantiles."""
    levels = model.images.levels
    model.generator, real, grid = Known(q, levels), Known(p, levels), every(levels)
    optimizer = Adam(model.discriminator.parameters(), lr=lr, betas=(0.9, 0.99))
    model.optimizers = lambda lr: {"discriminator": optimizer}  # type: ignore[method-assign]
    step, generator, none = LocalStep(model.train()), torch.Generator().manual_seed(0), torch.zeros(n, 1, 1, 2)

    def even() -> Tensor:
        return 2 * ((torch.arange(n) + torch.rand(n, generator=generator)) / n).unsqueeze(1) - 1

    for i in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * i / steps)) / 2
        batch = Batch(grid[real.cells(even())]).with_(z=even(), on_real=none, on_generated=none)
        step.minimize(model.discriminator_loss, batch, "discriminator")
    model.eval()


@torch.no_grad()
def outputs(model: Adversarial) -> Tensor:
    """d(x) of every image, float64 `(levels^2,)`."""
    levels = model.images.levels
    return model.discriminate(every(levels).to(torch.get_default_dtype()) * 2 / (levels - 1) - 1).double()


def make_gan(levels: int, hidden: tuple[int, ...]) -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GAN(images(levels), GANConfig(latent=1, hidden=hidden, dither=0.0))


def divergence(p: Tensor, q: Tensor) -> float:
    """Jensen and Shannon's, nats."""
    middle = (p + q) / 2
    return float(torch.xlogy(p, p / middle).sum() + torch.xlogy(q, q / middle).sum()) / 2


def value(p: Tensor, q: Tensor, logit: Tensor) -> float:
    """V(D, G) by enumeration: E_p[log D] + E_q[log(1 - D)] (equation 1), nats."""
    log_d, log_rest = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
    return float((p * log_d + q * log_rest).sum())


def test_the_value_at_the_best_discriminator_is_the_divergence() -> None:
    """Goodfellow et al., proposition 1 and theorem 1: V(D*) = 2 JSD - log 4, and no other D has a higher value."""
    p, q = toy("moons", 32, 0.1), toy("rings", 32, 0.1)
    best = (p / q).log()  # the logit of p / (p + q)
    torch.testing.assert_close(best.sigmoid(), p / (p + q))
    assert value(p, q, best) == pytest.approx(2 * divergence(p, q) - math.log(4), abs=1e-12)
    for seed in range(5):
        other = best + 0.1 * torch.randn(len(p), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert value(p, q, other) < value(p, q, best)
    assert value(p, p, torch.zeros_like(p)) == pytest.approx(-math.log(4), abs=1e-12)


def check(p: Tensor, q: Tensor, model: GAN, *, gap: float, error: float) -> None:
    logit, best = outputs(model), 2 * divergence(p, q) - math.log(4)
    found = value(p, q, logit)
    assert best - gap < found <= best + 1e-9, (found, best)
    off = float(((p + q) / 2 * (logit.sigmoid() - p / (p + q)).abs()).sum())
    assert off < error, off


def test_the_trained_discriminator_is_the_best_one() -> None:
    """On a grid of 16 x 16 images, both toys mixed with a tenth of everything."""
    p, q = toy("moons", 16, 0.1), toy("rings", 16, 0.1)
    model = make_gan(16, (48, 48))
    before = value(p, q, outputs(model))
    train_discriminator(model, p, q, steps=400, n=512, lr=0.02)
    assert before < -1.3, "nothing is told apart at first"
    check(p, q, model, gap=0.015, error=0.03)


@pytest.mark.slow
def test_the_trained_discriminator_is_the_best_one_on_all_65536_images() -> None:
    p, q = toy("moons", 256), toy("rings", 256)
    model = make_gan(256, (64, 64))
    train_discriminator(model, p, q, steps=800, n=1000, lr=0.01)
    check(p, q, model, gap=0.01, error=0.03)


def test_the_trained_least_squares_discriminator_is_the_best_one() -> None:
    """D* = (b p + a q) / (p + q), and what the generator then minimises is Pearson's divergence."""
    p, q = toy("moons", 16, 0.1), toy("rings", 16, 0.1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LSGANConfig(latent=1, width=48, norm="none", dither=0.0, a=-1.0, b=1.0, c=0.0)
        model = LSGAN(images(16), config)
    train_discriminator(model, p, q, steps=400, n=256, lr=0.01)
    best, found = (p - q) / (p + q), outputs(model)
    assert float(((p + q) / 2 * (found - best).abs()).sum()) < 0.07
    pearson = float(((2 * q - (p + q)).square() / (p + q)).sum())
    game = float(((p + q) * best.square()).sum())  # E_p[(D* - c)^2] + E_q[(D* - c)^2]
    assert game == pytest.approx(pearson, rel=1e-9)
    loss = float((p * (found - 1).square() + q * (found + 1).square()).sum())
    assert 2 - pearson - 1e-9 <= loss < 2 - pearson + 0.02  # of the best one: 4 p q / (p + q), summed
