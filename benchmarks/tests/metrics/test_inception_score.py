"""The Inception score: closed forms, its splits, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_bench.features import featuresets
from zoo_bench.metrics import inception_score

from zoo_core import ZooError


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_inception_score_of_sure_and_even_predictions_is_the_number_of_classes() -> None:
    sure = 100 * torch.eye(4)[torch.arange(400) % 4]
    assert inception_score.inception_score(sure, splits=1) == pytest.approx((4, 0))
    assert inception_score.inception_score(torch.zeros(50, 4))[0] == pytest.approx(1)
    certain = torch.full((50, 4), -1e4)
    certain[:, 0] = 0  # p(y) = 0 for three classes
    assert inception_score.inception_score(certain)[0] == pytest.approx(1)


def test_the_inception_score_is_torch_fidelitys_on_the_same_parts() -> None:
    from torch_fidelity import metric_isc

    logits = 3 * normal(1003, 10, 1)
    ordered = logits[featuresets.shuffled(logits, seed=0)]
    theirs = metric_isc.isc_features_to_metric(ordered, splits=10, shuffle=False)
    mean, deviation = inception_score.inception_score(logits)
    assert mean == pytest.approx(theirs[metric_isc.KEY_METRIC_ISC_MEAN], rel=1e-6)
    assert deviation == pytest.approx(theirs[metric_isc.KEY_METRIC_ISC_STD], rel=1e-6)


def test_samples_sorted_by_class_have_the_same_inception_score() -> None:
    sure = 20 * torch.eye(10)[torch.arange(1000) // 100] + normal(1000, 10, 0)
    assert inception_score.inception_score(sure)[0] > 9  # parts cut from the given order would score 1


def test_bad_logits_are_refused() -> None:
    with pytest.raises(ZooError, match="splits: expected 1 to 5"):
        inception_score.inception_score(torch.zeros(5, 3))
    with pytest.raises(ZooError, match="NaN or infinity"):
        inception_score.inception_score(torch.full((20, 3), float("nan")))
