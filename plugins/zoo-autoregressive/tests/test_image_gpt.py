"""ImageGPT: who attends to whom, what the start token and positions tell, the caches, and what it costs to sample."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo_autoregressive.configs import ImageGPTConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.image_gpt.model import ImageGPT, waves
from zoo_autoregressive.image_gpt.network import Block
from zoo_autoregressive.image_gpt.sampling import CachedBlock, after_norm

from zoo_core import ImageSpec, ZooError

GREY = ImageSpec(channels=1, height=3, width=4, levels=4)
COLOUR = ImageSpec(channels=3, height=2, width=3, levels=5)
TINY = ImageGPTConfig(width=12, blocks=1, heads=2)
Module = TypeVar("Module", bound=nn.Module)


def noisy(module: Module) -> Module:
    """In float64, all parameters random: none of them may be left out or be 1 or 0 by luck."""
    torch.manual_seed(1)
    for parameter in module.double().eval().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def sequences(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, images.dims), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("inputs", ["onehot", "scaled"])
@pytest.mark.parametrize("images", [GREY, COLOUR], ids=str)
def test_one_block_sees_all_earlier_pixels_and_no_other(images: ImageSpec, inputs: str) -> None:
    model = noisy(ImageGPT(images, dataclasses.replace(TINY, inputs=inputs)))
    for d in range(images.dims):
        assert depends_on(model, d).tolist() == [e < d for e in range(images.dims)]


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_the_softmax_over_tokens_up_to_the_own(heads: int) -> None:
    """attention(n)_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(e)) v_s for each head, written out."""
    block = noisy(Block(ImageGPTConfig(width=12, heads=heads)))
    n = torch.randn(2, 7, 12, dtype=torch.float64)
    size = 12 // heads
    q, k, v = block.qkv(n).split(12, -1)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for t in range(7):
            scores = (k[:, : t + 1, own] * q[:, t : t + 1, own]).sum(-1) / size**0.5  # (2, t + 1)
            mean = (scores.softmax(1).unsqueeze(-1) * v[:, : t + 1, own]).sum(1)
            assert torch.allclose(block.attention(n)[:, t, own], mean)


@torch.no_grad()
def test_a_block_is_the_papers_equations() -> None:
    """n = layer_norm(h), a = h + attention(n), h' = a + mlp(layer_norm(a))."""
    block = noisy(Block(TINY))
    h = torch.randn(2, 5, 12, dtype=torch.float64)
    n = F.layer_norm(h, (12,)) * block.attention_norm.weight + block.attention_norm.bias
    a = h + block.mix(block.attention(n))
    n = F.layer_norm(a, (12,)) * block.mlp_norm.weight + block.mlp_norm.bias
    assert torch.allclose(block(h), a + block.down(F.gelu(block.up(n), approximate="tanh")))


