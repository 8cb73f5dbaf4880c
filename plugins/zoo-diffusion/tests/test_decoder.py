"""The discretised Gaussian against the error function in float64, and against its own sum."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_diffusion.decoder import log_bin


def every(levels: int) -> Tensor:
    """One image a level: `(K, 1, 1, 1)`."""
    return torch.arange(levels, dtype=torch.uint8).view(-1, 1, 1, 1)


def by_erf(x: int, mean: float, std: float, levels: int) -> float:
    def below(v: float) -> float:
        return 0.5 * math.erfc(-(v - mean) / (std * math.sqrt(2)))

    centre, half = 2 * x / (levels - 1) - 1, 1 / (levels - 1)
    high = 1.0 if x == levels - 1 else below(centre + half)
    return high - (0.0 if x == 0 else below(centre - half))


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
@pytest.mark.parametrize("mean", [-1.3, -0.2, 0.0, 0.99])
@pytest.mark.parametrize("std", [0.05, 0.5, 3.0])
def test_bins_are_differences_of_the_error_function_and_sum_to_one(levels: int, mean: float, std: float) -> None:
    mean_, std_ = torch.tensor([mean, std], dtype=torch.float64)
    found = log_bin(every(levels), mean_, std_, levels).exp().flatten()
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    for x in range(levels):
        assert float(found[x]) == pytest.approx(by_erf(x, mean, std, levels), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float32_is_enough_far_from_the_mean_and_half_precision_is_widened(dtype: torch.dtype) -> None:
    std = torch.tensor(0.01)
    for mean in (-1.0, 0.5, 1.0):
        found = log_bin(every(256), torch.tensor(mean, dtype=dtype), std, 256)
        exact = log_bin(every(256), torch.tensor(mean).double(), std.double(), 256)
        assert found.dtype == torch.float32 and bool(found.isfinite().all())
        torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-3)
        assert float(found.exp().sum()) == pytest.approx(1, abs=1e-4)


def test_gradients_are_those_of_finite_differences() -> None:
    x = every(17)
    mean = torch.linspace(-1.5, 1.5, 17).double().view(17, 1, 1, 1).requires_grad_()
    std = torch.full((17, 1, 1, 1), 0.07).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda mean, std: log_bin(x, mean, std, 17), (mean, std))
