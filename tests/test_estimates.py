"""An estimated likelihood says how it was made and how far it can be trusted; a likelihood of another kind does not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from zoo_core import Config, GenerativeModel, ImageSpec
from zoo_core.likelihood import score, scores

IMAGES = ImageSpec(channels=1, height=1, width=3, levels=4)
EVERY = torch.tensor(list(itertools.product(range(4), repeat=3)), dtype=torch.uint8).view(-1, 1, 1, 3)  # (64, 1, 1, 3)


class Importance(GenerativeModel):
    """P(x) = exp(steepness sum_d x_d) / Z, with Z from `chains` images drawn evenly: 64 times their mean weight."""

    chains = 4_000

    def __init__(self, steepness: float = 0.5) -> None:
        super().__init__(IMAGES, Config())
        self.steepness = steepness
        x = torch.randint(4, (self.chains, 3), generator=torch.Generator().manual_seed(0))
        self.register_buffer("log_weights", steepness * x.double().sum(1) + 3 * math.log(4))

    @property
    def log_z(self):
        return float(self.log_weights.logsumexp(0)) - math.log(self.chains)

    def log_prob_estimate(self, x, *, labels=None, text=None, generator=None):
        return self.steepness * self.check(x, labels, text).double().flatten(1).sum(1) - self.log_z

    def estimate_protocol(self):
        weights = self.log_weights.softmax(0)
        size = 1 / float(weights.square().sum())
        error = math.sqrt(1 / size - 1 / self.chains)
        told = {"log_z": self.log_z, "log_z_standard_error": error, "effective_sample_size": size}
        return {"estimator": "importance sampling", "chains": self.chains, **told}

    def sample(self, n, *, labels=None, text=None, generator=None):
        raise AssertionError

    def train_step(self, batch, step):
        raise AssertionError


class Exact(Importance):
    """The same, which can also sum up Z."""

    def log_prob(self, x, *, labels=None, text=None):
        energies = [self.steepness * v.double().flatten(1).sum(1) for v in (EVERY, self.check(x, labels, text))]
        return energies[1] - energies[0].logsumexp(0)


def test_an_estimate_carries_what_its_model_says_of_it():
    found = score(Importance(), EVERY)
    assert (found.method, found.relation) == ("estimate", "≈")
    assert found.params == {"seed": 0, "chunk": 100, **Importance().estimate_protocol()}
    exact = score(Exact(), EVERY)
    assert float(exact.nats.exp().sum()) == pytest.approx(1)
    difference = float((exact.nats - found.nats).abs().max())
    assert 0 < difference < 4 * found.params["log_z_standard_error"] < 0.1


def test_the_effective_sample_size_falls_where_few_weights_decide():
    even, steep = (score(Importance(steepness), EVERY).params for steepness in (0.0, 3.0))
    assert even["effective_sample_size"] == pytest.approx(even["chains"]) and even["log_z"] == pytest.approx(
        math.log(64)
    )
    assert 1 < steep["effective_sample_size"] < 0.1 * steep["chains"]


def test_only_the_estimate_carries_it():
    exact, estimate = scores(Exact(), EVERY)
    assert exact.relation == "=" and exact.params == {}
    assert estimate.relation == "≈" and estimate.params["estimator"] == "importance sampling"


def test_an_estimate_without_a_protocol_is_as_before():
    class Silent(Importance):
        estimate_protocol = dict

    assert score(Silent(), EVERY).params == {"seed": 0, "chunk": 100}
