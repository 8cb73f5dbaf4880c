"""The first GAN: maxout units, either loss, how far a generator gets with each."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from zoo_gan.configs import GANConfig
from zoo_gan.gan.model import GAN, Maxout

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
TINY = GANConfig(latent=4, hidden=(12, 16))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec = DIGITS, config: GANConfig = TINY) -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GAN(images, config).eval()


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


def test_maxout_is_the_largest_of_its_pieces() -> None:
    unit = Maxout(5, 3, 4).double()
    h = torch.randn(7, 5, generator=rng(), dtype=torch.float64)
    weight, bias = unit.linear.weight.detach().view(3, 4, 5), unit.linear.bias.detach().view(3, 4)
    expected = [[max(float(w @ row + b) for w, b in zip(weight[j], bias[j])) for j in range(3)] for row in h]
    torch.testing.assert_close(unit(h), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_maxout_of_two_pieces_contains_the_rectifier_and_the_absolute_value() -> None:
    h = torch.linspace(-2, 2, 9).unsqueeze(1)
    for weights, expected in (((0.0, 1.0), h.relu()), ((-1.0, 1.0), h.abs())):
        unit = Maxout(1, 1, 2)
        unit.linear.weight.data = torch.tensor(weights).unsqueeze(1)
        torch.testing.assert_close(unit(h), expected)


def test_networks_have_the_widths_asked_for_and_mirror_each_other() -> None:
    model = make(config=dataclasses.replace(TINY, pieces=3, dropout=0.2))
    widths = [layer.out_features for layer in model.generator if isinstance(layer, nn.Linear)]
    assert widths == [12, 16, 64]
    assert [layer.features for layer in model.discriminator if isinstance(layer, Maxout)] == [16, 12]
    assert sum(isinstance(layer, nn.Dropout) for layer in model.discriminator) == 2
    maxout = (64 + 1) * 16 * 3 + (16 + 1) * 12 * 3 + (12 + 1)
    assert sum(p.numel() for p in model.discriminator.parameters()) == maxout


def test_signals_keep_their_size_at_first() -> None:
    """No layer's outputs die out or explode before anything is learned."""
    model = make(config=GANConfig(latent=100, hidden=(400,) * 4))
    v = model.generator[:-2](torch.rand(500, 100, generator=rng()) * 2 - 1)
    assert 0.2 < v.std() < 2
    d = model.discriminate(torch.rand(500, 1, 8, 8, generator=rng()) * 2 - 1)
    assert 0.05 < d.abs().mean() < 5


@pytest.mark.parametrize("loss", ["minimax", "nonsaturating"])
def test_both_losses_learn_two_pictures(loss: str) -> None:
    """In unequal numbers: the generator makes both, little else, in about these numbers."""
    images = ImageSpec(channels=1, height=2, width=2, levels=4)
    one, two = torch.tensor([[0, 3, 3, 0], [3, 3, 0, 1]], dtype=torch.uint8).view(2, 1, 2, 2)
    model = make(images, GANConfig(latent=4, hidden=(32, 32), loss=loss))
    step = LocalStep(model, lr=2e-3)
    data = torch.stack([one] * 3 + [two]).repeat(16, 1, 1, 1)
    for _ in range(500):
        step.run(Batch(data))
    x = model.sample(2000, generator=rng())
    shares = [float((x == picture).flatten(1).all(1).float().mean()) for picture in (one, two)]
    assert sum(shares) > 0.7 and abs(shares[0] - 0.75) < 0.25, shares


def test_against_a_sure_discriminator_only_the_non_saturating_loss_moves_the_generator() -> None:
    """Section 3: log(1 - D(G(z))) saturates where D rejects with confidence."""
    sizes = {}
    for loss in ("minimax", "nonsaturating"):
        model = make(config=dataclasses.replace(TINY, loss=loss))
        last = [layer for layer in model.discriminator if isinstance(layer, nn.Linear)][-1]
        last.bias.data.fill_(-20.0)
        batch = model.with_noise(Batch(some(DIGITS, 20)), LocalStep(model))
        gradients = torch.autograd.grad(model.generator_loss(batch)["loss"], list(model.generator.parameters()))
        sizes[loss] = float(torch.cat([g.flatten() for g in gradients]).norm())
    assert sizes["minimax"] < 1e-6 * sizes["nonsaturating"]


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": ()}, {"hidden": (3, 0)}, {"pieces": 1}, {"dropout": 1.0}, {"loss": "hinge"}, {"n_critic": 0},
        {"beta2": 1.0},
    ],
)  # fmt: skip
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"GANConfig.{next(iter(change))}"):
        dataclasses.replace(TINY, **change)


def test_labels_are_refused_by_an_unconditional_model_and_ignored_in_training() -> None:
    model = make(dataclasses.replace(DIGITS, classes=10))
    x = some(DIGITS, 20)
    with pytest.raises(ZooError, match="takes no labels"):
        model.sample(2, labels=torch.zeros(2, dtype=torch.int64))
    twin = make(dataclasses.replace(DIGITS, classes=10))
    LocalStep(model).run(Batch(x, torch.zeros(20, dtype=torch.int64)))
    LocalStep(twin).run(Batch(x))
    for one, two in zip(model.parameters(), twin.parameters()):
        assert torch.equal(one, two)
