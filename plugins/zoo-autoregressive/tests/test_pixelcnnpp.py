"""PixelCNN++: the mixture's conditionals, causality across resolutions, labels, and what it costs to sample."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.autoregressive import to_sequence
from zoo_autoregressive.configs import PixelCNNPPConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.pixelcnnpp.mixture_levels import log_bins
from zoo_autoregressive.pixelcnnpp.model import PixelCNNPP, stages_of

from zoo_core import ImageSpec, ZooError, spec
from zoo_core.pixels import DiscretizedLogisticMixture
from zoo_core.testing import check

SMALL = PixelCNNPPConfig(width=6, stages=3, blocks=1, components=3)
COLOUR = ImageSpec(channels=3, height=4, width=5, levels=6, classes=2)


def pixelcnnpp(images: ImageSpec, config: PixelCNNPPConfig = SMALL, scale: float = 0.15) -> PixelCNNPP:
    """In float64, with noise on the weights."""
    torch.manual_seed(1)
    model = PixelCNNPP(images, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn_like(parameter)
    return model


def draw(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize(
    "images",
    [
        ImageSpec(channels=1, height=5, width=7, levels=4),
        ImageSpec(channels=3, height=4, width=6, levels=4),
        ImageSpec(channels=2, height=7, width=3, levels=2),
        ImageSpec(channels=1, height=1, width=9, levels=3),
        ImageSpec(channels=1, height=9, width=1, levels=3),
    ],
    ids=str,
)
@torch.no_grad()
def test_no_resolution_lets_the_future_through(images: ImageSpec) -> None:
    """Of every subpixel, at every place of the 4 x 4 grid of the lowest resolution: nothing from its own on is seen."""
    model = pixelcnnpp(images, dataclasses.replace(SMALL, blocks=2), scale=0.2)
    for d in range(images.dims):
        seen = depends_on(model, d, trials=2)
        assert not seen[d:].any()
        pixel, row = d // images.channels, images.width
        near = [pixel - 1] * (pixel % row > 0) + [pixel - row] * (pixel >= row)  # to the left and above
        assert all(seen[images.channels * e : images.channels * (e + 1)].all() for e in near)


def test_stages_that_see_nothing_are_left_out() -> None:
    sizes = {(1, 1): 1, (2, 2): 1, (1, 3): 2, (4, 4): 2, (8, 8): 3, (28, 28): 5}
    for (height, width), stages in sizes.items():
        assert stages_of(ImageSpec(channels=1, height=height, width=width, levels=2)) == stages
    assert len(pixelcnnpp(COLOUR).left.down) == 3
    assert len(pixelcnnpp(dataclasses.replace(COLOUR, height=2, width=2)).left.down) == 1


@torch.no_grad()
def test_all_levels_together_agree_with_the_likelihood_of_one() -> None:
    """What the sampler inverts (`logits`) and what is scored (`log_pixels`) are written differently."""
    model, x = pixelcnnpp(COLOUR), draw(COLOUR, 8)
    s = to_sequence(x)
    logits = model.logits(s)  # (N, D, K), normalised
    assert torch.allclose(logits.exp().sum(-1), torch.ones(8, 60, dtype=torch.float64))
    assert torch.allclose(logits.gather(-1, s.long().unsqueeze(-1)).squeeze(-1), model.log_pixels(s))


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_bins_are_those_of_the_core(levels: int) -> None:
    mean, log_scale = (torch.linspace(-1.5, 1.5, 7).double() for _ in range(2))
    found = log_bins(mean, log_scale - 2, levels)  # (K, M)
    for m in range(7):
        params = [t[m].view(1, 1, 1, 1, 1).expand(levels, -1, -1, -1, -1) for t in (mean, log_scale - 2)]
        mixture = DiscretizedLogisticMixture(torch.zeros(levels, 1, 1, 1).double(), *params, levels)
        x = torch.arange(levels).view(-1, 1, 1, 1)
        assert torch.allclose(found[:, m], mixture.log_prob(x).flatten(), atol=1e-9)


@torch.no_grad()
def test_a_fresh_network_takes_all_levels_for_about_equally_likely() -> None:
    images = ImageSpec(channels=1, height=4, width=4, levels=256)
    model = PixelCNNPP(images, PixelCNNPPConfig(width=6, blocks=1))
    bits = -model.log_prob(draw(images, 16)).mean() / images.dims / torch.tensor(2.0).log()
    assert abs(float(bits) - 8) < 0.15


def test_the_conditional_model_keeps_the_laws_too() -> None:
    found = spec("pixelcnnpp")
    assert not found.tiny.conditional
    conditional = dataclasses.replace(found, tiny=dataclasses.replace(found.tiny, conditional=True))
    assert [(r.name, r.message) for r in check(conditional) if r.status == "broken"] == []


def test_a_model_of_one_row_stays_one() -> None:
    model = pixelcnnpp(dataclasses.replace(COLOUR, height=1))
    assert model.resized(1, 9).sample(2).shape == (2, 3, 1, 9)
    with pytest.raises(ZooError, match="expected 1 row, got 2"):
        model.resized(2, 5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"stages": 0}, "at least 1"), ({"dropout": 1.0}, r"a share in \[0, 1\)"), ({"weight_decay": -1.0}, "0 or more")],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        PixelCNNPPConfig(**fields)
