"""The formulas of the VAE papers, each against another way to the same number."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from zoo_autoencoder import importance
from zoo_autoencoder.gaussian import kl, reparameterise
from zoo_autoencoder.observation import bernoulli_log_prob
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

BINARY = ImageSpec(channels=1, height=3, width=3, levels=2)
COLOUR = ImageSpec(channels=3, height=2, width=2, levels=5)
SMALL = VAEConfig(hidden=(16,), latent=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(images: ImageSpec, config: VAEConfig = SMALL, gain: float = 1.0) -> VAE:
    """A VAE with random weights, `gain` times the usual, so that the likelihood depends on z."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(images, config).eval()
        for parameter in model.parameters():
            parameter.data = gain * parameter.data + 0.1 * torch.randn_like(parameter)
    return model


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


@torch.no_grad()
def exact(model: VAE, x: Tensor) -> Tensor:
    """log P(x) for two latent dimensions: p(x|z) p(z) summed over a grid, which is accurate for smooth functions."""
    axis = torch.linspace(-6.5, 6.5, 131, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)  # (G, 2)
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(1) + 2 * math.log(float(axis[1] - axis[0]))
    likelihood = model.log_likelihood(x, z.to(torch.get_default_dtype()).expand(len(x), -1, -1))  # (N, G)
    return (likelihood.double() + log_prior).logsumexp(1)


@torch.no_grad()
def fit(model: VAE, x: Tensor, steps: int = 40) -> VAE:
    with torch.enable_grad():
        step = LocalStep(model, lr=1e-2, steps=steps)
        for _ in range(steps):
            step.run(Batch(x))
    return model


def test_divergence_is_that_of_two_gaussians() -> None:
    mean, log_var = 2 * torch.randn(7, 5, generator=rng()).double(), torch.randn(7, 5, generator=rng(1)).double()
    q = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(kl(mean, log_var), kl_divergence(q, p))
    eps = torch.randn(7, 20_000, 5, generator=rng(2)).double()
    z = reparameterise(mean, log_var, eps)
    difference = (q.log_prob(z.transpose(0, 1)) - p.log_prob(z.transpose(0, 1))).T  # (7, 20,000)
    error = difference.std(1) / math.sqrt(difference.shape[1])
    assert ((difference.mean(1) - kl(mean, log_var)).abs() < 4 * error).all()


def test_log_weight_is_the_ratio_of_densities() -> None:
    model, x = make(BINARY).double(), some(BINARY, 6)
    mean, log_var = model.posterior(x)
    eps = torch.randn(6, 4, 2, generator=rng()).double()
    z = reparameterise(mean, log_var, eps)
    q = Normal(mean.unsqueeze(1), (0.5 * log_var).exp().unsqueeze(1))
    ratio = model.log_likelihood(x, z) + Normal(0.0, 1.0).log_prob(z).sum(-1) - q.log_prob(z).sum(-1)
    torch.testing.assert_close(model.log_weight(x, mean, log_var, eps), ratio)


