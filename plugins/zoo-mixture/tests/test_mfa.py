"""MFA as a model of images: its training, its codes, what it fills in, and what it refuses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from zoo_mixture.configs import MFAConfig
from zoo_mixture.gmm.em import Mixture, precision_factors
from zoo_mixture.mfa.model import MFA

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import dequantise
from zoo_core.testing.cases import structured_images

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits() -> Tensor:
    """uint8 `(1797, 1, 8, 8)`; some pixels are 0 in every image."""
    return torch.from_numpy(load_digits().images.astype(np.uint8))[:, None]


def trained(
    x: Tensor, steps: int = 15, seed: int = 0, images: ImageSpec = DIGITS, exact: bool = False, **options: Any
) -> tuple[MFA, list[float]]:
    """A model and its losses. exact: float64 parameters too, where `MFA` stores float32."""
    model = MFA(images, MFAConfig(**{"components": 5, "latent": 3, **options}))
    step = LocalStep(model.double() if exact else model, data=Batch(x), seed=seed)
    losses = [float(step.run(Batch(x[:50]))["loss"]) for _ in range(steps)]
    step.finish()
    return model, losses


@pytest.mark.parametrize("noise", ["diagonal", "isotropic", "shared"])
def test_100_iterations_on_real_digits_never_lower_the_objective(noise: str) -> None:
    losses = trained(digits(), 101, exact=True, noise=noise, floor=0.0)[1]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
    assert losses[-1] < losses[0] - 1


def test_rounding_the_parameters_costs_less_than_a_millionth_of_a_nat() -> None:
    losses = trained(digits(), 101, floor=0.0)[1]
    assert all(b <= a + 1e-6 for a, b in itertools.pairwise(losses)), losses


def test_the_objective_bounds_the_likelihood() -> None:
    x = digits()
    model, _ = trained(x, floor=0.0)
    mixture = model.mixture
    objective = -float(LocalStep(model, data=Batch(x)).mean(lambda part: model.expectation(part, mixture))["objective"])
    drawn = torch.stack([-model.log_density(dequantise(x, DIGITS, rng(seed))[0]).mean() for seed in range(10)])
    assert float(drawn.mean()) <= objective + 3 * float(drawn.std()) / math.sqrt(10)


@pytest.mark.parametrize("noise", ["diagonal", "isotropic", "shared"])
def test_density_is_that_of_a_gmm_with_the_same_covariances(noise: str) -> None:
    x = digits()[:300]
    model, _ = trained(x, noise=noise)
    mixture = model.mixture
    sigma = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise.expand(5, 64))
    gmm = Mixture(mixture.weights, mixture.means, precision_factors(sigma))
    v = dequantise(x, DIGITS, rng())[0]
    expected = gmm.log_joint(v.flatten(1).double()).logsumexp(1)
    assert torch.allclose(model.log_density(v), expected, rtol=0, atol=1e-6)


def test_the_start_is_near_each_clusters_principal_components() -> None:
    """One component: what Q factors can explain of the variance is the sum of the Q largest eigenvalues."""
    x = digits()
    model, _ = trained(x, steps=1, components=1, latent=4)
    values = torch.linalg.eigvalsh(((x.flatten(1).double() + 0.5) / 17).T.cov())
    explained = torch.linalg.svdvals(model.loadings[0].double()).square() + model.noise.double().mean()
    assert float(explained.sum()) > 0.9 * float(values[-4:].sum())


def test_full_passes_in_chunks_are_one_pass_whatever_the_order() -> None:
    x = digits()[:300]
    models = [MFA(DIGITS, MFAConfig(components=4, latent=2)).double() for _ in range(3)]
    for model, images, chunk in zip(models, (x, x, x.flip(0)), (1000, 77, 300)):
        step = LocalStep(model, data=Batch(images), full_pass=chunk)
        for _ in range(4):
            step.run(Batch(x[:50]))
        step.finish()
    for model in models[1:]:
        for name, value in models[0].state_dict().items():
            assert torch.allclose(model.state_dict()[name].double(), value.double(), rtol=1e-6, atol=1e-9), name


def test_finish_orders_the_factors_and_changes_no_density() -> None:
    x = digits()[:200]
    model = MFA(DIGITS, MFAConfig(components=4, latent=3))
    step = LocalStep(model, data=Batch(x))
    for _ in range(5):
        step.run(Batch(x[:50]))
    v = dequantise(x, DIGITS, rng())[0]
    before = model.log_density(v)
    step.finish()
    assert torch.allclose(model.log_density(v), before, rtol=0, atol=1e-3)  # float32 parameters
    signal = model.loadings.mT @ (model.loadings / model.noise[:, :, None])
    assert bool((signal.diagonal(dim1=1, dim2=2).diff(dim=1) <= 0).all())


class LargestTensor(TorchDispatchMode):
    """How many numbers the largest tensor has that is made under it."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return out


