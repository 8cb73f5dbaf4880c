"""Pixel distributions: they sum to 1, sample what they score, and stay finite where float32 is hard."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from zoo_core.errors import ZooError
from zoo_core.pixels import Bernoulli, Categorical, DiscretizedLogisticMixture, from_parameters, parameters
from zoo_core.specs import ImageSpec

LEVELS = (2, 3, 17, 256)
KINDS = [("bernoulli", 1), ("categorical", 1), ("logistic", 1), ("logistic", 5)]


def grey(levels: int) -> ImageSpec:
    return ImageSpec(channels=1, height=2, width=3, levels=levels)


def random_parameters(kind, images, components=1, n=4, scale=1.0, dtype=torch.float32):
    shape = (n, parameters(kind, images, components), images.height, images.width)
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def every_level(distribution, n, images):
    """log P of each level at each pixel of a grey image, (K, N, 1, H, W)."""
    shape = (n, *images.shape)
    levels = (torch.full(shape, k, dtype=torch.uint8) for k in range(images.levels))
    return torch.stack([distribution.log_prob(x) for x in levels])


def all_pixels(images: ImageSpec) -> torch.Tensor:
    """Every value of one pixel with all its channels, (K^C, C, 1, 1)."""
    values = itertools.product(range(images.levels), repeat=images.channels)
    return torch.tensor(list(values), dtype=torch.uint8)[:, :, None, None]


@pytest.mark.parametrize("scale", [0.3, 1, 10, 1e4])
@pytest.mark.parametrize(
    ("kind", "components", "levels"),
    [(*kind, levels) for kind in KINDS for levels in LEVELS if levels == 2 or kind[0] != "bernoulli"],
)
def test_sums_to_one(kind, components, levels, scale):
    images = grey(levels)
    distribution = from_parameters(kind, random_parameters(kind, images, components, scale=scale), images, components)
    total = every_level(distribution, 4, images).double().exp().sum(0)
    assert (total - 1).abs().max() < 1e-5


@pytest.mark.parametrize(("kind", "components"), KINDS[1:])
def test_colour_joint_sums_to_one_and_channels_are_conditioned_in_order(kind, components):
    images = ImageSpec(channels=3, height=1, width=1, levels=3)
    x = all_pixels(images)
    params = random_parameters(kind, images, components, n=1).expand(len(x), -1, -1, -1)
    log_prob = from_parameters(kind, params, images, components).log_prob(x)
    assert log_prob.shape == x.shape
    assert float(log_prob.double().sum((1, 2, 3)).exp().sum()) == pytest.approx(1, abs=1e-5)
    table = log_prob.squeeze().view(3, 3, 3, 3)  # (R, G, B, channel)
    assert torch.allclose(table[..., 0], table[:, :1, :1, 0].expand(3, 3, 3))  # red knows neither green nor blue
    assert torch.allclose(table[..., 1], table[:, :, :1, 1].expand(3, 3, 3), atol=1e-6)
    assert torch.allclose(table[..., 2].exp().sum(2), torch.ones(3, 3), atol=1e-5)
    if kind == "logistic":
        assert (table[0, :, 0, 1] - table[2, :, 0, 1]).abs().max() > 1e-2  # green knows red
        assert (table[0, 0, :, 2] - table[0, 2, :, 2]).abs().max() > 1e-2  # blue knows green


def test_logistic_bins_are_differences_of_the_logistic_function():
    """Equation 2 as it stands, in float64 where it can be computed."""
    levels, mean, log_scale = 17, 0.2, -2.0
    images = ImageSpec(channels=1, height=1, width=1, levels=levels)
    params = torch.tensor([mean, log_scale], dtype=torch.float64).view(1, 2, 1, 1)
    ours = every_level(from_parameters("logistic", params, images), 1, images).flatten()
    v, h = torch.linspace(-1, 1, levels, dtype=torch.float64), 1 / (levels - 1)
    above, below = ((v + sign * h - mean) / math.exp(log_scale) for sign in (1, -1))
    upper, lower = above.sigmoid(), below.sigmoid()
    upper[-1], lower[0] = 1, 0
    assert torch.allclose(ours.exp(), upper - lower, atol=1e-12)


def test_conditional_means_are_those_of_equation_3():
    """mu_R, mu_G + a r, mu_B + b r + g g, in the authors' order of coefficients."""
    levels = 256
    means = torch.tensor([0.1, -0.2, 0.3]).view(1, 3, 1, 1, 1)
    a, b, g = 0.5, -0.25, 0.75
    coefficients = torch.tensor([a, b, g]).view(1, 3, 1, 1, 1)
    scales = torch.full((1, 3, 1, 1, 1), -3.0)
    joint = DiscretizedLogisticMixture(torch.zeros(1, 1, 1, 1), means, scales, levels, coefficients)
    x = torch.tensor([40, 200, 90], dtype=torch.uint8).view(1, 3, 1, 1)
    red, green, _ = (x.double() * 2 / 255 - 1).flatten().tolist()
    shifted = means + torch.tensor([0, a * red, b * red + g * green]).view(1, 3, 1, 1, 1)
    apart = DiscretizedLogisticMixture(torch.zeros(1, 1, 1, 1), shifted, scales, levels)
    assert torch.allclose(joint.log_prob(x), apart.log_prob(x), atol=1e-5)


