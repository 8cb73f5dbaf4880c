"""FFJORD against what is known without a solver: matrix exponentials, autograd's Jacobians, cells of a Gaussian."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint
from zoo_flow.configs import SPECS
from zoo_flow.ffjord import solver as solvers
from zoo_flow.ffjord.config import ADAPTIVE, FFJORDConfig
from zoo_flow.ffjord.field import ConvField, DenseField
from zoo_flow.ffjord.model import FFJORD
from zoo_flow.ffjord.solver import State

from zoo_core import Batch, ImageSpec
from zoo_core.errors import Diverged
from zoo_core.images import dequantise
from zoo_core.testing import TWO_PIXELS
from zoo_core.testing.cases import accepted, chi_square, draw, over

SPEC = next(spec for spec in SPECS if spec.name == "ffjord")
FOUR = ImageSpec(channels=1, height=2, width=2, levels=4)
ODD = ImageSpec(channels=3, height=5, width=3, levels=256)
NETWORKS = {"dense": {"hidden": (12, 9)}, "conv": {"network": "conv", "hidden": (6, 8, 5)}}


class Linear(nn.Module):
    """f(t, z) = A z."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, t: Tensor, z: Tensor, e: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return z @ self.a.T, None if e is None else e @ self.a.T


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec, **config: object) -> FFJORD:
    """A model whose last layer is not silent, so that its field is not 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FFJORD(images, FFJORDConfig(**config))
        last = model.field.layers[-1] if isinstance(model.field, DenseField) else model.field.last
        nn.init.normal_(last.layer.weight, std=0.3)
        nn.init.normal_(last.time.weight, std=0.3)
    return model.eval()


def linear(a: Tensor, **config: object) -> FFJORD:
    model = FFJORD(FOUR, FFJORDConfig(hidden=(1,), **config)).to(a.dtype)
    model.field = Linear(a)
    return model.eval()


def matrix(dtype: torch.dtype = torch.float64) -> Tensor:
    return 0.8 * torch.randn(4, 4, generator=rng(3), dtype=dtype)


def closed_form(model: FFJORD, v: Tensor) -> Tensor:
    """log N(exp(-A) y; 0, I) - tr A, and the pixels' own Jacobian."""
    y, of_pixels = model.pixels(v)
    a = model.field.a.detach()
    z = y.flatten(1) @ torch.linalg.matrix_exp(-a).T
    return torch.distributions.Normal(0, 1).log_prob(z).sum(1) - a.trace() + of_pixels


@pytest.mark.parametrize("pixels", ["logit", "centre"])
@pytest.mark.parametrize("options", [{}, {"solver": "rk4", "steps": 30}, {"solver": "dopri8"}])
def test_a_linear_field_is_a_matrix_exponential(pixels: str, options: dict[str, object]) -> None:
    model, v = linear(matrix(), pixels=pixels), torch.rand(20, 1, 2, 2, generator=rng(), dtype=torch.float64)
    found = model.log_density_estimate(v, trace="exact", **options)
    torch.testing.assert_close(found, closed_form(model, v), rtol=0, atol=1e-4)
    with torch.no_grad():
        z = model.flow(v)[0]
        expected = model.pixels(v)[0].flatten(1) @ torch.linalg.matrix_exp(-matrix()).T
        torch.testing.assert_close(z, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(model.inverse(z), v, rtol=0, atol=1e-4)


def test_a_linear_field_in_float32() -> None:
    model, v = linear(matrix().float()), torch.rand(20, 1, 2, 2, generator=rng())
    torch.testing.assert_close(model.log_density_estimate(v), closed_form(model, v), rtol=2e-5, atol=1e-4)


def test_a_linear_field_in_the_mean_over_probes() -> None:
    """Over all 16 vectors of signs, whose mean is Rademacher's expectation; and over draws, within their error."""
    model, v = linear(matrix()), torch.rand(3, 1, 2, 2, generator=rng(), dtype=torch.float64)
    exact = closed_form(model, v)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)  # (16, 4)
    y, of_pixels = model.pixels(v)
    with torch.no_grad():
        each = [model.to_noise(y, e.expand(1, 3, 4), model.solver()) for e in signs]
    found = torch.stack([model.log_base(z) + of_pixels + log_det for z, log_det in each])  # (16, 3)
    assert found.std(0).min() > 0.1, "one probe alone is far from the trace"
    torch.testing.assert_close(found.mean(0), exact, rtol=0, atol=1e-4)

    for probe in ("rademacher", "gaussian"):
        model = linear(matrix(), probe=probe)
        one, error = model.log_density_estimate, found.std(0) * (1 if probe == "rademacher" else 2)
        many = one(v, generator=rng(1), trace="hutchinson", probes=4000)
        assert ((many - exact).abs() < 4 * error / math.sqrt(4000)).all()
        again = one(v, generator=rng(2), trace="hutchinson", probes=4000)
        assert not torch.equal(many, again)


