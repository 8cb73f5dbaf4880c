"""RealNVP: its masks and couplings pixel by pixel, its density, its first batch, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor
from zoo_flow import squeeze as squares
from zoo_flow.image_coupling import Checkerboard
from zoo_flow.image_networks import ResNet
from zoo_flow.realnvp.config import SPECS, RealNVPConfig
from zoo_flow.realnvp.model import RealNVP, Scale

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import quantise
from zoo_core.testing import conformance

GREY = ImageSpec(channels=1, height=4, width=4, levels=16)
COLOUR = ImageSpec(channels=3, height=4, width=6, levels=256)
ODD = ImageSpec(channels=2, height=3, width=5, levels=4)

# Beside the tiny config of the spec: squeezes, and fully connected networks.
test_laws_of_other_configs = conformance(
    dataclasses.replace(SPECS[0], name=name, tiny=tiny)
    for name, tiny in {
        "realnvp_squeezed": RealNVPConfig(scales=2, couplings=2, width=8, blocks=1),
        "realnvp_mlp": RealNVPConfig(scales=0, couplings=2, network="mlp", hidden=(16,)),
    }.items()
)


def make(images: ImageSpec, *, random: float = 0.2, **changes: object) -> RealNVP:
    """With noise of the size `random` on every parameter, so that no path is closed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RealNVP(images, RealNVPConfig(**{"width": 6, "blocks": 1, **changes})).double().eval()
        for parameter in model.parameters():
            parameter.data += random * torch.randn_like(parameter)
    return model


def some(images: ImageSpec, n: int, seed: int = 1) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(seed)).to(torch.uint8)


