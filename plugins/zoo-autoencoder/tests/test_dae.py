"""DAE: its three corruptions, and that its reconstruction points where the density rises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.dae.config import DAEConfig
from zoo_autoencoder.dae.model import DAE

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.images import from_unit, to_unit

IMAGES = ImageSpec(channels=3, height=20, width=20, levels=6)
PAIR = ImageSpec(channels=1, height=1, width=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("corruption", "zeros", "ones"), [("masking", 0.3, 0.0), ("salt_and_pepper", 0.15, 0.15)])
def test_the_share_of_subpixels_that_is_asked_for_is_hit(corruption: str, zeros: float, ones: float) -> None:
    model = DAE(IMAGES, DAEConfig(corruption=corruption, level=0.3, hidden=(4,)))
    v = torch.full((50, *IMAGES.shape), 0.5)
    got = model.corrupt(v, torch.rand(v.shape, generator=rng()))
    for value, share in ((0.0, zeros), (1.0, ones), (0.5, 0.7)):
        assert float((got == value).double().mean()) == pytest.approx(share, abs=0.01)


def test_gaussian_noise_has_the_level_for_standard_deviation() -> None:
    model = DAE(IMAGES, DAEConfig(level=0.3, hidden=(4,)))
    v = torch.rand(50, *IMAGES.shape, generator=rng())
    difference = model.corrupt(v, torch.randn(v.shape, generator=rng(1))) - v
    assert float(difference.std()) == pytest.approx(0.3, abs=0.01)
    assert float(difference.mean()) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_training_sees_corrupted_images_and_is_judged_by_clean_ones(corruption: str) -> None:
    model = DAE(IMAGES, DAEConfig(corruption=corruption, level=0.5, hidden=(4,), loss="squared")).double()
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randint(6, (10, *IMAGES.shape), generator=rng(), dtype=torch.uint8)
    step = LocalStep(model, lr=0.0)
    metrics = step.run(Batch(x))
    clean = to_unit(x, IMAGES).double()
    assert not torch.equal(seen[0], clean)
    with torch.no_grad():
        expected = (model.output(model.codes(seen[0])) - clean).square().mean()
    torch.testing.assert_close(metrics["loss"], expected)
    torch.testing.assert_close(model.denoise(clean), model.output(model.codes(clean)).detach())  # nothing added here


def gaussian_pairs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images of two pixels from a correlated Gaussian well inside [0, 1]; their own mean and covariance."""
    root = torch.tensor([[0.12, 0.0], [0.05, 0.10]])
    x = from_unit(0.5 + torch.randn(n, 2, generator=rng()) @ root.T, PAIR).view(n, *PAIR.shape)
    points = to_unit(x, PAIR).flatten(1).double()
    return x, points.mean(0), points.T.cov(correction=0)


def denoiser(sigma: float, mean: Tensor, covariance: Tensor, believed: float) -> DAE:
    """A linear DAE with r(x) = m + S (S + believed^2)^-1 (x - m)."""
    model = DAE(PAIR, DAEConfig(hidden=(), latent=2, loss="squared", level=sigma)).double()
    matrix = covariance @ torch.linalg.inv(covariance + believed**2 * torch.eye(2).double())
    values = {"encoder.0.weight": torch.eye(2), "encoder.0.bias": torch.zeros(2)}
    values |= {"decoder.0.weight": matrix, "decoder.0.bias": mean - matrix @ mean}
    model.load_state_dict(values, strict=False)
    return model


def deviations(model: DAE, x: Tensor) -> Tensor:
    """How many standard errors each entry of the loss's gradient is from 0, over batches of fresh noise."""
    runs = []
    for seed in range(60):
        noise = torch.randn(x.shape, generator=rng(seed)).double()
        gradients = torch.autograd.grad(model.loss(Batch(x).with_(noise=noise))["loss"], list(model.parameters()))
        runs.append(torch.cat([gradient.flatten() for gradient in gradients]))
    stacked = torch.stack(runs)
    return stacked.mean(0) / stacked.std(0) * len(runs) ** 0.5


@pytest.mark.parametrize("sigma", [0.2, 0.05])
def test_the_best_denoiser_of_a_gaussian_is_the_closed_form(sigma: float) -> None:
    """The loss of a linear r is a quadratic form of its matrix, so where the gradient vanishes is the minimum."""
    x, mean, covariance = gaussian_pairs(4000)
    assert float(deviations(denoiser(sigma, mean, covariance, sigma), x).abs().max()) < 4.5
    assert float(deviations(denoiser(sigma, mean, covariance, 1.5 * sigma), x).abs().max()) > 20


def test_the_best_denoiser_points_where_the_density_rises() -> None:
    """Alain and Bengio 2014: (r(x) - x) / sigma^2 is the score of the density after the noise, - (S + sigma^2)^-1 (x -
    m), and comes within O(sigma^2) of that of the density itself, - S^-1 (x - m)."""
    _, mean, covariance = gaussian_pairs(4000)
    v = mean + 0.1 * torch.randn(50, 2, generator=rng(1)).double()
    density = torch.distributions.MultivariateNormal(mean, covariance)
    (score,) = torch.autograd.grad(density.log_prob(v.requires_grad_()).sum(), v)
    gaps = []
    for sigma in (0.02, 0.01, 0.005):
        model = denoiser(sigma, mean, covariance, sigma)
        step = (model.denoise(v.view(-1, *PAIR.shape)).flatten(1) - v).detach()
        gaps.append(float((step / sigma**2 - score).norm() / score.norm()))
    assert gaps[-1] < 5e-3
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.1) and gaps[1] / gaps[2] == pytest.approx(4, rel=0.1)