def test_an_image_has_the_mass_of_its_cell() -> None:
    """A diagonal field makes independent Gaussians of centred pixels: P(x) is a product of differences of their CDF."""
    rates = torch.tensor([0.5, -0.3, 0.1, 0.2], dtype=torch.float64)
    model = linear(torch.diag(rates), pixels="centre")
    x = torch.randint(4, (30, 1, 2, 2), generator=rng()).to(torch.uint8)
    normal = torch.distributions.Normal(torch.zeros(4, dtype=torch.float64), rates.exp() / math.sqrt(12))
    edges = [(x.flatten(1).double() + side) / 4 - 0.5 for side in (0, 1)]
    exact = (normal.cdf(edges[1]) - normal.cdf(edges[0])).log().sum(1)
    found = model.log_prob_estimate(x, generator=rng(1), draws=256, solver="rk4", steps=5)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)
    each = torch.stack(
        [model.log_prob_estimate(x, generator=rng(i), solver="rk4", steps=4) for i in range(100)]
    )  # one draw: a bound
    assert (each.mean(0) < exact + 3 * each.std(0) / math.sqrt(100)).all()
    torch.testing.assert_close(each.exp().mean(0).log(), exact, rtol=0, atol=0.1)


def test_points_are_uniform_on_the_cell() -> None:
    model = linear(matrix())
    u = model.points(500, 8, rng()).flatten(2)  # (8, 500, 4)
    assert u.min() >= 0 and u.max() < 1
    assert ((u.mean(1) - 0.5).abs() < 4 / math.sqrt(12 * 500)).all()
    assert ((u.var(1) - 1 / 12).abs() < 0.015).all()


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
@pytest.mark.parametrize("network", NETWORKS)
def test_tangents_are_autograds(network: str, activation: str) -> None:
    field = make(ODD, activation=activation, **NETWORKS[network]).double().field
    t = torch.tensor(0.3, dtype=torch.float64)
    z = torch.randn(2, ODD.dims, generator=rng(), dtype=torch.float64)
    e = torch.randn(3, 2, ODD.dims, generator=rng(1), dtype=torch.float64)
    f, je = field(t, z, e)
    for k in range(3):
        value, tangent = torch.func.jvp(lambda z: field(t, z)[0], (z,), (e[k],))
        torch.testing.assert_close(f, value)
        torch.testing.assert_close(je[k], tangent)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_loss_is_the_papers(network: str) -> None:
    """Image by image, with autograd's Jacobian, by torchdiffeq's own equal steps."""
    model = make(ODD, kinetic=0.3, jacobian=0.2, train_solver="rk4", train_steps=3, **NETWORKS[network]).double()
    x = torch.randint(256, (2, 3, 5, 3), generator=rng()).to(torch.uint8)
    u = torch.rand(2, 3, 5, 3, generator=rng(1), dtype=torch.float64)
    e = torch.randn(2, ODD.dims, generator=rng(2), dtype=torch.float64)
    losses = []
    for i in range(2):

        def slope(t: Tensor, state: State, i: int = i) -> State:
            def f(y: Tensor) -> Tensor:
                return model.field(t, y.unsqueeze(0))[0][0]

            jacobian, value = torch.func.jacrev(f)(state[0]), f(state[0])
            return value, e[i] @ jacobian @ e[i], value.square().sum(), (jacobian @ e[i]).square().sum()

        v = (x[i] + u[i]) / 256
        p = model.config.alpha + (1 - 2 * model.config.alpha) * v
        scale = math.pi / math.sqrt(3)
        of_pixels = ((1 - 2 * model.config.alpha) / (p * (1 - p)) / scale).log().sum()
        zero = torch.zeros((), dtype=torch.float64)
        times = torch.linspace(1, 0, 4, dtype=torch.float64)
        start = ((p / (1 - p)).log().flatten() / scale, zero, zero, zero)
        z, log_det, kinetic, jacobian = (part[-1] for part in odeint(slope, start, times, method="rk4"))
        log_p = torch.distributions.Normal(0, 1).log_prob(z).sum() + log_det + of_pixels - ODD.dims * math.log(256)
        losses.append(-log_p - 0.3 * kinetic - 0.2 * jacobian)
    found = model.loss(Batch(x).with_(u=u, e=e))["loss"]
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-9, atol=1e-9)


def test_penalties_of_a_linear_field() -> None:
    model = linear(0.3 * matrix(), train_solver="rk4", train_steps=20)
    x = torch.randint(4, (6, 1, 2, 2), generator=rng()).to(torch.uint8)
    u = torch.rand(6, 1, 2, 2, generator=rng(1), dtype=torch.float64)
    out = model.loss(Batch(x).with_(u=u))  # 4 dimensions: by the exact trace
    a, y = model.field.a.detach(), model.pixels(dequantise(x, FOUR, u=u)[0])[0].flatten(1)
    torch.testing.assert_close(out["jacobian"], a.square().sum())
    times = torch.linspace(0, 1, 2001, dtype=torch.float64)
    speeds = [(y @ torch.linalg.matrix_exp(-s * a).T @ a.T).square().sum(1).mean() for s in times]
    torch.testing.assert_close(out["kinetic"], torch.trapezoid(torch.stack(speeds), times), rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_solvers_agree(method: str) -> None:
    model = make(FOUR, hidden=(16,)).double()
    x = torch.randint(4, (5, 1, 2, 2), generator=rng()).to(torch.uint8)
    one = model.log_prob_estimate(x, generator=rng(1), solver=method)
    two = model.log_prob_estimate(x, generator=rng(1), solver="rk4", steps=60)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-3)


