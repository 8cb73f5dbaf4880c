"""Metrics of discrete codes, against counts by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_bench.datasets import load
from zoo_bench.metrics.discrete_codes import bits_per_code, code_perplexity
from zoo_bench.metrics.measured import Measured
from zoo_bench.tasks import suites

import zoo_core
from zoo_core import Config, GenerativeModel, ImageSpec

DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17, classes=10)


class EverySecondPixel(GenerativeModel):
    """Codes are every second pixel of every second row, under a uniform prior."""

    code_images = ImageSpec(channels=1, height=4, width=4, levels=17)

    def encode(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]

    def log_prior(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full((len(codes),), -16 * math.log(17))

    def train_step(self, batch: Any, step: Any) -> dict[str, Tensor]:
        return {}

    def sample(self, n: int, **options: Any) -> Tensor:
        return torch.zeros(n, 1, 8, 8, dtype=torch.uint8)


def measured(model: GenerativeModel) -> Measured:
    suite = suites.load("quick")
    scored = load.load("digits", "test")
    return Measured(suite.tasks[0], "quick@1/digits", scored, scored.pinned, model=model)


def test_perplexity_counts_the_codes_of_all_images() -> None:
    (entry,) = code_perplexity(found := measured(EverySecondPixel(DIGITS, Config())))
    count = np.bincount(found.batch.x[:, 0, ::2, ::2].numpy().ravel(), minlength=17)
    p = count[count > 0] / count.sum()
    assert entry.value == pytest.approx(float(np.exp(-(p * np.log(p)).sum())))
    assert (entry.params.codes, entry.params.used) == (17, int((count > 0).sum()))


def test_a_uniform_prior_needs_log2_of_their_number() -> None:
    (entry,) = bits_per_code(measured(EverySecondPixel(DIGITS, Config())))
    assert entry.value == pytest.approx(math.log2(17)) and entry.relation == "="


def test_models_without_codes_have_no_entries() -> None:
    found = measured(zoo_core.create("vae", DIGITS, hidden=(4,)))  # its codes are vectors
    assert code_perplexity(found) == bits_per_code(found) == []
