"""Spectral norms against exact ones, the bounded slope, the hinge and the projection by hand, labels, training."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo_gan.configs import DCGANConfig, SNGANConfig
from zoo_gan.dcgan.model import DCGAN
from zoo_gan.sngan.model import SNGAN
from zoo_gan.sngan.spectral import SpectralConv2d, SpectralEmbedding, SpectralLinear, power_iteration

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17, classes=3)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=256, classes=3)
TINY = SNGANConfig(width=4, latent=3, depth=2, n_critic=1, norm="none")
TOLD = dataclasses.replace(TINY, conditional=True)
LAYERS = (SpectralLinear, SpectralConv2d, SpectralEmbedding)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = DIGITS, config: SNGANConfig = TINY) -> SNGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SNGAN(images, config).eval()


def some(images: ImageSpec, n: int) -> Batch:
    x = torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)
    return Batch(x, torch.arange(n) % images.classes)


def trained(images: ImageSpec, config: SNGANConfig, steps: int = 10) -> SNGAN:
    model = make(images, config)
    step = LocalStep(model, lr=1e-2)
    for _ in range(steps):
        step.run(some(images, 12))
    return model


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("images", [DIGITS, PAIR], ids=["convolutions", "vectors"])
def test_power_iteration_ends_at_the_largest_singular_value(images: ImageSpec, double) -> None:
    model = trained(images, TOLD)
    power_iteration(model.discriminator, 1000)
    layers = [layer for layer in model.discriminator.modules() if isinstance(layer, LAYERS)]
    assert len(layers) == 4  # every layer with a weight, the embedding too
    assert sum(p.dim() > 1 for p in model.discriminator.parameters()) == len(layers)
    for layer in layers:
        exact = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(layer.norm.sigma(layer.weight), exact, rtol=1e-6, atol=0)
        torch.testing.assert_close(torch.linalg.matrix_norm(layer.norm(layer.weight).flatten(1), 2), exact / exact)


def test_the_gradient_of_sigma_is_that_of_the_spectral_norm(double) -> None:
    """u v^T, though u and v are constants: torch's own derivative of the largest singular value."""
    layer = SpectralLinear(5, 4)
    power_iteration(layer, 3000)
    target = torch.randn(4, 5, generator=rng())
    (mine,) = torch.autograd.grad((layer.norm(layer.weight) * target).sum(), layer.weight)
    exact = layer.weight / torch.linalg.matrix_norm(layer.weight, 2)
    (torchs,) = torch.autograd.grad((exact * target).sum(), layer.weight)
    torch.testing.assert_close(mine, torchs, rtol=1e-6, atol=1e-9)


def test_one_iteration_is_algorithm_1(double) -> None:
    layer = SpectralConv2d(2, 3, 5, stride=2, padding=2)
    matrix, u = layer.weight.detach().reshape(3, -1), layer.norm.u.clone()
    v = matrix.T @ u / (matrix.T @ u).norm()
    u = matrix @ v / (matrix @ v).norm()
    power_iteration(layer)
    torch.testing.assert_close((layer.norm.u, layer.norm.v), (u, v))
    torch.testing.assert_close(layer.norm.sigma(layer.weight).detach(), u @ matrix @ v)


@pytest.mark.parametrize("kind", ["vector", "image"])
def test_no_difference_of_images_is_lengthened(kind: str) -> None:
    """|D(a) - D(b)| <= slope |a - b| for every pair, by the product of the layers' norms.

    A convolution of stride 2 with 5x5 pixels sees each pixel at most 3x3 times, so its norm as a map of images is at
    most 3 times that of its kernel's matrix.
    """
    images = PAIR if kind == "vector" else dataclasses.replace(DIGITS, channels=3, height=20, width=13)
    model = trained(images, dataclasses.replace(TINY, slope=2.0))
    power_iteration(model.discriminator, 500)
    convolutions = sum(isinstance(layer, SpectralConv2d) for layer in model.discriminator.modules())
    a = torch.randn(500, *images.shape, generator=rng(2)).requires_grad_()
    (slope,) = torch.autograd.grad(model.discriminate(a).sum(), a)
    assert slope.flatten(1).norm(dim=1).max() <= 2 * 3**convolutions * (1 + 1e-5)
    b = a.detach() + 0.1 * torch.randn(a.shape, generator=rng(3))
    with torch.no_grad():
        rise = (model.discriminate(a) - model.discriminate(b)).abs()
    assert (rise <= 2 * 3**convolutions * (a - b).flatten(1).norm(dim=1) * (1 + 1e-5)).all() and rise.max() > 0


def test_losses_are_equations_16_and_17_literally(double) -> None:
    model = trained(DIGITS, TINY, 5)
    batch = model.with_noise(some(DIGITS, 9), LocalStep(model))
    with torch.no_grad():
        sides = model.real(batch), model.generated(batch)
        d = [[float(model.discriminate(v[i : i + 1])) for i in range(9)] for v in sides]
        value_d = sum(min(0, -1 + r) for r in d[0]) / 9 + sum(min(0, -1 - g) for g in d[1]) / 9
        assert float(model.discriminator_loss(batch)["loss"]) == pytest.approx(-value_d, rel=1e-9)
        assert float(model.generator_loss(batch)["loss"]) == pytest.approx(-sum(d[1]) / 9, rel=1e-9)