@pytest.mark.parametrize("dims", [1, 99, 100, 784])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_bernoulli_shortcut_is_binary_cross_entropy(dims: int, scale: float) -> None:
    logits = scale * torch.randn(3, 4, dims, generator=rng())
    logits[0, 0, 0] = 0.0
    x = torch.randint(2, (3, dims), generator=rng(1), dtype=torch.uint8)
    target = x.double().unsqueeze(1).expand(-1, 4, -1)
    truth = -F.binary_cross_entropy_with_logits(logits.double(), target, reduction="none").sum(-1)
    for value in (bernoulli_log_prob(x, logits), bernoulli_log_prob(x, logits.clone().requires_grad_())):
        torch.testing.assert_close(value.detach().double(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "pixels"),
    [(BINARY, "bernoulli"), (BINARY, "categorical"), (COLOUR, "categorical"), (COLOUR, "logistic")],
)
def test_bounds_rise_to_the_exact_likelihood(images: ImageSpec, pixels: str) -> None:
    config = SMALL.override({"pixels": pixels, "components": 2 if pixels == "logistic" else 1})
    x = some(images, 4)
    model = fit(make(images, config, gain=2.0), x)
    truth = exact(model, x).mean()
    elbo = model.elbo(x, draws=4096, generator=rng(2)).mean()
    ladder = [elbo]
    for n in (2, 16, 128):
        runs = torch.stack([model.iwae(x, n, generator=rng(100 * n + k)).mean() for k in range(max(8, 512 // n))])
        ladder.append(runs.mean())
    assert all(low < high for low, high in itertools.pairwise(ladder)), ladder
    assert ladder[-1] <= truth + 1e-2
    assert model.iwae(x, 20_000, generator=rng(3)).mean() == pytest.approx(float(truth), abs=2e-2)
    assert elbo < truth - 1e-2  # a ladder without a gap would prove nothing


def test_one_sample_of_either_bound_is_the_same_in_expectation() -> None:
    model, x = make(BINARY), some(BINARY, 4)
    single = torch.stack([model.iwae(x, 1, generator=rng(k)) for k in range(1000)])  # (1000, 4)
    error = single.std(0) / math.sqrt(len(single))
    assert ((single.mean(0) - model.elbo(x, draws=20_000, generator=rng())).abs() < 5 * error).all()


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_gradient_of_the_loss_is_that_of_finite_differences(objective: str, images: ImageSpec) -> None:
    config = VAEConfig(hidden=(3,), latent=2, samples=3, objective=objective)
    model = make(images, config).double()
    batch = Batch(some(images, 5)).with_(eps=torch.randn(5, 3, 2, generator=rng()).double())
    model.loss(batch)["loss"].backward()
    h = 1e-6
    for parameter in model.parameters():
        gradient, flat = parameter.grad.flatten(), parameter.data.view(-1)
        for i in range(0, len(flat), 1 + len(flat) // 7):
            losses = []
            for shift in (h, -2 * h):
                flat[i] += shift
                losses.append(float(model.loss(batch)["loss"].detach()))
            flat[i] += h
            assert float(gradient[i]) == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_training_maximises_the_bound_that_evaluation_reports(objective: str) -> None:
    model = make(BINARY, VAEConfig(hidden=(16,), latent=2, samples=8, objective=objective))
    x = some(BINARY, 4)
    many = Batch(x.repeat(1000, 1, 1, 1))
    with torch.no_grad():
        loss = model.loss(many.with_(eps=torch.randn(len(many), 8, 2, generator=rng())))["loss"]
    if objective == "elbo":
        bound = model.elbo(x, draws=20_000, generator=rng(1)).mean()
    else:
        bound = torch.stack([model.iwae(x, 8, generator=rng(k)).mean() for k in range(500)]).mean()
    assert -float(loss) == pytest.approx(float(bound), abs=5e-2)


@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_bounds_do_not_depend_on_the_size_of_a_pass(images: ImageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make(images), some(images, 5)
    whole = model.iwae(x, 1003, generator=rng()), model.elbo(x, draws=1003, generator=rng())
    for samples in (16, 160):
        monkeypatch.setattr(importance, "OUTPUTS", samples * len(x) * model.observation.outputs)
        parts = model.iwae(x, 1003, generator=rng()), model.elbo(x, draws=1003, generator=rng())
        torch.testing.assert_close(parts[0], whole[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(parts[1], whole[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [64, 4096])
def test_a_pass_stays_small_for_any_number_of_samples(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = make(BINARY), []
    monkeypatch.setattr(importance, "OUTPUTS", 64 * model.observation.outputs)
    model.decoder.register_forward_hook(lambda _, inputs, output: sizes.append(output.numel()))
    model.iwae(some(BINARY, 50), n, generator=rng())
    model.elbo(some(BINARY, 50), draws=n, generator=rng())
    model.sample(n, generator=rng())
    model.decode(torch.zeros(n, 2))
    assert max(sizes) <= importance.OUTPUTS


def test_sampling_follows_the_prior_and_its_temperature() -> None:
    model = make(BINARY, gain=3.0)
    cold = model.sample(4000, temperature=0.0, generator=rng()).double().mean(0)  # all from z = 0
    expected = model.distribution(torch.zeros(1, 2)).mean()[0].double()
    assert ((cold - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt() + 1e-3).all()
    axis = torch.linspace(-6, 6, 121)
    z = torch.cartesian_prod(axis, axis)
    weight = Normal(0.0, 1.0).log_prob(z).sum(1).softmax(0)
    with torch.no_grad():
        expected = (weight.view(-1, 1, 1, 1) * model.distribution(z).mean()).sum(0).double()
    warm = model.sample(4000, generator=rng()).double().mean(0)
    assert ((warm - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_codes_become_images_and_lines_end_at_their_ends(images: ImageSpec) -> None:
    model, x = make(images), some(images, 6)
    z = model.encode(x)
    assert z.shape == (6, 2)
    decoded = model.decode(z)
    assert decoded.dtype == torch.uint8 and decoded.shape == x.shape and int(decoded.max()) < images.levels
    assert torch.equal(decoded, model.reconstruct(x))
    path = model.interpolate(x[0], x[1:2], 5)
    assert path.shape == (5, *images.shape)
    assert torch.equal(path[[0, -1]], decoded[:2])
    assert torch.equal(path[2:3], model.decode((z[:1] + z[1:2]) / 2))


def test_binary_pixels_start_at_the_frequencies_of_the_first_batch() -> None:
    model, x = VAE(BINARY, SMALL), some(BINARY, 30)
    step = LocalStep(model, lr=0.0, micro_batch=7)
    step.run(Batch(x))
    torch.testing.assert_close(model.decoder[-1].bias.sigmoid(), x.float().mean(0).flatten().clamp(0.01, 0.99))
    step.run(Batch(1 - x))  # once only
    torch.testing.assert_close(model.decoder[-1].bias.sigmoid(), x.float().mean(0).flatten().clamp(0.01, 0.99))


def test_in_double_precision_micro_batches_start_binary_pixels_at_the_same_frequencies() -> None:
    x, biases = some(BINARY, 29), []
    for micro_batch in (None, 7):
        model = make(BINARY).double()
        LocalStep(model, lr=0.0, micro_batch=micro_batch).run(Batch(x))
        biases.append(model.decoder[-1].bias)
    torch.testing.assert_close(*biases, rtol=0, atol=1e-13)


@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_a_model_in_double_precision_draws(images: ImageSpec) -> None:
    drawn = make(images).double().sample(5, generator=rng())
    assert drawn.dtype == torch.uint8 and drawn.shape == (5, *images.shape)


def test_training_reconstructs_what_it_saw() -> None:
    x = some(BINARY, 4)
    model = fit(make(BINARY), x, steps=400)
    assert torch.equal(model.reconstruct(x), x)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.iwae(x, 0),
        lambda model, x: model.iwae(x, 1.5),
        lambda model, x: model.elbo(x, draws=1.5),
        lambda model, x: model.elbo(x, draws=0),
        lambda model, x: model.sample(0),
        lambda model, x: model.sample(1, temperature=-1.0),
        lambda model, x: model.interpolate(x[0], x[1], 1),
        lambda model, x: model.interpolate(x, x, 3),
        lambda model, x: model.decode(torch.zeros(3, 7)),
        lambda model, x: model.iwae(x.float(), 4),
        lambda model, x: model.elbo(x, labels=torch.zeros(2, dtype=torch.long)),
        lambda model, x: VAE(COLOUR, VAEConfig(pixels="bernoulli")),
    ],
)
def test_bad_input_is_refused_with_a_reason(call) -> None:
    with pytest.raises(ZooError, match=r"expected|unconditional|Bernoulli"):
        call(make(BINARY), some(BINARY, 2))


@pytest.mark.parametrize(
    "change",
    [{"latent": 0}, {"hidden": (0,)}, {"samples": 0}, {"components": 0}, {"dropout": 1.0}, {"weight_decay": -1.0}],
)
def test_bad_configs_are_refused_by_name(change: dict) -> None:
    with pytest.raises(ZooError, match=f"VAEConfig.{next(iter(change))}"):
        dataclasses.replace(SMALL, **change)
