"""The two losses by hand, whom each step moves, images of any size, and batch normalisation after training."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from zoo_gan import latent_generator
from zoo_gan.configs import DCGANConfig
from zoo_gan.dcgan.model import DCGAN

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import from_signed, to_signed

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
TINY = DCGANConfig(width=4, latent=3, depth=2)
PLAIN = dataclasses.replace(TINY, norm="none")
SIZES = [
    (1, 1, 1, 2), (1, 1, 2, 256), (1, 2, 2, 4), (3, 2, 2, 2), (1, 4, 4, 2), (1, 5, 1, 2), (1, 1, 9, 17), (3, 7, 5, 17),
    (2, 8, 8, 17), (1, 28, 28, 2), (3, 32, 32, 256), (3, 13, 40, 256),
]  # fmt: skip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = DIGITS, config: DCGANConfig = TINY) -> DCGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DCGAN(images, config).eval()


def some(images: ImageSpec, n: int, seed: int = 1) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(seed), dtype=torch.uint8)


def noisy(model: DCGAN, n: int, seed: int = 2) -> Batch:
    step = LocalStep(model, seed=seed)
    return model.with_noise(Batch(some(model.images, n)), step)


class Pixel(nn.Module):
    """A discriminator that can be computed by hand: the logit is `scale` times the mean pixel."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, v: Tensor) -> Tensor:
        return self.scale * v.mean((1, 2, 3))


def test_losses_by_hand() -> None:
    """Real pixels -1 and 1, generated pixels all 1/2: logits 2 v, and log D, log(1 - D) written out."""
    images = ImageSpec(channels=1, height=1, width=1, levels=2)
    model = make(images, dataclasses.replace(PLAIN, dither=0.0))
    model.discriminator = Pixel(2.0)
    last = [layer for layer in model.generator if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, math.atanh(0.5))
    batch = Batch(torch.tensor([0, 1], dtype=torch.uint8).view(2, 1, 1, 1))
    batch = model.with_noise(batch, LocalStep(model))

    def d(logit: float) -> float:
        return 1 / (1 + math.exp(-logit))

    with torch.no_grad():
        out, g = model.discriminator_loss(batch), model.generator_loss(batch)
    log_real = (math.log(d(-2.0)) + math.log(d(2.0))) / 2
    assert float(out["loss"]) == pytest.approx(-log_real - math.log(1 - d(1.0)), rel=1e-6)
    assert float(out["real"]) == pytest.approx(0.5, rel=1e-6)
    assert float(out["generated"]) == pytest.approx(d(1.0), rel=1e-6)
    assert float(g["loss"]) == pytest.approx(-math.log(d(1.0)), rel=1e-6)


def test_a_perfect_discriminator_still_teaches_the_generator() -> None:
    """Where D(G(z)) is nearly 0, log(1 - D) has no gradient left and -log D has all of it (GAN, section 3)."""
    images = ImageSpec(channels=1, height=1, width=1, levels=2)
    model = make(images, dataclasses.replace(PLAIN, dither=0.0))
    model.discriminator = Pixel(200.0)
    last = [layer for layer in model.generator if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -0.5)
    model.generator_loss(noisy(model, 4))["loss"].backward()
    slope = 200 * (1 - math.tanh(0.5) ** 2)  # of the logit, by the chain rule through tanh
    assert float(last.bias.grad) == pytest.approx(-slope, rel=1e-4)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_player_never_moves_the_other(norm: str, player: str) -> None:
    model = make(config=dataclasses.replace(TINY, norm=norm)).train()
    other = {"discriminator": "generator", "generator": "discriminator"}[player]
    before = {name: value.clone() for name, value in model.named_parameters()}
    step = LocalStep(model, lr=0.1)
    loss = model.discriminator_loss if player == "discriminator" else model.generator_loss
    step.minimize(loss, noisy(model, 10), player)
    for name, value in model.named_parameters():
        assert name.startswith(other) == torch.equal(value, before[name]), name
        assert value.requires_grad
    if player == "generator":
        assert not list(model.discriminator.buffers())  # nothing else that could move


