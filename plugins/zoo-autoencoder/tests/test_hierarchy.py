"""What holds for every hierarchy of latents: its formulas, its bounds, its codes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from zoo_autoencoder import importance
from zoo_autoencoder.hierarchy import Hierarchy, Layer
from zoo_autoencoder.hvae.config import HVAEConfig
from zoo_autoencoder.hvae.model import HVAE
from zoo_autoencoder.ladder_vae.config import LadderVAEConfig
from zoo_autoencoder.ladder_vae.model import LadderVAE
from zoo_autoencoder.vdvae.config import VDVAEConfig
from zoo_autoencoder.vdvae.model import VDVAE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

BINARY = ImageSpec(channels=1, height=3, width=3, levels=2)
COLOUR = ImageSpec(channels=3, height=2, width=3, levels=5)
MODELS = {
    "hvae": (HVAE, HVAEConfig(hidden=(16,), latents=(3, 2, 2), between=(8,))),
    "ladder_vae": (LadderVAE, LadderVAEConfig(latents=(3, 2, 2), widths=(16, 8, 8), depth=1)),
    "vdvae": (VDVAE, VDVAEConfig(pooling=(2,), up=(1, 1), down=(1, 2), width=8, bottleneck=6, latents=1)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, images: ImageSpec = BINARY, gain: float = 1.0, **changes: object) -> Hierarchy:
    """A model with random weights, `gain` times the usual, so that priors and the likelihood depend on latents."""
    cls, config = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cls(images, config.override(changes)).eval()
        for parameter in model.parameters():
            parameter.data = gain * parameter.data + 0.1 * torch.randn_like(parameter)
    return model


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


def normal(mean: Tensor, log_var: Tensor) -> Normal:
    return Normal(mean, (0.5 * log_var).exp())


@every_model
@torch.no_grad()
def test_log_weight_is_the_ratio_of_densities(name: str) -> None:
    model, x = make(name, gain=1.5).double(), some(BINARY, 6)
    draws = model.infer(model.see(x), torch.randn(6, 4, model.latent, generator=rng(), dtype=torch.float64))
    ratio = model.observation.log_likelihood(x, draws.params)
    for layer in draws.layers:
        p, q = normal(layer.prior_mean, layer.prior_log_var), normal(layer.mean, layer.log_var)
        torch.testing.assert_close(layer.z, layer.mean + q.scale * layer.eps)
        ratio = ratio + (p.log_prob(layer.z) - q.log_prob(layer.z)).sum(-1)
    torch.testing.assert_close(model.log_weight(x, draws), ratio)


@every_model
@torch.no_grad()
def test_divergences_are_the_expectation_of_the_ratio(name: str) -> None:
    """Layer by layer: what is in closed form has the mean of log q/p at the draws."""
    model, x = make(name, gain=1.5).double(), some(BINARY, 3)
    draws = model.infer(model.see(x), torch.randn(3, 8000, model.latent, generator=rng(), dtype=torch.float64))
    closed = model.divergences(draws)
    assert closed.shape == (3, 8000, len(model.layers))
    for t, layer in enumerate(draws.layers):
        difference = closed[..., t] + layer.log_ratio()
        error = difference.std(1) / math.sqrt(difference.shape[1])
        assert (difference.mean(1).abs() < 4.5 * error + 1e-12).all(), t
        assert (error > 1e-6).all()


@every_model
@pytest.mark.parametrize("images", [BINARY, COLOUR])
@torch.no_grad()
def test_bounds_are_ordered(name: str, images: ImageSpec) -> None:
    model, x = make(name, images, gain=1.5), some(images, 3)
    elbo = model.elbo(x, draws=2000, generator=rng())
    singles = model.iwae(x.repeat(2000, 1, 1, 1), 1, generator=rng(1)).view(-1, 3)
    error = 5 * singles.std(0) * (2 / 2000) ** 0.5
    assert ((singles.mean(0) - elbo).abs() < error).all(), "one sample of either is the same"
    few, many = (model.iwae(x.repeat(2000 // n, 1, 1, 1), n, generator=rng(n)).mean() for n in (4, 40))
    assert float(singles.mean()) < float(few) < float(many)


@every_model
@pytest.mark.parametrize("images", [BINARY, COLOUR])
@torch.no_grad()
def test_training_maximises_the_bound_that_evaluation_reports(name: str, images: ImageSpec) -> None:
    """Both literally, from densities at the very noise that the loss was given."""
    for objective in ("elbo", "iwae"):
        model, x = make(name, images, objective=objective, samples=4, warmup=0.0), some(images, 5)
        eps = torch.randn(5, 4, model.latent, generator=rng())
        draws = model.infer(model.see(x), eps)
        fit = model.observation.log_likelihood(x, draws.params)
        log_w = fit + sum(layer.log_ratio() for layer in draws.layers)
        bound = (
            log_w.exp().mean(1).log() if objective == "iwae" else fit.mean(1) - model.divergences(draws).sum(-1).mean(1)
        )
        torch.testing.assert_close(model.loss(Batch(x).with_(eps=eps))["loss"], -bound.mean())


@every_model
def test_bounds_do_not_depend_on_the_size_of_a_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make(name).double(), some(BINARY, 5)
    whole = model.iwae(x, 83, generator=rng()), model.elbo(x, draws=83, generator=rng())
    for samples in (16, 48):
        monkeypatch.setattr(importance, "OUTPUTS", samples * len(x) * model.numbers)
        parts = model.iwae(x, 83, generator=rng()), model.elbo(x, draws=83, generator=rng())
        torch.testing.assert_close(parts, whole)


@every_model
def test_the_encoder_runs_once_per_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, seen = make(name), some(BINARY, 40), []
    see = model.see
    monkeypatch.setattr(model, "see", lambda part: (seen.append(len(part)), see(part))[1])
    monkeypatch.setattr(importance, "OUTPUTS", 64 * model.numbers)
    model.iwae(x, 100, generator=rng())
    assert sum(seen) == len(x) and max(seen) < len(x)


@every_model
@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_every_layer_gets_the_gradient_of_finite_differences(name: str, objective: str) -> None:
    model = make(name, objective=objective, samples=3, warmup=0.0).double()
    batch = Batch(some(BINARY, 4)).with_(eps=torch.randn(4, 3, model.latent, generator=rng(), dtype=torch.float64))
    model.loss(batch, 0.7)["loss"].backward()
    h = 1e-6
    for key, parameter in model.named_parameters():
        gradient, flat = parameter.grad.flatten(), parameter.data.view(-1)
        assert bool(gradient.any()), key
        i = int(gradient.abs().argmax())
        losses = []
        for shift in (h, -2 * h):
            flat[i] += shift
            losses.append(float(model.loss(batch, 0.7)["loss"].detach()))
        flat[i] += h
        assert float(gradient[i]) == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=2e-5, abs=1e-7), key


@every_model
@torch.no_grad()
def test_codes_are_the_latents_in_their_priors_coordinates(name: str) -> None:
    """From the top: u from z and z from u, so that the image generated from u is that of the inferred latents."""
    model, x = make(name, gain=1.5).double(), some(BINARY, 5)
    draws = model.infer(model.see(x), torch.randn(5, 2, model.latent, generator=rng(), dtype=torch.float64))
    u = draws.code()
    assert u.shape == (5, 2, model.latent) and sum(model.layers) == model.latent
    for part, layer in zip(u.split(model.layers, -1), draws.layers):
        torch.testing.assert_close(layer.prior_mean + (0.5 * layer.prior_log_var).exp() * part, layer.z)
    torch.testing.assert_close(model.generate(u.flatten(0, 1)).view_as(draws.params), draws.params)


@every_model
@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_codes_become_images_and_lines_end_at_their_ends(name: str, images: ImageSpec) -> None:
    model, x = make(name, images), some(images, 6)
    z = model.encode(x)
    assert z.shape == (6, model.latent)
    decoded = model.decode(z)
    assert decoded.dtype == torch.uint8 and decoded.shape == x.shape and int(decoded.max()) < images.levels
    assert torch.equal(decoded, model.reconstruct(x))
    path = model.interpolate(x[0], x[1:2], 5)
    assert torch.equal(path[[0, -1]], decoded[:2])
    assert torch.equal(path[2:3], model.decode((z[:1] + z[1:2]) / 2))


@every_model
def test_redrawing_keeps_the_top_layers_and_no_other(name: str) -> None:
    model, x, codes = make(name), some(BINARY, 2), []
    decode = model.decode
    model.decode = lambda z: (codes.append(z), decode(z))[1]  # type: ignore[method-assign]
    for keep in range(len(model.layers) + 1):
        images = model.redraw(x, keep, 3, generator=rng())
        assert images.shape == (6, *BINARY.shape)
        kept, mine = sum(model.layers[:keep]), model.encode(x).repeat_interleave(3, 0)
        assert torch.equal(codes[-1][:, :kept], mine[:, :kept])
        assert (codes[-1][:, kept:] != mine[:, kept:]).all()
    assert torch.equal(images, model.reconstruct(x).repeat_interleave(3, 0))
    with pytest.raises(ZooError, match=f"expected to keep 0 to {len(model.layers)} layers"):
        model.redraw(x, len(model.layers) + 1, 3)
    with pytest.raises(ZooError, match="expected n >= 1"):
        model.redraw(x, 1, 0)


@every_model
@torch.no_grad()
def test_temperature_scales_every_layers_noise(name: str) -> None:
    model = make(name, gain=2.0)
    cold = model.sample(3000, temperature=0.0, generator=rng()).double().mean(0)
    one = model.observation.distribution(model.generate(torch.zeros(1, model.latent)))
    p = one.mean()[0].double()
    assert ((cold - p).abs() < 5 * (p * (1 - p) / 3000).sqrt() + 1e-3).all()
    seen = []
    generate = model.generate
    model.generate = lambda u: (seen.append(u), generate(u))[1]  # type: ignore[method-assign]
    model.sample(500, temperature=0.5, generator=rng())
    spread = torch.cat(seen).std(0)
    assert ((spread > 0.4) & (spread < 0.6)).all()


@every_model
def test_divergences_are_weighed_by_the_warmup(name: str) -> None:
    model = make(name, warmup=0.5)
    weights = []
    loss = model.loss
    model.loss = lambda batch, weight: (weights.append(weight), loss(batch, weight))[1]  # type: ignore[method-assign]
    step = LocalStep(model, steps=8)
    for _ in range(8):
        step.run(Batch(some(BINARY, 4)))
    assert weights == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    batch = Batch(some(BINARY, 4)).with_(eps=torch.randn(4, 1, model.latent, generator=rng()))
    free, whole = loss(batch, 0.0), loss(batch, 1.0)
    torch.testing.assert_close(whole["loss"] - free["loss"], whole["kl"])


@every_model
def test_binary_pixels_start_at_the_frequencies_of_the_first_batch(name: str) -> None:
    """Of a decoder without anything else: the places' own where each has a bias, and their mean in a convolution."""
    cls, config = MODELS[name]
    model, x = cls(BINARY, config), some(BINARY, 30)
    LocalStep(model, lr=0.0, micro_batch=7).run(Batch(x))
    mean = x.float().mean(0).clamp(0.01, 0.99)
    if name == "vdvae":
        torch.testing.assert_close(model.decoder.out.bias, mean.logit().mean((1, 2)))
    else:
        torch.testing.assert_close(model.decoder[-1].bias.sigmoid(), mean.flatten())


