"""Several masks and several orders: mixtures with exact likelihoods, trained one part after the other."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from zoo_autoregressive.ancestral import draw
from zoo_autoregressive.autoregressive import to_images, to_sequence
from zoo_autoregressive.configs import MADEConfig, MADEOrdersConfig
from zoo_autoregressive.made.model import MADE
from zoo_autoregressive.made.network import MaskedAutoencoder
from zoo_autoregressive.made.orders import MADEOrders
from zoo_autoregressive.made.sampling import pixel_by_pixel

import zoo_core
from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.model import HasComplete, HasLogConditionals
from zoo_core.pixels import Bernoulli, Categorical
from zoo_core.testing import conformance

BINARY = ImageSpec(channels=1, height=3, width=4, levels=2)
COLOUR = ImageSpec(channels=3, height=2, width=2, levels=5)
MASKS = MADEConfig(hidden=(15, 20), degrees="drawn", masks=3)
ORDERS = MADEOrdersConfig(hidden=(15, 20), orders=4)
both = pytest.mark.parametrize("images", [BINARY, COLOUR], ids=str)

SEVERAL = MADEConfig(hidden=(32, 32), degrees="drawn", masks=2)
test_laws_of_several_masks = conformance([dataclasses.replace(zoo_core.spec("made"), tiny=SEVERAL)])


def random(model: MaskedAutoencoder, scale: float = 0.7) -> None:
    """In float64, with random weights."""
    model.double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=scale, generator=generator)


def masks_of(images: ImageSpec, config: MADEConfig = MASKS) -> MADE:
    model = MADE(images, config)
    random(model)
    return model


def orders_of(images: ImageSpec, config: MADEOrdersConfig = ORDERS) -> MADEOrders:
    model = MADEOrders(images, config)
    random(model)
    return model


def pictures(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@both
@torch.no_grad()
def test_the_likelihood_is_the_mean_of_the_masks(images: ImageSpec) -> None:
    for model in (masks_of(images), orders_of(images)):
        x = pictures(images, 30)
        each = model.log_pixels_under(to_sequence(x)).sum(2)  # log p_m(x), (M, N)
        assert torch.allclose(model.log_prob(x), each.exp().mean(0).log())
        assert not torch.allclose(each[0], each[1])


@both
@torch.no_grad()
def test_conditionals_are_weighed_by_what_each_mask_made_of_the_pixels_before(images: ImageSpec) -> None:
    model, x = masks_of(images), pictures(images, 30)
    s = to_sequence(x)
    parts = model.log_pixels_under(s).exp()  # p_m(x_d | x_<d), (M, N, D)
    weight = torch.full((3, 30), 1 / 3, dtype=torch.float64)  # p(m | x_<d)
    conditionals = model.log_conditionals(x)
    for d in range(images.dims):
        joint = weight * parts[:, :, d]
        assert torch.allclose(conditionals[:, d], joint.sum(0).log())
        weight = joint / joint.sum(0)
    assert torch.allclose(model.log_levels(model.logits(s), s), conditionals)  # and so are those that are sampled


@both
@pytest.mark.parametrize("direct", [True, False])
def test_in_every_order_an_output_depends_on_earlier_inputs_only(
    images: ImageSpec, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = orders_of(images, MADEOrdersConfig(hidden=(40, 60), direct=direct, orders=3, activation="tanh"))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)
    s = to_sequence(pictures(images, 1))
    x = model.to_inputs(s).requires_grad_()  # (1, D, E)
    monkeypatch.setattr(model, "to_inputs", lambda _: x)
    for m, numbering in enumerate(model.numberings):
        logits = model.logits_under(s, m)[0]  # (D, P)
        grads = [torch.autograd.grad(row.sum(), x, retain_graph=True)[0].abs().sum((0, 2)) for row in logits]
        depends, earlier = torch.stack(grads) > 0, numbering.place[:, None] > numbering.place
        assert not bool((depends & ~earlier).any())
        if direct:
            assert torch.equal(depends, earlier)
        assert int(depends.sum()) > images.dims


def test_masks_and_orders_differ_and_follow_the_seed() -> None:
    def numbers(model: MaskedAutoencoder) -> list[list[int]]:
        return [[*place.tolist(), *degrees[0].tolist()] for place, degrees in model.numberings]

    for make, config in ((MADE, MADEConfig), (MADEOrders, MADEOrdersConfig)):
        fields = {"masks": 3, "degrees": "drawn"} if make is MADE else {"orders": 3}
        first, again, other = (numbers(make(BINARY, config(hidden=(30,), seed=seed, **fields))) for seed in (0, 0, 1))
        assert first == again != other
        assert first[0] != first[1] != first[2] != first[0]
    model = MADEOrders(COLOUR, ORDERS)
    assert all(sorted(numbering.place.tolist()) == list(range(1, 13)) for numbering in model.numberings)


def test_the_first_of_several_masks_is_the_lone_one() -> None:
    lone = MADE(BINARY, MADEConfig(hidden=(9, 8), degrees="drawn", seed=3))
    many = MADE(BINARY, MADEConfig(hidden=(9, 8), degrees="drawn", seed=3, masks=2))
    many.load_state_dict(lone.state_dict())  # masks are not saved: the weights fit
    s = to_sequence(pictures(BINARY, 5))
    assert torch.equal(lone.logits(s), many.logits_under(s, 0))


def test_training_takes_one_mask_after_the_other() -> None:
    for model in (masks_of(BINARY), orders_of(BINARY)):
        x, parts = pictures(BINARY, 20), len(model.numberings)
        step = LocalStep(model, lr=1e-300)  # the weights stay, so that all losses are of the same ones
        losses = torch.stack([step.run(Batch(x))["loss"] for _ in range(2 * parts)])
        expected = -model.log_pixels_under(to_sequence(x)).sum(2).mean(1)  # (M,)
        assert torch.allclose(losses, expected.repeat(2))


@both
@torch.no_grad()
def test_each_order_is_sampled_as_by_full_passes(images: ImageSpec) -> None:
    model = orders_of(images)
    for m, numbering in enumerate(model.numberings):
        u = torch.rand(10, images.dims, dtype=torch.float64)
        fast = draw(pixel_by_pixel(model, 10, m), images.levels, u, 0.8)
        s = torch.zeros(10, images.dims, dtype=torch.uint8)
        for d, pixel in enumerate(numbering.place.argsort().tolist()):
            logits = model.logits_under(s, m)[:, pixel] / 0.8
            levels = Bernoulli(logits.squeeze(1)) if images.levels == 2 else Categorical(logits)
            s[:, pixel] = levels.icdf(u[:, d])
            assert torch.equal(fast[:, d], s[:, pixel])


@torch.no_grad()
def test_images_of_one_order_are_put_back_in_the_raster() -> None:
    """At a low temperature each pixel is the likeliest given the pixels before it in the image's own order."""
    model = orders_of(BINARY)
    x = model.sample(40, generator=torch.Generator().manual_seed(0), temperature=1e-6)
    s = to_sequence(x)
    fits = torch.stack([(model.logits_under(s, m).squeeze(2) >= 0) == s.bool() for m in range(4)]).all(2)  # (M, N)
    assert bool(fits.any(0).all()) and bool(fits.any(1).all())
    assert torch.equal(to_images(s, BINARY), x)