def test_blocks_of_directions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(ODD, hidden=(16,)).double()
    v = torch.rand(3, 3, 5, 3, generator=rng(), dtype=torch.float64)
    whole = model.log_density_estimate(v, trace="exact")
    monkeypatch.setattr("zoo_flow.ffjord.model.ROWS", 21)  # 7 of 45 directions at once
    torch.testing.assert_close(model.log_density_estimate(v, trace="exact"), whole)


def test_the_sampler_samples_the_estimate() -> None:
    """Law 7, which asks only for exact likelihoods and bounds."""
    case = accepted(SPEC, TWO_PIXELS)
    model, n, x = case.trained().model, 20_000, case.all_images()
    with torch.no_grad():
        p = over(x, model.log_prob_estimate, {}, draws=64, generator=case.rng(0)).exp()
    place = TWO_PIXELS.levels ** torch.arange(TWO_PIXELS.dims - 1, -1, -1)
    counts = torch.bincount((draw(model, n, {}).flatten(1).long() * place).sum(1), minlength=len(x))
    assert chi_square(counts.double(), n * p, torch.zeros_like(p)) < 5


def test_codes_temperature_and_paths() -> None:
    model = make(ODD, hidden=(16,))
    x = torch.randint(256, (4, 3, 5, 3), generator=rng()).to(torch.uint8)
    z = model.encode(x)
    assert torch.equal(model.decode(z), x)
    line = model.interpolate(x[0], x[1], 5)
    assert torch.equal(line[[0, -1]], x[:2])
    cold = model.sample(3, generator=rng(), temperature=0.0)
    assert torch.equal(cold, model.decode(torch.zeros(3, ODD.dims)))
    path = model.trajectory(z, 4)
    assert path.shape == (4, 4, 3, 5, 3)
    torch.testing.assert_close(path[-1], (x + 0.5) / 256, rtol=0, atol=1e-3)
    torch.testing.assert_close(path[0], model.pixels.inverse(z).view_as(path[0]))
    few = model.sample(6, generator=rng(), solver="rk4", steps=30)
    alike = (few.int() - model.sample(6, generator=rng()).int()).abs()
    assert alike.max() <= 1


def test_a_field_too_stiff_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    model = linear(torch.diag(torch.full((4,), -1e4)))  # backwards it grows by exp(10,000)
    with pytest.raises(Diverged, match=r"dopri5.*too stiff.*larger rtol.*rk4"):
        model.log_prob_estimate(x)
    with pytest.raises(Diverged, match="not finite"):
        model.log_prob_estimate(x, solver="rk4", steps=100)
    monkeypatch.setattr(solvers, "MOST_EVALUATIONS", 300)
    with pytest.raises(Diverged, match="more than 300 evaluations"):
        model.sample(2)


@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_is_of_the_network_alone(network: str) -> None:
    model = make(ODD, **NETWORKS[network])
    if network == "conv":
        model = model.to(memory_format=torch.channels_last)
    x = torch.randint(256, (4, 3, 5, 3), generator=rng()).to(torch.uint8)
    batch = Batch(x).with_(u=torch.rand(4, 3, 5, 3, generator=rng(1)), e=torch.randn(4, ODD.dims, generator=rng(2)))

    def gradient() -> tuple[Tensor, Tensor]:
        loss = model.loss(batch)["loss"]
        return loss.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    loss, exact = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        half, rough = gradient()
        assert model.sample(2).dtype == torch.uint8
    assert half.dtype == rough.dtype == torch.float32
    torch.testing.assert_close(half, loss, rtol=5e-3, atol=0)
    assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_compiled_field_trains_the_same(network: str) -> None:
    model = make(ODD, train_steps=2, **NETWORKS[network])
    x = torch.randint(256, (4, 3, 5, 3), generator=rng()).to(torch.uint8)
    batch = Batch(x).with_(u=torch.rand(4, 3, 5, 3, generator=rng(1)), e=torch.randn(4, ODD.dims, generator=rng(2)))
    before = torch.autograd.grad(model.loss(batch)["loss"], list(model.parameters()))
    model.field.compile(backend="aot_eager", fullgraph=True)
    after = torch.autograd.grad(model.loss(batch)["loss"], list(model.parameters()))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_fields_begin_at_zero_and_have_the_sizes_they_say() -> None:
    for kind, hidden in ((DenseField, (7,)), (ConvField, (7, 3))):
        field = kind(ODD, hidden, "tanh")
        z = torch.randn(2, ODD.dims, generator=rng())
        assert not field(torch.tensor(0.5), z)[0].any()
