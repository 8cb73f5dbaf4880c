"""The first images of a seed are the same however many are asked for; those of a whole chunk stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import zoo_core
from zoo_core import chunks, sampling
from zoo_core.cli import main


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(("draw", "plain"), [(chunks.randn, torch.randn), (chunks.rand, torch.rand)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 8)])
def test_an_image_has_the_same_noise_for_every_number_of_images(
    draw: Callable[..., torch.Tensor], plain: Callable[..., torch.Tensor], shape: tuple[int, ...]
) -> None:
    whole = plain(chunks.CHUNK, *shape, generator=rng())
    for n in (1, 4, 8, 99, chunks.CHUNK):
        generator, following = rng(), rng()
        plain(chunks.CHUNK, *shape, generator=following)
        assert torch.equal(draw(n, *shape, generator=generator), whole[:n])
        assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=following))
    assert torch.equal(draw(250, *shape, generator=rng()), plain(250, *shape, generator=rng()))


@pytest.mark.parametrize(
    "name", ["bmm.digits", "dcgan.digits", "gmm.digits", "made.digits", "vae.digits", "vae.mnist_bin"]
)
def test_few_images_are_the_first_of_many(name: str) -> None:
    model = zoo_core.load(name)
    many = sampling.draw(model, 130, seed=3)
    for n in (1, 4, 8, 100, 117):
        assert torch.equal(sampling.draw(model, n, seed=3), many[:n])


def test_few_images_with_drawn_labels_are_the_first_of_many() -> None:
    """Of a diffusion model, which draws noise at every step, after it has drawn labels."""
    model = zoo_core.load("ddpm.digits_cond")
    many = sampling.draw(model, 8, seed=3)
    assert torch.equal(sampling.draw(model, 4, seed=3), many[:4])


def test_the_command_draws_the_same_first_images(tmp_path: Path) -> None:
    def drawn(n: int) -> Any:
        out = tmp_path / f"{n}.npz"
        done = CliRunner().invoke(main, ["sample", "vae.digits", "-n", str(n), "--seed", "7", "--out", str(out)])
        assert done.exit_code == 0, done.output
        return np.load(out)["images"]

    assert np.array_equal(drawn(4), drawn(8)[:4])
