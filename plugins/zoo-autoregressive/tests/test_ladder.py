"""What holds for every model of the family: one mechanism of sampling, completion, sizes, order, bad input."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from torch import Tensor
from zoo_autoregressive.autoregressive import Autoregressive, to_sequence
from zoo_autoregressive.configs import SPECS

from zoo_core import ImageSpec, ModelSpec, ZooError

BINARY = ImageSpec(channels=1, height=5, width=4, levels=2, classes=3)
DIGITS = ImageSpec(channels=1, height=3, width=4, levels=17, classes=3)
COLOUR = ImageSpec(channels=3, height=3, width=2, levels=8, classes=3)
BYTES = ImageSpec(channels=3, height=1, width=2, levels=256, classes=3)
TALL = ImageSpec(channels=2, height=4, width=1, levels=3, classes=3)
SIZES = [BINARY, DIGITS, COLOUR, BYTES, TALL]
SPECS_IN_ORDER = [spec for spec in SPECS if issubclass(spec.load_class(), Autoregressive)]
SIZED: dict[str, dict[str, object]] = {  # configs at which a pass costs what it does in use
    "fvsbn": {},
    "nade": {"hidden": 100},
    "made": {"hidden": (500,)},
    "pixelrnn_row": {"layers": 1},
    "pixelrnn_diag": {"layers": 1},
    "pixelcnn": {"blocks": 6},
    "gated_pixelcnn": {},
    "pixelcnnpp": {"width": 16, "stages": 3, "blocks": 1, "components": 3},
    "pixelsnail": {"width": 16},
    "image_gpt": {"width": 32, "blocks": 4},
}
every_model = pytest.mark.parametrize("spec", SPECS_IN_ORDER, ids=lambda spec: spec.name)


def build(spec: ModelSpec, images: ImageSpec) -> Autoregressive:
    """The tiny config in float64, with noise on its weights."""
    torch.manual_seed(1)
    model: Autoregressive = spec.load_class()(images, spec.tiny).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return model


def labels(model: Autoregressive, n: int) -> Tensor | None:
    return torch.arange(n) % 3 if model.conditioning == "class" else None


def draw(images: ImageSpec, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(images.levels, (n, *images.shape), generator=generator).to(torch.uint8)


@every_model
@pytest.mark.parametrize("images", SIZES, ids=str)
@torch.no_grad()
def test_incremental_sampling_is_naive_sampling(
    spec: ModelSpec, images: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same noise through the caches and through D full passes: samples, tempered ones, completions."""
    model, n = build(spec, images), 12
    u, given = torch.rand(n, images.dims, dtype=torch.float64), labels(model, n)
    s, known = to_sequence(draw(images, n)), torch.rand(n, images.dims) < 0.3
    ways = [(u, 1.0, None, None, given), (u, 0.6, None, None, given), (u, 1.0, s, known, given)]
    fast = [model.generate(*way) for way in ways]
    assert torch.equal(fast[2][known], s[known])
    assert len(fast[0].unique()) > 1 and not torch.equal(fast[0], fast[1])
    monkeypatch.setattr(type(model), "pixel_by_pixel", Autoregressive.pixel_by_pixel)  # D full passes: the definition
    assert all(map(torch.equal, fast, (model.generate(*way) for way in ways)))


@every_model
@torch.no_grad()
def test_one_pixel_is_a_table(spec: ModelSpec) -> None:
    images = ImageSpec(channels=1, height=1, width=1, levels=5, classes=3)
    model = build(spec, images)
    x = torch.arange(5, dtype=torch.uint8).view(-1, 1, 1, 1)
    given = None if labels(model, 5) is None else torch.ones(5, dtype=torch.int64)
    p = model.log_prob(x, labels=given).exp()
    assert torch.allclose(p.sum(), torch.ones((), dtype=torch.float64))
    assert model.sample(3).shape == (3, 1, 1, 1)


