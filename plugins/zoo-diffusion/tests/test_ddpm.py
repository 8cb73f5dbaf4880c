"""The bound and the sampler of DDPM, each against another way to the same number."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from zoo_diffusion import ddpm as module
from zoo_diffusion.configs import DDPMConfig, UNetConfig
from zoo_diffusion.ddpm import DDPM

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

PIXEL = ImageSpec(channels=1, height=1, width=1, levels=5)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=4)
COLOUR = ImageSpec(channels=3, height=3, width=3, levels=256, classes=4)
UNET = UNetConfig(width=16, multipliers=(1, 2), blocks=1)
VARIANTS = list(itertools.product(("eps", "x", "v"), ("beta", "beta_tilde"), ("linear", "cosine")))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec, scale: float = 0.1, **changes) -> DDPM:
    """A model in float64 with noise on every parameter: a fresh network gives out zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DDPM(images, dataclasses.replace(DDPMConfig(unet=UNET, steps=8), **changes)).double().eval()
        for parameter in model.parameters():
            parameter.data += scale * torch.randn_like(parameter)
    return model


def every(images: ImageSpec) -> Tensor:
    levels = torch.arange(images.levels, dtype=torch.uint8)
    return torch.cartesian_prod(*[levels] * images.dims).view(-1, *images.shape)


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