def test_no_tensor_is_as_large_as_a_covariance_matrix() -> None:
    images = ImageSpec(channels=3, height=32, width=32)
    x = structured_images(images, 40)[0]
    with LargestTensor() as largest:
        model, losses = trained(x, steps=3, images=images, components=3, latent=4)
        model.log_density(dequantise(x, images, rng())[0])
        model.reconstruct(x)
        model.complete(x, torch.rand(x.shape, generator=rng()) < 0.5, generator=rng())
        model.sample(40, generator=rng())
    assert largest.numbers < 3072**2 / 10
    assert losses[-1] < losses[0]


def test_codes_are_weights_and_weighted_factors_and_decode_to_the_image() -> None:
    x = digits()
    model, _ = trained(x, steps=30, components=20, latent=6)
    code = model.encode(x)
    assert code.shape == (1797, 20 * 7)
    h, factors = code[:, :20], code[:, 20:].unflatten(1, (20, 6))
    assert torch.allclose(h.sum(1), torch.ones(1797).double())
    assert bool((factors[h == 0] == 0).all())
    assert torch.equal(model.reconstruct(x), model.decode(code))
    error = (model.reconstruct(x).double() - x.double()).square().mean()
    means = torch.cat([torch.eye(20), torch.zeros(20, 120)], 1)  # each component, its factors at 0
    nearest = (model.decode(means).flatten(1).double()[h.argmax(1)] - x.flatten(1)).square().mean()
    assert float(error) < 0.6 * float(nearest)  # factors are worth something


def test_a_factor_moves_an_image_along_its_loadings() -> None:
    model, _ = trained(digits(), latent=3)
    code = torch.zeros(2, 5 * 4)
    code[:, 2], code[1, 5 + 2 * 3 + 1] = 1, 0.5  # component 2; its second factor at a half
    moved = (model.decode(code).double()[1] - model.decode(code).double()[0]).flatten() / 17
    assert torch.allclose(moved, 0.5 * model.loadings[2, :, 1].double(), atol=1.01 / 17)


def test_completions_keep_what_is_known_and_follow_the_conditional() -> None:
    """Of two pixels the first is known: 40,000 draws of the second against the model's own samples with that first."""
    x = structured_images(PAIR, 500)[0]
    model, _ = trained(x, images=PAIR, components=3, latent=1)
    samples = model.sample(400_000, generator=rng(1)).flatten(1)
    first = int(samples[:, 0].mode().values)
    expected = torch.bincount(samples[samples[:, 0] == first, 1], minlength=8).double()
    given = torch.full((40_000, 1, 1, 2), first, dtype=torch.uint8)
    mask = torch.tensor([True, False]).expand(given.shape)
    # A known pixel is dequantised uniformly, whatever the density within its cell: that is the tolerance.
    drawn = model.complete(given, mask, generator=rng(2))
    assert bool((drawn[mask] == first).all())
    found = torch.bincount(drawn[..., 1].flatten(), minlength=8).double()
    assert float((found / found.sum() - expected / expected.sum()).abs().sum() / 2) < 0.03


def test_completions_of_nothing_known_are_samples_and_of_everything_known_the_image() -> None:
    x = digits()[:1000]
    model, _ = trained(x)
    free = model.complete(x, torch.zeros_like(x, dtype=torch.bool), generator=rng(3)).double()
    samples = model.sample(1000, generator=rng(4)).double()
    error = ((free.var(0) + samples.var(0)) / 1000).sqrt().clamp_min(1e-9)
    assert float(((free.mean(0) - samples.mean(0)).abs() / error).max()) < 5
    assert torch.equal(model.complete(x, torch.ones_like(x, dtype=torch.bool)), x)


