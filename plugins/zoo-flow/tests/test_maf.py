"""MAF: its blocks against the paper's equations and zuko, sampling by degrees against a pass per pixel."""

from __future__ import annotations

import math

import pytest
import torch
import zuko
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from zoo_flow.maf.config import MAFConfig
from zoo_flow.maf.model import LIMIT, MAF, GaussianMADE, one_dimension
from zoo_flow.masked import MADE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.testing.cases import structured_images

PAIR = ImageSpec(channels=1, height=1, width=2, levels=16)
DIGITS = ImageSpec(channels=1, height=8, width=8, levels=17)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(model: torch.nn.Module, scale: float = 0.5) -> None:
    """Weights that leave nothing at its start and no unit saturated."""
    generator = rng(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator) / max(p.shape[-1], 1) ** (p.dim() > 1))


def block(dims: int, hidden: tuple[int, ...], activation: str = "tanh") -> GaussianMADE:
    made = GaussianMADE(dims, hidden, activation).double()
    random(made, 1.0)
    return made


@pytest.mark.parametrize(("dims", "hidden"), [(2, (5,)), (7, (20, 20)), (9, (4, 30, 11)), (64, (40,))])
def test_parameters_see_the_dimensions_before_their_own(dims: int, hidden: tuple[int, ...]) -> None:
    made = block(dims, hidden).made
    x = torch.randn(1, dims, generator=rng()).double()
    jacobian = torch.func.jacrev(lambda x: made(x)[0])(x)[:, :, 0]  # (P, D, D)
    assert torch.equal(jacobian, jacobian.tril(-1)), "an output sees its own dimension or a later one"
    if min(hidden) >= dims - 1:
        below = torch.ones(dims, dims, dtype=torch.bool).tril(-1)
        assert bool((jacobian[:, below] != 0).all()), "an output misses an earlier dimension"


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu"])
@pytest.mark.parametrize(("dims", "hidden"), [(2, (5,)), (3, (1,)), (9, (4, 30, 11)), (64, (128, 128)), (40, (7,))])
def test_sampling_by_degrees_is_a_pass_for_each_pixel(dims: int, hidden: tuple[int, ...], activation: str) -> None:
    layer = block(dims, hidden, activation)
    u = torch.randn(6, dims, generator=rng()).double()
    x = torch.zeros_like(u)
    for d in range(dims):
        mu, alpha = layer.made(x).unbind(1)
        x[:, d] = u[:, d] * alpha[:, d].exp() + mu[:, d]
    found = layer.inverse(u)
    assert torch.allclose(found, x, rtol=0, atol=1e-10)
    assert torch.allclose(layer(found)[0], u, rtol=0, atol=1e-10)


def test_the_way_back_reads_each_weight_once() -> None:
    """Counted in multiplications: D = 64 dimensions cost one pass of the network, not 64."""
    counter = FlopCounterMode(display=False)
    layer = block(64, (128, 128))
    u = torch.randn(10, 64, generator=rng()).double()
    with counter:
        layer.made(u)
    one_pass = counter.get_total_flops()
    with counter:
        layer.inverse(u)
    assert 0 < counter.get_total_flops() <= one_pass


def literal(layer: GaussianMADE, x: Tensor) -> tuple[Tensor, Tensor]:
    """u_d = (x_d - mu_d) exp(-alpha_d), each mu_d and alpha_d from x_1 .. x_{d-1} alone, by the degrees of MADE."""
    made, dims = layer.made, x.shape[1]
    u, log_det = torch.empty_like(x), x.new_zeros(len(x))
    for n, d in ((n, d) for n in range(len(x)) for d in range(dims)):
        h, below = x[n], torch.arange(1, dims + 1)
        for linear, degrees in zip(made.hidden, made.degrees):
            rows = [
                linear.bias[k] + sum(linear.weight[k, j] * h[j] for j in range(len(h)) if below[j] <= degrees[k])
                for k in range(len(degrees))
            ]
            h, below = torch.stack(rows).tanh(), degrees
        mu, alpha = (
            made.output.bias[p * dims + d]
            + sum(made.output.weight[p * dims + d, j] * h[j] for j in range(len(h)) if below[j] < d + 1)
            for p in (0, 1)
        )
        u[n, d] = (x[n, d] - mu) * torch.exp(-alpha)
        log_det[n] -= alpha
    return u, log_det


@torch.no_grad()
def test_a_block_is_the_papers() -> None:
    layer = block(5, (6, 7))
    x = torch.randn(3, 5, generator=rng()).double()
    for found, expected in zip(layer(x), literal(layer, x)):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("images", [PAIR, DIGITS], ids=str)
