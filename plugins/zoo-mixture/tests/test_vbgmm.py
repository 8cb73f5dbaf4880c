"""VBGMM as a model of images: its training, its bound, what its priors do."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from zoo_mixture.configs import GMMConfig, VBGMMConfig
from zoo_mixture.gmm.model import GMM
from zoo_mixture.vbgmm.model import VBGMM

from zoo_core import Batch, GenerativeModel, ImageSpec, LocalStep, ZooError
from zoo_core.images import dequantise

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=4)


def digits() -> tuple[Tensor, Tensor]:
    """Training and validation images of the `quick` suite, uint8 `(N, 1, 8, 8)`."""
    x = torch.from_numpy(load_digits().images.astype(np.uint8))[:, None]
    order = np.random.RandomState(0).permutation(1797)
    return x[order[:1297]], x[order[1297:1497]]


def trained(x: Tensor, steps: int = 15, seed: int = 0, chunk: int = 1000, **options: Any) -> tuple[VBGMM, list[float]]:
    model = VBGMM(DIGITS, VBGMMConfig(**{"components": 5, **options}))
    step = LocalStep(model, data=Batch(x), seed=seed, full_pass=chunk)
    losses = [float(step.run(Batch(x[:50]))["loss"]) for _ in range(steps)]
    return model, losses


def bits(model: GenerativeModel, x: Tensor) -> float:
    generator = torch.Generator().manual_seed(2)
    draws = [dequantise(x, DIGITS, generator) for _ in range(5)]
    nats = [float(-(model.log_density(v) + log_volume).mean()) for v, log_volume in draws]
    return statistics.fmean(nats) / (64 * math.log(2))


def test_a_hundred_iterations_never_lower_the_bound() -> None:
    _, losses = trained(digits()[0], steps=101, components=10)
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
    assert losses[-1] < losses[0] - 10


def test_generalises_better_than_maximum_likelihood() -> None:
    """Ten full covariances of 64 pixels from 1,297 images: what is integrated does not overfit."""
    train, validation = digits()
    model, _ = trained(train, steps=30, components=10, variance=2e-4)
    peer = GMM(DIGITS, GMMConfig(components=10))
    step = LocalStep(peer, data=Batch(train))
    for _ in range(30):
        step.run(Batch(train[:50]))
    assert bits(model, validation) < bits(peer, validation) - 0.02


def test_full_passes_in_chunks_are_one_pass() -> None:
    x = digits()[0][:300]
    models = [trained(x, steps=4, chunk=1000)[0], trained(x, steps=4, chunk=77)[0], trained(x.flip(0), steps=4)[0]]
    for name, value in models[0].state_dict().items():
        for model in models[1:]:
            assert torch.allclose(model.state_dict()[name].double(), value.double(), rtol=1e-6, atol=1e-8), name


def test_a_broad_prior_leaves_components_unused() -> None:
    model, _ = trained(digits()[0], steps=30, components=30, variance=0.03)
    used, empty = model.concentration > 0.1 + 1, model.concentration < 0.1 + 1e-3
    assert 5 < int(used.sum()) < 20 and int(empty.sum()) > 5
    assert float(model.concentration[empty].sum() / model.concentration.sum()) < 0.003
    assert float((model.means[empty] - model.prior_mean).abs().max()) < 1e-3


def test_encode_and_decode() -> None:
    x = digits()[0]
    model, _ = trained(x)
    r = model.encode(x)
    assert r.shape == (1297, 5) and torch.allclose(r.sum(1), torch.ones(1297, dtype=torch.float64))
    assert torch.allclose(1297 * r.mean(0) + 0.1, model.concentration, rtol=0.05)  # a fixed point of eq. 10.58, nearly
    images = model.decode(torch.eye(5))
    assert images.shape == (5, 1, 8, 8)
    assert float((images.flatten(1) - (17 * model.means).clamp(0, 17)).abs().max()) <= 1


def test_an_untrained_model_is_its_prior_predictive() -> None:
    model = VBGMM(PAIR, VBGMMConfig(components=2, degrees=40.0, variance=0.05))
    axis = torch.linspace(-4, 5, 901, dtype=torch.float64)
    v = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    assert float(model.log_density(v).exp().sum()) * 0.01**2 == pytest.approx(1, abs=1e-3)
    assert model.sample(3, generator=torch.Generator().manual_seed(0)).shape == (3, 1, 1, 2)


def test_constant_pixels_duplicates_and_a_single_image() -> None:
    x = digits()[0]
    for data, k in ((x[:300], 20), (x[:20].repeat(2, 1, 1, 1), 20), (x[:1], 1)):
        model, losses = trained(data, steps=12, components=k)
        assert all(map(math.isfinite, losses))
        assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
        assert bool(model.log_density(dequantise(x, DIGITS)[0]).isfinite().all())
        assert model.sample(5).shape == (5, 1, 8, 8)


def test_many_dimensions_and_components_without_images_stay_finite() -> None:
    """Weights of the E step far below the smallest number: 784 dimensions, of which hardly any image is."""
    images = ImageSpec(channels=1, height=28, width=28, levels=2)
    x = torch.randint(2, (30, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    model = VBGMM(images, VBGMMConfig(components=2, concentration=1e-4))
    step = LocalStep(model, data=Batch(x))
    losses = [float(step.run(Batch(x))["loss"]) for _ in range(3)]
    assert all(map(math.isfinite, losses)) and losses[-1] <= losses[0]
    assert bool(model.log_density(dequantise(x, images)[0]).isfinite().all())


def test_bad_input_is_refused_with_what_to_do() -> None:
    model, x = VBGMM(DIGITS, VBGMMConfig(components=2)), digits()[0][:3]
    v = dequantise(x, DIGITS)[0]
    for call, match in (
        (lambda: model.log_density(x), "dequantise"),
        (lambda: model.log_density(v[:, :, :4]), r"\(N, 1, 8, 8\)"),
        (lambda: model.encode(v), "uint8"),
        (lambda: model.sample(0), "at least 1"),
        (lambda: model.sample(1, temperature=0.5), "temperature"),
        (lambda: trained(x, components=4), "the training set has 3; set components to at most 3"),
        (lambda: VBGMMConfig(components=0), "components"),
        (lambda: VBGMMConfig(concentration=0.0), "concentration"),
        (lambda: VBGMMConfig(degrees=-1.0), "degrees"),
        (lambda: VBGMMConfig(variance=0.0), "variance"),
        (lambda: VBGMMConfig(mean_precision=0.0), "mean_precision"),
    ):
        with pytest.raises(ZooError, match=match):
            call()
