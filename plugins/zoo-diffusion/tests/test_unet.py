"""The U-Net: any size, what its outputs depend on, and what it starts as."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo_diffusion.configs import UNetConfig
from zoo_diffusion.unet import Sinusoids, UNet, resolutions

from zoo_core import ImageSpec, ZooError

SMALL = UNetConfig(width=16, multipliers=(1, 2, 2), blocks=1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(height: int, width: int, *, channels: int = 1, classes: int = 0, config: UNetConfig = SMALL) -> UNet:
    """In float64, with noise on every parameter: a fresh network gives out zeros."""
    images = ImageSpec(channels=channels, height=height, width=width, classes=classes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(images, config, classes=classes).double().eval()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng(), dtype=torch.float64)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (3, 5), (7, 4), (9, 9), (28, 28)])
@torch.no_grad()
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    network = make(*size, channels=3)
    v = noise(2, 3, *size)
    out = network(v, torch.tensor([1.0, 900.0]))
    assert out.shape == v.shape and bool(out.isfinite().all())


def test_sides_are_halved_while_two_pixels_are_left() -> None:
    assert resolutions(28, 28, 9) == [(28, 28), (14, 14), (7, 7), (4, 4), (2, 2)]
    assert resolutions(28, 28, 2) == [(28, 28), (14, 14)]
    assert resolutions(3, 9, 9) == [(3, 9), (2, 5)]
    for size in ((1, 2), (2, 2), (1, 1), (2, 64)):
        assert resolutions(*size, 9) == [size]


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, v, t = make(8, 8, classes=4), noise(5, 1, 8, 8), torch.tensor([1.0, 5.0, 40.0, 300.0, 1000.0])
    labels = torch.tensor([0, 1, 2, 3, 0])
    whole = network(v, t, labels)
    for i in range(5):
        torch.testing.assert_close(network(v[i : i + 1], t[i : i + 1], labels[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("size", [(1, 2), (8, 8)])
def test_every_output_depends_on_every_pixel_the_time_and_the_label(size: tuple[int, int]) -> None:
    network = make(*size, classes=4)
    v, t = noise(1, 1, *size), torch.tensor([500.0])
    with torch.no_grad():
        base = network(v, t, torch.tensor([1]))
        assert bool((network(v, t + 1, torch.tensor([1])) != base).all())
        assert bool((network(v, t, torch.tensor([2])) != base).all())
    jacobian = torch.func.jacrev(lambda v: network(v, t, torch.tensor([1])).flatten())(v)
    assert bool((jacobian != 0).all())


def test_a_fresh_network_gives_out_zeros() -> None:
    network = UNet(ImageSpec(channels=1, height=8, width=8), SMALL)
    assert not network(torch.randn(2, 1, 8, 8, generator=rng()), torch.ones(2)).any()


def test_normalised_groups_hold_several_channels() -> None:
    for width in (2, 6, 16, 24, 32, 130, 300):
        network = make(2, 2, config=UNetConfig(width=width, multipliers=(1,), blocks=1))
        norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
        assert norms and all(norm.num_channels >= min(width, 8) * norm.num_groups for norm in norms)


def test_times_are_told_apart() -> None:
    t = torch.arange(1, 1001)
    codes = Sinusoids(32).double()(t)
    assert codes.shape == (1000, 32)
    torch.testing.assert_close(codes[:, :16].square() + codes[:, 16:].square(), torch.ones(1000, 16).double())
    distance = torch.cdist(codes, codes) + 10 * torch.eye(1000)
    assert float(distance.min()) > 0.1
    assert bool((distance.argmin(1) - torch.arange(1000)).abs().eq(1).all())  # the nearest code is that of t +- 1


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"width": 7}, {"multipliers": ()}, {"multipliers": (1, 0)}, {"blocks": 0}, {"dropout": 1.0}],
)
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"UNetConfig.{next(iter(change))}"):
        UNetConfig(**change)
