"""Codes: priors, truncation, the descent that finds an image's code, and lines between codes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from zoo_gan.adversarial import Adversarial
from zoo_gan.adversarial_config import AdversarialConfig
from zoo_gan.inversion import invert
from zoo_gan.priors import Normal, Prior, Uniform

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.model import HasDecode, HasEncode, HasReconstruct

IMAGES = ImageSpec(channels=1, height=3, width=4, levels=256)
CLASSES = dataclasses.replace(IMAGES, classes=3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Told(nn.Module):
    """A generator that is told the class: a linear map of z, and a constant for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(2, IMAGES.dims)
        self.shift = nn.Embedding(3, IMAGES.dims)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.map(z) if labels is None else self.map(z) + self.shift(labels)
        return torch.tanh(h).view(-1, *IMAGES.shape)


class Judge(nn.Module):
    """A discriminator that is told the class."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(IMAGES.dims, 4)

    def forward(self, v: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.out(v.flatten(1))
        return h[:, 3] if labels is None else h.gather(1, labels.unsqueeze(1)).squeeze(1)


class Linear(Adversarial):
    def __init__(self, images: ImageSpec, prior: Prior, *, conditional: bool = False) -> None:
        super().__init__(images, AdversarialConfig(latent=2), Told(), Judge(), conditional=conditional)
        self.prior = prior

    def generate(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator(z, labels)

    def discriminate(self, v: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.discriminator(v, labels)


def make(prior: Prior | None = None, *, conditional: bool = False) -> Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Linear(CLASSES if conditional else IMAGES, prior or Uniform(), conditional=conditional).eval()


@pytest.mark.parametrize("prior", [Uniform(), Normal()], ids=["uniform", "normal"])
@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_truncation_keeps_the_central_share_of_the_probability(prior: Prior, share: float) -> None:
    """By the distribution function of what comes out: that of the prior, conditioned on the central part."""
    z = prior.draw(20_000, 1, generator=rng())
    moved = prior.truncated(z, share).flatten().sort().values
    f = (moved + 1) / 2 if isinstance(prior, Uniform) else torch.special.ndtr(moved)
    assert f.min() >= 0.5 - share / 2 - 1e-6 and f.max() <= 0.5 + share / 2 + 1e-6
    uniform = (f - 0.5) / share + 0.5
    expected = (torch.arange(20_000) + 0.5) / 20_000
    assert (uniform - expected).abs().max() < 1.95 / math.sqrt(20_000)  # Kolmogorov and Smirnov, p = 0.001
    assert (prior.truncated(z.sort(0).values, share).diff(dim=0) >= 0).all()


def test_truncation_of_one_changes_nothing_and_less_of_it_moves_images_gradually() -> None:
    for prior in (Uniform(), Normal()):
        model = make(prior)
        x = model.sample(50, generator=rng())
        assert torch.equal(x, model.sample(50, generator=rng(), truncation=1))
        near = model.sample(50, generator=rng(), truncation=0.98).int()
        assert 0 < (near - x.int()).abs().max() < 60
        spread = [model.sample(50, generator=rng(), truncation=t).float().std(0).mean() for t in (0.1, 0.5, 1.0)]
        assert spread == sorted(spread)


@pytest.mark.parametrize("prior", [Uniform(), Normal()], ids=["uniform", "normal"])
def test_the_code_of_an_own_image_is_found(prior: Prior) -> None:
    model = make(prior)
    z = 0.9 * prior.draw(7, 2, generator=rng(1)).clamp(-1, 1)
    with torch.no_grad():
        v = model.generate(z)
        found = invert(model.generate, v, prior.draw(3, 2, generator=rng()).expand(7, 3, 2), prior.project, 400, 0.1)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-3)
    x = model.decode(z)
    torch.testing.assert_close(model.encode(x, steps=300, starts=4), z, rtol=0, atol=2e-2)  # x was rounded
    assert (model.reconstruct(x).int() - x.int()).abs().max() <= 1


def test_of_several_starts_the_best_end_is_taken() -> None:
    """A generator of two valleys: from the wrong side, the descent stays in the shallow one."""

    def generate(z: Tensor) -> Tensor:
        return (z**4 - z**2 - 0.2 * z).view(-1, 1, 1, 1)  # minima near -0.65 (-0.11) and 0.75 (-0.40)

    v = torch.full((1, 1, 1, 1), -1.0)
    alone = invert(generate, v, torch.tensor([[[-0.9]]]), lambda z: z, 200, 0.05)
    both = invert(generate, v, torch.tensor([[[-0.9], [0.9]]]), lambda z: z, 200, 0.05)
    assert float(alone) < 0 < float(both)


def test_an_images_code_does_not_depend_on_the_others_nor_on_the_models_mode() -> None:
    model = make()
    x = model.sample(6, generator=rng())
    together = model.encode(x, steps=50)
    torch.testing.assert_close(torch.cat([model.encode(one, steps=50) for one in x.split(1)]), together)
    assert torch.equal(model.train().encode(x, steps=50), together) and model.training
    assert all(p.grad is None for p in model.parameters())
    assert together.abs().max() <= 1 and not together.requires_grad
    assert isinstance(model, HasEncode) and isinstance(model, HasDecode) and isinstance(model, HasReconstruct)


def test_interpolation_between_images_and_codes() -> None:
    model = make()
    z = torch.tensor([[-0.8, 0.3], [0.5, 0.6]])
    x = model.decode(z)
    between = model.interpolate(z[0], z[1:], 5)
    assert torch.equal(between[[0, -1]], x)
    assert torch.equal(between[2:3], model.decode(z.mean(0, keepdim=True)))
    for a, b in ((x[0], x[1:]), (x[:1], z[1])):
        assert (model.interpolate(a, b, 5).int() - between.int()).abs().max() <= 2


def test_normal_codes_are_joined_by_great_circles() -> None:
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    path = Normal().between(a, b, torch.linspace(0, 1, 3).unsqueeze(1))
    torch.testing.assert_close(path, torch.stack([a[0], torch.tensor([2.0, 2.0]) / math.sqrt(2), b[0]]))
    same = Normal().between(a, a, torch.linspace(0, 1, 3).unsqueeze(1))
    torch.testing.assert_close(same, a.expand(3, 2))
    assert Normal().between(a, -a, torch.tensor([[0.5]])).isfinite().all()
    assert Normal().between(0 * a, b, torch.tensor([[0.5]])).isfinite().all()


def test_a_model_that_is_told_the_class_tells_it_to_both_players() -> None:
    """Hooks for models with labels: other labels, other losses; shares of classes, samples and codes by class."""
    model = make(conditional=True)
    x = torch.randint(256, (30, *IMAGES.shape), generator=rng(), dtype=torch.uint8)
    labels = torch.tensor([0] * 20 + [1] * 10)
    step = LocalStep(model, lr=1e-3)
    batch = model.with_noise(Batch(x, labels), step)
    other = dataclasses.replace(batch, labels=labels + 1)
    for loss in (model.discriminator_loss, model.generator_loss):
        assert loss(batch)["loss"] != loss(other)["loss"]
    step.run(Batch(x, labels))
    torch.testing.assert_close(model.frequencies.share, torch.tensor([2 / 3, 1 / 3, 0]))
    of_class = [model.sample(40, labels=torch.full((40,), k), generator=rng()) for k in range(3)]
    assert not torch.equal(of_class[0], of_class[1])
    x = model.sample(40, generator=rng())
    nearest = torch.stack([(x == images).flatten(1).all(1) for images in of_class])
    assert nearest[:2].any(0).all() and nearest[0].sum() > nearest[1].sum() > 0
    images, told = of_class[1][:3], torch.ones(3, dtype=torch.int64)
    assert (model.reconstruct(images, labels=told).int() - images.int()).abs().max() <= 2
    line = model.interpolate(images[0], images[1], 4, labels=told[:1])
    assert (line[[0, -1]].int() - images[:2].int()).abs().max() <= 2
    for call in (lambda: model.encode(images), lambda: model.decode(torch.zeros(3, 2))):
        with pytest.raises(ZooError, match="pass labels"):
            call()
    with pytest.raises(ZooError, match="images with classes"):
        Linear(IMAGES, Uniform(), conditional=True)


@pytest.mark.parametrize("labels", [torch.tensor([0, 1]), torch.tensor([0, 1, 2, 0]), torch.tensor([3]), [0], 0, None])
def test_a_path_between_codes_is_of_one_class(labels: object) -> None:
    model, z = make(conditional=True), torch.zeros(2, 2)
    assert model.interpolate(z[0], z[1], 4, labels=torch.tensor([1])).shape == (4, *IMAGES.shape)
    with pytest.raises(ZooError, match=r"labels: expected|interpolate: the model is conditional"):
        model.interpolate(z[0], z[1], 4, labels=labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: model.sample(2, truncation=0.0), r"truncation in \(0, 1\]"),
        (lambda model, x: model.sample(2, truncation=-1), r"truncation in \(0, 1\]"),
        (lambda model, x: model.sample(2, truncation=1.5), r"truncation in \(0, 1\]"),
        (lambda model, x: model.sample(2, truncation=math.nan), r"truncation in \(0, 1\]"),
        (lambda model, x: model.encode(x, steps=0), "steps of at least 1"),
        (lambda model, x: model.encode(x, starts=0), "starts of at least 1"),
        (lambda model, x: model.encode(x, lr=0.0), "lr above 0"),
        (lambda model, x: model.encode(x, lr="0.1"), "lr above 0"),
        (lambda model, x: model.encode(x, lr=math.inf), "lr above 0"),
        (lambda model, x: model.encode(x.float()), "uint8"),
        (lambda model, x: model.encode(x, labels=torch.zeros(2, dtype=torch.int64)), "takes no labels"),
        (lambda model, x: model.decode(torch.zeros(2, 2, dtype=torch.int64)), "real numbers"),
        (lambda model, x: model.decode(torch.zeros(0, 2)), "at least one"),
        (lambda model, x: model.interpolate(x[0], x[1], 1), "n of at least 2"),
        (lambda model, x: model.interpolate(x, x[1], 3), "one uint8 image"),
        (lambda model, x: model.interpolate(x[0].float(), x[1], 3), "one uint8 image"),
        (lambda model, x: model.interpolate(x[0], x[1], 3, labels=[0]), "interpolate takes no labels"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        call(make(), torch.zeros(2, *IMAGES.shape, dtype=torch.uint8))
