"""The closed-form baselines stand on the anchors of quick@1, and a uniform model scores log2 K on every path."""

from __future__ import annotations

import math

import pytest
import torch
from zoo_bench.baselines.constructed import Diluted
from zoo_bench.datasets import load as data

import zoo_core
from zoo_core import ImageSpec, LocalStep, ZooError
from zoo_core.likelihood import LikelihoodResult, score, scores
from zoo_core.model import GenerativeModel


def fitted(name: str) -> GenerativeModel:
    train = data.load("digits", "train")
    model = zoo_core.create(name, train.images)
    LocalStep(model, data=train.pinned).run(train.pinned[:10])
    return model


@pytest.mark.parametrize(
    ("name", "value", "tolerance"),
    [
        ("uniform", math.log2(17), 1e-12),
        ("independent_pixels", 2.4320, 1e-4),
        ("class_mixture", 2.2231, 2e-3),
        ("gaussian", 2.961, 1e-2),
    ],
)
def test_anchors_of_the_digits(name: str, value: float, tolerance: float) -> None:
    result = score(fitted(name), data.load("digits", "test").pinned.x, draws=8)
    assert result.bits_per_dim == pytest.approx(value, abs=tolerance)
    assert result.relation == ("≤" if name == "gaussian" else "=")


def test_the_class_mixture_uses_labels_only_to_train() -> None:
    x = data.load("digits", "test").pinned.x[:5]
    with pytest.raises(ZooError, match="takes no labels"):
        fitted("class_mixture").log_prob(x, labels=torch.zeros(5, dtype=torch.int64))


def test_only_a_model_with_an_exact_likelihood_is_diluted() -> None:
    model = zoo_core.create("gaussian", ImageSpec(channels=1, height=2, width=2, levels=2))
    with pytest.raises(ZooError, match="diluted: expected a model with log_prob, got Gaussian; choose one whose"):
        Diluted(model)


class EveryPath(GenerativeModel):
    """The uniform model through each likelihood method at once."""

    def _nats(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x),), -self.images.dims * math.log(self.images.levels))

    def log_prob(self, x, *, labels=None, text=None):
        return self._nats(x)

    def log_density(self, v, *, labels=None, text=None):
        return torch.zeros(len(v))  # density 1 on the unit cube

    def elbo(self, x, *, labels=None, text=None, draws=1, generator=None):
        return self._nats(x)

    def iwae(self, x, n, *, labels=None, text=None, generator=None):
        return self._nats(x)

    def log_prob_estimate(self, x, *, labels=None, text=None, generator=None):
        return self._nats(x)

    def sample(self, n, *, labels=None, text=None, generator=None):
        return torch.zeros(n, *self.images.shape, dtype=torch.uint8)

    def train_step(self, batch, step):
        return {}


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_uniform_model_scores_log2_k_through_every_path(levels: int) -> None:
    images = ImageSpec(channels=1, height=3, width=3, levels=levels)
    x = torch.randint(levels, (250, 1, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = {r.method: r for r in scores(EveryPath(images, zoo_core.Config()), x, draws=3, n=5)}
    assert set(found) == {"log_prob", "dequant-3", "iw-dequant-3", "iwae-5", "elbo-3", "estimate"}
    for result in found.values():
        assert result.bits_per_dim == pytest.approx(math.log2(levels), abs=1e-6)
        assert len(result.nats) == 250
        assert result.nats.dtype == torch.float64
    assert "".join(found[m].relation for m in ("log_prob", "dequant-3", "iwae-5", "elbo-3", "estimate")) == "=≤≤≤≈"


def test_score_is_seeded_by_chunk_and_uses_every_image() -> None:
    model, x = fitted("gaussian"), data.load("digits", "test").pinned.x
    before = torch.get_rng_state()
    whole, part = score(model, x, seed=1), score(model, x[:150], seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(whole.nats[:100], part.nats[:100])
    assert len(whole.nats) == 300
    assert not torch.equal(whole.nats, score(model, x, seed=2).nats)


def result(relation: str, value: float, spread: float = 0.01, n: int = 400) -> LikelihoodResult:
    noise = torch.linspace(-1, 1, n).double() * spread
    return LikelihoodResult("m", relation, -(value + noise) * math.log(2), 1)


def test_only_what_is_proven_beats() -> None:
    assert result("=", 2.9).beats(result("=", 3.0))
    assert result("≤", 2.9).beats(result("=", 3.0))
    assert not result("=", 2.9).beats(result("≤", 3.0))  # the truth behind the bound may be lower
    assert not result("≤", 2.9).beats(result("≤", 3.0))
    assert not result("≈", 1.0).beats(result("=", 3.0))
    assert not result("=", 2.9).beats(result("≈", 3.0))
    assert not result("=", 3.0).beats(result("=", 2.9))
    assert not result("=", 2.99, spread=2.0).beats(result("=", 3.0, spread=2.0))  # intervals overlap


def test_bad_images_are_refused_by_name() -> None:
    model, x = fitted("uniform"), data.load("digits", "test").pinned.x
    for bad, message in (
        (x / 16, "from_unit"),
        (x.int(), "expected uint8"),
        (x[:, :, :7], r"expected images of shape \(N, 1, 8, 8\), got"),
        (x[0], "expected images of shape"),
        (x + 1, r"expected pixels 0\.\.16 .* other levels"),
        (x.numpy(), "expected a uint8 tensor"),
        (x[:0], "at least one image"),
    ):
        with pytest.raises(ZooError, match=message):
            score(model, bad)