def real(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_squeeze_makes_four_channels_of_each_square() -> None:
    x = real(2, 3, 4, 6)
    y = squares.squeeze(x)
    for c in range(3):
        for i in range(4):
            for j in range(6):
                torch.testing.assert_close(y[:, 3 * (2 * (i % 2) + j % 2) + c, i // 2, j // 2], x[:, c, i, j])
    assert torch.equal(squares.unsqueeze(y), x)


def test_halves_are_the_masks_of_the_paper_and_not_the_same_twice() -> None:
    number = torch.arange(16.0).view(1, 1, 4, 4)
    colour = (torch.arange(4).unsqueeze(1) + torch.arange(4)) % 2
    even, odd = squares.checkerboards(number)
    assert set(even.flatten().tolist()) == set(number[0, 0][colour == 0].tolist())
    upper, lower = squares.rows(even, odd)
    assert set(upper.flatten().tolist()) == set(number[0, 0, ::2].flatten().tolist())
    assert torch.equal(torch.cat([upper, lower], 1), squares.squeeze(number))
    assert all(map(torch.equal, squares.unrows(upper, lower), (even, odd)))
    assert torch.equal(squares.uncheckerboards(even, odd), number)


def by_pixel(known: Tensor, x: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 9, one number after the other: known `(C, H, W)` is True where b is 1."""
    y, log_det = x.clone(), torch.zeros(len(x), dtype=x.dtype)
    for n in range(len(x)):
        for c, i, j in (~known).nonzero().tolist():
            y[n, c, i, j] = x[n, c, i, j] * math.exp(s[n, c, i, j]) + t[n, c, i, j]
            log_det[n] += s[n, c, i, j]
    return y, log_det


@pytest.mark.parametrize("odd", [False, True])
@torch.no_grad()
def test_a_checkerboard_coupling_is_equation_9(odd: bool) -> None:
    torch.manual_seed(0)
    coupling = Checkerboard(ResNet(2, 4, 5, 1), 2, 3, 5, odd=odd).double()
    for parameter in coupling.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    x = real(3, 2, 3, 5)
    known = torch.tensor([[[(i + j) % 2 == int(odd) for j in range(5)] for i in range(3)]] * 2)
    raw, t = coupling.network(torch.where(known, x, 0)).chunk(2, 1)
    literal = by_pixel(known, x, coupling.scale * raw.tanh() + coupling.log_scale, t)
    torch.testing.assert_close(coupling(x), literal, rtol=0, atol=1e-12)
    torch.testing.assert_close(coupling.inverse(literal[0]), x, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_scale_is_equation_9_with_masks_of_the_whole_image_then_of_squeezed_channels() -> None:
    torch.manual_seed(0)
    scale = Scale(1, RealNVPConfig(couplings=3, width=5, blocks=1)).double()
    for parameter in scale.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    x = real(2, 1, 4, 6)
    colour = (torch.arange(4).unsqueeze(1) + torch.arange(6)) % 2
    y, total = x, torch.zeros(2, dtype=torch.float64)
    for i, coupling in enumerate(scale.by_checkerboard):
        known = colour == i % 2
        s, t = coupling.scale_and_shift(squares.checkerboards(torch.where(known, y, 0))[i % 2])
        place = [torch.zeros_like(s)] * 2
        place[1 - i % 2] = s
        full_s = squares.uncheckerboards(*place)
        place[1 - i % 2] = t
        y, log_det = by_pixel(known.unsqueeze(0), y, full_s, squares.uncheckerboards(*place))
        total += log_det
    y = squares.squeeze(y)  # (2, 4, 2, 3)
    for i, coupling in enumerate(scale.by_channels):
        known = torch.tensor([i % 2 == 0] * 2 + [i % 2 == 1] * 2).view(4, 1, 1).expand(4, 2, 3)
        s, t = (v.repeat(1, 2, 1, 1) for v in coupling.scale_and_shift(y[:, known[:, 0, 0]]))
        y, log_det = by_pixel(known, y, s, t)
        total += log_det
    upper, lower, log_dets = scale(x)
    torch.testing.assert_close(torch.cat([upper, lower], 1), y, rtol=0, atol=1e-12)
    torch.testing.assert_close(sum(log_dets), total, rtol=0, atol=1e-12)


CASES = [
    (GREY, {"scales": 1, "couplings": 2}),
    (COLOUR, {"scales": 1, "couplings": 1}),
    (ODD, {"scales": 0, "couplings": 1}),
    (ODD, {"scales": 0, "couplings": 1, "network": "mlp", "hidden": (7,)}),
]


@pytest.mark.parametrize(("images", "changes"), CASES, ids=["grey", "colour", "odd", "mlp"])
def test_the_log_determinant_is_that_of_the_whole_jacobian(images: ImageSpec, changes: dict[str, object]) -> None:
    model, v = make(images, **changes), torch.rand(2, *images.shape, generator=rng(3), dtype=torch.float64)
    z, log_det = model.flow(v)
    torch.testing.assert_close(model.inverse(z), v, rtol=0, atol=1e-9)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda part: model.flow(part)[0], v[i : i + 1])
        exact = torch.linalg.slogdet(jacobian.view(images.dims, images.dims))[1]
        torch.testing.assert_close(log_det[i], exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("images", "changes"), CASES, ids=["grey", "colour", "odd", "mlp"])
def test_it_begins_as_the_pixel_map_and_the_base(images: ImageSpec, changes: dict[str, object]) -> None:
    model = make(images, random=0.0, **changes)
    v = torch.rand(4, *images.shape, generator=rng(3), dtype=torch.float64)
    p = 0.05 + 0.9 * v
    y = (p / (1 - p)).log()
    expected = (-0.5 * y.square() - 0.5 * math.log(2 * math.pi) + (0.9 / (p * (1 - p))).log()).flatten(1).sum(1)
    torch.testing.assert_close(model.log_density(v), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("micro_batch", [None, 7])
@pytest.mark.parametrize("images", [GREY, ODD], ids=["squeezed", "masked"])
def test_the_first_batch_normalises_every_channel(images: ImageSpec, micro_batch: int | None) -> None:
    model = make(images, random=0.0, scales=int(images is GREY))
    before, x = copy.deepcopy(model.state_dict()), some(images, 20)
    step = LocalStep(model, micro_batch=micro_batch)
    model.start(Batch(x), step)
    assert bool(model.initialised)
    after = copy.deepcopy(model.state_dict())
    assert any(not torch.equal(before[name], after[name]) for name in before if "log_scale" in name)
    step._draws = 0  # the same noise once more
    y = model.pixels((x + step.rand(Batch(x), *images.shape)) / images.levels)[0]
    for part in model.parts(y)[0]:
        flat = part.transpose(0, 1).flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat), dtype=flat.dtype), rtol=0, atol=0.2)
    even = model.parts(y)[0][0]
    if images is GREY:  # of every channel exactly, because no pixel of one is left out by a mask
        flat = even.transpose(0, 1).flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat), dtype=flat.dtype), rtol=0, atol=1e-12)
        torch.testing.assert_close(flat.var(1, correction=0), torch.ones(len(flat), dtype=flat.dtype))
    model.start(Batch(some(images, 20, seed=5)), step)  # once only
    assert all(torch.equal(after[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_it_finds_a_density_that_it_can_express(network: str) -> None:
    """Two correlated normals behind the pixels' logits: an affine coupling is all that this takes."""
    images = ImageSpec(channels=1, height=1, width=2, levels=256)
    torch.manual_seed(0)
    config = RealNVPConfig(scales=0, couplings=2, network=network, width=16, blocks=0, hidden=(16,))
    model = RealNVP(images, config)
    factor, n = torch.tensor([[0.7, 0.0], [0.5, 0.3]]), 4000
    y = torch.randn(n, 2, generator=rng(0)) @ factor.T
    v = model.pixels.inverse(y).view(n, 1, 1, 2)
    truth = torch.distributions.MultivariateNormal(torch.zeros(2), factor @ factor.T).log_prob(y) + model.pixels(v)[1]
    assert bool(((v > 0) & (v < 1)).all())
    step, x = LocalStep(model, lr=5e-3), quantise(v, images)
    for i in range(150):
        step.run(Batch(x[(200 * i) % n : (200 * i) % n + 200]))
    with torch.no_grad():
        short = float((truth - model.log_density(v)).mean())  # the KL divergence, estimated
    assert -0.02 < short < 0.05


def test_it_inverts_after_training_and_draws_what_it_encodes() -> None:
    images = ImageSpec(channels=1, height=8, width=8, levels=17)
    torch.manual_seed(0)
    model, x = RealNVP(images, RealNVPConfig(scales=2, couplings=1, width=8, blocks=1)), some(images, 40)
    step = LocalStep(model, lr=3e-3)
    for _ in range(10):
        step.run(Batch(x))
    assert torch.equal(model.decode(model.encode(x)), x)
    line = model.interpolate(x[0], x[1], 5)
    assert torch.equal(line[0], x[0]) and torch.equal(line[-1], x[1])
    cold = model.sample(3, temperature=0.0)
    assert torch.equal(cold[0], cold[1]), "at temperature 0 every sample is the image of z = 0"


def test_half_precision_is_of_the_networks_alone_and_layout_and_compiler_change_nothing() -> None:
    images = ImageSpec(channels=1, height=8, width=8, levels=17)
    model = make(images, random=0.05, scales=1, couplings=1, width=8).float()
    batch = Batch(some(images, 6)).with_(u=torch.rand(6, *images.shape, generator=rng(4)))

    def gradient() -> tuple[Tensor, Tensor]:
        loss = model.loss(batch)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        return loss.detach(), torch.cat([g.flatten() for g in grads])

    loss, exact = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        half, rough = gradient()
        assert model.sample(2).dtype == torch.uint8
    assert half.dtype == rough.dtype == torch.float32
    torch.testing.assert_close(half, loss, rtol=1e-2, atol=0)
    assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.99
    torch.testing.assert_close(
        copy.deepcopy(model).to(memory_format=torch.channels_last).loss(batch), loss, rtol=1e-5, atol=1e-5
    )
    model.loss = torch.compile(model.loss, backend="aot_eager", fullgraph=True)  # type: ignore[method-assign]
    torch.testing.assert_close(gradient(), (loss, exact), rtol=1e-4, atol=1e-4)


def test_sizes_that_cannot_be_squeezed_are_refused_with_those_that_fit() -> None:
    for height, width, scales, fits in ((28, 28, 3, "scales=2"), (7, 8, 1, "scales=0"), (2, 2, 1, "scales=0")):
        images = ImageSpec(channels=1, height=height, width=width)
        with pytest.raises(ZooError, match=rf"realnvp: images 1x{height}x{width}.*scales={scales}.*{fits} fits"):
            RealNVP(images, RealNVPConfig(scales=scales))
    with pytest.raises(ZooError, match="at least 2 pixels"):
        RealNVP(ImageSpec(channels=3, height=1, width=1), RealNVPConfig(scales=0))
    with pytest.raises(ZooError, match=r"RealNVPConfig\.network: expected 'conv' with scales=1"):
        RealNVPConfig(scales=1, network="mlp")


def test_a_first_batch_of_one_image_is_refused() -> None:
    model = make(GREY, random=0.0, scales=1)
    with pytest.raises(ZooError, match="at least 2 images, got 1"):
        LocalStep(model).run(Batch(some(GREY, 1)))
    model.start(Batch(some(GREY, 2)), LocalStep(model, micro_batch=1))  # micro-batches of one are no such thing