def test_the_class_enters_by_a_projection(double) -> None:
    """D(v, y) - psi(phi(v)) = <V_y, phi(v)>, V / |V|_2 row by row; and D is linear in the one-hot class."""
    model = trained(DIGITS, TOLD, 5)
    d = model.discriminator
    v, y = torch.randn(6, *DIGITS.shape, generator=rng()), torch.arange(6) % 3
    with torch.no_grad():
        phi = d.phi(v)
        table = d.projection.weight / d.projection.norm.sigma(d.projection.weight)
        for i in range(6):
            expected = float(d.psi(phi[i : i + 1])) + float(torch.dot(table[int(y[i])], phi[i]))
            assert float(model.discriminate(v[i : i + 1], y[i : i + 1])) == pytest.approx(expected, rel=1e-9)


def test_scale_and_shift_are_of_the_class_and_of_nothing_else(double) -> None:
    model = trained(DIGITS, dataclasses.replace(TOLD, norm="batch"), 5)
    z = torch.randn(4, 3, generator=rng())
    for layer in model.generator.layers:
        if hasattr(layer, "scale"):
            assert layer.scale.shape[0] == DIGITS.classes
            with torch.no_grad():
                layer.scale[2], layer.shift[2] = layer.scale[1], layer.shift[1]
    one, two, other = (model.generate(z, torch.full((4,), k)) for k in (1, 2, 0))
    assert torch.equal(one, two) and not torch.allclose(one, other)


def test_without_classes_the_generator_is_dcgan_s(double) -> None:
    """With dcgan's weights it gives dcgan's images, so the two models differ by the discriminator."""
    config = {"width": 4, "latent": 3, "depth": 2}
    mine, other = make(config=SNGANConfig(**config)), DCGAN(DIGITS, DCGANConfig(**config)).eval()
    assert [tuple(p.shape) for p in mine.generator.parameters() if p.dim() > 1 and p.shape[0] > 1] == [
        tuple(p.shape) for p in other.generator.parameters() if p.dim() > 1
    ]
    weights = [layer for layer in mine.generator.layers if isinstance(layer, (nn.Linear, nn.ConvTranspose2d))]
    theirs = [layer for layer in other.generator if isinstance(layer, (nn.Linear, nn.ConvTranspose2d))]
    for one, two in zip(weights, theirs, strict=True):
        one.load_state_dict(two.state_dict())
    z = torch.rand(5, 3, generator=rng())
    torch.testing.assert_close(mine.generate(z), other.generate(z))


