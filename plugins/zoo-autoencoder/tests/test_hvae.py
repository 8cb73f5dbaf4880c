"""The Markovian hierarchy: with one layer a VAE, linear and Gaussian in closed form, with two latents by quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal
from zoo_autoencoder.hierarchy import Hierarchy
from zoo_autoencoder.hvae.config import HVAEConfig
from zoo_autoencoder.hvae.model import HVAE
from zoo_autoencoder.ladder_vae.config import LadderVAEConfig
from zoo_autoencoder.ladder_vae.model import LadderVAE
from zoo_autoencoder.vae.config import VAEConfig
from zoo_autoencoder.vae.model import VAE

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import to_unit
from zoo_core.testing.cases import float64

IMAGES = ImageSpec(channels=1, height=2, width=2, levels=16)
BINARY = ImageSpec(channels=1, height=3, width=3, levels=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(images: ImageSpec, n: int) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(1), dtype=torch.uint8)


# ---- one layer is a VAE


@pytest.mark.parametrize(("objective", "samples"), [("elbo", 1), ("elbo", 3), ("iwae", 4)])
@pytest.mark.parametrize("images", [BINARY, IMAGES])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_with_one_layer_all_numbers_are_those_of_vae(
    network: str, images: ImageSpec, objective: str, samples: int
) -> None:
    shared = {"network": network, "hidden": (8,), "widths": (4,), "objective": objective, "samples": samples}
    x = some(images, 5)
    with float64():
        torch.manual_seed(0)
        vae, hvae = VAE(images, VAEConfig(latent=3, **shared)), HVAE(images, HVAEConfig(latents=(3,), **shared))
        hvae.load_state_dict(vae.state_dict())  # strict: the same names
        for model in (vae, hvae):
            step = LocalStep(model, lr=1e-2)
            model.found = [step.run(Batch(x)) for _ in range(3)]
        for one, two in zip(vae.found, hvae.found):
            torch.testing.assert_close(one["loss"], two["loss"])
            torch.testing.assert_close(one["kl"], two["kl"])
        for a, b in ((m.state_dict(), n.state_dict()) for m, n in [(vae, hvae)]):
            assert all(torch.allclose(a[key].double(), b[key].double(), atol=1e-10) for key in a)
        for bound in (lambda m: m.elbo(x, draws=7, generator=rng()), lambda m: m.iwae(x, 37, generator=rng())):
            torch.testing.assert_close(bound(vae), bound(hvae))
        torch.testing.assert_close(vae.encode(x), hvae.encode(x))
        assert torch.equal(vae.reconstruct(x), hvae.reconstruct(x))
        z = torch.randn(6, 3, generator=rng())
        assert torch.equal(vae.decode(z), hvae.decode(z))


# ---- linear and Gaussian: z_2 ~ N(0, 1), z_1 | z_2 ~ N(a z_2 + b, s^2), v | z_1 ~ N(w z_1 + c, noise^2 I)

A, B, S = 0.8, 0.3, 0.5
W, C, NOISE = torch.tensor([0.7, -0.4, 0.2, 0.5], dtype=torch.float64), 0.4, 0.3


class GaussianPixels:
    """Stands for `Observation`: pixels at [0, 1] with Gaussian noise."""

    def log_likelihood(self, x: Tensor, params: Tensor) -> Tensor:
        return Normal(params, NOISE).log_prob(to_unit(x, IMAGES).double().flatten(1).unsqueeze(1)).sum(-1)


def affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    layer.weight.data, layer.bias.data = weight.double(), bias.double()
    return layer


def column(*rows: float) -> Tensor:
    return torch.tensor([[row] for row in rows], dtype=torch.float64)


def vector(*rows: float) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def linear_hvae(shift: float = 0.0, wide: float = 1.0) -> HVAE:
    """q is the posterior where shift is 0 and wide 1; otherwise z_1's mean is off and both variances are too large."""
    model = HVAE(IMAGES, HVAEConfig(hidden=(2,), latents=(1, 1), between=())).double().eval()
    prior = A * A + S * S  # variance of z_1
    precision = 1 / prior + float(W @ W) / NOISE**2
    gain = W / NOISE**2 / precision
    at_zero = (B / prior - float(W.sum()) * C / NOISE**2) / precision + shift
    encode = affine(torch.stack([gain, torch.zeros(4)]), vector(at_zero, math.log(wide / precision)))
    model.encoder = nn.Sequential(nn.Flatten(), encode)
    model.decoder = affine(W[:, None], torch.full((4,), C))
    model.down[0] = affine(column(A, 0.0), vector(B, math.log(S * S)))
    model.up[0] = affine(column(A / prior, 0.0), vector(-A * B / prior, math.log(wide * S * S / prior)))
    model.observation = GaussianPixels()  # type: ignore[assignment]
    return model


