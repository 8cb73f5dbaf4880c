"""ImageGPT: causality, what the start token and the positions are for, dropout, and what it costs to sample."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from zoo_autoregressive.ancestral import generate
from zoo_autoregressive.configs import ImageGPTConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.image_gpt import Block, ImageGPT, waves
from zoo_autoregressive.image_gpt_sampling import after_norm

from zoo_core import ImageSpec, ZooError

SMALL = ImageGPTConfig(width=12, blocks=2, heads=3)
COLOUR = ImageSpec(channels=3, height=3, width=4, levels=6)


def image_gpt(images: ImageSpec, config: ImageGPTConfig = SMALL) -> ImageGPT:
    """In float64, with noise on the weights."""
    torch.manual_seed(1)
    model = ImageGPT(images, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def test_one_block_sees_every_earlier_subpixel_and_no_other() -> None:
    model = image_gpt(COLOUR, dataclasses.replace(SMALL, blocks=1))
    for d in range(COLOUR.dims):
        assert torch.equal(depends_on(model, d), torch.arange(COLOUR.dims) < d)


@torch.no_grad()
def test_a_block_is_the_paper_s_equations() -> None:
    """n = norm(h), a = h + attention(n), h' = a + mlp(norm(a)), with the attention written out head by head."""
    torch.manual_seed(0)
    block = Block(SMALL).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    h = torch.randn(2, 5, 12).double()
    n = torch.nn.functional.layer_norm(h, (12,)) * block.attention_norm.weight + block.attention_norm.bias
    q, k, v = block.qkv(n).chunk(3, -1)
    heads = []
    for part in range(3):
        one = slice(4 * part, 4 * part + 4)
        scores = q[..., one] @ k[..., one].transpose(1, 2) / 2
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ v[..., one])
    a = h + block.mix(torch.cat(heads, -1))
    normed = torch.nn.functional.layer_norm(a, (12,)) * block.mlp_norm.weight + block.mlp_norm.bias
    expected = a + block.down(torch.nn.functional.gelu(block.up(normed), approximate="tanh"))
    assert torch.allclose(block(h), expected)


@torch.no_grad()
def test_a_norm_folds_into_the_layer_behind_it() -> None:
    torch.manual_seed(0)
    norm, layer = torch.nn.LayerNorm(6).double(), torch.nn.Linear(6, 4).double()
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    bias, weight = after_norm(norm, layer)
    h = torch.randn(3, 6).double()
    assert torch.allclose(layer(norm(h)), bias + torch.nn.functional.layer_norm(h, (6,)) @ weight)


def test_a_lone_pixel_has_no_blocks() -> None:
    model = image_gpt(ImageSpec(channels=1, height=1, width=1, levels=4))
    assert len(model.blocks) == 0 and model.embedding is None


def test_waves_tell_every_place() -> None:
    """No two places of an image have the same waves, whatever axes it has."""
    for shape in [(3, 5, 4), (1, 8, 8), (2, 1, 9), (1, 6, 1)]:
        table = waves(ImageSpec(channels=shape[0], height=shape[1], width=shape[2]), 24)
        assert table.shape == (shape[0] * shape[1] * shape[2], 24)
        distance = torch.cdist(table, table).fill_diagonal_(1)
        assert float(distance.min()) > 0.05


def test_dropout_is_for_training_only() -> None:
    model = image_gpt(COLOUR, dataclasses.replace(SMALL, dropout=0.5))
    s = torch.zeros(2, COLOUR.dims, dtype=torch.uint8)
    assert torch.equal(model.logits(s), model.logits(s))
    model.train()
    assert not torch.equal(model.logits(s), model.logits(s))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 10, "heads": 4}, "a multiple of 4 heads"),
        ({"heads": 0}, "at least 1"),
        ({"blocks": 0}, "at least 1"),
        ({"dropout": 1.0}, r"a share in \[0, 1\)"),
        ({"positions": "gird"}, "did you mean 'grid'"),
    ],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        ImageGPTConfig(**fields)


@torch.no_grad()
def test_incremental_sampling_is_ten_times_faster() -> None:
    images = ImageSpec(channels=1, height=20, width=20, levels=2)
    model = ImageGPT(images, ImageGPTConfig(width=16, blocks=2, heads=1)).eval()
    u = torch.rand(8, images.dims)
    generate(model, u)

    def seconds() -> tuple[float, float]:
        start = time.perf_counter()
        generate(model, u)
        middle = time.perf_counter()
        for _ in range(10):  # of 400 passes
            model.logits(torch.zeros(8, images.dims, dtype=torch.uint8))
        return middle - start, (time.perf_counter() - middle) * images.dims / 10

    assert any(naive > 10 * fast for fast, naive in (seconds() for _ in range(5)))
