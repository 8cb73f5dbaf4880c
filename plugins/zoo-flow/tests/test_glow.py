"""Glow: its 1x1 convolutions against whole matrices, its first batch, its learned prior, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor
from zoo_flow.glow.config import SPECS, GlowConfig
from zoo_flow.glow.mixing import Mixing
from zoo_flow.glow.model import Glow, GlowStep, Scale

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.errors import Diverged
from zoo_core.testing import conformance

GREY = ImageSpec(channels=1, height=4, width=4, levels=16)
COLOUR = ImageSpec(channels=3, height=4, width=2, levels=256)

test_laws_of_other_configs = conformance(
    [dataclasses.replace(SPECS[0], name="glow_scales", tiny=GlowConfig(scales=2, depth=1, width=8, pixels="logit"))]
)


def make(images: ImageSpec, *, random: float = 0.2, **changes: object) -> Glow:
    """With noise of the size `random` on every parameter, so that no path is closed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Glow(images, GlowConfig(**{"scales": 1, "depth": 2, "width": 6, **changes})).double().eval()
        for parameter in model.parameters():
            parameter.data += random * torch.randn_like(parameter)
    return model


def mixing(channels: int) -> Mixing:
    torch.manual_seed(0)
    layer = Mixing(channels).double()
    for parameter in layer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return layer


def some(images: ImageSpec, n: int, seed: int = 1) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(seed)).to(torch.uint8)