def linear_ladder(shift: float = 0.0) -> LadderVAE:
    """The likelihood of z_1 is Gaussian, so the merge gives p(z_1 | z_2, x) exactly; so is p(z_2 | x)."""
    model = LadderVAE(IMAGES, LadderVAEConfig(latents=(1, 1), widths=(4, 1), depth=1)).double().eval()
    square = float(W @ W)
    likelihood = affine(
        torch.stack([W / square, torch.zeros(4)]), vector(-float(W.sum()) * C / square, math.log(NOISE**2 / square))
    )
    covariance = NOISE**2 * torch.eye(4, dtype=torch.float64) + torch.outer(W, W) * S * S
    direction = A * torch.linalg.solve(covariance, W)
    precision = 1 + A * float(direction @ W)
    mean = C + W * B
    top = affine(
        torch.stack([direction / precision, torch.zeros(4)]),
        vector(-float(direction @ mean) / precision + shift, -math.log(precision)),
    )
    model.up = nn.ModuleList([nn.Identity(), nn.Identity()])
    model.head = nn.ModuleList([likelihood, top])
    model.down = nn.ModuleList([affine(column(A, 0.0), vector(B, math.log(S * S)))])
    model.decoder = affine(W[:, None], torch.full((4,), C))
    model.observation = GaussianPixels()  # type: ignore[assignment]
    return model


def closed_form(x: Tensor) -> Tensor:
    covariance = torch.outer(W, W) * (A * A + S * S) + NOISE**2 * torch.eye(4, dtype=torch.float64)
    return MultivariateNormal(W * B + C, covariance).log_prob(to_unit(x, IMAGES).double().flatten(1))


@pytest.mark.parametrize("model", [linear_hvae(), linear_ladder()], ids=["hvae", "ladder_vae"])
def test_with_the_posterior_every_importance_weight_is_the_likelihood(model: Hierarchy) -> None:
    with float64():
        x = some(IMAGES, 50)
        truth = closed_form(x)
        for k in range(3):
            torch.testing.assert_close(model.iwae(x, 1, generator=rng(k)), truth)
        elbo = model.elbo(x, draws=20_000, generator=rng())
    torch.testing.assert_close(elbo, truth, rtol=0, atol=0.03)