@every_model
def test_in_double_precision_micro_batches_start_binary_pixels_at_the_same_frequencies(name: str) -> None:
    x, biases = some(BINARY, 29), []
    for micro_batch in (None, 7):
        model = make(name).double()
        LocalStep(model, lr=0.0, micro_batch=micro_batch).run(Batch(x))
        biases.append(model.decoder.out.bias if name == "vdvae" else model.decoder[-1].bias)
    torch.testing.assert_close(*biases, rtol=0, atol=1e-13)


@every_model
def test_training_reconstructs_what_it_saw(name: str) -> None:
    x = some(BINARY, 3)
    model = make(name, samples=2)
    step = LocalStep(model, lr=1e-2, steps=200)
    for _ in range(200):
        step.run(Batch(x))
    assert float((model.reconstruct(x) == x).double().mean()) > 0.95


@every_model
@pytest.mark.parametrize("images", [BINARY, COLOUR])
def test_bf16_autocast_trains_float32_weights_by_float32_divergences(name: str, images: ImageSpec) -> None:
    model = make(name, images)
    batch = Batch(some(images, 16)).with_(eps=torch.randn(16, 1, model.latent, generator=rng()))
    exact = model.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        out = model.loss(batch)
        draws = model.infer(model.see(batch.x), batch.extra["eps"])
    assert all(part.dtype == torch.float32 for layer in draws.layers for part in layer)
    for key, value in exact.items():
        assert out[key].dtype == torch.float32
        torch.testing.assert_close(out[key], value, rtol=0.02, atol=0.05)
    out["loss"].backward()
    for key, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32 and bool(parameter.grad.isfinite().all()), key


