"""The Wasserstein critic: the loss by hand, the distance of two points in closed form, its turns, its layers."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from zoo_gan.configs import LSGANConfig, WGANGPConfig
from zoo_gan.lsgan.model import LSGAN
from zoo_gan.wgan_gp.model import WGANGP

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
BINARY = ImageSpec(channels=1, height=1, width=2, levels=2)
TINY = WGANGPConfig(width=4, latent=3, depth=2)
PLAIN = dataclasses.replace(TINY, norm="none")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = DIGITS, config: WGANGPConfig = TINY) -> WGANGP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WGANGP(images, config).eval()


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


class Points(nn.Module):
    """A generator of one image."""

    def __init__(self, v: Tensor) -> None:
        super().__init__()
        self.v = nn.Parameter(v)

    def forward(self, z: Tensor) -> Tensor:
        return self.v.expand(len(z), -1, -1, -1)


@pytest.mark.parametrize("critic_norm", ["layer", "none"])
def test_the_loss_is_equation_3(critic_norm: str) -> None:
    """Image by image, in float64: each gradient by itself, its norm, the mix of the batch."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = make(config=dataclasses.replace(PLAIN, critic_norm=critic_norm, penalty=7.0)).double()
        batch = model.with_noise(Batch(some(DIGITS, 6)), LocalStep(model))
        x, fake = model.real(batch), model.generated(batch).detach()
        d_real, d_fake, penalty = [], [], []
        for i, m in enumerate(batch.extra["mix"].tolist()):
            v = (m * x[i] + (1 - m) * fake[i]).requires_grad_()
            (slope,) = torch.autograd.grad(model.discriminator(v.unsqueeze(0)).sum(), v)
            penalty.append((math.sqrt(float(slope.square().sum())) - 1) ** 2)
            d_real.append(float(model.discriminator(x[i : i + 1]).detach()))
            d_fake.append(float(model.discriminator(fake[i : i + 1]).detach()))
        out = model.discriminator_loss(batch)
        expected = (sum(d_fake) - sum(d_real) + 7.0 * sum(penalty)) / 6
        assert float(out["loss"]) == pytest.approx(expected, rel=1e-8)
        assert float(out["penalty"]) == pytest.approx(sum(penalty) / 6, rel=1e-8)
        assert float(model.generator_loss(batch)["loss"]) == pytest.approx(-sum(d_fake) / 6, rel=1e-9)
    finally:
        torch.set_default_dtype(before)


def test_the_trained_critic_measures_the_distance_of_two_points() -> None:
    """Real (1, 1), generated (-1, -1/2): W1 = ||x - g|| = W.

    Along the line between them a critic of slope s has loss -s W + lambda (s - 1)^2; its minimum is at
    s = 1 + W / (2 lambda) and is -W - W^2 / (4 lambda).
    """
    config = dataclasses.replace(PLAIN, width=32, critic_norm="none", dither=0.0, penalty=10.0, n_critic=10**6)
    model = make(BINARY, config)
    fake = torch.tensor([-1.0, -0.5]).view(1, 1, 1, 2)
    model.generator = Points(fake)
    step = LocalStep(model, lr=1e-3)
    step.index = 1  # not the generator's turn
    batch = Batch(torch.ones(64, 1, 1, 2, dtype=torch.uint8))
    for i in range(300):
        step.optimizers["discriminator"].param_groups[0]["lr"] = 5e-3 * (1 - i / 300)
        metrics = step.run(batch)
    distance = math.sqrt(2**2 + 1.5**2)
    assert float(metrics["loss/discriminator"]) == pytest.approx(-distance - distance**2 / 40, rel=0.01)
    estimate = float(metrics["d/real"] - metrics["d/generated"])
    assert estimate == pytest.approx(distance * (1 + distance / 20), rel=0.02)
    assert float(metrics["d/penalty"]) == pytest.approx((distance / 20) ** 2, rel=0.2)


