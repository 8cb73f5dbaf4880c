"""PixelSNAIL: attention over strictly earlier pixels, groups of channels, places, and what it costs to sample."""

from __future__ import annotations

import pytest
import torch
from zoo_autoregressive.concat_elu import concat_elu, put_concat_elu
from zoo_autoregressive.configs import PixelSNAILConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.pixelsnail.model import PixelSNAIL
from zoo_autoregressive.pixelsnail.network import Attention, attend

from zoo_core import ImageSpec, ZooError

SMALL = PixelSNAILConfig(width=9, blocks=1, keys=4, values=5)


def pixelsnail(images: ImageSpec, config: PixelSNAILConfig = SMALL) -> PixelSNAIL:
    """In float64, with noise on the weights."""
    torch.manual_seed(1)
    model = PixelSNAIL(images, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    "images",
    [
        ImageSpec(channels=1, height=5, width=7, levels=4),
        ImageSpec(channels=3, height=4, width=3, levels=4),
        ImageSpec(channels=2, height=1, width=6, levels=2),
    ],
    ids=str,
)
@torch.no_grad()
def test_one_block_sees_every_earlier_subpixel_and_no_other(images: ImageSpec) -> None:
    """Two convolutions reach a few pixels; what lies further away comes through the attention."""
    model = pixelsnail(images)
    for d in range(images.dims):
        assert torch.equal(depends_on(model, d, trials=2), torch.arange(images.dims) < d), d


@torch.no_grad()
def test_attention_is_the_softmax_over_earlier_pixels_and_nothing() -> None:
    """The definition, pixel by pixel; the first pixel is given zeros."""
    groups, inputs = torch.zeros(6, dtype=torch.int64), 2
    torch.manual_seed(0)
    layer = Attention(groups, inputs, keys=3, values=4).double()
    h, x = torch.randn(2, 6, 2, 3).double(), torch.randn(2, inputs, 2, 3).double()
    places = torch.randn(6, 2).double()
    found = layer(h, x, places).flatten(2)  # (N, values, H*W)
    assert not found[..., 0].any()
    rows = torch.cat([h, x], 1).flatten(2).transpose(1, 2)  # (N, H*W, F + C E)
    for i in range(1, 6):
        query = layer.query(torch.cat([rows[:, i, :6], places[i].expand(2, -1)], 1))
        memory = layer.memory(torch.cat([rows[:, :i], places[:i].expand(2, -1, -1)], 2))
        memory = torch.cat([torch.zeros_like(memory[:, :1]), memory], 1)  # nothing, then the earlier pixels
        weights = (torch.einsum("nk,nik->ni", query, memory[..., :3]) / 3**0.5).softmax(1)
        assert torch.allclose(found[..., i], torch.einsum("ni,niv->nv", weights, memory[..., 3:]))


@pytest.mark.parametrize(("keys", "values"), [(3, 7), (7, 3), (4, 4)])
def test_keys_and_values_may_differ_in_size(keys: int, values: int) -> None:
    q, k, v = (torch.randn(2, 5, size).double() for size in (keys, keys, values))
    scores = (q @ k.transpose(1, 2) / keys**0.5).masked_fill(~torch.ones(5, 5).tril().bool(), -torch.inf)
    assert torch.allclose(attend(q, k, v), scores.softmax(2) @ v)


def test_concat_elu_and_its_derivative() -> None:
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64, requires_grad=True)
    elu = torch.nn.functional.elu
    assert torch.allclose(concat_elu(x), torch.cat([elu(x), elu(-x)], 1))
    assert torch.autograd.gradcheck(concat_elu, x)
    grouped = concat_elu(x, [2, 3])
    assert torch.allclose(grouped[:, :4], concat_elu(x[:, :2])) and torch.allclose(grouped[:, 4:], concat_elu(x[:, 2:]))
    out = torch.empty(3, 10, dtype=torch.float64)
    put_concat_elu(out, x[:, :, 0, 0].detach())
    assert torch.allclose(out, concat_elu(x)[:, :, 0, 0])


def test_places_belong_to_the_image_not_to_the_weights() -> None:
    model = pixelsnail(ImageSpec(channels=1, height=3, width=5, levels=2))
    assert model.places()[[0, 2, 14]].tolist() == [[-1, -1], [-1, 0], [1, 1]]
    assert model.resized(1, 3).places().tolist() == [[0, -1], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"kernel": 1}, "at least 2 rows"), ({"keys": 0}, "at least 1"), ({"dropout": -0.1}, r"a share in \[0, 1\)")],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        PixelSNAILConfig(**fields)