@pytest.mark.parametrize("model", [linear_hvae(0.1, 1.4), linear_ladder(0.6)], ids=["hvae", "ladder_vae"])
def test_with_another_posterior_the_elbo_lacks_its_divergence(model: Hierarchy) -> None:
    """log p(x) - ELBO = KL(q || posterior), both Gaussians of two latents, in closed form; IWAE-n closes the gap."""
    with float64():
        x = some(IMAGES, 20)
        truth, gap = closed_form(x), divergence_from_posterior(model, x)
        elbo = model.elbo(x, draws=40_000, generator=rng())
        torch.testing.assert_close(truth - elbo, gap, rtol=0, atol=0.02)
        assert (gap > 0.1).all()
        bounds = [model.iwae(x.repeat(400 // n, 1, 1, 1), n, generator=rng(n)).mean() for n in (1, 4, 40)]
        assert float(elbo.mean()) - 0.05 < bounds[0] < bounds[1] < bounds[2] < float(truth.mean()) + 0.01
        torch.testing.assert_close(model.iwae(x, 20_000, generator=rng()), truth, rtol=0, atol=0.05)


@torch.no_grad()
def divergence_from_posterior(model: Hierarchy, x: Tensor) -> Tensor:
    """KL(q(z_1, z_2 | x) || p(z_1, z_2 | x)), q's moments by its linear response to unit noise. `(N,)`."""
    probes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).expand(len(x), -1, -1)
    top, bottom = model.infer(model.see(x), probes).layers
    z = torch.cat([top.z, bottom.z], -1)  # (N, 3, 2): z_2, z_1
    mean = z[:, 0]
    root = (z[:, 1:] - z[:, :1]).transpose(1, 2)  # columns: the response to each unit of noise
    q = MultivariateNormal(mean, root @ root.transpose(1, 2))
    prior_mean = torch.tensor([0.0, B], dtype=torch.float64)
    prior = torch.tensor([[1.0, A], [A, A * A + S * S]], dtype=torch.float64)
    row = torch.stack([torch.zeros(4, dtype=torch.float64), W], 1)  # v = row (z_2, z_1) + c + noise
    precision = torch.linalg.inv(prior) + row.T @ row / NOISE**2
    v = to_unit(x, IMAGES).double().flatten(1)
    natural = torch.linalg.inv(prior) @ prior_mean + (v - C) @ row / NOISE**2
    posterior = MultivariateNormal(torch.linalg.solve(precision, natural.T).T, precision_matrix=precision)
    return torch.distributions.kl_divergence(q, posterior)


# ---- two latents, anything but linear: by quadrature


@pytest.mark.parametrize("kind", ["hvae", "ladder_vae"])
@torch.no_grad()
def test_with_two_latents_the_gap_is_the_divergence_by_quadrature(kind: str) -> None:
    torch.manual_seed(3)
    model: Hierarchy
    if kind == "hvae":
        model = HVAE(BINARY, HVAEConfig(hidden=(8,), latents=(1, 1), between=(8,)))
    else:
        model = LadderVAE(BINARY, LadderVAEConfig(latents=(1, 1), widths=(8, 8), activation="tanh"))
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.data = 0.8 * parameter.data + 0.2 * torch.randn_like(parameter)
    with float64():
        x = some(BINARY, 4)
        log_joint, log_q, cell = on_a_grid(model, x)  # (N, G), (N, G)
        log_p = (log_joint + math.log(cell)).logsumexp(1)
        log_posterior = log_joint - log_p[:, None]
        torch.testing.assert_close((log_q.exp() * cell).sum(1), torch.ones(4), rtol=0, atol=1e-5)
        gap = (log_q.exp() * (log_q - log_posterior) * cell).sum(1)
        elbo = model.elbo(x, draws=40_000, generator=rng())
        torch.testing.assert_close(log_p - elbo, gap, rtol=0, atol=0.03)
        assert (gap > 0.02).all()
        torch.testing.assert_close(model.iwae(x, 40_000, generator=rng()), log_p, rtol=0, atol=0.02)


def on_a_grid(model: Hierarchy, x: Tensor) -> tuple[Tensor, Tensor, float]:
    """log p(x, z) and log q(z | x) at all pairs (z_2, z_1), from the networks alone, and a cell's area."""
    axis = torch.linspace(-12, 12, 481, dtype=torch.float64)
    z2, z1 = (part.reshape(-1, 1) for part in torch.meshgrid(axis, axis, indexing="ij"))  # (G, 1)

    def gaussian(numbers: Tensor) -> Normal:
        mean, log_var = numbers.chunk(2, -1)
        return Normal(mean, (0.5 * log_var).exp())

    prior = gaussian(model.down[0](z2))  # type: ignore[index, operator]
    logits = model.decoder(z1)  # type: ignore[operator]
    fit = -nn.functional.binary_cross_entropy_with_logits(
        logits.expand(len(x), -1, -1), x.double().flatten(1)[:, None].expand(-1, len(z1), -1), reduction="none"
    ).sum(-1)
    log_joint = fit + (Normal(0.0, 1.0).log_prob(z2) + prior.log_prob(z1))[:, 0]
    if isinstance(model, HVAE):
        first = gaussian(model.encoder(to_unit(x, BINARY)))
        log_q = first.log_prob(z1.T) + gaussian(model.up[0](z1)).log_prob(z2).T
    else:
        d = to_unit(x, BINARY).flatten(1)
        below = gaussian(model.head[0](d := model.up[0](d)))  # type: ignore[index, operator]
        top = gaussian(model.head[1](model.up[1](d)))  # type: ignore[index, operator]
        product = below.log_prob(z1.T) + prior.log_prob(z1)[:, 0]  # (N, G), not yet normalised over z_1
        side = len(axis)
        norm = product.view(-1, side, side).logsumexp(2) + math.log(float(axis[1] - axis[0]))
        log_q = top.log_prob(z2.T) + product - norm.repeat_interleave(side, 1)
    return log_joint, log_q, float(axis[1] - axis[0]) ** 2
