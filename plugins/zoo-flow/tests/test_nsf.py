"""NSF: its splines against the paper's equations, autograd and zuko; its layers; what it refuses."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import zuko
from torch import Tensor
from zoo_flow.masked import MADE
from zoo_flow.nsf.config import LEAST, SPECS, NSFConfig
from zoo_flow.nsf.layers import LULinear, ResidualNetwork, SplineCoupling, SplineMADE
from zoo_flow.nsf.model import NSF
from zoo_flow.nsf.splines import Knots, inverse, knots, parameters, spline
from zoo_flow.vector_flow import Permutation

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.testing import conformance
from zoo_core.testing.cases import structured_images

PAIR = ImageSpec(channels=1, height=1, width=2, levels=16)
ODD = ImageSpec(channels=1, height=3, width=3, levels=16)
DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_knots(*shape: int, bins: int = 6, bound: float = 3.0, scale: float = 2.0) -> Knots:
    theta = scale * torch.randn(*shape, parameters(bins), generator=rng(1), dtype=torch.float64)
    return knots(theta, bound)


def numbers(*shape: int, reach: float = 4.0) -> Tensor:
    """Inside of [-3, 3] and out of it."""
    return reach * (2 * torch.rand(*shape, generator=rng(2), dtype=torch.float64) - 1)


def random(model: torch.nn.Module) -> None:
    generator = rng(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / max(p.shape[-1], 1) ** (0.5 * (p.dim() > 1)))


def literal(x: float, at: Knots) -> tuple[float, float]:
    """Section 3.1 for one number: g(x) and g'(x)."""
    xs, ys, slopes = (values.tolist() for values in at)
    if not xs[0] < x < xs[-1]:
        return x, 1.0
    k = max(k for k in range(len(xs) - 1) if xs[k] <= x)
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    q = s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)
    g = ys[k] + (ys[k + 1] - ys[k]) * (s * xi**2 + slopes[k] * xi * (1 - xi)) / q
    return g, s**2 * (slopes[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + slopes[k] * (1 - xi) ** 2) / q**2


def test_a_spline_is_the_papers() -> None:
    at, x = random_knots(200), numbers(200)
    y, log_slope = spline(x, at)
    for i in range(200):
        g, slope = literal(float(x[i]), Knots(*(values[i] for values in at)))
        assert float(y[i]) == pytest.approx(g, abs=1e-12)
        assert float(log_slope[i]) == pytest.approx(math.log(slope), abs=1e-10)


def test_its_slope_is_autograds_it_rises_and_comes_back() -> None:
    at = random_knots(40, 1)
    x = torch.linspace(-4, 4, 501, dtype=torch.float64).repeat(40, 1).requires_grad_()
    at = Knots(*(values.expand(40, 501, -1) for values in at))
    y, log_slope = spline(x, at)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, rtol=0, atol=1e-9)
    assert bool((y.diff(dim=1) > 0).all())
    assert torch.allclose(inverse(y, at), x, rtol=0, atol=1e-10)


def test_knots_are_hit_with_their_slopes() -> None:
    at = random_knots(30)
    for k in range(7):
        y, log_slope = spline(at.x[:, k], at)
        assert torch.allclose(y, at.y[:, k], rtol=0, atol=1e-12)
        assert torch.allclose(log_slope.exp(), at.slopes[:, k], rtol=1e-9)


def test_tails_are_the_identity_and_so_are_zeros() -> None:
    at = random_knots(50)
    x = torch.tensor([-1e6, -3.0, 3.0, 50.0], dtype=torch.float64)
    for value in x:
        far = value.expand(50)
        assert torch.equal(spline(far, at)[0], far)
        assert bool((spline(far, at)[1].abs() < 1e-12).all())
        assert torch.equal(inverse(far, at), far)
    flat, x = knots(torch.zeros(50, parameters(6), dtype=torch.float64), 3.0), numbers(50)
    assert torch.allclose(spline(x, flat)[0], x, rtol=0, atol=1e-12)
    assert torch.allclose(spline(x, flat)[1], torch.zeros(50, dtype=torch.float64), atol=1e-12)


def test_extreme_knots_keep_every_bin_open_in_float32() -> None:
    theta = 200 * torch.randn(300, 4, parameters(10), generator=rng(5))
    at = knots(theta.requires_grad_(), 3.0)
    assert float(at.x.detach().diff(dim=-1).min()) > 3 * LEAST
    assert float(at.slopes.detach().min()) >= LEAST * 0.99
    x = numbers(300, 4).float()
    y, log_slope = spline(x, at)
    (gradient,) = torch.autograd.grad(y.sum() + log_slope.sum(), theta)
    assert bool(torch.cat([y.flatten(), log_slope.flatten(), gradient.flatten()]).isfinite().all())
    assert bool(inverse(y, at).isfinite().all())


