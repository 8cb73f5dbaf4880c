"""GMM as a model of images: its training, its bound, and scikit-learn as a witness."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from torch import Tensor
from zoo_mixture.configs import GMMConfig
from zoo_mixture.gmm.em import Mixture, precision_factors
from zoo_mixture.gmm.model import GMM
from zoo_mixture.kmeans import lloyd, seeds

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import dequantise

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
SKLEARN = {"full": "full", "diagonal": "diag", "spherical": "spherical"}


def digits() -> tuple[Tensor, Tensor]:
    """Training and validation images of the `quick` suite, uint8 `(N, 1, 8, 8)`."""
    x = torch.from_numpy(load_digits().images.astype(np.uint8))[:, None]
    order = np.random.RandomState(0).permutation(1797)
    return x[order[:1297]], x[order[1297:1497]]


def trained(x: Tensor, steps: int = 15, seed: int = 0, **options: Any) -> tuple[GMM, list[float]]:
    model = GMM(DIGITS, GMMConfig(**{"components": 5, **options}))
    step = LocalStep(model, data=Batch(x), seed=seed)
    losses = [float(step.run(Batch(x[:50]))["loss"]) for _ in range(steps)]
    step.finish()
    return model, losses


@pytest.mark.parametrize("covariance", SKLEARN)
def test_the_objective_never_falls_and_bounds_the_likelihood(covariance: str) -> None:
    x = digits()[0]
    model, losses = trained(x, covariance=covariance, floor=0.0)
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
    assert losses[-1] < losses[0] - 1
    objective = -float(LocalStep(model, data=Batch(x)).mean(model.expectation(model.parameters_now))["objective"])
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([-model.log_density(dequantise(x, DIGITS, generator)[0]).mean() for _ in range(10)])
    assert float(drawn.mean()) <= objective + 3 * float(drawn.std()) / math.sqrt(10)


@pytest.mark.parametrize("covariance", SKLEARN)
def test_a_hundred_iterations_never_lower_the_objective(covariance: str) -> None:
    _, losses = trained(digits()[0], steps=101, components=10, covariance=covariance)
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(losses)), losses
    assert losses[-1] < losses[0] - 1


def test_full_passes_in_chunks_are_one_pass() -> None:
    x, batch = digits()[0][:300], Batch(digits()[0][:50])
    models = [GMM(DIGITS, GMMConfig(components=4)) for _ in range(3)]
    data = [Batch(x), Batch(x), Batch(x.flip(0))]  # the order of the images is nothing to the start either
    for model, images, chunk in zip(models, data, (1000, 77, 300)):
        step = LocalStep(model, data=images, full_pass=chunk)
        for _ in range(4):
            step.run(batch)
    for model in models[1:]:
        for name, value in models[0].state_dict().items():
            assert torch.allclose(model.state_dict()[name].double(), value.double(), rtol=1e-6, atol=1e-9), name


def test_seeds_change_the_start_and_equal_seeds_do_not() -> None:
    x = digits()[0][:200]
    one, again, other = (trained(x, steps=2, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one.means, again.means)
    assert not torch.equal(one.means, other.means)


def test_beats_the_single_gaussian_on_validation_digits() -> None:
    train, validation = digits()

    def bits(model: GMM) -> float:
        generator = torch.Generator().manual_seed(2)
        draws = [dequantise(validation, DIGITS, generator) for _ in range(10)]
        nats = [float(-(model.log_density(v) + log_volume).mean()) for v, log_volume in draws]
        return statistics.fmean(nats) / (64 * math.log(2))

    single = bits(trained(train, components=1)[0])
    assert single == pytest.approx(2.964, abs=0.02)
    assert bits(trained(train, components=70, covariance="diagonal", steps=30)[0]) < single - 0.3
    assert bits(trained(train, components=10)[0]) < single - 0.2


def test_encode_gives_responsibilities() -> None:
    x = digits()[0]
    model, _ = trained(x)
    gamma = model.encode(x)
    assert gamma.shape == (1297, 5)
    assert torch.allclose(gamma.sum(1), torch.ones(1297, dtype=torch.float64))
    assert bool((gamma >= 0).all())
    assert torch.allclose(gamma.mean(0), model.weights, atol=0.02)  # a fixed point of eq. 9.26, nearly


def test_decode_gives_the_mean_image_of_a_component() -> None:
    model, _ = trained(digits()[0])
    images = model.decode(torch.eye(5))
    assert images.shape == (5, 1, 8, 8) and images.dtype == torch.uint8
    assert float((images.flatten(1) - (17 * model.means).clamp(0, 17)).abs().max()) <= 1


def test_an_untrained_model_is_a_density_too() -> None:
    model = GMM(ImageSpec(channels=1, height=1, width=2, levels=4), GMMConfig(components=2))
    axis = torch.linspace(-4, 5, 901, dtype=torch.float64)
    v = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    assert float(model.log_density(v).exp().sum()) * 0.01**2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("covariance", SKLEARN)
def test_copies_of_one_image_and_too_few_images(covariance: str) -> None:
    x = digits()[0][:3]
    model, losses = trained(x.repeat(10, 1, 1, 1), components=3, covariance=covariance, floor=0.0)
    assert all(map(math.isfinite, losses))
    assert bool(model.log_density(dequantise(x, DIGITS)[0]).isfinite().all())
    with pytest.raises(ZooError, match="the training set has 3; set components to at most 3"):
        trained(x, components=4, covariance=covariance)


def test_bad_input_is_refused_with_what_to_do() -> None:
    model, x = GMM(DIGITS, GMMConfig(components=2)), digits()[0][:2]
    v = dequantise(x, DIGITS)[0]
    for call, match in (
        (lambda: model.log_density(x), "dequantise"),
        (lambda: model.log_density(v[:, :, :4]), r"\(N, 1, 8, 8\)"),
        (lambda: model.log_density(v, labels=torch.zeros(2)), "takes no labels"),
        (lambda: model.encode(v), "uint8"),
        (lambda: model.sample(0), "at least 1"),
        (lambda: model.sample(1, temperature=0.5), "temperature"),
        (lambda: GMMConfig(components=0), "components"),
        (lambda: GMMConfig(floor=-1.0), "floor"),
        (lambda: GMMConfig(floor=float("nan")), "floor"),
        (lambda: GMMConfig(lloyd=-1), "lloyd"),
        (lambda: GMMConfig(covariance="tied"), "full"),
    ):
        with pytest.raises(ZooError, match=match):
            call()


def same_start(v: Tensor, k: int, covariance: str) -> Mixture:
    """k-means on points `(N, D)`, as `GMM` starts."""
    u = torch.rand(k, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    counts, dims = torch.ones(len(v), dtype=torch.float64), v.shape[1]
    means, distance = lloyd(v, counts, seeds(v, counts, u), rounds=3)
    sigma = {"full": torch.eye(dims).repeat(k, 1, 1), "diagonal": torch.ones(k, dims), "spherical": torch.ones(k, 1)}
    weights = torch.full((k,), 1 / k, dtype=torch.float64)
    return Mixture(weights, means, precision_factors(sigma[covariance].double() * distance / dims))


def witness(v: Tensor, start: Mixture, covariance: str, iterations: int) -> GaussianMixture:
    """scikit-learn from the same start, for the same number of iterations (tol=0 never stops)."""
    precisions = start.factors @ start.factors.mT if start.full else start.factors.square()
    return GaussianMixture(
        len(start.weights),
        covariance_type=SKLEARN[covariance],
        reg_covar=1e-6,
        tol=0,
        max_iter=iterations,
        weights_init=start.weights.numpy(),
        means_init=start.means.numpy(),
        precisions_init=precisions.squeeze(1).numpy() if covariance == "spherical" else precisions.numpy(),
        init_params="random",
        random_state=0,
    )


def run(v: Tensor, mixture: Mixture, iterations: int) -> Mixture:
    for _ in range(iterations):
        mixture = mixture.maximization(mixture.expectation(v, 1e-6), 1e-6)
    return mixture


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("covariance", SKLEARN)
def test_agrees_with_scikit_learn(covariance: str) -> None:
    v = dequantise(digits()[0], DIGITS, torch.Generator().manual_seed(4))[0].flatten(1).double()
    start = same_start(v, 10, covariance)
    theirs = witness(v, start, covariance, 30).fit(v.numpy()).score(v.numpy())
    ours = float(run(v, start, 30).log_joint(v).logsumexp(1).mean())
    assert ours == pytest.approx(theirs, abs=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("points", ["digits", "10,000 x 64"])
def test_is_not_slower_than_scikit_learn(points: str) -> None:
    """Processor time, which neighbours on the machine disturb less than they disturb the clock; the best of five."""
    v = dequantise(digits()[0], DIGITS, torch.Generator().manual_seed(4))[0].flatten(1).double()
    if points != "digits":
        v = v[torch.arange(10_000) % len(v)] + 0.01 * torch.randn(
            10_000, 64, generator=torch.Generator().manual_seed(5)
        )
    start, iterations = same_start(v, 10, "full"), 10
    theirs, ours = [], []
    for _ in range(5):
        model = witness(v, start, "full", iterations)
        before = time.process_time()
        model.fit(v.numpy())
        theirs.append(time.process_time() - before)
        before = time.process_time()
        run(v, start, iterations).log_joint(v)
        ours.append(time.process_time() - before)
    print(f"{points}: {min(ours) / iterations:.4f} s an iteration, scikit-learn {min(theirs) / iterations:.4f} s")
    assert min(ours) <= min(theirs)
