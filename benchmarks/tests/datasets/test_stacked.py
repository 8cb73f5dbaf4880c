"""Stacked MNIST: every channel is an image of MNIST's split of that name, and all 1,000 kinds are about as common."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from zoo_bench.datasets import load as data

from zoo_core import ZooError, registry

needs_mnist = pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="set ZOO_DATA to a folder with MNIST's IDX files")


def singles(name: str, split: str) -> list[bytes]:
    """Each channel of each image."""
    return [channel.tobytes() for channel in data.load(name, split).pinned.x.numpy().reshape(-1, 28 * 28)]


def digits(split: str) -> Tensor:
    """The three digits of each stacked image, `(N, 3)`: found by comparing pixels with MNIST's."""
    known = dict(zip(singles("mnist", split), data.load("mnist", split).pinned.labels.tolist(), strict=True))
    return torch.tensor([known[channel] for channel in singles("mnist_stacked", split)]).view(-1, 3)


@needs_mnist
@pytest.mark.parametrize(("split", "n"), [("train", 50_000), ("validation", 10_000), ("test", 10_000)])
def test_channels_are_images_of_the_split_and_every_kind_is_there(split: str, n: int) -> None:
    found = digits(split)
    assert found.shape == (n, 3)
    count = torch.bincount(found @ torch.tensor([100, 10, 1]), minlength=1000).double()
    assert int((count > 0).sum()) == 1000
    # Three independent digits, as frequent as in MNIST: chi^2 with 999 degrees of freedom, within 5 deviations.
    share = torch.bincount(data.load("mnist", split).pinned.labels).double() / len(data.load("mnist", split))
    expected = n * torch.einsum("i,j,k->ijk", share, share, share).flatten()
    chi2 = float(((count - expected).square() / expected).sum())
    assert abs(chi2 - 999) < 5 * math.sqrt(2 * 999)


@needs_mnist
def test_no_split_holds_a_digit_of_another() -> None:
    assert not set(singles("mnist_stacked", "test")) & set(singles("mnist_stacked", "train"))
    assert data.load("mnist_stacked", "test").pinned.labels is None


def test_without_mnist_the_error_is_that_of_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ZooError, match=r"is in none of .* put the four IDX files into a folder 'mnist'"):
        data.load("mnist_stacked", "test", tmp_path)


def test_what_the_channels_are_is_a_set_of_one_channel_that_is_there() -> None:
    stacked = [spec for spec in registry.datasets.all() if spec.channels_of]
    assert [spec.name for spec in stacked] == ["mnist_stacked"]
    for spec in stacked:
        single = registry.datasets.get(spec.channels_of).images
        assert (single.channels, *spec.images.shape[1:], spec.images.levels) == (1, *single.shape[1:], single.levels)
