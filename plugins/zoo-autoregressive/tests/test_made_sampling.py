"""The incremental sampler against the naive one, completions against the exact conditional, and bad input."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.autoregressive import to_sequence
from zoo_autoregressive.configs import MADEConfig
from zoo_autoregressive.made.model import MADE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.pixels import Bernoulli, Categorical

BINARY = ImageSpec(channels=1, height=5, width=4, levels=2)
DIGITS = ImageSpec(channels=1, height=4, width=4, levels=17)
COLOUR = ImageSpec(channels=3, height=3, width=2, levels=8)
BYTES = ImageSpec(channels=3, height=1, width=2, levels=256)


def sample_naive(model: MADE, u: Tensor, temperature: float = 1.0) -> Tensor:
    """One full pass for each pixel: what `generate` must equal. u: `(N, D)`. Returns uint8 `(N, D)`."""
    s = torch.zeros(u.shape, dtype=torch.uint8)
    for d in range(u.shape[1]):
        logits = model.logits(s)[:, d] / temperature  # (N, P)
        pixel = Bernoulli(logits.squeeze(-1)) if model.images.levels == 2 else Categorical(logits)
        s[:, d] = pixel.icdf(u[:, d])
    return s


def made(images: ImageSpec, config: MADEConfig, scale: float = 1.0) -> MADE:
    torch.manual_seed(1)
    model = MADE(images, config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return model


@pytest.mark.parametrize("images", [BINARY, DIGITS, COLOUR, BYTES], ids=str)
@pytest.mark.parametrize(
    "config",
    [
        MADEConfig(hidden=(50,)),
        MADEConfig(hidden=(50,), direct=False),
        MADEConfig(hidden=(40, 30), inputs="onehot"),
        MADEConfig(hidden=(7, 30, 20), direct=False, degrees="drawn", activation="tanh"),
        MADEConfig(hidden=()),
        MADEConfig(hidden=(4,), inputs="onehot", activation="sigmoid"),
        MADEConfig(hidden=(20, 30), degrees="drawn", masks=3),
        MADEConfig(hidden=(30,), direct=False, inputs="onehot", degrees="drawn", masks=2),
    ],
    ids=lambda config: f"{config.hidden}-{config.direct}-{config.inputs}-{config.masks}",
)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_incremental_sampling_is_naive_sampling(images: ImageSpec, config: MADEConfig, temperature: float) -> None:
    model = made(images, config, scale=0.7)
    u = torch.rand(20, images.dims, dtype=torch.float64)
    fast = model.generate(u, temperature)
    assert torch.equal(fast, sample_naive(model, u, temperature))
    assert len(fast.unique()) > 1


@pytest.mark.parametrize("images", [DIGITS, COLOUR], ids=str)
def test_conditionals_add_up_to_the_likelihood(images: ImageSpec) -> None:
    model = made(images, MADEConfig(hidden=(30, 30)))
    x = torch.randint(images.levels, (20, *images.shape), dtype=torch.uint8)
    conditionals = model.log_conditionals(x)
    assert conditionals.shape == (20, images.dims)
    assert torch.allclose(conditionals.sum(1), model.log_prob(x))
    d = images.dims - 1  # the last conditional, summed over the last subpixel's levels, is 1
    every = x[:1].repeat(images.levels, 1, 1, 1)
    every[:, -1, -1, -1] = torch.arange(images.levels)
    assert torch.allclose(model.log_conditionals(every)[:, d].exp().sum(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(
    "images",
    [ImageSpec(channels=1, height=2, width=2, levels=4), ImageSpec(channels=3, height=1, width=2, levels=3)],
    ids=str,
)
@pytest.mark.parametrize("masks", [1, 3])
@torch.no_grad()
def test_completions_of_a_prefix_follow_the_exact_conditional(images: ImageSpec, masks: int) -> None:
    """Known: the first pixels in raster order, all their channels. chi-square of 20,000 completions, |z| < 5."""
    model, n = made(images, MADEConfig(hidden=(20, 20), degrees="drawn", masks=masks), scale=0.5), 20_000
    channels, height, width = images.shape
    mask = torch.zeros(images.shape, dtype=torch.bool)
    mask.view(channels, -1)[:, : height * width // 2] = True
    x = torch.randint(images.levels, images.shape, generator=torch.Generator().manual_seed(3)).to(torch.uint8)

    free = int((~mask).sum())
    cells = torch.tensor(list(itertools.product(range(images.levels), repeat=free)), dtype=torch.uint8)
    every = x.repeat(len(cells), 1, 1, 1)
    every[:, ~mask] = cells
    p = model.log_prob(every).softmax(0)  # P(unknown | known)

    generator = torch.Generator().manual_seed(0)
    y = model.complete(x.repeat(n, 1, 1, 1), mask.expand(n, *images.shape), generator=generator)
    assert torch.equal(y[:, mask], x[mask].expand(n, -1))
    power = images.levels ** torch.arange(free - 1, -1, -1)
    counts = torch.bincount((y[:, ~mask].long() * power).sum(1), minlength=len(cells))
    common = n * p > 5
    expected = torch.cat([n * p[common], n * p[~common].sum(0, keepdim=True)]).clamp_min(1e-9)
    found = torch.cat([counts[common], counts[~common].sum(0, keepdim=True)])
    freedom = len(expected) - 1
    chi2 = float(((found - expected) ** 2 / expected).sum())
    assert freedom > 5 and (chi2 - freedom) / (2 * freedom) ** 0.5 < 5


def test_complete_keeps_any_known_pixels_and_fills_the_rest() -> None:
    model = made(COLOUR, MADEConfig(hidden=(30,)))
    x = torch.randint(8, (500, *COLOUR.shape), dtype=torch.uint8)
    mask = torch.rand(x.shape) < 0.5
    y = model.complete(x, mask, generator=torch.Generator().manual_seed(0))
    assert y.dtype == torch.uint8 and torch.equal(y[mask], x[mask])
    assert int(y.max()) < 8 and not torch.equal(y, x)
    assert torch.equal(y, model.complete(x, mask, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(model.complete(x, torch.ones_like(mask)), x)


def test_without_known_pixels_complete_samples() -> None:
    model = made(DIGITS, MADEConfig(hidden=(30,)))
    x = torch.zeros(9, *DIGITS.shape, dtype=torch.uint8)
    y = model.complete(x, torch.zeros_like(x, dtype=torch.bool), generator=torch.Generator().manual_seed(4))
    assert torch.equal(y, model.sample(9, generator=torch.Generator().manual_seed(4)))


def test_a_low_temperature_takes_the_likeliest_level() -> None:
    model = made(DIGITS, MADEConfig(hidden=(30,)))
    x = model.sample(5, temperature=1e-4)
    assert torch.equal(to_sequence(x).long(), model.logits(to_sequence(x)).argmax(-1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_that_mean_nothing_are_refused(temperature: float) -> None:
    model = made(BINARY, MADEConfig(hidden=(4,)))
    x = torch.zeros(1, *BINARY.shape, dtype=torch.uint8)
    with pytest.raises(ZooError, match="temperature"):
        model.sample(1, temperature=temperature)
    with pytest.raises(ZooError, match="temperature"):
        model.complete(x, x.bool(), temperature=temperature)


def test_bad_input_is_refused() -> None:
    model = made(BINARY, MADEConfig(hidden=(4,)))
    x = torch.zeros(2, *BINARY.shape, dtype=torch.uint8)
    with pytest.raises(ZooError, match=r"bool.*got torch.uint8"):
        model.complete(x, x)
    with pytest.raises(ZooError, match=r"bool.*got torch.bool \(1, 5, 4\)"):
        model.complete(x, x[0].bool())
    with pytest.raises(ZooError, match="got list"):
        model.complete(x, [True])  # type: ignore[arg-type]
    with pytest.raises(ZooError, match=r"pixels 0\.\.1"):
        model.log_prob(x + 2)
    with pytest.raises(ZooError, match="float32"):
        model.log_prob(x.float())
    with pytest.raises(ZooError, match="labels"):
        model.log_prob(x, labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ZooError, match="labels"):
        model.sample(2, labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ZooError, match="at least 1"):
        model.sample(0)


def test_weight_decay_is_for_weights_only() -> None:
    model = MADE(BINARY, MADEConfig(hidden=(8, 8), weight_decay=0.1))
    groups = model.optimizers(1e-3)["model"].param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {decay[id(p)] for p in model.parameters() if p.dim() > 1} == {0.1}
    assert {decay[id(p)] for p in model.parameters() if p.dim() == 1} == {0.0}


def test_training_learns_a_rule_that_only_parents_can_tell() -> None:
    """Two equal halves: the second costs 0 bits once the first is known, so the whole costs D/2 bits."""
    torch.manual_seed(0)
    model = MADE(ImageSpec(channels=1, height=2, width=4, levels=2), MADEConfig(hidden=(32,)))
    step = LocalStep(model, lr=1e-2, steps=200)
    top = torch.randint(2, (200, 64, 1, 1, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for half in top:
        step.run(Batch(half.repeat(1, 1, 2, 1)))
    bits = -model.log_prob(top[0].repeat(1, 1, 2, 1)).mean().item() / math.log(2)
    assert 3.9 < bits < 4.1