def test_the_mean_completion_has_less_error_than_draws() -> None:
    x = digits()
    model, _ = trained(x[:1297], components=20)
    unseen, mask = x[1297:], torch.zeros(500, 1, 8, 8, dtype=torch.bool)
    mask[:, :, :4] = True
    drawn = model.complete(unseen, mask, generator=rng(5))
    mean = model.complete(unseen, mask, mean=True)
    assert torch.equal(mean[mask], unseen[mask])
    errors = [float((y.double() - unseen).square().mean()) for y in (drawn, mean)]
    assert errors[1] < 0.85 * errors[0]  # half of it, were the model the truth


def test_samples_without_noise_are_those_with_noise_less_the_noise() -> None:
    model, _ = trained(digits())
    noisy, clean = (model.sample(500, generator=rng(6), noise=noise).double() / 17 for noise in (True, False))
    left = (noisy - clean).square().flatten(1).mean(0)
    assert float(left.mean()) < 2 * float(model.noise.mean())
    assert bool((left[model.noise.amax(0) < 2e-4] < 1e-3).all())


@pytest.mark.parametrize("noise", ["diagonal", "isotropic", "shared"])
def test_copies_of_one_image_and_too_few_images(noise: str) -> None:
    x = digits()[:3]
    model, losses = trained(x.repeat(10, 1, 1, 1), components=3, noise=noise, floor=0.0)
    assert all(map(math.isfinite, losses))
    assert bool(model.log_density(dequantise(x, DIGITS)[0]).isfinite().all())
    assert (
        int((model.sample(200, generator=rng()).int()[:, None] - x.int()).abs().flatten(2).amax(2).amin(1).max()) <= 1
    )
    with pytest.raises(ZooError, match="the training set has 3; set components to at most 3"):
        trained(x, components=4, noise=noise)


def test_one_image_is_learned_and_drawn() -> None:
    x = digits()[:1]
    model, losses = trained(x, components=1, latent=5, floor=0.0)
    assert math.isfinite(losses[-1])
    assert int((model.sample(50, generator=rng()).int() - x.int()).abs().max()) <= 2
    assert torch.equal(model.reconstruct(x), x)


def test_an_untrained_model_is_a_density_too() -> None:
    model = MFA(PAIR, MFAConfig(components=2, latent=1))
    axis = torch.linspace(-4, 5, 901, dtype=torch.float64)
    v = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    assert float(model.log_density(v).exp().sum()) * 0.01**2 == pytest.approx(1, abs=1e-3)


def test_bad_input_is_refused_with_what_to_do() -> None:
    model, x = MFA(DIGITS, MFAConfig(components=2, latent=3)), digits()[:2]
    v = dequantise(x, DIGITS)[0]
    for call, match in (
        (lambda: MFAConfig(components=0), "components"),
        (lambda: MFAConfig(latent=0), "latent"),
        (lambda: MFAConfig(floor=-1.0), "floor"),
        (lambda: MFAConfig(lloyd=-1), "lloyd"),
        (lambda: MFAConfig(noise="full"), "isotropic"),
        (lambda: MFA(DIGITS, MFAConfig(latent=64)), "set latent to at most 63"),
        (lambda: MFA(ImageSpec(channels=1, height=1, width=1), MFAConfig(latent=1)), "one number"),
        (lambda: model.log_density(x), "dequantise"),
        (lambda: model.log_density(v[:, :, :4]), r"\(N, 1, 8, 8\)"),
        (lambda: model.encode(v), "uint8"),
        (lambda: model.decode(torch.zeros(2, 7)), r"codes \(N, 8\).*2 components, then 3 factors"),
        (lambda: model.decode(torch.zeros(2, 8, dtype=torch.long)), "real numbers"),
        (lambda: model.sample(0), "at least 1"),
        (lambda: model.sample(1, temperature=0.5), "no option temperature"),
        (lambda: model.sample(1, labels=torch.zeros(1, dtype=torch.long)), "takes no labels"),
        (lambda: model.complete(x, torch.ones(2, 1, 8, 8)), "torch.bool"),
        (lambda: model.complete(x, torch.ones(1, 8, 8, dtype=torch.bool)), "expand_as"),
    ):
        with pytest.raises(ZooError, match=match):
            call()
