"""Differentiable augmentation: changes written out, the identity, the gradient; both sides are changed by one law."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from zoo_gan.adversarial_config import AUGMENTATIONS
from zoo_gan.augmentation import CHANGES, NUMBERS, augmented
from zoo_gan.configs import DCGANConfig
from zoo_gan.dcgan.model import DCGAN

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

SIZES = [(1, 1, 2), (1, 8, 8), (3, 7, 5), (3, 16, 33)]
DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    v = 2 * torch.rand(n, *shape, generator=rng(seed), dtype=torch.float64) - 1
    return v, torch.rand(n, NUMBERS, generator=rng(seed + 1), dtype=torch.float64)


def test_the_config_and_the_code_know_the_same_changes() -> None:
    assert tuple(CHANGES) == AUGMENTATIONS
    columns = [i for _, where in CHANGES.values() for i in range(where.start, where.stop)]
    assert columns == list(range(NUMBERS))  # no number is used twice


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_strength_zero_is_the_identity(name: str, size: tuple[int, ...]) -> None:
    v, u = some(20, size)
    torch.testing.assert_close(augmented(v, u, (name,), 0.0), v, rtol=0, atol=1e-12)


def literal(name: str, v: Tensor, u: list[float], s: float) -> Tensor:
    """One image `(C, H, W)`, pixel by pixel."""
    out, (channels, height, width) = torch.zeros_like(v), v.shape
    ranges = [(c, i, j) for c in range(channels) for i in range(height) for j in range(width)]
    if name == "translation":
        most = [int(n * s / 8 + 0.5) for n in (height, width)]
        down, right = (int(u[3 + k] * (2 * most[k] + 1)) - most[k] for k in (0, 1))
    if name == "cutout":
        side = [int(n * s / 2 + 0.5) for n in (height, width)]
        centre = [int(u[5 + k] * (n + 1 - side[k] % 2)) for k, n in enumerate((height, width))]
    for c, i, j in ranges:
        if name == "brightness":
            out[c, i, j] = v[c, i, j] + s * (u[0] - 0.5)
        elif name == "saturation":
            grey = sum(float(v[k, i, j]) for k in range(channels)) / channels
            out[c, i, j] = grey + (v[c, i, j] - grey) * (1 + s * (2 * u[1] - 1))
        elif name == "contrast":
            grey = sum(float(v[place]) for place in ranges) / len(ranges)
            out[c, i, j] = grey + (v[c, i, j] - grey) * (1 + s * (u[2] - 0.5))
        elif name == "translation":
            inside = 0 <= i - down < height and 0 <= j - right < width
            out[c, i, j] = v[c, i - down, j - right] if inside else 0
        else:
            cut = [0 <= place - (m - n // 2) < n for place, m, n in zip((i, j), centre, side)]
            out[c, i, j] = 0 if all(cut) else v[c, i, j]
    return out


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_are_the_written_out_ones(name: str, size: tuple[int, ...], strength: float) -> None:
    v, u = some(6, size)
    expected = torch.stack([literal(name, one, numbers.tolist(), strength) for one, numbers in zip(v, u)])
    torch.testing.assert_close(augmented(v, u, (name,), strength), expected, rtol=0, atol=1e-12)


def test_several_are_applied_one_after_the_other_whatever_the_order_they_are_named_in() -> None:
    v, u = some(6, (3, 7, 5))
    expected = v
    for name in AUGMENTATIONS:
        expected = augmented(expected, u, (name,), 0.8)
    torch.testing.assert_close(augmented(v, u, AUGMENTATIONS[::-1], 0.8), expected)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_gradient_passes_through(name: str) -> None:
    """By differences, and twice: a gradient penalty looks at images behind it."""
    v, u = some(3, (2, 4, 5))
    v.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: augmented(v, u, (name,), 1.0), v)
    assert torch.autograd.gradgradcheck(lambda v: augmented(v, u, (name,), 1.0).square(), v)
    (slope,) = torch.autograd.grad(augmented(v, u, (name,), 1.0).square().sum(), v)
    assert slope.any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pixels_are_changed_by_the_same_law_on_both_sides(name: str) -> None:
    """The same image as a real and as a generated one: other noise, one distribution of what D sees."""
    config = DCGANConfig(width=4, latent=3, depth=2, norm="none", dither=0.0, augment=(name,))
    model = DCGAN(dataclasses.replace(DIGITS, channels=3), config)
    x = torch.randint(17, (1, 3, 8, 8), generator=rng(), dtype=torch.uint8).expand(5_000, -1, -1, -1)
    batch = model.with_noise(Batch(x), LocalStep(model))
    assert not torch.equal(batch.extra["augment_real"], batch.extra["augment_generated"])
    real = model.real(batch)
    model.generate = lambda z, labels=None: x.float() / 16 * 2 - 1  # type: ignore[method-assign]
    generated = model.generated(batch)
    assert not torch.equal(real, generated)
    for moment in (lambda v: v, lambda v: v.square(), lambda v: v * v.roll(1, 3)):
        one, two = (moment(v.double()) for v in (real, generated))
        error = ((one.var(0) + two.var(0)) / len(x)).sqrt()
        assert ((one.mean(0) - two.mean(0)).abs() < 5 * error + 1e-6).all()


def test_noise_is_drawn_only_where_it_is_needed() -> None:
    """A training without augmentation is what it was before there was any."""
    model = DCGAN(DIGITS, DCGANConfig(width=4, latent=3, depth=2))
    batch = Batch(torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    assert set(model.with_noise(batch, LocalStep(model)).extra) == {"z", "on_real", "on_generated"}


@pytest.mark.parametrize("change", [{"augment": ("colour",)}, {"augment": ("cutout",) * 2}, {"strength": 1.5}])
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"DCGANConfig.{next(iter(change))}"):
        DCGANConfig(**change)