class Smooth(nn.Module):
    """A network in one line, for laws that hold for any network and need many passes."""

    def forward(self, v: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        t = t.view(-1, 1, 1, 1) / 1000
        return (1 - t) * torch.sin(3 * v) + t * v + 0.3 * v.flip(-1).cos()


def smooth(images: ImageSpec, **changes) -> DDPM:
    model = make(images, **changes)
    model.network = Smooth()
    return model


class Constant(nn.Module):
    """A network that gives out the same number whatever it sees."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, v: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full_like(v, self.value)


def normal(x: Tensor, mean: Tensor | float, variance: Tensor | float) -> Tensor:
    variance = torch.as_tensor(variance, dtype=torch.float64)
    return (-0.5 * (x - mean) ** 2 / variance).exp() / (2 * math.pi * variance).sqrt()


@torch.no_grad()
def exact(model: DDPM, axis: Tensor) -> Tensor:
    """log P of each level of a one-pixel image: x_T -> ... -> x_1 integrated over a grid, then the decoder."""
    step = float(axis[1] - axis[0])
    density = normal(axis, 0.0, 1.0)  # of x_T
    x = axis.view(-1, 1, 1, 1)
    for t in range(model.config.steps, 0, -1):
        times = torch.full((len(axis),), t)
        mean = model.mean(x, times, model.denoised(x, times, None)).flatten()
        if t > 1:  # p(x_{t-1}) = integral of p(x_{t-1} | x_t) p(x_t)
            density = step * normal(axis.unsqueeze(1), mean, model.variance[t]) @ density
    std = float(model.variance[1].sqrt())
    edges = torch.arange(1, PIXEL.levels).double() * 2 / (PIXEL.levels - 1) - 1 - 1 / (PIXEL.levels - 1)
    below = torch.special.ndtr((edges.unsqueeze(1) - mean) / std)  # (K - 1, grid)
    ends = torch.zeros(1, len(axis)).double(), torch.ones(1, len(axis)).double()
    bins = torch.cat([ends[0], below, ends[1]]).diff(dim=0)  # (K, grid)
    return (step * bins @ density).log()


@pytest.mark.parametrize(("prediction", "variance", "schedule"), VARIANTS)
def test_the_bound_is_below_the_exact_likelihood_and_no_probability_is_lost(prediction, variance, schedule) -> None:
    model = smooth(PIXEL, prediction=prediction, variance=variance, schedule=schedule, steps=6)
    axis = torch.linspace(-12, 12, 1001, dtype=torch.float64)
    truth = exact(model, axis)
    assert float(truth.exp().sum()) == pytest.approx(1, abs=1e-4)
    runs = torch.stack([model.elbo(every(PIXEL), generator=rng(k), draws=10) for k in range(20)])  # (20, K)
    error = runs.std(0) / math.sqrt(len(runs))
    assert bool((runs.mean(0) <= truth + 3 * error + 1e-4).all()), (runs.mean(0), truth)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_perfect_denoiser_leaves_the_prior_and_the_decoder(schedule: str) -> None:
    """All data are one image and the network knows it: every divergence is 0, x_0 is decoded from its own value."""
    model = make(PAIR, prediction="x", variance="beta_tilde", schedule=schedule)
    model.network = Constant(-1 / 3)  # level 1 of 0 .. 3
    x = torch.ones(1, *PAIR.shape, dtype=torch.uint8)
    abar, std = float(model.schedule.signal[-1]) ** 2, math.sqrt(float(model.variance[1]))
    prior = sum(0.5 * (abar / 9 + (1 - abar) - 1 - math.log(1 - abar)) for _ in range(2))
    decoder = 2 * math.log(math.erf(1 / 3 / std / math.sqrt(2)))
    for steps in (None, 1, 3):
        elbo = model.elbo(x, generator=rng(), steps=steps)
        assert elbo.dtype == torch.float64
        assert float(elbo[0]) == pytest.approx(decoder - prior, rel=1e-6)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_a_blind_denoiser_scores_what_equation_12_says(variance: str) -> None:
    """eps_theta = 0: |eps - 0|^2 is D on average, so L_{t-1} = D beta^2 / (2 sigma^2 alpha (1 - abar)) + D r(sigma)."""
    model = make(PIXEL, variance=variance, clip=False)
    model.network = Constant(0.0)
    x, steps = every(PIXEL), model.config.steps
    beta = model.schedule.beta.tolist()
    abar = [math.prod(1 - b for b in beta[: t + 1]) for t in range(steps + 1)]
    expected = torch.zeros(len(x)).double()
    for t in range(2, steps + 1):
        tilde = (1 - abar[t - 1]) / (1 - abar[t]) * beta[t]  # below equation 7
        sigma2 = beta[t] if variance == "beta" else tilde
        weight = beta[t] ** 2 / (2 * sigma2 * (1 - beta[t]) * (1 - abar[t]))
        expected += weight + 0.5 * (tilde / sigma2 - 1 - math.log(tilde / sigma2))
    image = x.flatten().double() / 2 - 1
    expected += 0.5 * (abar[-1] * image**2 - abar[-1] - math.log(1 - abar[-1]))
    eps = torch.linspace(-8, 8, 4001).double()
    for i, v in enumerate(image.tolist()):  # the decoder, averaged over x_1; its mean is x_1 / sqrt(alpha_1)
        mean = v + math.sqrt(1 - abar[1]) / math.sqrt(abar[1]) * eps
        std = math.sqrt(float(model.variance[1]))
        low = torch.zeros_like(mean) if i == 0 else torch.special.ndtr((v - 0.25 - mean) / std)
        high = torch.ones_like(mean) if i == 4 else torch.special.ndtr((v + 0.25 - mean) / std)
        nats = torch.where(high > low, (high - low).clamp_min(1e-300).log(), -700.0)
        expected[i] -= float((normal(eps, 0.0, 1.0) * nats).sum() * (eps[1] - eps[0]))
    runs = torch.stack([-model.elbo(x, generator=rng(k), draws=50) for k in range(20)])
    error = runs.std(0) / math.sqrt(len(runs))
    assert bool(((runs.mean(0) - expected).abs() < 5 * error + 1e-6).all()), (runs.mean(0), expected)


def test_stratified_steps_estimate_the_sum_over_all() -> None:
    model, x = smooth(PAIR, steps=12), some(PAIR, 6)
    whole = torch.stack([model.elbo(x, generator=rng(k), draws=20) for k in range(20)])
    for steps in (1, 4, 5):
        part = torch.stack([model.elbo(x, generator=rng(1000 + k), draws=40, steps=steps) for k in range(20)])
        error = ((whole.var(0) + part.var(0)) / 20).sqrt()
        assert bool(((whole.mean(0) - part.mean(0)).abs() < 5 * error).all()), steps


@pytest.mark.parametrize("steps", [1, 3, 4, 11])
def test_strata_hold_every_step_once(steps: int) -> None:
    model = make(PAIR, steps=12)
    times, weights = model.terms(steps, 4000, rng())
    assert times.shape == (steps + 1, 4000) and bool((times[0] == 1).all())
    assert float(weights.sum()) == 12
    last = 1
    for row, weight in zip(times[1:], weights[1:]):
        found, counts = row.unique(return_counts=True)
        assert found.tolist() == list(range(last + 1, last + 1 + int(weight)))  # each range follows on the one before
        assert bool(((counts - 4000 / weight).abs() < 5 * math.sqrt(4000 / weight)).all())
        last += int(weight)
    assert last == 12


@pytest.mark.parametrize("prediction", ["eps", "x", "v"])
def test_training_on_the_bound_descends_what_evaluation_reports(prediction: str) -> None:
    model, x = smooth(PAIR, prediction=prediction, weighting="elbo", clip=False, steps=5), some(PAIR, 4)
    many = x.repeat(4000, 1, 1, 1)
    t = torch.randint(1, 6, (len(many),), generator=rng(2))
    eps = torch.randn(many.shape, generator=rng(3)).double()
    with torch.no_grad():
        parts = Batch(many).with_(t=t, eps=eps).split(400)
        losses = torch.stack([model.loss(part) for part in parts]) * PAIR.dims
    bound = -(model.elbo(x, generator=rng(), draws=1000) + model.prior(x)).mean()
    error = float(losses.std() / math.sqrt(len(losses)))
    assert float(losses.mean()) == pytest.approx(float(bound), abs=5 * error + 1e-3 * abs(float(bound)))


@pytest.mark.parametrize("prediction", ["eps", "x", "v"])
def test_what_the_network_is_taught_is_what_it_is_asked(prediction: str) -> None:
    """A network that gives out its target exactly has found the image behind x_t."""
    model, x = make(COLOUR, prediction=prediction), some(COLOUR, 16)
    t = torch.arange(16) % model.config.steps + 1
    eps = torch.randn(x.shape, generator=rng()).double()
    image = model.scaled(x, eps)
    noisy = model.diffuse(image, t, eps)
    torch.testing.assert_close(model.guess(noisy, t, model.target(image, t, eps)), image, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_samples_follow_the_chain() -> None:
    """One pixel: the last step's mean, rounded, under the density of x_1 that integration over a grid gives."""
    model, n = smooth(PIXEL, steps=4), 40_000
    axis = torch.linspace(-12, 12, 2001, dtype=torch.float64)
    step, density, x = float(axis[1] - axis[0]), normal(axis, 0.0, 1.0), axis.view(-1, 1, 1, 1)
    for t in (4, 3, 2, 1):
        times = torch.full((len(axis),), t)
        mean = model.mean(x, times, model.denoised(x, times, None)).flatten()
        if t > 1:
            density = step * normal(axis.unsqueeze(1), mean, model.variance[t]) @ density
    level = ((mean + 1) * 2).round().clamp(0, 4).long()
    expected = torch.zeros(5).double().index_add_(0, level, step * density)
    found = torch.bincount(model.sample(n, generator=rng()).flatten().long(), minlength=5) / n
    error = (expected * (1 - expected) / n).sqrt()
    assert bool(((found - expected).abs() < 4 * error + 1e-3).all()), (found, expected)


@pytest.mark.parametrize("conditional", [False, True])
def test_results_do_not_depend_on_the_size_of_a_pass(conditional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make(COLOUR, conditional=conditional), some(COLOUR, 5)
    labels = torch.tensor([0, 1, 2, 3, 0]) if conditional else None
    whole = model.elbo(x, labels=labels, generator=rng(), draws=2), model.sample(5, labels=labels, generator=rng())
    model.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    for rows in (5, 17):
        sizes: list[int] = []
        monkeypatch.setattr(module, "OUTPUTS", rows * 16 * 9)
        assert model.rows == rows
        torch.testing.assert_close(model.elbo(x, labels=labels, generator=rng(), draws=2), whole[0])
        assert torch.equal(model.sample(5, labels=labels, generator=rng()), whole[1])
        assert max(sizes) <= rows
    monkeypatch.setattr(module, "OUTPUTS", 2 * 16 * 9)  # the images themselves in parts: other noise, still bounded
    sizes = []
    model.elbo(x, labels=labels, generator=rng())
    assert torch.equal(model.sample(5, labels=labels, generator=rng()), whole[1]) and max(sizes) == 2


def test_a_conditional_model_draws_labels_as_often_as_it_saw_them() -> None:
    model = make(COLOUR, conditional=True)
    with torch.enable_grad():
        step = LocalStep(model, lr=1e-4, micro_batch=3)
        labels = torch.tensor([2, 2, 2, 2, 2, 2, 1, 1])
        step.run(Batch(some(COLOUR, 8), labels=labels))
    assert model.frequencies.share.tolist() == [0, 0.25, 0.75, 0]
    free = model.sample(6, generator=rng(3))
    generator = rng(3)
    labels = model.frequencies.draw(6, generator)
    assert torch.equal(free, model.sample(6, labels=labels, generator=generator))


def test_a_model_learns_two_images() -> None:
    x = torch.tensor([[0, 3], [3, 0]], dtype=torch.uint8).view(2, 1, 1, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DDPM(PAIR, DDPMConfig(unet=UNET, steps=8))
    step = LocalStep(model, lr=5e-3, steps=250)
    for _ in range(250):
        step.run(Batch(x.repeat(32, 1, 1, 1)))
    found = model.sample(200, generator=rng()).view(200, 2).tolist()
    right = [found.count(image) for image in ([0, 3], [3, 0])]
    assert sum(right) > 150 and min(right) > 50
    assert float(model.elbo(x, generator=rng(), draws=50).mean()) > math.log(1 / 16) + 0.5  # 1/2 each would be perfect


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.elbo(x, draws=0),
        lambda model, x: model.elbo(x, steps=0),
        lambda model, x: model.elbo(x, steps=8),
        lambda model, x: model.sample(0),
        lambda model, x: model.sample(2, labels=torch.zeros(2, dtype=torch.long)),
        lambda model, x: DDPM(PAIR, dataclasses.replace(model.config, conditional=True)),
        lambda model, x: LocalStep(make(COLOUR, conditional=True)).run(Batch(x)),
        lambda model, x: make(COLOUR, conditional=True).elbo(x),
    ],
)
def test_bad_input_is_refused_with_a_reason(call) -> None:
    with pytest.raises(ZooError, match=r"expected|unconditional|conditional"):
        call(make(COLOUR), some(COLOUR, 2))


@pytest.mark.parametrize("change", [{"steps": 1}, {"elbo_steps": 0}, {"elbo_steps": 8}])
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"DDPMConfig.{next(iter(change))}"):
        DDPMConfig(**{"steps": 8, **change})