def test_zukos_spline_through_the_same_knots_is_ours() -> None:
    """zuko's takes numbers of its own for the same widths, heights and slopes, softened towards log 1000."""
    at, x = random_knots(300, bins=8, scale=0.7), numbers(300)
    limit = math.log(1000)

    def softened(value: Tensor, factor: float) -> Tensor:
        return value / (1 - (factor * value / limit).abs())

    logs = [(values.diff(dim=-1) / 6).log() for values in (at.x, at.y)]
    widths, heights = (softened(value - value.mean(-1, keepdim=True), 2) for value in logs)
    slopes = softened(at.slopes[:, 1:-1].log(), 1)
    theirs = zuko.transforms.MonotonicRQSTransform(widths, heights, slopes, bound=3.0)
    y, log_slope = spline(x, at)
    expected, expected_log = theirs.call_and_ladj(x)
    assert torch.allclose(y, expected, rtol=0, atol=1e-10)
    assert torch.allclose(log_slope, expected_log, rtol=0, atol=1e-9)
    assert torch.allclose(inverse(y, at), theirs.inv(y), rtol=0, atol=1e-8)


@torch.no_grad()
def test_zukos_flow_with_equal_weights_has_equal_densities() -> None:
    """One autoregressive layer: our masked network inside zuko's transform, its numbers turned into zuko's."""
    layer = SplineMADE(9, 5, 3.0, 30, 2).double()
    random(layer)
    limit = math.log(1000)

    def univariate(theta: Tensor) -> zuko.transforms.MonotonicRQSTransform:
        at = knots(theta, 3.0)
        logs = [(values.diff(dim=-1) / 6).log() for values in (at.x, at.y)]
        logs = [value - value.mean(-1, keepdim=True) for value in logs]
        both = [value / (1 - (2 * value / limit).abs()) for value in logs]
        slopes = at.slopes[..., 1:-1].log()
        return zuko.transforms.MonotonicRQSTransform(*both, slopes / (1 - (slopes / limit).abs()), bound=3.0)

    def meta(x: Tensor) -> torch.distributions.Transform:
        return zuko.transforms.DependentTransform(univariate(layer.made(x).transpose(1, 2)), 1)

    theirs = zuko.transforms.AutoregressiveTransform(meta, 9)
    x = numbers(50, 9)
    for found, expected in zip(layer(x), theirs.call_and_ladj(x)):
        assert torch.allclose(found, expected, rtol=0, atol=1e-9)
    assert torch.allclose(layer.inverse(x), theirs.inv(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("dims", [2, 5, 8])
def test_a_coupling_leaves_one_half_alone_and_bends_the_other_given_it(dims: int, swap: bool) -> None:
    layer = SplineCoupling(dims, 4, 3.0, 12, 2, swap=swap).double()
    random(layer)
    x = numbers(1, dims, reach=2.5)
    jacobian = torch.func.jacrev(lambda x: layer(x)[0][0])(x)[:, 0]  # (D, D)
    first = torch.arange(dims) < dims - dims // 2
    given, moved = (~first, first) if swap else (first, ~first)
    assert torch.equal(layer(x)[0][:, given], x[:, given])
    inside = jacobian[moved][:, moved]
    assert torch.equal(inside, inside.diag().diag()), "a dimension sees another of its own half"
    assert bool((jacobian[moved][:, given] != 0).all())
    assert float(layer(x)[1].detach()) == pytest.approx(float(inside.diag().log().sum().detach()), abs=1e-9)
    assert torch.allclose(layer.inverse(layer(x)[0]), x, rtol=0, atol=1e-9)


@torch.no_grad()
def test_autoregressive_layers_come_back_dimension_by_dimension() -> None:
    layer = SplineMADE(7, 4, 3.0, 20, 2).double()
    random(layer)
    z = numbers(6, 7)
    x = torch.zeros_like(z)
    for d in range(7):
        x[:, d] = inverse(z[:, d], knots(layer.made(x)[:, :, d], 3.0))
    assert torch.allclose(layer.inverse(z), x, rtol=0, atol=1e-10)


def test_the_linear_map_is_the_product_of_its_triangles() -> None:
    layer = LULinear(6).double()
    x = torch.randn(4, 6, generator=rng()).double()
    assert torch.equal(layer(x)[0], x)
    random(layer)
    w = layer.triangles.detach()
    lower = w.tril(-1) + torch.eye(6)
    upper = w.triu(1) + w.diagonal().exp().diag()
    z, log_det = layer(x)
    assert torch.allclose(z, x @ (lower @ upper).T + layer.bias, rtol=0, atol=1e-12)
    assert float(log_det.detach()) == pytest.approx(float(torch.linalg.slogdet(lower @ upper)[1]), abs=1e-12)
    assert torch.allclose(layer.inverse(z), x, rtol=0, atol=1e-10)


VARIANTS = {
    "autoregressive": NSFConfig(kind="autoregressive", steps=2, bins=4, hidden=24, blocks=1),
    "permuted": NSFConfig(mixing="permute", steps=2, bins=4, hidden=24, blocks=1),
    "centred": NSFConfig(pixels="centre", bound=0.6, steps=2, bins=4, hidden=24, blocks=1),
}


test_laws_of_its_variants = pytest.mark.slow(
    conformance(dataclasses.replace(SPECS[0], name=f"nsf_{name}", tiny=tiny) for name, tiny in VARIANTS.items())
)


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_codes_give_images_back(kind: str) -> None:
    x, _ = structured_images(DIGITS, 20)
    model = NSF(DIGITS, NSFConfig(kind=kind, steps=2, bins=4, hidden=32))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng(3)))
    assert torch.equal(model.decode(model.encode(x)), x)
    assert torch.equal(model.interpolate(x[0], x[1], 4)[[0, -1]], x[:2])


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_a_step_of_splines_learns_a_density_with_edges(kind: str) -> None:
    """Uniform on [1/4, 3/4]^2, less than 1 cell wide at its edges: entropy 2 log(1/2), reached to 0.15 nats."""
    images = ImageSpec(channels=1, height=1, width=2, levels=64)
    x = torch.randint(16, 48, (4000, 1, 1, 2), generator=rng(4), dtype=torch.uint8)
    model = NSF(images, NSFConfig(kind=kind, steps=1, bins=8, hidden=16, blocks=1))
    step = LocalStep(model, lr=1e-2)
    for i in range(150):
        step.run(Batch(x[i % 16 * 250 :][:250]))
    v = (x + torch.rand(x.shape, generator=rng(5))) / 64
    found = -float(model.log_density(v).mean().detach())
    assert 2 * math.log(0.5) - 0.02 < found < 2 * math.log(0.5) + 0.15