@pytest.mark.parametrize("extreme", [-1e30, -1e4, -100.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("components", [1, 3])
def test_extreme_scales_and_means_are_finite_with_finite_gradients(levels, components, extreme):
    images = ImageSpec(channels=2, height=1, width=1, levels=levels)
    x = torch.tensor([0, levels // 2, levels - 1], dtype=torch.uint8)
    x = torch.cartesian_prod(x, x)[:, :, None, None]
    count = parameters("logistic", images, components)
    for place in range(count):
        params = torch.zeros(len(x), count, 1, 1)
        params[:, place] = extreme
        params.requires_grad_()
        log_prob = from_parameters("logistic", params, images, components).log_prob(x)
        assert log_prob.isfinite().all()
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("logit", [-1e4, -50.0, 50.0, 1e4])
def test_extreme_logits_are_finite_with_finite_gradients(logit):
    for distribution, kind in ((Bernoulli, (4,)), (Categorical, (4, 2))):
        logits = torch.full(kind, logit).requires_grad_()
        shifted = logits + torch.tensor([0.0, 1.0]) * logit if kind == (4, 2) else logits
        log_prob = distribution(shifted).log_prob(torch.tensor([0, 1, 0, 1]))
        (gradient,) = torch.autograd.grad(log_prob.sum(), logits)
        assert log_prob.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("levels", LEVELS)
def test_uniform_scores_exactly_log_k(levels):
    x = torch.arange(levels, dtype=torch.uint8)
    expected = torch.full((levels,), -math.log(levels))
    assert torch.allclose(Categorical(torch.zeros(levels, levels)).log_prob(x), expected, rtol=2e-7, atol=0)
    if levels == 2:
        assert torch.allclose(Bernoulli(torch.zeros(2)).log_prob(x), expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize(("kind", "components"), KINDS)
def test_samples_follow_log_prob(kind, components):
    """Pearson's chi-square of 40,000 samples of one pixel against its probabilities."""
    images = ImageSpec(channels=3, height=1, width=1, levels=2 if kind == "bernoulli" else 3)
    n, x = 40_000, all_pixels(images)
    params = random_parameters(kind, images, components, n=1)
    p = from_parameters(kind, params.expand(len(x), -1, -1, -1), images, components).log_prob(x).sum((1, 2, 3)).exp()
    samples = from_parameters(kind, params.expand(n, -1, -1, -1), images, components).sample(
        torch.Generator().manual_seed(1)
    )
    assert samples.dtype == torch.uint8 and samples.shape == (n, *images.shape)
    place = images.levels ** torch.arange(images.channels - 1, -1, -1)
    counts = torch.bincount((samples.flatten(1) * place).sum(1), minlength=len(x))
    chi_square = float(((counts - n * p).square() / (n * p).clamp_min(1)).sum())
    assert chi_square < len(x) - 1 + 5 * math.sqrt(2 * (len(x) - 1))


@pytest.mark.parametrize(("kind", "components"), KINDS)
def test_mean_is_the_expected_level(kind, components):
    images = grey(2 if kind == "bernoulli" else 17)
    distribution = from_parameters(kind, random_parameters(kind, images, components), images, components)
    p = every_level(distribution, 4, images).exp()
    expected = (p * torch.arange(images.levels).view(-1, 1, 1, 1, 1)).sum(0)
    assert torch.allclose(distribution.mean(), expected, atol=1e-4)


def test_icdf_inverts_the_cumulative_distribution():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cumulative = logits.softmax(-1).cumsum(-1)
    categorical = Categorical(logits)
    for k in range(5):
        before = cumulative[:, k - 1] if k else torch.zeros(7)
        inside = [before + 1e-9, (before + cumulative[:, k]) / 2, cumulative[:, k] - 1e-9]
        assert all((categorical.icdf(u) == k).all() for u in inside)
    bernoulli = Bernoulli(logits[:, 1] - logits[:, 0])
    two = Categorical(logits[:, :2])
    u = torch.rand(1000, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wide = Categorical(two.logits.expand(1000, 7, 2))
    assert torch.equal(bernoulli.icdf(u), wide.icdf(u))


def test_icdf_never_returns_a_level_without_mass():
    logits = torch.tensor([-math.inf, 0.3, -math.inf, 1.0, -math.inf])
    u = torch.cat([torch.zeros(1), torch.rand(10_000), torch.tensor([1 - 2**-24])])
    assert set(Categorical(logits.expand(len(u), 5)).icdf(u).tolist()) == {1, 3}


def test_categorical_logits_broadcast_over_a_batch():
    logits, x = torch.randn(6, 4), torch.randint(4, (10, 6), dtype=torch.uint8)
    assert torch.equal(Categorical(logits).log_prob(x), Categorical(logits.expand(10, 6, 4)).log_prob(x))


def test_half_precision_parameters_are_scored_in_float32():
    logits = torch.randn(5, 3).bfloat16()
    assert Categorical(logits).log_prob(torch.zeros(5, dtype=torch.uint8)).dtype == torch.float32
    assert Bernoulli(logits).log_prob(torch.zeros(5, 3, dtype=torch.uint8)).dtype == torch.float32


def test_no_parameter_is_without_effect():
    """A single logistic has no mixture weight; every number that a network gives out has a gradient."""
    images = ImageSpec(channels=3, height=1, width=1, levels=17)
    x = torch.tensor([3, 9, 12], dtype=torch.uint8).view(1, 3, 1, 1)
    for components in (1, 4):
        params = random_parameters("logistic", images, components, n=1).requires_grad_()
        log_prob = from_parameters("logistic", params, images, components).log_prob(x)
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert (gradient != 0).all()


def test_wrong_requests_say_what_to_do():
    images = grey(17)
    with pytest.raises(ZooError, match="2 levels, not 17"):
        parameters("bernoulli", images)
    with pytest.raises(ZooError, match="did you mean 'logistic'"):
        parameters("logistics", images)  # type: ignore[arg-type]
    with pytest.raises(ZooError, match="at least 1 component, got 0"):
        parameters("logistic", images, 0)
    with pytest.raises(ZooError, match=r"need parameters \(N, 17, H, W\), got \(1, 16, 2, 3\)"):
        from_parameters("categorical", torch.zeros(1, 16, 2, 3), images)
