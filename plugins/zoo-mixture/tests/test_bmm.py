"""BMM as a model of images: its equations against loops, its likelihood, and what it completes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from zoo_mixture.bmm.model import BMM
from zoo_mixture.configs import BMMConfig

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
FEW = ImageSpec(channels=1, height=2, width=2, levels=3)
BITS = ImageSpec(channels=1, height=2, width=3, levels=2)


def digits() -> tuple[Tensor, Tensor]:
    """Training and validation images of the `quick` suite, uint8 `(N, 1, 8, 8)`."""
    x = torch.from_numpy(load_digits().images.astype(np.uint8))[:, None]
    order = np.random.RandomState(0).permutation(1797)
    return x[order[:1297]], x[order[1297:1497]]


def trained(images: ImageSpec, x: Tensor, steps: int = 5, seed: int = 0, **options: Any) -> tuple[BMM, list[float]]:
    model = BMM(images, BMMConfig(**{"components": 3, **options}))
    step = LocalStep(model, data=Batch(x), seed=seed, full_pass=100)
    return model, [float(step.run(Batch(x[:50]))["loss"]) for _ in range(steps)]


def random_images(images: ImageSpec, n: int, seed: int = 0) -> Tensor:
    """Two pictures under noise."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randint(images.levels, (2, *images.shape), generator=generator)
    x = picture[torch.randint(2, (n,), generator=generator)]
    noise = torch.randint(images.levels, x.shape, generator=generator)
    return torch.where(torch.rand(x.shape, generator=generator) < 0.7, x, noise).to(torch.uint8)


def everything(images: ImageSpec) -> Tensor:
    levels = torch.arange(images.levels, dtype=torch.uint8)
    return torch.cartesian_prod(*[levels] * images.dims).view(-1, *images.shape)


@pytest.mark.parametrize("images", [FEW, BITS], ids=["categorical", "Bernoulli"])
def test_an_iteration_is_that_of_the_equations(images: ImageSpec) -> None:
    """The E and the M step of the module's docstring, image by image, pixel by pixel, level by level."""
    x = random_images(images, 40)
    model, _ = trained(images, x, steps=2, noise=0.2)
    p, pi = model.probabilities(), model.weights.clone()  # (D, L, K), (K,)
    theta = torch.cat([1 - model.theta.sum(1, keepdim=True), model.theta], 1)
    joint = torch.zeros(40, 3, dtype=torch.float64)
    for n, k in itertools.product(range(40), range(3)):
        pixels = enumerate(x[n].flatten().tolist())
        joint[n, k] = pi[k] * math.prod(float(p[d, level, k]) for d, level in pixels)
    assert torch.allclose(model.log_prob(x), joint.sum(1).log(), atol=1e-10)
    gamma = joint / joint.sum(1, keepdim=True)
    assert torch.allclose(model.encode(x), gamma, atol=1e-10)

    new = torch.zeros_like(p)
    for n, d in itertools.product(range(40), range(images.dims)):
        level = int(x[n].flatten()[d])
        new[d, level] += gamma[n] * 0.8 * theta[d, level] / p[d, level]
    new /= new.sum(1, keepdim=True)
    before = model.parameters_now
    after = model.maximization(before, LocalStep(model, data=Batch(x)).mean(model.expectation(before)))
    assert torch.allclose(after["theta"], new[:, 1:], atol=1e-10)
    assert torch.allclose(after["weights"], gamma.mean(0), atol=1e-10)


def test_the_likelihood_never_falls() -> None:
    x = digits()[0]
    for noise in (0.001, 0.3):
        _, losses = trained(DIGITS, x, steps=10, components=20, noise=noise, lloyd=0)
        assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
        assert losses[-1] < losses[0] - 0.2


def test_beats_one_component_a_class_on_validation_digits() -> None:
    """Which reaches 2.214 bits/dim there, with the labels' help."""
    train, validation = digits()
    model, _ = trained(DIGITS, train, steps=6, components=40, noise=0.25)
    assert -float(model.log_prob(validation).mean()) / (64 * math.log(2)) < 2.18


def test_the_background_is_the_histogram_with_an_image_at_each_level() -> None:
    x = random_images(FEW, 30)
    model, _ = trained(FEW, x, steps=1)
    count = torch.stack([(x.flatten(1) == level).sum(0) for level in (1, 2)], 1)  # (D, 2)
    assert torch.allclose(model.background, (count + 1).double() / (30 + 3))
    assert bool((trained(FEW, torch.zeros_like(x), steps=3, components=1)[0].probabilities() > 0).all())