def test_groups_hold_every_parameter_once_with_the_rates_asked_for() -> None:
    model = make(config=dataclasses.replace(TINY, ratio=4.0, beta1=0.3))
    groups = {name: optimizer.param_groups[0] for name, optimizer in model.optimizers(1e-3).items()}
    for name in ("discriminator", "generator"):
        assert {id(p) for p in groups[name]["params"]} == {id(p) for p in getattr(model, name).parameters()}
        assert groups[name]["betas"] == (0.3, 0.999)
    assert groups["discriminator"]["lr"] == pytest.approx(4e-3) and groups["generator"]["lr"] == pytest.approx(1e-3)


def test_each_phase_has_its_own_noise() -> None:
    model, seen = make(), []

    class Spy(LocalStep):
        def minimize(self, loss, batch, group="model"):
            seen.append((group, batch.extra))
            return super().minimize(loss, batch, group)

    Spy(model).run(Batch(some(DIGITS, 10)))
    assert [group for group, _ in seen] == ["discriminator", "generator"]
    drawn = [value.flatten() for _, extra in seen for value in extra.values()]
    assert len(drawn) == 6
    for i, one in enumerate(drawn):
        for two in drawn[:i]:
            size = min(len(one), len(two))
            assert not torch.isclose(one[:size], two[:size]).any()
    z = seen[0][1]["z"]
    assert z.min() < -0.5 and z.max() > 0.5 and z.abs().max() <= 1


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dither_is_one_level_wide_on_both_sides(levels: int) -> None:
    """Rounding a dithered real pixel gives it back, and a generated one its mean: neither side gives itself away."""
    images = dataclasses.replace(DIGITS, levels=levels)
    model, x = make(images), some(images, 200)
    u = torch.rand(x.shape, generator=rng())
    v = model.dithered(to_signed(x, images), u)
    inner = (u > 1e-4) & (u < 1 - 1e-4)
    assert torch.equal(from_signed(v, images)[inner], x[inner])
    g = torch.full((20_000,), 1.5 * 2 / (levels - 1) - 1 if levels > 2 else 0.5)
    level = ((model.dithered(g, torch.rand(len(g), generator=rng())) + 1) / 2 * (levels - 1)).round()
    expected = float((g[0] + 1) / 2 * (levels - 1))
    assert float(level.mean()) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_any_size_trains_and_samples(size: tuple[int, int, int, int], norm: str) -> None:
    images = ImageSpec(channels=size[0], height=size[1], width=size[2], levels=size[3])
    model = make(images, dataclasses.replace(TINY, norm=norm))
    step = LocalStep(model, lr=1e-3)
    metrics = step.run(Batch(some(images, 6)))
    step.finish()
    assert all(math.isfinite(float(value)) for value in metrics.values())
    assert set(metrics) == {"loss/discriminator", "loss/generator", "d/real", "d/generated"}
    x = model.sample(5, generator=rng())
    assert x.shape == (5, *images.shape) and x.dtype == torch.uint8 and int(x.max()) < images.levels


def test_the_paper_s_networks() -> None:
    """Figure 1: 64x64 colour images, four layers of 5x5, 1024 channels at 4x4."""
    model = make(ImageSpec(channels=3, height=64, width=64), DCGANConfig(width=128))
    shapes, h = [], torch.zeros(1, 100)
    for layer in model.generator:
        h = layer(h)
        shapes.append(tuple(h.shape[1:]))
    wanted = [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    assert list(dict.fromkeys(shape for shape in shapes if len(shape) == 3)) == wanted
    shapes = []
    for layer in model.discriminator:
        h = layer(h)
        shapes.append(tuple(h.shape[1:]))
    assert list(dict.fromkeys(shape for shape in shapes if len(shape) == 3)) == wanted[-2::-1]
    for network, count in ((model.generator, 4), (model.discriminator, 3)):
        assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network) == count


@pytest.mark.parametrize("size", [(1, 2, 2, 4), (1, 8, 8, 17), (3, 32, 32, 256)])
def test_dropout_follows_every_hidden_layer_of_the_discriminator(size: tuple[int, int, int, int]) -> None:
    images = ImageSpec(channels=size[0], height=size[1], width=size[2], levels=size[3])
    model = make(images, dataclasses.replace(TINY, dropout=0.25))
    rates = [layer.p for layer in model.discriminator if isinstance(layer, nn.Dropout)]
    assert rates == [0.25] * sum(isinstance(layer, nn.LeakyReLU) for layer in model.discriminator)
    assert len(rates) >= TINY.depth
    assert not any(isinstance(layer, nn.Dropout) for layer in model.generator)