def test_permutations_are_those_of_all_trained_weights() -> None:
    """They are drawn, not saved: were torch to draw others from the same seed, weights would load and mean nothing."""
    model = NSF(DIGITS, NSFConfig(steps=3, bins=2, hidden=2, blocks=1))
    orders = [layer.order[:8].tolist() for layer in model.layers if isinstance(layer, Permutation)]
    assert orders[0] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert orders[1:] == [[44, 46, 17, 3, 47, 21, 35, 6], [50, 23, 8, 25, 56, 16, 32, 30]]


def test_bad_input() -> None:
    with pytest.raises(ZooError, match="2 pixels or more"):
        NSF(ImageSpec(channels=1, height=1, width=1), NSFConfig())
    with pytest.raises(ZooError, match="bins: expected 2 to 500"):
        NSFConfig(bins=1)
    with pytest.raises(ZooError, match="bound: expected a number above 0"):
        NSFConfig(bound=0.0)
    with pytest.raises(ZooError, match="steps: expected at least 1"):
        NSFConfig(steps=0)
    with pytest.raises(ZooError, match="temperature >= 0"):
        NSF(ODD, NSFConfig(steps=1, hidden=4)).sample(2, temperature=math.nan)


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_half_precision_and_compilation_are_of_the_networks_alone(kind: str) -> None:
    x = structured_images(DIGITS, 20)[0]
    model = NSF(DIGITS, NSFConfig(kind=kind, steps=2, bins=4, hidden=32))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng(3)))
    batch = Batch(x).with_(u=torch.rand(x.shape, generator=rng()))
    exact = model.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.loss(batch)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=1e-2, atol=0)
    for network in (m for m in model.modules() if isinstance(m, (ResidualNetwork, MADE))):
        network.compile(backend="aot_eager")
    torch.testing.assert_close(model.loss(batch), exact, rtol=1e-5, atol=1e-5)