@every_model
@torch.no_grad()
def test_another_size_works_or_says_why_not(spec: ModelSpec) -> None:
    model = build(spec, BINARY)
    x = draw(dataclasses.replace(BINARY, height=7, width=3), 4)
    if not hasattr(model, "resized"):
        with pytest.raises(ZooError, match=r"expected images of 5 x 4 pixels, got 7 x 3; .*train a model"):
            model.log_prob(x, labels=labels(model, 4))
        return
    with pytest.raises(ZooError, match=r"resized\(7, 3\)"):
        model.log_prob(x, labels=labels(model, 4))
    other = model.resized(7, 3)
    assert other.log_prob(x, labels=labels(model, 4)).shape == (4,)
    assert other.sample(2).shape == (2, 1, 7, 3)
    assert all(a is b for a, b in zip(other.parameters(), model.parameters()))
    assert all(a is b for a, b in zip(other.buffers(), model.buffers()))
    assert model.images == BINARY and model.sample(2).shape == (2, 1, 5, 4)
    other.train()
    assert not any(module.training for module in model.modules())


@every_model
def test_bad_masks_and_temperatures_are_refused(spec: ModelSpec) -> None:
    model = build(spec, BINARY)
    x = draw(BINARY, 2)
    given = {} if labels(model, 2) is None else {"labels": labels(model, 2)}
    for mask, words in [
        (x, r"bool.*got torch.uint8"),
        (x[:1].bool(), r"got torch.bool \(1, 1, 5, 4\)"),
        (1, "got int"),
    ]:
        with pytest.raises(ZooError, match=words):
            model.complete(x, mask, **given)
    for images in (None, x[:0], x[0]):
        with pytest.raises(ZooError, match="expected images"):
            model.complete(images, x.bool(), **given)
    for temperature in (0.0, -1.0, float("nan"), float("inf"), None, "1"):
        with pytest.raises(ZooError, match="temperature"):
            model.sample(2, temperature=temperature)
        with pytest.raises(ZooError, match="temperature"):
            model.complete(x, x.bool(), temperature=temperature, **given)
    if model.conditioning == "none":
        with pytest.raises(ZooError, match="labels"):
            model.sample(2, labels=torch.zeros(2, dtype=torch.int64))


@every_model
@torch.no_grad()
def test_a_tiny_temperature_draws_the_likeliest_levels(spec: ModelSpec) -> None:
    """Whatever the noise; and a temperature whose quotient would overflow is as good as any."""
    model = build(spec, DIGITS).float()
    given, u = labels(model, 6), torch.rand(2, 6, DIGITS.dims)
    drawn = [model.generate(noise, t, None, None, given) for noise in u for t in (1e-6, 1e-30, 1e-40)]
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])


@every_model
@torch.no_grad()
def test_autocast_does_not_touch_sampling(spec: ModelSpec) -> None:
    model = build(spec, DIGITS).float()
    way = torch.rand(4, DIGITS.dims), 1.0, None, None, labels(model, 4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.generate(*way)
    assert torch.equal(mixed, model.generate(*way))


@every_model
@torch.no_grad()
def test_incremental_sampling_is_ten_times_faster(spec: ModelSpec) -> None:
    """Than a full pass for each of 784 pixels; a new model of the family has to say at which size."""
    images = ImageSpec(channels=1, height=28, width=28, levels=16 if spec.name == "pixelcnnpp" else 2)
    model = spec.load_class()(images, dataclasses.replace(spec.config, **SIZED[spec.name])).eval()
    u, s, passes = torch.rand(8, images.dims), torch.zeros(8, images.dims, dtype=torch.uint8), 20
    model.generate(u)

    def seconds() -> tuple[float, float]:
        start = time.perf_counter()
        model.generate(u)
        middle = time.perf_counter()
        for _ in range(passes):
            model.logits(s)
        return middle - start, (time.perf_counter() - middle) * images.dims / passes

    assert any(naive > 10 * fast for fast, naive in (seconds() for _ in range(5)))
