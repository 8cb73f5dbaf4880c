"""The masks: degrees, equations 8-9 and 12-13, and the property they are made for, seen through autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from zoo_autoregressive.autoregressive import to_images, to_sequence
from zoo_autoregressive.configs import MADEConfig
from zoo_autoregressive.made.model import MADE, hidden_degrees

from zoo_core import ImageSpec, ZooError

SIZES = [(1, 1, 2, 16), (1, 3, 3, 2), (1, 2, 3, 17), (3, 2, 2, 4), (3, 2, 1, 256)]
CONFIGS = [
    MADEConfig(hidden=(40,), direct=False),
    MADEConfig(hidden=(30, 40), direct=False, activation="tanh"),
    MADEConfig(hidden=(24, 24, 24), direct=False, activation="elu"),
    MADEConfig(hidden=(3,)),  # fewer units than degrees: the direct connections see what the units miss
    MADEConfig(hidden=(5, 3), degrees="drawn", seed=3, activation="sigmoid"),
    MADEConfig(hidden=(200, 200), direct=False, degrees="drawn", seed=1),
    MADEConfig(hidden=()),
    MADEConfig(hidden=(8,), inputs="onehot"),
    MADEConfig(hidden=(), inputs="onehot"),
]


def images_of(size: tuple[int, int, int, int]) -> ImageSpec:
    channels, height, width, levels = size
    return ImageSpec(channels=channels, height=height, width=width, levels=levels)


def made(size: tuple[int, int, int, int], config: MADEConfig) -> MADE:
    """In float64, with weights large enough to make every dependence visible."""
    torch.manual_seed(0)
    model = MADE(images_of(size), config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0) if parameter.dim() > 1 else torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_an_output_depends_on_all_earlier_inputs_and_on_no_other(
    size: tuple[int, int, int, int], config: MADEConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(size, config)
    dims = model.images.dims
    s = torch.randint(model.images.levels, (1, dims))
    x = model.to_inputs(s).requires_grad_()  # (1, D, E)
    monkeypatch.setattr(model, "to_inputs", lambda _: x)
    logits = model.logits(s)[0]  # (D, P)
    depends = torch.stack([torch.autograd.grad(row.sum(), x, retain_graph=True)[0].abs().sum((0, 2)) for row in logits])
    assert torch.equal(depends > 0, torch.ones(dims, dims).tril(-1).bool())


def test_the_masks_are_those_of_the_equations() -> None:
    model = made((1, 2, 3, 2), MADEConfig(hidden=(7, 9), direct=True, degrees="drawn", seed=5))
    inputs, outputs = range(1, 7), range(1, 7)
    first, second = (degrees.tolist() for degrees in model.numberings[0].degrees)
    w1 = [[float(m >= d) for d in inputs] for m in first]  # eq. 8
    w2 = [[float(upper >= lower) for lower in first] for upper in second]  # eq. 12
    v = [[float(d > m) for m in second] for d in outputs]  # eqs. 9 and 13
    a = [[float(d > lower) for lower in inputs] for d in outputs]  # strictly lower triangular
    for layer, mask in zip((*model.hidden, *model.readouts()), (w1, w2, v, a), strict=True):
        assert layer.masks[0].tolist() == mask


@pytest.mark.parametrize("width", [1, 4, 63, 64, 500])
@pytest.mark.parametrize("degrees", ["even", "drawn"])
def test_degrees_are_sorted_within_bounds_and_never_below_the_layer_before(width: int, degrees: str) -> None:
    dims = 64
    layers = hidden_degrees(dims, MADEConfig(hidden=(width, 2 * width), degrees=degrees, seed=2))[0]
    lowest = 1
    for layer in layers:
        assert torch.equal(layer, layer.sort().values)
        assert lowest <= int(layer[0]) and int(layer[-1]) <= dims - 1
        lowest = int(layer[0])
    if degrees == "even" and width >= dims - 1:
        counts = torch.bincount(layers[0], minlength=dims)[1:]
        assert int(counts.min()) >= 1 and int(counts.max() - counts.min()) <= 1


def test_drawn_degrees_follow_the_seed() -> None:
    def draw(seed: int) -> list[int]:
        return hidden_degrees(784, MADEConfig(hidden=(50,), degrees="drawn", seed=seed))[0][0].tolist()

    assert draw(1) == draw(1) != draw(2)


def test_the_order_is_raster_with_channels_innermost() -> None:
    images = ImageSpec(channels=3, height=2, width=2, levels=256)
    x = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    sequence = to_sequence(x)
    expected = [int(x[0, c, i, j]) for i, j, c in itertools.product(range(2), range(2), range(3))]
    assert sequence[0].tolist() == expected
    assert torch.equal(to_images(sequence, images), x)


@pytest.mark.parametrize("levels", [2, 5])
def test_a_lone_pixel_is_a_table(levels: int) -> None:
    model = made((1, 1, 1, levels), MADEConfig())
    x = torch.arange(levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    assert torch.allclose(model.log_prob(x).exp().sum(), torch.ones((), dtype=torch.float64))
    assert sum(p.numel() for p in model.parameters()) == model.outputs
    assert model.sample(3).shape == (3, 1, 1, 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden": (), "direct": False}, "direct=True"),
        ({"hidden": (10, 0)}, "at least 1 unit"),
        ({"dropout": 1.0}, "dropout"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
    ],
)
def test_configs_that_make_no_model_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        MADEConfig(**fields)