def test_the_generator_has_its_turn_after_n_critic_steps() -> None:
    model = make(config=dataclasses.replace(TINY, n_critic=3))
    step, turns = LocalStep(model, lr=1e-3), []
    for _ in range(7):
        before = {name: value.clone() for name, value in model.named_parameters()}
        metrics = step.run(Batch(some(DIGITS, 10)))
        moved = {name.partition(".")[0] for name, value in model.named_parameters() if (value != before[name]).any()}
        assert "discriminator" in moved and ("generator" in moved) == ("loss/generator" in metrics)
        turns.append("generator" in moved)
    assert turns == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("size", [(1, 1, 2, 256), (3, 2, 2, 2), (1, 8, 8, 17), (3, 13, 20, 256)])
def test_a_critics_output_is_of_one_image_alone(size: tuple[int, int, int, int]) -> None:
    """Layer normalisation at most: others in the batch change nothing, which the penalty relies on."""
    images = ImageSpec(channels=size[0], height=size[1], width=size[2], levels=size[3])
    model = make(images).train()
    v = torch.randn(5, *images.shape, generator=rng())
    together = model.discriminate(v)
    torch.testing.assert_close(torch.cat([model.discriminate(one) for one in v.split(1)]), together)
    kinds = {type(module) for module in model.discriminator.modules()}
    assert nn.GroupNorm in kinds and not kinds & {nn.BatchNorm1d, nn.BatchNorm2d}


def test_adding_a_constant_to_the_critic_is_not_among_its_parameters() -> None:
    last = [layer for layer in make().discriminator if isinstance(layer, nn.Linear)][-1]
    assert last.bias is None


def test_it_learns_which_images_there_are() -> None:
    images = ImageSpec(channels=1, height=2, width=2, levels=4)
    one, two = torch.tensor([[0, 3, 3, 0], [3, 3, 0, 1]], dtype=torch.uint8).view(2, 1, 2, 2)
    model = make(images, dataclasses.replace(PLAIN, width=32, latent=4, critic_norm="none", n_critic=2))
    step = LocalStep(model, lr=2e-3)
    data = torch.stack([one] * 3 + [two]).repeat(16, 1, 1, 1)
    for _ in range(700):
        step.run(Batch(data))
    x = model.sample(2000, generator=rng())
    shares = [float((x == picture).flatten(1).all(1).float().mean()) for picture in (one, two)]
    assert sum(shares) > 0.7 and abs(shares[0] - 0.75) < 0.2, shares


@pytest.mark.parametrize(
    ("make_config", "field"),
    [
        (lambda: dataclasses.replace(TINY, penalty=0.0), "WGANGPConfig.penalty"),
        (lambda: dataclasses.replace(TINY, critic_norm="batch"), "WGANGPConfig.critic_norm"),
        (lambda: dataclasses.replace(TINY, n_critic=0), "WGANGPConfig.n_critic"),
        (lambda: LSGANConfig(a=1.0), "LSGANConfig.b"),
        (lambda: LSGANConfig(a=0.0, c=0.0), "LSGANConfig.c"),
    ],
)
def test_bad_configs_are_refused_by_name(make_config, field: str) -> None:
    with pytest.raises(ZooError, match=field):
        make_config()


def test_batches_of_one_need_a_generator_without_batch_normalisation() -> None:
    with pytest.raises(ZooError, match="norm='none'"):
        LocalStep(make()).run(Batch(some(DIGITS, 1)))
    metrics = LocalStep(make(config=PLAIN)).run(Batch(some(DIGITS, 1)))
    assert all(math.isfinite(float(value)) for value in metrics.values())


@pytest.mark.parametrize("targets", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares_aims_at_its_targets(targets: tuple[float, float, float]) -> None:
    """LSGAN's losses are 0 at the targets of its config, and nowhere else."""
    a, b, c = targets
    model = LSGAN(DIGITS, LSGANConfig(width=4, latent=3, depth=2, norm="none", a=a, b=b, c=c))
    d = [torch.full((4,), value) for value in targets]
    assert model.losses.discriminator(d[1], d[0]) == 0 == model.losses.generator(d[2])
    assert model.losses.discriminator(d[1] + 0.1, d[0]) > 0 and model.losses.discriminator(d[1], d[0] + 0.1) > 0
    assert model.losses.generator(d[2] + 0.1) > 0
