"""The loss and its penalties by hand, Dirac's GAN, the networks' layers, images of any size."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo_gan.configs import R3GANConfig
from zoo_gan.r3gan.model import R3GAN
from zoo_gan.r3gan.networks import Block, Discriminator, Resample

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
POINT = ImageSpec(channels=1, height=1, width=1, levels=2)
TINY = R3GANConfig(width=8, latent=3, blocks=1, gamma=0.7)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = DIGITS, config: R3GANConfig = TINY) -> R3GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return R3GAN(images, config)


def some(images: ImageSpec, n: int) -> Batch:
    return Batch(torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8))


def shaken(model: R3GAN) -> R3GAN:
    """With parameters in general position: blocks that do something, biases other than zero."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=rng(p.numel()))
    return model


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Linear(nn.Module):
    """D(v) = <w, v>: every gradient is w."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, v: Tensor) -> Tensor:
        return v.flatten(1) @ self.w


class Point(nn.Module):
    """A generator of one image of one pixel, theta."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1, 1, 1)


def test_the_losses_pair_by_pair(double) -> None:
    """f(t) = -log(1 + e^-t) of each pair, |grad D|^2 of each image by itself."""
    model = shaken(make())
    batch = model.with_noise(some(DIGITS, 5), LocalStep(model))
    x, v = model.real(batch), model.generated(batch).detach()
    total, total_g, r1, r2 = 0.0, 0.0, 0.0, 0.0
    for i in range(5):
        outputs, sizes = [], []
        for image in (x[i : i + 1], v[i : i + 1]):
            leaf = image.clone().requires_grad_()
            output = model.discriminator(leaf)
            (slope,) = torch.autograd.grad(output.sum(), leaf)
            outputs.append(float(output.detach()))
            sizes.append(sum(s * s for s in slope.flatten().tolist()))
        total += math.log(1 + math.exp(-(outputs[0] - outputs[1]))) / 5
        total_g += math.log(1 + math.exp(-(outputs[1] - outputs[0]))) / 5
        r1, r2 = r1 + 0.7 / 2 * sizes[0] / 5, r2 + 0.7 / 2 * sizes[1] / 5
    out = {name: float(value.detach()) for name, value in model.discriminator_loss(batch).items()}
    assert (out["r1"], out["r2"]) == (pytest.approx(r1, rel=1e-9), pytest.approx(r2, rel=1e-9)) and r1 != r2
    assert out["loss"] == pytest.approx(total + r1 + r2, rel=1e-9)
    assert float(model.generator_loss(batch)["loss"].detach()) == pytest.approx(total_g, rel=1e-9)


@pytest.mark.parametrize("images", [DIGITS, POINT], ids=["convolutions", "vectors"])
def test_the_penalties_are_differentiated_too(images: ImageSpec, double) -> None:
    """The discriminator's gradient against differences of its loss, along a random direction."""
    model = shaken(make(images, dataclasses.replace(TINY, gamma=5.0)))
    batch = model.with_noise(some(images, 6), LocalStep(model))
    parameters = list(model.discriminator.parameters())
    direction = [torch.randn(p.shape, generator=rng(i)) for i, p in enumerate(parameters)]
    slopes = torch.autograd.grad(model.discriminator_loss(batch)["loss"], parameters)
    exact = sum(float((s * d).sum()) for s, d in zip(slopes, direction))
    ends = []
    for h in (1e-6, -1e-6):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for p, d in zip(moved.discriminator.parameters(), direction):
                p += h * d
        ends.append(float(moved.discriminator_loss(batch)["loss"].detach()))
    assert exact == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_penalties_of_a_linear_discriminator_are_its_weight_s() -> None:
    model = make()
    w = torch.randn(64, generator=rng())
    model.discriminator = Linear(w)
    out = model.discriminator_loss(model.with_noise(some(DIGITS, 7), LocalStep(model)))
    for name in ("r1", "r2"):
        assert float(out[name].detach()) == pytest.approx(0.7 / 2 * float(w.square().sum()), rel=1e-5)


def test_a_constant_discriminator_pays_nothing_and_cannot_tell() -> None:
    model = make()
    nn.init.zeros_(model.discriminator.layers[-2].weight)
    out = model.discriminator_loss(model.with_noise(some(DIGITS, 7), LocalStep(model)))
    assert float(out["r1"].detach()) == float(out["r2"].detach()) == 0
    assert float(out["loss"].detach()) == pytest.approx(math.log(2))


