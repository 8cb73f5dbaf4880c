"""Where EM starts from, several starts side by side, and what becomes of components that lose all their images."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from zoo_mixture.bmm.model import BMM
from zoo_mixture.configs import BMMConfig, GMMConfig
from zoo_mixture.em_model import EMModel
from zoo_mixture.gmm.model import GMM
from zoo_mixture.rescue import rescued

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)
X = torch.from_numpy(load_digits().images[:500].astype(np.uint8))[:, None]
MODELS = {
    "full": lambda **options: GMM(DIGITS, GMMConfig(covariance="full", **options)),
    "diagonal": lambda **options: GMM(DIGITS, GMMConfig(covariance="diagonal", **options)),
    "spherical": lambda **options: GMM(DIGITS, GMMConfig(covariance="spherical", **options)),
    "bmm": lambda **options: BMM(DIGITS, BMMConfig(**options)),
}


def trained(model: EMModel, steps: int, seed: int = 0, **options: Any) -> tuple[LocalStep, list[float]]:
    step = LocalStep(model, data=Batch(X), seed=seed, **options)
    return step, [float(step.run(Batch(X[:50]))["loss"]) for _ in range(steps)]


def rows(means: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, means.tolist()))


def never_rise(losses: list[float]) -> bool:
    return all(b <= a + 1e-9 for a, b in itertools.pairwise(losses))


def test_random_points_are_different_images_and_depend_on_the_seed() -> None:
    centres = (X.flatten(1).double() + 0.5) / 17
    chosen = []
    for seed in range(4):
        model = MODELS["full"](init="points", components=20)
        trained(model, 1, seed)
        nearest = torch.cdist(model.means, centres).min(1)
        assert float(nearest.values.max()) < 1e-6
        assert len(nearest.indices.unique()) == 20
        chosen.append(set(nearest.indices.tolist()))
    assert len(set.union(*chosen)) > 60


def test_random_points_are_images_as_often_as_they_occur() -> None:
    """One of two different images is nine times as frequent: it is the first centre in nine starts of ten."""
    x = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
    x[0] = 16
    first = []
    for seed in range(200):
        model = GMM(DIGITS, GMMConfig(components=2, init="points"))
        LocalStep(model, data=Batch(x), seed=seed).run(Batch(x))
        first.append(float(model.means[0, 0]) < 0.5)
    assert 165 <= sum(first) <= 195  # 180 +- 3.5 sd


@pytest.mark.parametrize("kind", MODELS)
def test_given_means_are_where_it_starts(kind: str) -> None:
    centres = (X[::50].flatten(1).double() + 0.5) / 17
    model = MODELS[kind](components=10, init="means", means=rows(centres))
    trained(model, 1)
    if kind == "bmm":  # of whose start the means are the histograms' clusters
        shares = torch.cdist(X.flatten(1).double() / 16, centres).argmin(1).bincount(minlength=10) / len(X)
        assert torch.allclose(model.weights, shares.double())
    else:
        assert torch.equal(model.means, centres)
    assert type(model.config).from_dict(model.config.to_dict()) == model.config


@pytest.mark.parametrize("kind", ["diagonal", "bmm"])
def test_the_best_of_several_starts_is_kept(kind: str) -> None:
    """Each of three starts, trained alone from where it began, is no better; and the best one is the model."""
    together = MODELS[kind](components=6, n_init=3, lloyd=0)
    step, losses = trained(together, 1)
    stacked = {name: step.state[f"starts.{name}"].clone() for name in together.estimated}
    alone = [MODELS[kind](components=6) for _ in range(3)]
    losses += [float(step.run(Batch(X[:50]))["loss"]) for _ in range(6)]
    curves = []
    for i, model in enumerate(alone):
        for name, values in stacked.items():
            getattr(model, name).copy_(values[i])
        model.started.fill_(True)
        curves.append(trained(model, 6)[1])
    assert len({round(curve[-1], 6) for curve in curves}) == 3
    assert losses[1:] == pytest.approx([min(values) for values in zip(*curves)], abs=1e-9)
    best = min(range(3), key=lambda i: curves[i][-1])
    for name, value in alone[best].state_dict().items():
        assert torch.allclose(together.state_dict()[name], value), name
    assert never_rise(losses)


def test_several_starts_survive_a_checkpoint() -> None:
    straight, resumed = (MODELS["diagonal"](components=5, n_init=3) for _ in range(2))
    step, _ = trained(straight, 3)
    saved = copy.deepcopy((straight.state_dict(), step.state_dict()))
    for _ in range(3):
        step.run(Batch(X[:50]))
    resumed.load_state_dict(saved[0])
    again = LocalStep(resumed, data=Batch(X))
    again.load_state_dict(saved[1])
    for _ in range(3):
        again.run(Batch(X[:50]))
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_weights_of_several_starts_are_trained_on_without_the_others() -> None:
    model, fresh = (MODELS["diagonal"](components=5, n_init=3) for _ in range(2))
    _, losses = trained(model, 4)
    fresh.load_state_dict(model.state_dict())
    assert trained(fresh, 1)[1][0] <= losses[-1]


def with_an_empty_one(kind: str, **options: Any) -> EMModel:
    """Five components, the third of which starts where no image is."""
    means = (X[::100].flatten(1).double() + 0.5) / 17
    means[2] = 50
    return MODELS[kind](components=5, init="means", means=rows(means), **options)


@pytest.mark.parametrize("kind", MODELS)
def test_an_empty_component_is_rescued_and_the_likelihood_never_falls(kind: str) -> None:
    model = with_an_empty_one(kind)
    _, losses = trained(model, 15)
    assert bool((model.weights > 1 / len(X) / 2).all()), model.weights
    assert never_rise(losses), losses
    four = type(model)(DIGITS, model.config.override({"components": 4, "means": rows_without(model, 2)}))
    assert losses[-1] < trained(four, 15)[1][-1]


def rows_without(model: EMModel, k: int) -> tuple[tuple[float, ...], ...]:
    return model.config.means[:k] + model.config.means[k + 1 :]


@pytest.mark.parametrize("kind", MODELS)
def test_a_rescue_does_not_depend_on_chunks(kind: str) -> None:
    models = [with_an_empty_one(kind) for _ in range(2)]
    for model, chunk in zip(models, (1000, 77)):
        trained(model, 4, full_pass=chunk)
    for name, value in models[0].state_dict().items():
        assert torch.allclose(models[1].state_dict()[name].double(), value.double(), rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("kind", ["full", "bmm"])
def test_the_rescued_component_is_on_the_worst_image_and_the_rise_is_what_the_bound_says(kind: str) -> None:
    model = MODELS[kind](components=4, lloyd=0)
    step, _ = trained(model, 3)
    before = {**model.parameters_now, "weights": torch.tensor([0.5, 0.2, 0.0, 0.3], dtype=torch.float64)}
    seen: list[Tensor] = []

    def log_joint(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        if kind == "bmm":
            return model._log_joint(parameters, x)
        return type(model.mixture)(**parameters).log_joint(model.points(x), 1e-3)

    def restart(parameters: dict[str, Tensor], k: int, x: Tensor) -> dict[str, Tensor]:
        assert k == 2
        seen.append(x)
        if kind == "full":
            means = parameters["means"].clone()
            means[2] = model.points(x)[0]
            return {**parameters, "means": means}
        theta = parameters["theta"].clone()
        theta[..., 2] = torch.nn.functional.one_hot(x.flatten().long(), 17)[:, 1:] * 0.9
        return {**parameters, "theta": theta}

    after = rescued(before, step, log_joint, restart)
    old, new = (log_joint(parameters, X).logsumexp(1) for parameters in (before, after))
    worst = int(old.argmin())
    assert torch.equal(seen[0][0], X[worst])
    assert after["weights"].tolist() == pytest.approx([0.499, 0.1996, 0.002, 0.2994])
    bound = float(new[worst] - old[worst]) + (len(X) - 1) * math.log(1 - 1 / len(X))
    assert float((new - old).sum()) >= bound > 0


def test_a_rescue_that_could_lower_the_likelihood_is_not_done() -> None:
    """A restart onto the other end of the cube helps no image."""
    model = with_an_empty_one("full")
    step, _ = trained(model, 1)
    before = {**model.parameters_now, "weights": torch.tensor([0.2, 0.2, 0, 0.3, 0.3], dtype=torch.float64)}

    def log_joint(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return type(model.mixture)(**parameters).log_joint(model.points(x), 1e-3)

    assert rescued(before, step, log_joint, lambda parameters, k, x: parameters) is before


def test_bad_starts_are_refused_with_what_to_do() -> None:
    for call, match in (
        (lambda: GMMConfig(init="random"), "points"),
        (lambda: GMMConfig(n_init=0), "n_init: expected at least 1"),
        (lambda: GMMConfig(means=((0.5,) * 64,)), 'init = "means"'),
        (lambda: GMMConfig(components=2, init="means"), "expected 2 rows of equal length"),
        (lambda: GMMConfig(components=2, init="means", means=((0.5,), (0.5, 0.1))), "got 2 of 1, 2 numbers"),
        (lambda: GMMConfig(components=1, init="means", means=((0.5,),), n_init=2), "all would be equal"),
        (lambda: BMM(DIGITS, BMMConfig(components=1, init="means", means=((0.5,),))), "rows of 64 numbers"),
    ):
        with pytest.raises(ZooError, match=match):
            call()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("init", ["kmeans++", "points"])
def test_more_components_than_images_is_refused(kind: str, init: str) -> None:
    model = MODELS[kind](components=9, init=init)
    with pytest.raises(ZooError, match="the training set has 8; set components to at most 8"):
        LocalStep(model, data=Batch(X[:8].repeat(3, 1, 1, 1))).run(Batch(X[:8]))


@pytest.mark.parametrize("kind", MODELS)
def test_constant_pixels_duplicates_and_a_single_image(kind: str) -> None:
    """The digits' corners are constant; then each image twice; then one image, with one component."""
    for x, k in ((X, 20), (X[:20].repeat(2, 1, 1, 1), 20), (X[:1], 1)):
        model = MODELS[kind](components=k)
        step = LocalStep(model, data=Batch(x))
        losses = [float(step.run(Batch(x[:50]))["loss"]) for _ in range(12)]
        assert all(map(math.isfinite, losses)) and never_rise(losses), losses
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
        likelihood = model.log_prob(X) if kind == "bmm" else model.log_density(model.points(X).view(-1, 1, 8, 8))
        assert bool(likelihood.isfinite().all())
        assert model.sample(5).shape == (5, 1, 8, 8)


@pytest.mark.parametrize("name", MODELS)
def test_codes_of_a_wrong_shape_or_type_are_refused_and_any_numbers_decode_to_pixels(name: str) -> None:
    model = MODELS[name](components=3)
    trained(model, 3)
    for given in (torch.ones(2, 4), torch.ones(3), torch.ones(2, 3, dtype=torch.long), [[1.0, 0.0, 0.0]]):
        with pytest.raises(ZooError, match=r"decode: expected codes \(N, 3\), real numbers: .*; got"):
            model.decode(given)
    far = model.decode(torch.tensor([[9.0, 9.0, 9.0], [-1.0, -1.0, -1.0]]))
    assert far[0].max() == 16 and far[1].max() == 0


def test_given_means_are_read_from_the_command_line() -> None:
    options = {"init": "means", "components": "2", "means": "[[0.1, 0.2], [0.5, 0.5]]"}
    assert GMMConfig().override(options).means == ((0.1, 0.2), (0.5, 0.5))
    assert GMMConfig().override({**options, "components": "1", "means": "[[0.1, 0.2]]"}).means == ((0.1, 0.2),)