def test_training_learns_which_images_there_are() -> None:
    """Two pictures in unequal numbers: the generator makes both, little else, in about these numbers."""
    images = ImageSpec(channels=1, height=2, width=2, levels=4)
    one, two = torch.tensor([[0, 3, 3, 0], [3, 3, 0, 1]], dtype=torch.uint8).view(2, 1, 2, 2)
    model = make(images, DCGANConfig(width=32, latent=4, depth=2, norm="none"))
    step = LocalStep(model, lr=1e-3)
    data = torch.stack([one] * 3 + [two]).repeat(16, 1, 1, 1)
    for _ in range(600):
        step.run(Batch(data))
    x = model.sample(2000, generator=rng())
    shares = [float((x == picture).flatten(1).all(1).float().mean()) for picture in (one, two)]
    assert sum(shares) > 0.8 and abs(shares[0] - 0.75) < 0.2, shares


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_images_do_not_depend_on_the_size_of_a_pass(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(config=dataclasses.replace(TINY, norm=norm))
    step = LocalStep(model, lr=1e-2)
    for _ in range(3):
        step.run(Batch(some(DIGITS, 20)))
    step.finish()
    z = torch.rand(50, 3, generator=rng()) * 2 - 1
    whole = model.generator(z)
    for size in (1, 7, 50):
        torch.testing.assert_close(torch.cat([model.generator(part) for part in z.split(size)]), whole)
    images = model.decode(z)
    assert torch.equal(images, model.decode(z))
    monkeypatch.setattr(latent_generator, "PASS", 7)
    assert (model.decode(z).int() - images.int()).abs().max() <= 1  # rounding, where a pass adds up in another order
    assert (model.decode(z) == images).float().mean() > 0.99


def test_finish_gives_batch_normalisation_the_statistics_of_many_codes() -> None:
    """In evaluation mode each layer's inputs have the mean and variance that it keeps; nothing of training is left."""
    model = make(ImageSpec(channels=3, height=9, width=9, levels=17), dataclasses.replace(TINY, depth=3))
    step = LocalStep(model, lr=1e-2)
    for _ in range(3):
        step.run(Batch(some(model.images, 20)))
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.fill_(7.0)
    twin = copy.deepcopy(model)
    step.finish()
    LocalStep(twin, seed=5).finish()
    inputs: dict[int, Tensor] = {}
    layers = [layer for layer in model.generator if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert {type(layer) for layer in layers} == {nn.BatchNorm1d, nn.BatchNorm2d}
    for i, layer in enumerate(layers):
        layer.register_forward_pre_hook(lambda _, args, i=i: inputs.__setitem__(i, args[0].detach()))
    model.generator(2 * torch.rand(20_000, 3, generator=rng(3)) - 1)
    for i, layer in enumerate(layers):
        axes = [axis for axis in range(inputs[i].dim()) if axis != 1]
        var, mean = torch.var_mean(inputs[i], axes, correction=0)
        assert ((layer.running_mean - mean).abs() < 0.1 * var.sqrt()).all()
        assert ((layer.running_var / var - 1).abs() < 0.1).all()
    for (name, one), two in zip(model.state_dict().items(), twin.state_dict().values()):
        assert torch.equal(one, two), name  # on every process, whatever its seed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.sample(0), "n of at least 1"),
        (lambda model: model.sample(2, labels=torch.zeros(2, dtype=torch.int64)), "takes no labels"),
        (lambda model: model.decode(torch.zeros(2, 4)), r"codes \(N, 3\)"),
        (lambda model: LocalStep(model).run(Batch(some(DIGITS, 1))), "norm='none'"),
        (lambda model: LocalStep(model, micro_batch=2).run(Batch(some(DIGITS, 3))), "norm='none'"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        call(make())


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0}, {"latent": 0}, {"depth": 0}, {"norm": "layer"}, {"dither": -1.0}, {"dropout": 1.0},
        {"beta1": 1.0}, {"ratio": 0.0},
    ],
)  # fmt: skip
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"DCGANConfig.{next(iter(change))}"):
        dataclasses.replace(TINY, **change)