@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_dirac_s_gan_converges_because_of_the_penalties(gamma: float, double) -> None:
    """Real images are all -1, generated ones theta, D(v) = psi v (Mescheder et al., 2018, section 2).

    Near the equilibrium, with s = theta + 1 and f'(0) = 1/2, steps of size h are psi <- psi - h (s / 2 + 2 gamma psi),
    s <- s + h psi / 2: a linear map of determinant 1 - 2 gamma h, so that without penalties it only turns.
    """
    h, start = 0.1, 0.02
    model = make(POINT, dataclasses.replace(TINY, gamma=gamma, dither=0.0)).double()
    model.generator, model.discriminator = Point(start - 1), Linear(torch.zeros(1))
    step = LocalStep(model)
    step.optimizers = {name: torch.optim.SGD(getattr(model, name).parameters(), lr=h) for name in step.optimizers}
    first = torch.tensor([[1 - 2 * gamma * h, -h / 2], [0.0, 1.0]])  # of (psi, s): the discriminator's step
    both = torch.tensor([[1.0, 0.0], [h / 2, 1.0]]) @ first  # and then the generator's
    state, radius = torch.tensor([0.0, start]), []
    for _ in range(250):
        step.run(Batch(torch.zeros(2, *POINT.shape, dtype=torch.uint8)))
        state = both @ state
        found = torch.stack([model.discriminator.w[0], model.generator.theta + 1]).detach()
        torch.testing.assert_close(found, state, rtol=0, atol=start / 100)
        radius.append(float(found.norm()))
    assert float(torch.linalg.eigvals(both).abs().max()) == pytest.approx(math.sqrt(1 - 2 * gamma * h))
    assert radius[-1] < start / 100 if gamma else min(radius) > 0.9 * start


