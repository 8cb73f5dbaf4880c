"""Streamed bounds against the sums that they stand for."""

from __future__ import annotations

import math

import pytest
import torch
from zoo_autoencoder import importance


@pytest.mark.parametrize("size", [1, 16, 48, 1000])
def test_streams_are_the_sums_in_one(size: int) -> None:
    values = 40 * torch.randn(5, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for stream, whole in (
        (importance.streamed, values.logsumexp(1) - math.log(100)),
        (importance.averaged, values.mean(1)),
    ):
        rest = iter(values.T)
        result = stream(100, size, lambda s, rest=rest: torch.stack([next(rest) for _ in range(s)], 1))
        torch.testing.assert_close(result, whole)
        assert next(rest, None) is None  # neither more nor fewer than 100 draws


def test_weights_that_no_float_holds_are_summed_all_the_same() -> None:
    log_w = torch.tensor([[-2e4, -2e4 - 1], [3e4, 3e4]])
    expected = torch.tensor([-2e4 + math.log((1 + math.exp(-1)) / 2), 3e4], dtype=torch.float64)
    columns = iter(log_w.T)
    torch.testing.assert_close(importance.streamed(2, 1, lambda s: next(columns)[:, None]), expected)
    impossible = importance.streamed(2, 1, lambda s: torch.full((1, s), -math.inf))
    assert impossible.tolist() == [-math.inf]


def test_noise_is_the_same_in_any_parts_of_whole_groups() -> None:
    like = torch.zeros(3, 5)
    whole = importance.noise(like, 112, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    parts = [importance.noise(like, s, generator) for s in importance.parts(112, 48)]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert whole.shape == (3, 112, 5)


@pytest.mark.parametrize(("images", "numbers"), [(1, 10), (500, 10), (7, 10**9), (10**6, 784)])
def test_a_pass_holds_no_more_than_it_should_or_a_group_for_each_image(images: int, numbers: int) -> None:
    part = min(images, importance.images_per_pass(numbers))
    size = importance.samples_per_pass(part, numbers)
    assert size % importance.GROUP == 0
    assert part * size * numbers <= max(importance.OUTPUTS, importance.GROUP * numbers)