def test_several_orders_have_no_conditionals_to_tell() -> None:
    model = MADEOrders(BINARY, ORDERS)
    assert not isinstance(model, HasLogConditionals) and not isinstance(model, HasComplete)
    with pytest.raises(ZooError, match="expected images of 3 x 4 pixels, got 4 x 4"):
        model.log_prob(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ZooError, match="temperature"):
        model.sample(1, temperature=0.0)


@pytest.mark.parametrize("levels", [2, 5])
@torch.no_grad()
def test_a_lone_pixel_has_one_mask_and_one_order(levels: int) -> None:
    images = ImageSpec(channels=1, height=1, width=1, levels=levels)
    x = torch.arange(levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    for model in (masks_of(images), orders_of(images)):
        assert math.isclose(float(model.log_prob(x).exp().sum()), 1)
        assert model.sample(3).shape == (3, 1, 1, 1)


def test_masks_that_would_be_equal_or_too_many_are_refused() -> None:
    with pytest.raises(ZooError, match="degrees='drawn'"):
        MADEConfig(masks=2)
    with pytest.raises(ZooError, match="hidden layers"):
        MADEConfig(hidden=(), degrees="drawn", masks=2)
    with pytest.raises(ZooError, match="at least 1"):
        MADEConfig(masks=0)
    with pytest.raises(ZooError, match="at least 1"):
        MADEOrdersConfig(orders=0)
    with pytest.raises(ZooError, match="5000 masks of 1,000 x 784 weights"):
        MADE(
            ImageSpec(channels=1, height=28, width=28, levels=2),
            MADEConfig(hidden=(1000,), degrees="drawn", masks=5000),
        )