def test_layer_divergences_add_up_to_the_elbo() -> None:
    model, x = make("hvae").double(), some(BINARY, 4)
    drawn = model.infer(model.see(x), importance.noise(torch.empty(4, model.latent, dtype=torch.float64), 16, rng()))
    fit = model.observation.log_likelihood(x, drawn.params).mean()
    total = model.layer_divergences(x, draws=16, generator=rng()).sum()
    torch.testing.assert_close(fit - total, model.elbo(x, draws=16, generator=rng()).mean())


def test_a_layers_terms_for_a_prior_that_is_the_posterior() -> None:
    mean, log_var, eps = torch.randn(3, 3, 5, generator=rng(), dtype=torch.float64).unbind(1)
    z = mean + (0.5 * log_var).exp() * eps
    layer = Layer(z, eps, mean, log_var, mean, log_var)
    torch.testing.assert_close(layer.code(), eps)
    torch.testing.assert_close(layer.divergence(), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(layer.log_ratio(), torch.zeros(3, dtype=torch.float64))


@every_model
@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.iwae(x, 0),
        lambda model, x: model.iwae(x, 1.5),
        lambda model, x: model.elbo(x, draws=1.5),
        lambda model, x: model.layer_divergences(x, draws=0),
        lambda model, x: model.redraw(x, 1, 1.5),
        lambda model, x: model.redraw(x, 1.5, 1),
        lambda model, x: model.interpolate(x[0], x[1], 2.5),
        lambda model, x: model.interpolate(x[0], x[1, :, 1:], 3),
        lambda model, x: model.elbo(x, draws=0),
        lambda model, x: model.sample(0),
        lambda model, x: model.sample(1, temperature=-1.0),
        lambda model, x: model.interpolate(x[0], x[1], 1),
        lambda model, x: model.decode(torch.zeros(3, model.latent + 1)),
        lambda model, x: model.iwae(x.float(), 4),
        lambda model, x: model.elbo(x, labels=torch.zeros(2, dtype=torch.long)),
        lambda model, x: type(model)(COLOUR, model.config.override({"pixels": "bernoulli"})),
    ],
)
def test_bad_input_is_refused_with_a_reason(name: str, call) -> None:
    with pytest.raises(ZooError, match=r"expected|unconditional|Bernoulli"):
        call(make(name), some(BINARY, 2))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *itertools.product(MODELS, [{"samples": 0}, {"components": 0}, {"weight_decay": -1.0}, {"warmup": 1.5}]),
        ("hvae", {"latents": ()}),
        ("hvae", {"latents": (3, 0)}),
        ("hvae", {"between": (0,)}),
        ("hvae", {"warmup": 0.5, "objective": "iwae"}),
        ("ladder_vae", {"latents": (3, 0, 2)}),
        ("ladder_vae", {"widths": (3, 3)}),
        ("ladder_vae", {"depth": 0}),
        ("vdvae", {"pooling": (1,)}),
        ("vdvae", {"up": (1,)}),
        ("vdvae", {"down": (1, 0)}),
        ("vdvae", {"width": 0}),
        ("vdvae", {"bottleneck": 0}),
        ("vdvae", {"latents": 0}),
    ],
)
def test_bad_configs_are_refused_by_name(name: str, change: dict) -> None:
    with pytest.raises(ZooError, match=f"Config.{next(iter(change))}"):
        MODELS[name][1].override(change)
