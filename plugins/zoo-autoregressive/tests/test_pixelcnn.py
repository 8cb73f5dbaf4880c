"""PixelCNN: masks A and B over the colours, the blind spot, and what it costs to sample."""

from __future__ import annotations

import pytest
import torch
from zoo_autoregressive.causal import MaskedConv, channel_groups
from zoo_autoregressive.configs import PixelCNNConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.pixelcnn import PixelCNN, blind_spot

from zoo_core import ImageSpec, ZooError

GREY = ImageSpec(channels=1, height=9, width=9, levels=4)


def pixelcnn(images: ImageSpec, config: PixelCNNConfig) -> PixelCNN:
    """In float64, with random weights that are positive, so that no ReLU hides what is seen."""
    torch.manual_seed(1)
    model = PixelCNN(images, config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.02, 0.2)
    return model


@pytest.mark.parametrize(("kernel", "input_kernel"), [(3, 3), (3, 7), (5, 3)])
@pytest.mark.parametrize("place", [(5, 3), (8, 0), (4, 8)])
def test_the_blind_spot_is_where_the_page_says(kernel: int, input_kernel: int, place: tuple[int, int]) -> None:
    """With blocks enough to reach every corner: each earlier pixel is seen, or in the blind spot, never both."""
    config = PixelCNNConfig(width=4, blocks=8, kernel=kernel, input_kernel=input_kernel, head=8)
    row, column = place
    d = row * GREY.width + column
    seen = depends_on(pixelcnn(GREY, config), d)
    blind = blind_spot(GREY, config, row, column).flatten()
    assert torch.equal(seen, ~blind & (torch.arange(81) < d))
    assert bool(blind.any()) == (place != (4, 8)) and not bool(blind[d:].any())


@pytest.mark.parametrize("c", [0, 1, 2])
def test_colours_of_a_pixel_see_those_before_them(c: int) -> None:
    images = ImageSpec(channels=3, height=2, width=2, levels=4)
    d = 2 * 3 + c  # the pixel (1, 0)
    seen = depends_on(pixelcnn(images, PixelCNNConfig(width=6, blocks=2, head=12)), d)
    assert seen.tolist() == [e < d for e in range(12)]


@pytest.mark.parametrize("own", [True, False])
def test_masks_are_those_of_the_paper(own: bool) -> None:
    """R: earlier pixels only. G: also R of its own pixel. B: R and G. Under mask B also the own channel."""
    groups = torch.arange(3)
    conv = MaskedConv(groups, groups, above=1, left=1, right=1, own=own)
    centre = conv.mask[:, :, 1, 1]
    assert centre.tolist() == [[float(i < o or (own and i == o)) for i in range(3)] for o in range(3)]
    assert bool((conv.mask[:, :, 0] == 1).all() and (conv.mask[:, :, 1, 0] == 1).all())
    assert not bool(conv.mask[:, :, 1, 2].any())


def test_features_are_shared_out_evenly() -> None:
    assert torch.bincount(channel_groups(32, 3)).tolist() == [11, 11, 10]
    with pytest.raises(ZooError, match=r"head: expected at least 3 features.*got 2"):
        PixelCNN(ImageSpec(channels=3, height=4, width=4), PixelCNNConfig(head=2))


def test_a_fresh_network_takes_all_images_for_equally_likely() -> None:
    model = PixelCNN(GREY, PixelCNNConfig(width=4, blocks=1, head=8))
    x = torch.randint(4, (3, *GREY.shape), dtype=torch.uint8)
    assert torch.allclose(model.log_conditionals(x), -torch.tensor(4.0).log())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kernel": 4}, "an odd number"),
        ({"input_kernel": 1}, "at least 3"),
        ({"blocks": 0}, "at least 1"),
        ({"weight_decay": -1.0}, "0 or more"),
    ],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        PixelCNNConfig(**fields)