def real(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_new_matrix_is_a_rotation() -> None:
    torch.manual_seed(0)
    layer = Mixing(6).double()
    weight = layer.matrix()
    torch.testing.assert_close(weight @ weight.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-6)
    assert float(layer.lu.detach().diagonal().sum().abs()) < 1e-6, "log |det W| = 0"


@torch.no_grad()
def test_the_lu_parts_are_those_of_the_paper() -> None:
    layer = mixing(5)
    d = 5
    permutation = torch.zeros(d, d, dtype=torch.float64)
    for i in range(d):
        permutation[i, layer.order[i]] = 1
    lower, upper = torch.eye(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for i in range(d):
        upper[i, i] = layer.sign[i] * layer.lu[i, i].exp()
        for j in range(i):
            lower[i, j] = layer.lu[i, j]
            upper[j, i] = layer.lu[j, i]
    torch.testing.assert_close(layer.matrix(), permutation @ lower @ upper, rtol=0, atol=1e-12)


@torch.no_grad()
def test_one_convolution_is_the_normalisation_and_then_the_matrix_at_each_place() -> None:
    layer, x = mixing(4), real(2, 4, 2, 3)
    y, log_det = layer(x)
    s, weight = layer.log_scale.exp(), layer.matrix()
    for n in range(2):
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(
                    y[n, :, i, j], weight @ (s * x[n, :, i, j] + layer.shift), rtol=0, atol=1e-12
                )
    expected = 2 * 3 * (torch.linalg.slogdet(weight)[1] + s.log().sum())
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.inverse(y), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prior", ["normal", "learned"])
@pytest.mark.parametrize(("images", "scales"), [(GREY, 2), (COLOUR, 1)], ids=["grey", "colour"])
def test_the_log_determinant_is_that_of_the_whole_jacobian(images: ImageSpec, scales: int, prior: str) -> None:
    model = make(images, scales=scales, prior=prior)
    v = torch.rand(2, *images.shape, generator=rng(3), dtype=torch.float64)
    z, log_det = model.flow(v)
    torch.testing.assert_close(model.inverse(z), v, rtol=0, atol=1e-8)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda part: model.flow(part)[0], v[i : i + 1])
        exact = torch.linalg.slogdet(jacobian.view(images.dims, images.dims))[1]
        torch.testing.assert_close(log_det[i], exact, rtol=0, atol=1e-8)


@torch.no_grad()
def test_a_step_is_figure_2_written_out() -> None:
    torch.manual_seed(0)
    step, h = GlowStep(4, 6).double(), real(1, 4, 2, 2)
    for parameter in step.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    y = torch.zeros_like(h)
    s, weight = step.mixing.log_scale.exp(), step.mixing.matrix()
    for i in range(2):
        for j in range(2):
            y[0, :, i, j] = weight @ (s * h[0, :, i, j] + step.mixing.shift)
    log_det = 4 * (torch.linalg.slogdet(weight)[1] + s.log().sum())
    raw, t = step.coupling.network(y[:, :2]).chunk(2, 1)
    for c in range(2):
        for i in range(2):
            for j in range(2):
                log_s = step.coupling.scale[c, 0, 0] * raw[0, c, i, j].tanh() + step.coupling.log_scale[c, 0, 0]
                y[0, 2 + c, i, j] = y[0, 2 + c, i, j] * log_s.exp() + t[0, c, i, j]
                log_det = log_det + log_s
    found, log_dets = step(h)
    torch.testing.assert_close(found, y, rtol=0, atol=1e-12)
    torch.testing.assert_close(sum(log_dets).squeeze(), log_det, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_learned_prior_is_a_normal_given_the_half_that_goes_on() -> None:
    torch.manual_seed(0)
    scale = Scale(4, GlowConfig(depth=1, width=5), split=True).double()
    assert scale.prior is not None
    for parameter in scale.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    x = real(3, 1, 4, 4)
    on, z, log_dets = scale(x)
    assert z is not None
    s, t = scale.prior.scale_and_shift(on)  # z = part exp(s) + t
    part = (z - t) * (-s).exp()
    literal = torch.distributions.Normal(-t * (-s).exp(), (-s).exp()).log_prob(part).flatten(1).sum(1)
    ours = torch.distributions.Normal(0, 1).log_prob(z).flatten(1).sum(1) + log_dets[-1]
    torch.testing.assert_close(ours, literal, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pixels", ["centre", "logit"])
def test_it_begins_as_the_pixel_map_and_the_base(pixels: str) -> None:
    """Rotations leave N(0, I) as it is."""
    model = make(GREY, random=0.0, scales=2, pixels=pixels)
    v = torch.rand(4, *GREY.shape, generator=rng(3), dtype=torch.float64)
    p = 0.05 + 0.9 * v
    y, jacobian = (v - 0.5, torch.zeros_like(v)) if pixels == "centre" else (p.logit(), (0.9 / (p * (1 - p))).log())
    expected = (-0.5 * y.square() - 0.5 * math.log(2 * math.pi) + jacobian).flatten(1).sum(1)
    torch.testing.assert_close(model.log_density(v), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("micro_batch", [None, 7])
def test_the_first_batch_normalises_the_input_of_every_1x1_convolution(micro_batch: int | None) -> None:
    model, x = make(GREY, random=0.0, scales=2), some(GREY, 20)
    step = LocalStep(model, micro_batch=micro_batch)
    model.start(Batch(x), step)
    seen = []
    for layer in (module for module in model.modules() if isinstance(module, Mixing)):
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append((layer, inputs[0])))
    step._draws = 0  # the same noise once more
    model.transform((x + step.rand(Batch(x), *GREY.shape)) / GREY.levels - 0.5)
    assert len(seen) == 4
    for layer, h in seen:
        flat = layer.log_scale.exp().unsqueeze(1) * h.transpose(0, 1).flatten(1) + layer.shift.unsqueeze(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat), dtype=flat.dtype), rtol=0, atol=1e-10)
        torch.testing.assert_close(flat.var(1, correction=0), torch.ones(len(flat), dtype=flat.dtype))
    before = copy.deepcopy(model.state_dict())
    model.start(Batch(some(GREY, 20, seed=5)), step)  # once only
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_it_finds_correlated_normals() -> None:
    """Four normals behind the logits of 2 x 2 pixels, any two of them correlated: a matrix is all that this takes."""
    images = ImageSpec(channels=1, height=2, width=2, levels=256)
    torch.manual_seed(0)
    model = Glow(images, GlowConfig(scales=1, depth=1, width=8, pixels="logit"))
    factor, n = 0.3 * torch.eye(4) + 0.3 * torch.randn(4, 4, generator=rng(1)), 4000
    y = torch.randn(n, 4, generator=rng(0)) @ factor.T
    v = model.pixels.inverse(y).view(n, *images.shape)
    law = torch.distributions.MultivariateNormal(torch.zeros(4), factor @ factor.T)
    truth = law.log_prob(y) + model.pixels(v)[1]
    x = (v * 256).floor().clamp(0, 255).to(torch.uint8)
    step = LocalStep(model, lr=1e-2)
    for i in range(200):
        step.run(Batch(x[(200 * i) % n : (200 * i) % n + 200]))
    with torch.no_grad():
        short = float((truth - model.log_density(v)).mean())  # the KL divergence, estimated
    assert -0.02 < short < 0.06


def test_it_inverts_after_training_and_draws_what_it_encodes() -> None:
    images = ImageSpec(channels=1, height=8, width=8, levels=17)
    torch.manual_seed(0)
    model, x = Glow(images, GlowConfig(scales=2, depth=2, width=8)), some(images, 40)
    step = LocalStep(model, lr=3e-3)
    for _ in range(10):
        step.run(Batch(x))
    step.finish()
    assert torch.equal(model.decode(model.encode(x)), x)
    cold = model.sample(3, temperature=0.0)
    assert torch.equal(cold[0], cold[1]), "at temperature 0 every sample is the image of z = 0"
    assert not torch.equal(cold[0], model.sample(1, generator=rng(0))[0])


def test_half_precision_is_of_the_networks_alone_and_layout_and_compiler_change_nothing() -> None:
    images = ImageSpec(channels=1, height=8, width=8, levels=17)
    model = make(images, random=0.05, scales=2, depth=1, width=8).float()
    batch = Batch(some(images, 6)).with_(u=torch.rand(6, *images.shape, generator=rng(4)))

    def gradient() -> tuple[Tensor, Tensor]:
        loss = model.loss(batch)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        return loss.detach(), torch.cat([g.flatten() for g in grads])

    loss, exact = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        half, rough = gradient()
        assert torch.equal(model.decode(model.encode(batch.x)), batch.x), "as exact as its inverse needs"
    assert half.dtype == rough.dtype == torch.float32
    torch.testing.assert_close(half, loss, rtol=1e-2, atol=0)
    assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.99
    torch.testing.assert_close(
        copy.deepcopy(model).to(memory_format=torch.channels_last).loss(batch), loss, rtol=1e-5, atol=1e-5
    )
    model.loss = torch.compile(model.loss, backend="aot_eager", fullgraph=True)  # type: ignore[method-assign]
    torch.testing.assert_close(gradient(), (loss, exact), rtol=1e-4, atol=1e-4)


def test_a_size_that_cannot_be_squeezed_is_refused_with_the_reason() -> None:
    for height, width in ((1, 2), (7, 8)):
        with pytest.raises(ZooError, match=rf"glow: images 1x{height}x{width} cannot be squeezed.*must be even"):
            Glow(ImageSpec(channels=1, height=height, width=width), GlowConfig())
    with pytest.raises(ZooError, match=r"images 1x28x28.*scales=3.*at most scales=2 fits"):
        Glow(ImageSpec(channels=1, height=28, width=28), GlowConfig(scales=3))
    with pytest.raises(ZooError, match=r"GlowConfig.depth: expected at least 1, got 0"):
        GlowConfig(depth=0)


def test_a_first_batch_that_says_nothing_of_the_spread_is_refused() -> None:
    with pytest.raises(ZooError, match="at least 2 images, got 1"):
        LocalStep(make(GREY)).run(Batch(some(GREY, 1)))
    model, step = make(GREY), LocalStep(make(GREY))
    step.rand = lambda batch, *shape: torch.full((len(batch), *shape), 0.5)  # type: ignore[method-assign]
    with pytest.raises(ZooError, match=r"standard deviation 0\.0 over the first batch of 3 images"):
        model.start(Batch(torch.zeros(3, *GREY.shape, dtype=torch.uint8)), step)


@pytest.mark.parametrize(("weight", "place"), [("lu", (2, 2)), ("log_scale", (2,))])
def test_a_factor_whose_inverse_is_infinite_is_named(weight: str, place: tuple[int, ...]) -> None:
    """exp(-95) is not 0 in float32, but its inverse is more than there is: samples would be NaN, which are black."""
    model = make(GREY).float()
    with torch.no_grad():
        getattr(model.scales[0].steps[1].mixing, weight)[place] = -95.0
    with pytest.raises(Diverged, match=r"steps.1.mixing cannot be inverted: .* 2 .*is 5\.52\d*e-42, so it is singular"):
        model.sample(2)


def test_a_singular_matrix_is_named() -> None:
    model, good = make(GREY), make(GREY).state_dict()
    layer = model.scales[0].steps[1].mixing
    model.sample(2)
    with torch.no_grad():
        layer.lu[2, 2] = -math.inf
    for call in (lambda: model.sample(2), lambda: model.decode(torch.zeros(1, 16)), lambda: model.finish(None)):  # type: ignore[arg-type]
        with pytest.raises(
            Diverged, match=r"scales.0.steps.1.mixing cannot be inverted: its diagonal entry 2 of U is 0"
        ):
            call()
    with pytest.raises(Diverged, match=r"loss of group 'model' is inf"):
        LocalStep(model).run(Batch(some(GREY, 8)))
    model.load_state_dict(good)
    model.sample(2)
    for name, value, why in (
        ("scales.0.steps.0.mixing.lu", math.nan, "a diagonal entry of U is not finite|a weight is not finite"),
        ("scales.0.steps.1.mixing.sign", 0.0, "its diagonal entry 0 of U is 0"),
        ("scales.0.steps.1.mixing.log_scale", math.inf, "a weight is not finite"),
        ("scales.0.steps.1.mixing.log_scale", 1000.0, "a scale s is not finite"),
        ("scales.0.steps.1.mixing.log_scale", -1000.0, "the scale s of its channel 0 is 0, so it is singular"),
    ):
        bad = {**good, name: torch.full_like(good[name], value)}
        with pytest.raises(ZooError, match=rf"{name.rpartition('.')[0]} cannot be inverted: {why}"):
            make(GREY).load_state_dict(bad)
