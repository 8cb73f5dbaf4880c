"""FVSBN: its equation and order, what training makes of its tables, the incremental sampler against the naive one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.autoregressive import Autoregressive, to_sequence
from zoo_autoregressive.configs import FVSBNConfig, MADEConfig
from zoo_autoregressive.fvsbn import FVSBN
from zoo_autoregressive.made.model import MADE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

BINARY = ImageSpec(channels=1, height=5, width=4, levels=2)
DIGITS = ImageSpec(channels=1, height=4, width=4, levels=17)
COLOUR = ImageSpec(channels=3, height=3, width=2, levels=8)
BYTES = ImageSpec(channels=3, height=1, width=2, levels=256)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=4)
ALL = [BINARY, DIGITS, COLOUR, BYTES]
SCALED, ONEHOT = FVSBNConfig(), FVSBNConfig(inputs="onehot")


def fvsbn(images: ImageSpec, config: FVSBNConfig = SCALED, scale: float = 1.0) -> FVSBN:
    """In float64, with random weights."""
    torch.manual_seed(1)
    model = FVSBN(images, config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return model


def draw(images: ImageSpec, n: int, seed: int = 0) -> Tensor:
    """Noise, uint8 `(n, C, H, W)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(images.levels, (n, *images.shape), generator=generator).to(torch.uint8)


@torch.no_grad()
def test_the_conditionals_are_logistic_regressions_on_the_pixels_before() -> None:
    model = fvsbn(ImageSpec(channels=3, height=2, width=2, levels=2))
    weight, bias = model.linear.weight.tolist(), model.linear.bias.tolist()
    x = draw(model.images, 5)
    found = model.log_conditionals(x)
    for image, row in zip(x, found.tolist()):
        v = [int(image[c, i, j]) for i, j, c in itertools.product(range(2), range(2), range(3))]
        for d, log_p in enumerate(row):
            logit = bias[d] + sum(weight[d][e] * v[e] for e in range(d))
            p = 1 / (1 + math.exp(-logit))
            assert math.isclose(log_p, math.log(p if v[d] else 1 - p), rel_tol=1e-9)


def test_green_sees_red_and_blue_sees_both() -> None:
    model = fvsbn(COLOUR)
    x = draw(COLOUR, 50)
    base = model.log_conditionals(x).unflatten(1, (3, 2, 3))  # (N, H, W, C)
    for c in range(3):
        other = x.clone()
        other[:, c, 1, 0] = (other[:, c, 1, 0] + 1) % 8
        changed = (model.log_conditionals(other).unflatten(1, (3, 2, 3)) != base).any(0)  # (H, W, C)
        assert changed[1, 0].tolist() == [k >= c for k in range(3)]
        assert not changed[0].any() and bool(changed[1, 1].all() and changed[2].all())


@pytest.mark.parametrize("images", ALL, ids=str)
@pytest.mark.parametrize("inputs", ["scaled", "onehot"])
@torch.no_grad()
def test_it_is_a_made_without_hidden_layers(images: ImageSpec, inputs: str) -> None:
    model = fvsbn(images, FVSBNConfig(inputs=inputs))
    made = MADE(images, MADEConfig(hidden=(), inputs=inputs)).double().eval()
    assert made.direct is not None
    made.bias.copy_(model.linear.bias)
    made.direct.weight[:, : model.linear.weight.shape[1]] = model.linear.weight
    x = draw(images, 20)
    assert torch.allclose(model.log_conditionals(x), made.log_conditionals(x))
    generators = (torch.Generator().manual_seed(2) for _ in range(2))
    assert torch.equal(*(m.sample(20, generator=g) for m, g in zip((model, made), generators)))


@pytest.mark.parametrize("images", ALL, ids=str)
@pytest.mark.parametrize("config", [SCALED, ONEHOT], ids=lambda config: config.inputs)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_incremental_sampling_is_naive_sampling(
    images: ImageSpec, config: FVSBNConfig, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fvsbn(images, config, scale=0.7)
    u = torch.rand(20, images.dims, dtype=torch.float64)
    s, known = to_sequence(draw(images, 20)), torch.rand(20, images.dims) < 0.3
    fast, completed = model.generate(u, temperature), model.generate(u, temperature, s, known)
    assert len(fast.unique()) > 1 and torch.equal(completed[known], s[known])
    monkeypatch.setattr(FVSBN, "pixel_by_pixel", Autoregressive.pixel_by_pixel)  # D full passes: the definition
    assert torch.equal(fast, model.generate(u, temperature))
    assert torch.equal(completed, model.generate(u, temperature, s, known))


def train(model: FVSBN, x: Tensor, steps: int, lr: float) -> None:
    """Full batches, with a rate that falls to 0."""
    step = LocalStep(model, lr=lr, steps=steps)
    for i in range(steps):
        for group in step.optimizers["model"].param_groups:
            group["lr"] = lr * (1 - i / steps)
        step.run(Batch(x))


def test_after_training_the_first_table_is_the_frequency_in_the_data() -> None:
    images = ImageSpec(channels=1, height=1, width=3, levels=9)
    x = draw(images, 81)
    x[:, 0, 0, 0] = torch.arange(81).sqrt().to(torch.uint8)  # levels 0 .. 8, unequally often
    model = FVSBN(images, SCALED)
    train(model, x, steps=300, lr=0.1)
    frequency = torch.bincount(x[:, 0, 0, 0].long(), minlength=9) / 81
    assert torch.allclose(model.logits(to_sequence(x[:1]))[0, 0].softmax(0), frequency, atol=2e-3)


def test_one_hot_inputs_of_two_pixels_learn_any_joint_distribution() -> None:
    joint = torch.tensor([[9, 1, 4, 2], [1, 7, 1, 3], [5, 1, 1, 8], [2, 6, 3, 1]])
    cells = torch.cartesian_prod(torch.arange(4), torch.arange(4)).to(torch.uint8).view(-1, 1, 1, 2)
    model = FVSBN(PAIR, ONEHOT)
    train(model, cells.repeat_interleave(joint.flatten(), 0), steps=300, lr=0.2)
    assert torch.allclose(model.log_prob(cells).exp(), joint.flatten() / joint.sum(), atol=1e-3)


@torch.no_grad()
def test_the_loss_is_convex() -> None:
    model, one, two = (fvsbn(COLOUR) for _ in range(3))
    for parameter in two.parameters():
        parameter.neg_().add_(0.3)
    batch = Batch(draw(COLOUR, 30))
    for middle, a, b in zip(model.parameters(), one.parameters(), two.parameters()):
        middle.copy_((a + b) / 2)
    assert model.loss(batch) < (one.loss(batch) + two.loss(batch)) / 2


def test_weights_from_later_pixels_stay_zero() -> None:
    model = FVSBN(COLOUR, FVSBNConfig(weight_decay=0.1))
    train(model, draw(COLOUR, 50), steps=5, lr=1e-2)
    used = model.linear.masks[0].bool()
    assert not model.linear.weight[~used].any() and bool(model.linear.weight[used].any())


@pytest.mark.parametrize("levels", [2, 5])
def test_a_lone_pixel_is_a_table(levels: int) -> None:
    images = ImageSpec(channels=1, height=1, width=1, levels=levels)
    model = FVSBN(images, SCALED)
    train(model, torch.tensor([0, 0, 0, 1], dtype=torch.uint8).view(-1, 1, 1, 1), steps=300, lr=0.1)
    p = model.log_prob(torch.arange(levels, dtype=torch.uint8).view(-1, 1, 1, 1)).exp().detach()
    assert torch.allclose(p.sum(), torch.ones(())) and abs(float(p[0]) - 0.75) < 0.01
    assert sum(p.numel() for p in model.parameters()) == model.outputs
    assert model.sample(3).shape == (3, 1, 1, 1)


def test_complete_keeps_known_pixels_and_fills_the_rest() -> None:
    model = fvsbn(COLOUR)
    x = draw(COLOUR, 500)
    mask = torch.rand(x.shape) < 0.5
    y = model.complete(x, mask, generator=torch.Generator().manual_seed(0))
    assert y.dtype == torch.uint8 and torch.equal(y[mask], x[mask])
    assert int(y.max()) < 8 and not torch.equal(y, x)
    assert torch.equal(model.complete(x, torch.ones_like(mask)), x)


@torch.no_grad()
def test_completions_of_a_known_first_pixel_follow_its_row() -> None:
    """chi-square of 20,000 completions with 3 degrees of freedom, below its 1e-6 quantile."""
    model, n = fvsbn(PAIR), 20_000
    x = torch.tensor([[2, level] for level in range(4)], dtype=torch.uint8).view(4, 1, 1, 2)
    p = model.log_prob(x).softmax(0)
    mask = torch.tensor([True, False]).view(1, 1, 2).expand(n, 1, 1, 2)
    y = model.complete(x[:1].repeat(n, 1, 1, 1), mask, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(y[:, 0, 0, 1].long(), minlength=4)
    assert bool((y[..., 0] == 2).all()) and float(((counts - n * p) ** 2 / (n * p)).sum()) < 30.7


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_that_mean_nothing_are_refused(temperature: float) -> None:
    model = fvsbn(BINARY)
    x = draw(BINARY, 1)
    with pytest.raises(ZooError, match="temperature"):
        model.sample(1, temperature=temperature)
    with pytest.raises(ZooError, match="temperature"):
        model.complete(x, x.bool(), temperature=temperature)


def test_bad_input_is_refused() -> None:
    model = fvsbn(BINARY)
    x = draw(BINARY, 2)
    with pytest.raises(ZooError, match=r"bool.*got torch.uint8"):
        model.complete(x, x)
    with pytest.raises(ZooError, match=r"bool.*got torch.bool \(1, 5, 4\)"):
        model.complete(x, x[0].bool())
    with pytest.raises(ZooError, match=r"pixels 0\.\.1"):
        model.log_conditionals(x + 2)
    with pytest.raises(ZooError, match="labels"):
        model.log_prob(x, labels=torch.zeros(2, dtype=torch.int64))
    for large in (FVSBN, FVSBNConfig()), (MADE, MADEConfig()):
        with pytest.raises(ZooError, match="fewer levels"):
            large[0](ImageSpec(channels=3, height=32, width=32, levels=256), large[1])
    with pytest.raises(ZooError, match="weight_decay: expected 0 or more"):
        FVSBNConfig(weight_decay=-0.1)
    with pytest.raises(ZooError, match="did you mean 'onehot'"):
        FVSBNConfig(inputs="onehott")  # type: ignore[arg-type]
