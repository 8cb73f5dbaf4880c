"""The start: k-means++ and Lloyd's algorithm."""

from __future__ import annotations

import pytest
import torch
from zoo_mixture.kmeans import lloyd, seeds

from zoo_core import ZooError


def draws(k: int, seed: int) -> torch.Tensor:
    return torch.rand(k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_seeds_are_different_points_in_far_clusters() -> None:
    """Three clusters a thousand times as far apart as they are wide: one seed in each, however they are drawn."""
    centres = torch.tensor([[0.0, 0.0], [1e3, 0.0], [0.0, 1e3]], dtype=torch.float64)
    noise = torch.randn(3, 50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = (centres[:, None] + noise).flatten(0, 1)
    for seed in range(20):
        chosen = seeds(points, torch.ones(150, dtype=torch.float64), draws(3, seed))
        assert torch.cdist(chosen, centres).argmin(1).sort().values.tolist() == [0, 1, 2]


def test_seeds_follow_the_squared_distances() -> None:
    """After a first centre at 0, which nearly all images show, 1 and 3 are drawn as 1 : 9, times their counts."""
    points = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    counts = torch.tensor([1e9, 3.0, 1.0], dtype=torch.float64)
    second = [float(seeds(points, counts, torch.tensor([0.5, (i + 0.5) / 1200]).double())[1]) for i in range(1200)]
    assert second.count(1.0) == 300  # 3 * 1 / (3 * 1 + 1 * 9) of the draws
    assert second.count(3.0) == 900


def test_every_point_is_a_seed_when_there_are_as_many_as_points() -> None:
    points = torch.arange(5, dtype=torch.float64)[:, None]
    chosen = seeds(points, torch.ones(5, dtype=torch.float64), draws(5, 1))
    assert chosen.flatten().sort().values.tolist() == [0, 1, 2, 3, 4]


def test_too_few_points_say_what_to_do() -> None:
    with pytest.raises(ZooError, match="set components to at most 2"):
        seeds(torch.eye(2).double(), torch.ones(2).double(), draws(3, 0))


def test_lloyd_finds_weighted_means_and_keeps_empty_centres() -> None:
    points = torch.tensor([[0.0], [2.0], [10.0]], dtype=torch.float64)
    counts = torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    centres, distance = lloyd(points, counts, torch.tensor([[1.0], [9.0], [50.0]], dtype=torch.float64), rounds=3)
    assert centres.flatten().tolist() == [0.5, 10.0, 50.0]
    assert float(distance) == pytest.approx((3 * 0.25 + 2.25) / 5)