def test_full_passes_in_chunks_are_one_pass() -> None:
    x = digits()[0][:300]
    models = [BMM(DIGITS, BMMConfig(components=4)) for _ in range(3)]
    data = [x, x, x.flip(0)]  # the order of the images is nothing to the start either
    for model, images, chunk in zip(models, data, (1000, 77, 300)):
        step = LocalStep(model, data=Batch(images), full_pass=chunk)
        for _ in range(4):
            step.run(Batch(x[:50]))
    for model in models[1:]:
        for name, value in models[0].state_dict().items():
            assert torch.allclose(model.state_dict()[name].double(), value.double(), rtol=1e-6, atol=1e-9), name


def test_seeds_change_the_start_and_equal_seeds_do_not() -> None:
    x = digits()[0][:200]
    one, again, other = (trained(DIGITS, x, steps=2, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one.theta, again.theta)
    assert not torch.equal(one.theta, other.theta)


@pytest.mark.parametrize("images", [FEW, BITS], ids=["categorical", "Bernoulli"])
def test_completions_follow_the_exact_conditional(images: ImageSpec) -> None:
    """Given two pixels, all ways to fill in the rest occur as often as P(x) / P(known) says."""
    model, _ = trained(images, random_images(images, 200), noise=0.05)
    x, n = random_images(images, 1, seed=1), 40_000
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask.view(-1)[[0, 3]] = True
    y = model.complete(x.expand(n, -1, -1, -1), mask.expand(n, -1, -1, -1), generator=torch.Generator().manual_seed(0))
    assert torch.equal(y[:, mask[0]], x[:, mask[0]].expand(n, -1))
    fits = everything(images)
    fits = fits[(fits == x)[:, mask[0]].all(1)]
    p = model.log_prob(fits).softmax(0)
    seen = (y.flatten(1)[:, None] == fits.flatten(1)).all(2).double().mean(0)
    assert float(((seen - p) / (p / n).sqrt()).abs().max()) < 4.5


def test_nothing_known_is_a_sample_and_everything_known_stays() -> None:
    model, _ = trained(FEW, random_images(FEW, 100))
    x = random_images(FEW, 5)
    assert torch.equal(model.complete(x, torch.ones_like(x, dtype=torch.bool)), x)
    generator = torch.Generator().manual_seed(0)
    nothing = model.complete(x.repeat(4000, 1, 1, 1), torch.zeros(20_000, 1, 2, 2) > 0, generator=generator)
    sampled = model.sample(20_000, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(nothing.double().mean(0), sampled.double().mean(0), atol=0.04)


def test_decode_gives_the_mean_image_of_a_component() -> None:
    x = digits()[0]
    model, _ = trained(DIGITS, x, components=5, noise=0.01)
    images = model.decode(torch.eye(5))
    assert images.shape == (5, 1, 8, 8) and images.dtype == torch.uint8
    gamma = model.encode(x)
    means = (gamma.T @ x.flatten(1).double()) / gamma.sum(0)[:, None]
    assert float((images.flatten(1).double() - means).abs().max()) < 1


def test_an_untrained_model_is_uniform() -> None:
    nats = BMM(DIGITS, BMMConfig()).log_prob(digits()[1])
    assert torch.allclose(nats, torch.tensor(-64 * math.log(17), dtype=torch.float64))


def test_256_levels_and_colour() -> None:
    images = ImageSpec(channels=3, height=4, width=4, levels=256)
    x = random_images(images, 60)
    model, losses = trained(images, x, components=2)
    assert losses[-1] < 48 * math.log(256)
    assert int(model.sample(50).max()) > 200
    assert bool(model.log_prob(x.flip(2)).isfinite().all())


def test_copies_of_one_image_and_too_few_images() -> None:
    x = digits()[0][:3]
    model, losses = trained(DIGITS, x.repeat(10, 1, 1, 1))
    assert all(map(math.isfinite, losses))
    assert bool(model.log_prob(digits()[1]).isfinite().all())
    with pytest.raises(ZooError, match="the training set has 3; set components to at most 3"):
        trained(DIGITS, x, components=4)


def test_bad_input_is_refused_with_what_to_do() -> None:
    model, x = BMM(DIGITS, BMMConfig(components=2)), digits()[0][:2]
    for call, match in (
        (lambda: model.log_prob(x / 16), "from_unit"),
        (lambda: model.log_prob(x, labels=torch.zeros(2, dtype=torch.int64)), "takes no labels"),
        (lambda: model.encode(x[:, :, :4]), r"\(N, 1, 8, 8\)"),
        (lambda: model.sample(0), "at least 1"),
        (lambda: model.complete(x, x), "torch.bool"),
        (lambda: model.complete(x, x[:1] > 3), "expand_as"),
        (lambda: BMMConfig(components=0), "components"),
        (lambda: BMMConfig(noise=0.0), "noise"),
        (lambda: BMMConfig(noise=1.0), "noise"),
        (lambda: BMMConfig(lloyd=-1), "lloyd"),
    ):
        with pytest.raises(ZooError, match=match):
            call()