def test_gamma_falls_during_the_burn_in_only() -> None:
    model = make(config=dataclasses.replace(TINY, gamma=1.0, gamma_start=5.0, burn_in=0.5))
    assert [model.gamma(p) for p in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([5, 3, 1, 1])
    step = LocalStep(model, steps=4)
    step.index = 1
    assert torch.equal(model.with_noise(some(DIGITS, 3), step).extra["gamma"], torch.full((3,), 3.0))
    assert make(config=dataclasses.replace(TINY, gamma_start=5.0)).gamma(0.0) == TINY.gamma


@pytest.mark.parametrize("large", [(8, 8), (7, 7), (13, 40), (9, 1), (28, 5)])
def test_resampling_is_bilinear(large: tuple[int, int], double) -> None:
    """One axis after the other, pixel by pixel; what lies outside of the image has no weight."""
    small = tuple((n + 1) // 2 for n in large)
    h = torch.randn(2, 3, *large, generator=rng())
    expected = h
    for axis in (2, 3):
        expected = torch.stack([lowered(expected, axis, i) for i in range(small[axis - 2])], axis)
    torch.testing.assert_close(Resample(large, small)(h), expected)
    for axis in (2, 3):
        expected = torch.stack([raised(expected, axis, i) for i in range(large[axis - 2])], axis)
    torch.testing.assert_close(Resample(small, large)(Resample(large, small)(h)), expected)


def lowered(h: Tensor, axis: int, i: int) -> Tensor:
    weights = {2 * i + k: w for k, w in ((-1, 1), (0, 2), (1, 1)) if 0 <= 2 * i + k < h.shape[axis]}
    return sum(w * h.select(axis, j) for j, w in weights.items()) / sum(weights.values())


def raised(h: Tensor, axis: int, i: int) -> Tensor:
    places = [i // 2] if i % 2 == 0 else [j for j in (i // 2, i // 2 + 1) if j < h.shape[axis]]
    return sum(h.select(axis, j) for j in places) / len(places)


def test_blocks_begin_as_nothing_and_inner_layers_by_fix_up() -> None:
    """Zero last layers; He's variance times L^(-1/2) for blocks of three layers, L of them in a network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = ImageSpec(channels=1, height=16, width=16)
        network = Discriminator(images, R3GANConfig(width=32, blocks=2))
    found = [module for module in network.modules() if isinstance(module, Block)]
    assert len(found) == 4
    for block in found:
        channels = block.layers[0].in_channels
        h = torch.randn(2, channels, 5, 5, generator=rng())
        assert torch.equal(block(h), h)
        he = 2 / (1 + 0.2**2) / channels
        assert float(block.layers[0].weight.detach().var()) == pytest.approx(he * len(found) ** -0.5, rel=0.1)


def test_groups_of_channels_and_no_normalisation() -> None:
    model = make(ImageSpec(channels=3, height=32, width=32), R3GANConfig(width=32, blocks=1))
    middles = [m.layers[1] for m in model.discriminator.modules() if isinstance(m, Block)]
    assert [(m.in_channels, m.groups) for m in middles] == [(64, 4), (128, 8), (256, 16)]
    kinds = {type(module).__name__ for module in model.modules()}
    assert not any("Norm" in kind for kind in kinds)
    last = [m for m in model.discriminator.modules() if isinstance(m, nn.Linear)][-1]
    assert last.bias is None  # on which no loss of differences depends


@pytest.mark.parametrize(
    "size", [(1, 1, 1, 2), (1, 1, 2, 256), (3, 4, 4, 2), (1, 5, 1, 2), (1, 1, 9, 17), (3, 7, 13, 17), (1, 28, 28, 2)]
)
def test_any_size_trains_and_samples(size: tuple[int, int, int, int]) -> None:
    images = ImageSpec(channels=size[0], height=size[1], width=size[2], levels=size[3])
    model = make(images)
    step = LocalStep(model, lr=1e-3)
    metrics = step.run(some(images, 6))
    step.finish()
    assert all(math.isfinite(float(value)) for value in metrics.values())
    x = model.sample(5, generator=rng(), truncation=0.7)
    assert x.shape == (5, *images.shape) and int(x.max()) < images.levels
    assert model.interpolate(torch.zeros(3), torch.ones(3), 4).shape == (4, *images.shape)


@pytest.mark.slow
def test_it_learns_which_images_there_are() -> None:
    images = ImageSpec(channels=1, height=2, width=2, levels=4)
    one, two = torch.tensor([[0, 3, 3, 0], [3, 3, 0, 1]], dtype=torch.uint8).view(2, 1, 2, 2)
    model = make(images, R3GANConfig(width=32, latent=4, blocks=1, gamma=0.1))
    step = LocalStep(model, lr=1e-3)
    data = torch.stack([one] * 3 + [two]).repeat(16, 1, 1, 1)
    for _ in range(600):
        step.run(Batch(data))
    x = model.sample(2000, generator=rng())
    shares = [float((x == picture).flatten(1).all(1).float().mean()) for picture in (one, two)]
    assert sum(shares) > 0.7 and abs(shares[0] - 0.75) < 0.2, shares


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "R3GANConfig.width"),
        ({"blocks": 0}, "R3GANConfig.blocks"),
        ({"width": 12, "group": 16}, "R3GANConfig.group: expected a divisor of width"),
        ({"gamma": -1.0}, "R3GANConfig.gamma"),
        ({"burn_in": 1.5}, "R3GANConfig.burn_in"),
    ],
)
def test_bad_configs_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        dataclasses.replace(TINY, **change)


def test_a_group_that_divides_no_deeper_width_is_refused_by_name() -> None:
    """14 and 28 channels are fewer than two groups of 16; 56 are three and a half."""
    images = ImageSpec(channels=1, height=28, width=28)
    config = R3GANConfig(width=7, latent=4, blocks=1)
    with pytest.raises(ZooError, match=r"R3GANConfig.group: expected a divisor .* 56 at one, .* got 16"):
        R3GAN(images, config)
    R3GAN(images, dataclasses.replace(config, group=0))
    R3GAN(dataclasses.replace(images, height=8, width=8), config)


def test_half_precision_and_channels_last_are_the_same_training() -> None:
    model = shaken(make(dataclasses.replace(DIGITS, channels=3, height=17)))
    batch = model.with_noise(some(model.images, 8), LocalStep(model))
    exact = model.discriminator_loss(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        half = model.discriminator_loss(batch)["loss"]
        half.backward()
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.discriminator.parameters())
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last.discriminator_loss(batch)["loss"], exact, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_generator_is_the_same_one() -> None:
    """The discriminator is differentiated twice, which a compiled network is not."""
    model = shaken(make())
    batch = model.with_noise(some(DIGITS, 4), LocalStep(model))
    before = model.generator_loss(batch)["loss"]
    model.generator.compile(backend="aot_eager")
    torch.testing.assert_close(model.generator_loss(batch)["loss"], before, rtol=1e-4, atol=1e-5)


def test_operations_of_both_passes_through_the_discriminator_are_counted() -> None:
    """torch's counter hooks into every module, also while the penalties are differentiated."""
    model = make()
    batch = model.with_noise(some(DIGITS, 4), LocalStep(model))
    counts = []
    for penalised in (False, True):
        with FlopCounterMode(display=False) as counter:
            loss = model.discriminator_loss(batch)["loss"]
            if penalised:
                loss.backward()
        counts.append(counter.get_total_flops())
    assert counts[1] > 2 * counts[0] > 0