def test_zuko_with_equal_weights_has_equal_densities_and_samples(images: ImageSpec) -> None:
    """zuko's layers take our weights and masks; its affine map takes scale and shift: exp(-alpha), -mu exp(-alpha)."""
    dims = images.dims
    model = MAF(images, MAFConfig(blocks=3, hidden=(70, 80))).double()
    random(model)

    def univariate(mu: Tensor, alpha: Tensor) -> zuko.transforms.MonotonicAffineTransform:
        scale = -alpha / (1 - alpha.abs() / math.log(1000))  # which zuko limits smoothly, to log 1000
        return zuko.transforms.MonotonicAffineTransform(-mu * (-alpha).exp(), scale)

    theirs = []
    for i, layer in enumerate(model.layers[1::2]):
        order = torch.arange(dims) if i % 2 == 0 else torch.arange(dims).flip(0)
        options = {"hidden_features": (70, 80), "univariate": univariate}
        transform = zuko.flows.MaskedAutoregressiveTransform(dims, order=order, **options).double()
        linears = [m for m in transform.hyper if isinstance(m, zuko.nn.MaskedLinear)]
        for j, (mine, other) in enumerate(zip([*layer.made.hidden, layer.made.output], linears)):
            weight, bias, mask = mine.weight, mine.bias, mine.mask.bool()
            if j == 2:  # zuko has the numbers of a dimension together
                weight, bias, mask = (t.unflatten(0, (2, dims)).transpose(0, 1) for t in (weight, bias, mask))
                if i % 2:
                    weight, bias, mask = weight.flip(0), bias.flip(0), mask.flip(0)
                weight, bias, mask = (t.flatten(0, 1) for t in (weight, bias, mask))
            if j == 0 and i % 2:
                weight, mask = weight.flip(1), mask.flip(1)
            other.weight.copy_(weight)
            other.bias.copy_(bias)
            other.mask = mask
        theirs.append(transform)
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(dims).double(), torch.ones(dims).double(), buffer=True
    )
    flow = zuko.flows.Flow(theirs, base)()

    v = torch.rand(20, *images.shape, generator=rng(2)).double()
    y, of_pixels = model.pixels(v)
    x, of_norm = model.layers[0](y.flatten(1))
    assert torch.allclose(model.log_density(v), flow.log_prob(x) + of_norm + of_pixels, rtol=0, atol=1e-9)
    z = torch.randn(4, dims, generator=rng(3)).double()
    back = flow.transform.inv(z)
    assert torch.allclose(model.layers[0](model.untransform(z).flatten(1))[0], back, rtol=0, atol=1e-6)


def test_fresh_blocks_are_the_identity_and_the_first_batch_sets_the_scale() -> None:
    x, _ = structured_images(DIGITS, 300)
    model = MAF(DIGITS, MAFConfig(hidden=(80,)))
    step = LocalStep(model, lr=1e-12)
    step.run(Batch(x))
    z = model.encode(x)
    assert bool((z.mean(0).abs() < 0.05).all())
    assert bool(((z.std(0) - 1).abs() < 0.1).all())


def test_one_block_learns_a_linear_gaussian_to_its_entropy() -> None:
    """x_2 given x_1 is normal with a mean linear in x_1: a MADE without bends finds it, and no density does better."""
    images = ImageSpec(channels=1, height=1, width=2, levels=256)
    noise = torch.randn(20_000, 2, generator=rng()).double()
    v = torch.stack([0.5 + 0.08 * noise[:, 0], 0.5 + 0.06 * noise[:, 0] + 0.03 * noise[:, 1]], 1)
    x = (v * 256).floor().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 2)
    model = MAF(images, MAFConfig(blocks=1, hidden=(16,), pixels="centre"))
    step = LocalStep(model, lr=2e-2, steps=150)
    for i in range(150):
        step.run(Batch(x[i % 20 * 1000 :][:1000]))
    entropy = math.log(2 * math.pi * math.e) + math.log(0.08 * 0.03)
    found = -float(model.log_density(v.float().view(-1, 1, 1, 2)).mean().detach())
    assert entropy - 0.03 < found < entropy + 0.05


def test_log_scales_are_cut_off() -> None:
    parameters = torch.tensor([[0.0, 0.0], [1e4, -1e4]])
    x = one_dimension(torch.ones(2), parameters.clone())
    assert torch.allclose(x, torch.tensor([LIMIT, -LIMIT]).exp())


def test_numbers_far_outside_stay_numbers() -> None:
    model = MAF(PAIR, MAFConfig(hidden=(8,)))
    random(model, 3.0)
    assert model.sample(500, temperature=30.0, generator=rng()).dtype == torch.uint8
    v = torch.tensor([[0.0, 1.0], [-1.0, 0.5], [5.0, 9.0]]).view(3, 1, 1, 2)
    density = model.log_density(v)
    assert bool(density[0].isfinite())
    assert bool((density[1:] == -math.inf).all())


def test_bad_input() -> None:
    with pytest.raises(ZooError, match="2 pixels or more"):
        MAF(ImageSpec(channels=1, height=1, width=1), MAFConfig())
    with pytest.raises(ZooError, match="blocks: expected at least 1"):
        MAFConfig(blocks=0)
    with pytest.raises(ZooError, match="hidden: expected one or more widths"):
        MAFConfig(hidden=())
    with pytest.raises(ZooError, match="at least 2 images"):
        LocalStep(MAF(PAIR, MAFConfig(hidden=(4,)))).run(Batch(structured_images(PAIR, 1)[0]))


def test_half_precision_and_compilation_are_of_the_networks_alone() -> None:
    x = structured_images(DIGITS, 20)[0]
    model = MAF(DIGITS, MAFConfig(blocks=2, hidden=(80, 80)))
    random(model)
    batch = Batch(x).with_(u=torch.rand(x.shape, generator=rng()))
    exact, drawn = model.loss(batch), model.sample(5, generator=rng())
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.loss(batch)
        assert torch.equal(model.sample(5, generator=rng()), drawn), "the way back is not rounded"
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=0)
    for made in (m for m in model.modules() if isinstance(m, MADE)):
        made.compile(backend="aot_eager")
    torch.testing.assert_close(model.loss(batch), exact, rtol=1e-5, atol=1e-5)