def test_a_pass_changes_nothing_and_a_step_iterates_once() -> None:
    """However often the discriminator runs: in training, in micro-batches, in sampling."""
    model = make(config=dataclasses.replace(TINY, n_critic=1)).train()
    before = copy.deepcopy(model.state_dict())
    batch = model.with_noise(some(DIGITS, 6), LocalStep(model))
    losses = [float(model.discriminator_loss(batch)["loss"].detach()) for _ in range(2)]
    assert losses[0] == losses[1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    expected = copy.deepcopy(model.discriminator)
    power_iteration(expected)
    states = []
    for micro_batch in (None, 2):
        twin = copy.deepcopy(model)
        LocalStep(twin, micro_batch=micro_batch).run(some(DIGITS, 6))
        states.append(dict(twin.discriminator.named_buffers()))
    for name, value in expected.named_buffers():
        assert all(torch.equal(state[name], value) for state in states), name


def test_labels_are_drawn_as_often_as_training_met_them() -> None:
    model = make(config=TOLD)
    x = some(DIGITS, 20).x
    LocalStep(model).run(Batch(x, torch.tensor([0] * 15 + [2] * 5)))
    torch.testing.assert_close(model.frequencies.share, torch.tensor([0.75, 0.0, 0.25]))
    labels, asked = model.frequencies.draw(100, rng(5)), []
    assert set(labels.tolist()) == {0, 2}
    generate = model.generate
    model.generate = lambda z, labels: (asked.append(labels), generate(z, labels))[1]  # type: ignore[method-assign]
    model.sample(100, generator=rng(5))
    assert set(torch.cat(asked).tolist()) == {0, 2}


def two_pictures(images: ImageSpec) -> Batch:
    one, two = torch.tensor([[0, 3, 3, 0], [3, 3, 0, 1]], dtype=torch.uint8).view(2, 1, 2, 2)
    return Batch(torch.stack([one] * 3 + [two]).repeat(16, 1, 1, 1), torch.tensor([0, 0, 0, 1] * 16))


@pytest.mark.parametrize("conditional", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_learns_which_images_there_are(conditional: bool) -> None:
    images = ImageSpec(channels=1, height=2, width=2, levels=4, classes=2)
    config = SNGANConfig(width=32, latent=4, depth=2, norm="none", n_critic=1, ratio=2.0, conditional=conditional)
    model, data = make(images, config), two_pictures(images)
    step = LocalStep(model, lr=2e-3)
    for _ in range(450 if conditional else 600):
        step.run(data)
    pictures = (data.x[0], data.x[3])
    if conditional:
        for k, picture in enumerate(pictures):
            x = model.sample(200, labels=torch.full((200,), k), generator=rng())
            assert (x == picture).flatten(1).all(1).float().mean() > 0.9
    else:
        x = model.sample(1000, generator=rng())
        shares = [float((x == picture).flatten(1).all(1).float().mean()) for picture in pictures]
        assert sum(shares) > 0.7 and abs(shares[0] - 0.75) < 0.2, shares


@pytest.mark.parametrize(
    "size", [(1, 1, 1, 2), (1, 1, 2, 256), (3, 2, 2, 2), (1, 5, 1, 2), (3, 7, 5, 17), (1, 28, 28, 2)]
)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_any_size_trains_and_samples(size: tuple[int, int, int, int], norm: str) -> None:
    images = ImageSpec(channels=size[0], height=size[1], width=size[2], levels=size[3], classes=3)
    model = make(images, dataclasses.replace(TOLD, norm=norm))
    step = LocalStep(model, lr=1e-3)
    metrics = step.run(some(images, 6))
    step.finish()
    assert all(math.isfinite(float(value)) for value in metrics.values())
    x = model.sample(5, labels=torch.tensor([0, 1, 2, 0, 1]), generator=rng(), truncation=0.5)
    assert x.shape == (5, *images.shape) and int(x.max()) < images.levels
    assert model.interpolate(torch.zeros(3), torch.ones(3), 4, labels=torch.tensor([2])).shape == (4, *images.shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LocalStep(make(config=TOLD)).run(Batch(some(DIGITS, 4).x)), "labels"),
        (lambda: make(config=TOLD).train_step(Batch(some(DIGITS, 4).x), None), r"Batch\(x, labels=…\)"),
        (lambda: make(config=TOLD).sample(2, labels=torch.tensor([0, 3])), r"0\.\.2"),
        (lambda: make(config=TOLD).decode(torch.zeros(2, 3)), "pass labels"),
        (lambda: make().sample(2, labels=torch.tensor([0, 1])), "takes no labels"),
        (lambda: make(dataclasses.replace(DIGITS, classes=0), TOLD), "SNGANConfig.conditional: expected images with"),
        (lambda: dataclasses.replace(TINY, slope=0.0), "SNGANConfig.slope"),
        (lambda: dataclasses.replace(TINY, n_critic=0), "SNGANConfig.n_critic"),
        (lambda: make().sample(2, truncation=0.0), "truncation"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        call()


def test_half_precision_keeps_sigma_in_float32() -> None:
    model = trained(dataclasses.replace(DIGITS, height=16, width=16), TOLD, 3)
    layer = model.discriminator.phi[0]
    exact = layer.norm.sigma(layer.weight)
    batch = model.with_noise(some(model.images, 8), LocalStep(model))
    value = model.discriminator_loss(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.norm.sigma(layer.weight), exact)
        half = model.discriminator_loss(batch)["loss"]
        power_iteration(model.discriminator)
        assert layer.norm.u.dtype == torch.float32
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, value, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_channels_last_and_compiled_networks_are_the_same_ones() -> None:
    model = trained(dataclasses.replace(DIGITS, height=16, width=16), dataclasses.replace(TOLD, norm="batch"), 3)
    batch = model.with_noise(some(model.images, 8), LocalStep(model))
    values = [float(loss(batch)["loss"]) for loss in (model.discriminator_loss, model.generator_loss)]
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    model.generator.compile(backend="aot_eager")
    model.discriminator.compile(backend="aot_eager")
    for other in (last, model):
        again = [float(loss(batch)["loss"]) for loss in (other.discriminator_loss, other.generator_loss)]
        assert again == pytest.approx(values, rel=1e-4, abs=1e-5)


def test_unit_vectors_start_near_the_spectral_norm() -> None:
    """Twenty iterations before the first step: no first step on a discriminator whose slope is unknown."""
    for layer in make(config=dataclasses.replace(TOLD, width=16)).discriminator.modules():
        if isinstance(layer, LAYERS):
            sigma = float(layer.norm.sigma(layer.weight).detach())
            exact = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
            assert 0.9 * exact < sigma <= exact * (1 + 1e-5)
            assert float(F.normalize(layer.norm.u, dim=0).norm()) == pytest.approx(1, abs=1e-5)


def test_parameters_are_counted_without_memory_for_them() -> None:
    with torch.device("meta"):
        model = SNGAN(DIGITS, dataclasses.replace(TOLD, width=1024))
    assert all(p.is_meta for p in model.parameters())
    small = make(config=TOLD).state_dict()
    assert {name: value.dim() for name, value in model.state_dict().items()} == {k: v.dim() for k, v in small.items()}


def params(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_generator_s_step_leaves_the_discriminator() -> None:
    model = make().train()
    before = params(model.discriminator)
    step = LocalStep(model, lr=0.1)
    step.minimize(model.generator_loss, model.with_noise(some(DIGITS, 6), step), "generator")
    assert torch.equal(params(model.discriminator), before)