@torch.no_grad()
def test_scale_and_shift_of_a_norm_fold_into_the_layer_after_it() -> None:
    norm, layer = noisy(nn.LayerNorm(6)), noisy(nn.Linear(6, 9))
    h = torch.randn(5, 6, dtype=torch.float64)
    bias, weight = after_norm(norm, layer)
    assert torch.allclose(layer(norm(h)), bias + F.layer_norm(h, (6,)) @ weight, rtol=0, atol=1e-13)


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_tokens_one_by_one_through_the_cache_are_the_whole_sequence(heads: int) -> None:
    block = noisy(Block(ImageGPTConfig(width=12, heads=heads)))
    weights = [parameter.clone() for parameter in block.parameters()]
    h = torch.randn(3, 8, 12, dtype=torch.float64)
    cached, out = CachedBlock(block, 3, 8), []
    for d in range(8):
        token = h[:, d].clone()
        cached.advance(token, d)
        out.append(token)
    assert torch.allclose(torch.stack(out, 1), block(h), rtol=0, atol=1e-12)
    _, k, v = block.qkv(block.attention_norm(h)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    assert torch.allclose(cached.keys, k.flatten(0, 1).transpose(1, 2), rtol=0, atol=1e-13)  # (n*heads, e, D)
    assert torch.allclose(cached.values, v.flatten(0, 1), rtol=0, atol=1e-13)
    assert all(map(torch.equal, weights, block.parameters()))  # the scale is in a copy of the weights


def test_a_cache_has_the_size_the_page_says() -> None:
    """2 n D width numbers a block: 24.5 MB for 16 images of 784 pixels at width 64 and four blocks, in float32."""
    block = CachedBlock(Block(ImageGPTConfig(width=64, heads=2)), 16, 784)
    assert 4 * 4 * (block.keys.numel() + block.values.numel()) == 24.5 * 2**20


@torch.no_grad()
def test_a_lone_pixel_is_told_by_the_start_token() -> None:
    model = noisy(ImageGPT(ImageSpec(channels=1, height=1, width=1, levels=5), TINY))
    assert model.embedding is None and len(model.blocks) == 0
    assert torch.allclose(model.logits(torch.zeros(2, 1, dtype=torch.uint8))[1, 0], model.head(model.norm(model.start)))


@torch.no_grad()
def test_the_start_token_sees_nothing_and_is_seen_by_all() -> None:
    model = noisy(ImageGPT(GREY, TINY))
    logits = model.logits(sequences(GREY, 6))
    assert torch.allclose(logits[:, 0], logits[:1, 0])
    model.start += torch.arange(12.0)
    assert ((model.logits(sequences(GREY, 6)) - logits).abs().amax(-1) > 1e-9).all()


@torch.no_grad()
def test_only_positions_tell_the_order_of_earlier_pixels() -> None:
    """One block takes the tokens before its own for a set; with positions it does not."""
    model = noisy(ImageGPT(GREY, TINY))
    assert model.positions.shape == (GREY.dims - 1, 12)  # the start token has none, the last pixel is no token
    s = torch.arange(GREY.dims).remainder(4).to(torch.uint8)[None]
    swapped = s.clone()
    swapped[0, :9] = s[0, :9].flip(0)
    assert not torch.allclose(model.logits(s)[:, -1], model.logits(swapped)[:, -1])
    model.positions.zero_()
    assert torch.allclose(model.logits(s)[:, -1], model.logits(swapped)[:, -1])


@pytest.mark.parametrize("images", [GREY, COLOUR, ImageSpec(channels=2, height=1, width=9)], ids=str)
def test_waves_tell_a_shift_wherever_it_is(images: ImageSpec) -> None:
    """The product of two positions depends on their difference alone, and no two positions are the same."""
    at = waves(images, 24).double()
    assert at.shape == (images.dims, 24)
    places = torch.cartesian_prod(*(torch.arange(size) for size in (images.height, images.width, images.channels)))
    products, shifts = (at @ at.T).flatten(), (places[:, None] - places).flatten(0, 1)
    for shift in shifts.unique(dim=0):
        same = products[(shifts == shift).all(1)]
        assert torch.allclose(same, same[:1], atol=1e-5)
    distance = torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distance.fill_diagonal_(9).min()) > 0.1


@torch.no_grad()
def test_levels_are_a_table_or_a_line() -> None:
    levels = torch.arange(4)
    table = noisy(ImageGPT(GREY, TINY))
    assert torch.equal(table.embed(levels), table.embedding) and table.embed(levels).shape == (4, 12)
    line = noisy(ImageGPT(GREY, dataclasses.replace(TINY, inputs="scaled")))
    assert torch.allclose(line.embed(levels), torch.linspace(0, 1, 4, dtype=torch.float64)[:, None] * line.embedding)


@torch.no_grad()
def test_a_fresh_network_takes_all_images_for_equally_likely() -> None:
    model = ImageGPT(GREY, ImageGPTConfig())
    x = sequences(GREY, 3).view(3, *GREY.shape)
    assert torch.allclose(model.log_conditionals(x), -torch.tensor(4.0).log())


@torch.no_grad()
def test_depth_leaves_the_variance_of_a_fresh_stream_alone() -> None:
    torch.manual_seed(0)
    h = torch.randn(4, 50, 64)
    for depth in (1, 4, 16):
        out = h
        for block in [Block(ImageGPTConfig(width=64, blocks=depth)) for _ in range(depth)]:
            out = block(out)
        assert 1.05 < float(out.var()) < 3


def test_dropout_is_for_training_and_decay_for_weights() -> None:
    model = noisy(ImageGPT(GREY, dataclasses.replace(TINY, dropout=0.5, weight_decay=0.1)))
    s = sequences(GREY, 4)
    assert torch.equal(model.logits(s), model.logits(s))
    model.train()
    assert not torch.allclose(model.logits(s), model.logits(s))
    groups = model.optimizers(1e-3)["model"].param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert all(decay[id(p)] == (0.1 if p.dim() > 1 else 0.0) for p in model.parameters())


def test_its_weights_belong_to_a_size() -> None:
    with pytest.raises(ZooError, match="train a model for the other one"):
        ImageGPT(GREY, TINY).log_prob(torch.zeros(1, 1, 3, 5, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"heads": 3}, "multiple of 3 heads"),
        ({"heads": 0}, "at least 1"),
        ({"width": 1, "heads": 1}, "2 or more"),
        ({"blocks": 0}, "at least 1"),
        ({"dropout": 1.0}, "a share"),
        ({"weight_decay": -1.0}, "0 or more"),
        ({"positions": "gird"}, "did you mean 'grid'"),
        ({"inputs": "one-hot"}, "did you mean 'onehot'"),
    ],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        ImageGPTConfig(**fields)
