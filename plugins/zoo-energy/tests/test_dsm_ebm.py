"""DSM-EBM: the loss is the papers', its best energy is the noisy images', and sampling anneals to that."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_energy import langevin
from zoo_energy.dsm_ebm.config import DSMEBMConfig
from zoo_energy.dsm_ebm.model import DSMEBM
from zoo_energy.energy_config import AISConfig

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import dequantise
from zoo_core.testing import structured_images

IMAGES = ImageSpec(channels=1, height=5, width=4, levels=4)
PIXELS = ImageSpec(channels=1, height=1, width=2, levels=256)


def make(images: ImageSpec = IMAGES, **changes: Any) -> DSMEBM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DSMEBMConfig(**{"widths": (4, 6), "hidden": (8,), "head": "quadratic", **changes})
        return DSMEBM(images, config).double().eval()


def one_level(sigma: float) -> dict[str, Any]:
    return {"sigma": sigma, "lowest": sigma, "highest": sigma, "levels": 1}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy(n: int, images: ImageSpec, sigma: Tensor) -> Batch:
    x = structured_images(images, n)[0]
    u = torch.rand(x.shape, generator=rng(1), dtype=torch.float64)
    eps = torch.randn(x.shape, generator=rng(2), dtype=torch.float64)
    return Batch(x).with_(u=u, eps=eps, sigma=sigma)


class Quadratic(nn.Module):
    """E(v) = (v - b)^T A (v - b) / 2, the energy of a Gaussian."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(30 * torch.eye(2)), nn.Parameter(torch.full((2,), 0.3))

    def forward(self, v: Tensor) -> Tensor:
        u = v.flatten(1) - self.b
        return ((u @ self.a) * u).sum(1) / 2


def test_the_loss_is_the_papers_one_image_and_one_pixel_after_the_other() -> None:
    """|| (v - v~ + sigma_0^2 grad E(v~)) / sigma ||^2, its gradient by finite differences of the energy."""
    model, sigma = make(sigma=0.2, lowest=0.1, highest=0.4), torch.tensor([0.1, 0.4, 0.25], dtype=torch.float64)
    batch = noisy(3, IMAGES, sigma)
    found = float(model.loss(batch)["loss"].detach())
    literal, h = 0.0, 1e-5
    v = dequantise(batch.x, IMAGES, u=batch.extra["u"])[0]
    for i in range(3):
        shaken = v[i] + sigma[i] * batch.extra["eps"][i]
        for place in range(20):
            bump = torch.zeros(20, dtype=torch.float64)
            bump[place] = h
            up, down = (model.energy((shaken + sign * bump.view(1, 5, 4)).unsqueeze(0)) for sign in (1, -1))
            slope = float((up - down).detach()) / (2 * h)
            back = float(v[i].flatten()[place] - shaken.flatten()[place])
            literal += ((back + 0.2**2 * slope) / float(sigma[i])) ** 2 / 60
    assert found == pytest.approx(literal, rel=1e-7)


def test_of_one_level_it_is_vincents() -> None:
    """sigma^2 || score - (v - v~) / sigma^2 ||^2: explicit score matching but for a constant."""
    model, sigma = make(**one_level(0.3)), torch.full((4,), 0.3, dtype=torch.float64)
    batch = noisy(4, IMAGES, sigma)
    v = dequantise(batch.x, IMAGES, u=batch.extra["u"])[0]
    shaken = v + 0.3 * batch.extra["eps"]
    literal = 0.3**2 * (model.score(shaken) - (v - shaken) / 0.3**2).square().mean()
    torch.testing.assert_close(model.loss(batch)["loss"].detach(), literal.detach(), rtol=1e-10, atol=0)


def test_the_loss_is_trained_through_the_score() -> None:
    """Its gradient in the parameters is that of finite differences."""
    model = make(**one_level(0.3))
    batch = noisy(4, IMAGES, torch.full((4,), 0.3, dtype=torch.float64))
    parameter = model.network.features[0].weight
    (slope,) = torch.autograd.grad(model.loss(batch)["loss"], [parameter])
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[0, 0, 1, 1] += sign * 1e-5
            values.append(float(model.loss(batch)["loss"].detach()))
            parameter[0, 0, 1, 1] -= sign * 1e-5
    assert float(slope[0, 0, 1, 1]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_on_gaussian_images_it_finds_the_closed_form_score_of_the_noisy_ones() -> None:
    """A = (Sigma + sigma^2 I)^-1 and b = the mean, by descent on a large pinned batch to its minimum."""
    generator, sigma = rng(), 0.1
    root = torch.tensor([[0.08, 0.0], [0.05, 0.04]], dtype=torch.float64)
    v = 0.5 + torch.randn(20_000, 2, generator=generator, dtype=torch.float64) @ root.T
    x = (v * 256).floor().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 2)
    model = make(PIXELS, network="mlp", **one_level(sigma))
    model.network = Quadratic().double()
    u = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    eps = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    batch = Batch(x).with_(u=u, eps=eps, sigma=torch.full((len(x),), sigma, dtype=torch.float64))
    solver = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = model.loss(batch)["loss"]
        loss.backward()
        return loss

    solver.step(closure)
    covariance = root @ root.T + (sigma**2 + 1 / (12 * 256**2)) * torch.eye(2, dtype=torch.float64)
    exact = torch.linalg.inv(covariance)
    a = (model.network.a + model.network.a.T).detach() / 2
    torch.testing.assert_close(a, exact, atol=0.05 * float(exact.abs().max()), rtol=0)
    torch.testing.assert_close(model.network.b.detach(), torch.full((2,), 0.5).double(), atol=0.005, rtol=0)
    probe = torch.rand(50, 1, 1, 2, generator=generator, dtype=torch.float64)
    literal = -((probe.view(-1, 2) - 0.5) @ exact)
    error = (model.score(probe).view(-1, 2) - literal).norm() / literal.norm()
    assert float(error) < 0.05


def test_levels_are_geometric_and_all_are_drawn() -> None:
    model = make(sigma=0.2, lowest=0.1, highest=0.4, levels=3)
    torch.testing.assert_close(model.sigmas, torch.tensor([0.1, 0.2, 0.4]).double(), rtol=1e-6, atol=0)
    seen = []
    model.loss = lambda batch: seen.append(batch.extra["sigma"]) or {"loss": model.network.head.squares.weight.sum()}  # type: ignore[method-assign]
    LocalStep(model).run(Batch(structured_images(IMAGES, 100)[0]))
    assert len(seen[0].unique()) == 3


def test_noise_falls_to_that_of_the_energy_and_stays_there() -> None:
    """A Langevin step of noise c sigma at temperature sigma^2 / sigma_0^2: one rate for all of them."""
    model = make(sigma=0.1, lowest=0.05, highest=0.8, step_size=0.5)
    schedule = model.schedule(100, 1.0)
    spreads = [spread for _, spread in schedule]
    assert len(schedule) == 100
    assert spreads[0] == pytest.approx(0.5 * 0.8)
    assert spreads[90:] == [pytest.approx(0.05)] * 10
    assert all(a > b for a, b in itertools.pairwise(spreads[:91]))
    for rate, spread in schedule:
        temperature = (spread / 0.5) ** 2 / 0.1**2
        assert rate == pytest.approx(spread**2 / (2 * temperature))


def test_annealed_chains_come_to_the_energys_law_and_denoising_to_its_mean() -> None:
    """One Gaussian image: E = (v - m)^2 / (2 sigma_0^2). Chains spread by sigma_0, denoised all end at m."""
    for denoise, expected in ((False, 0.05 / (1 - 0.25 / 4) ** 0.5), (True, 0.0)):
        model = make(PIXELS, network="mlp", sigma=0.05, lowest=0.05, highest=0.5, denoise=denoise, step_size=0.5)
        model.network = Quadratic().double()
        model.network.a.data = torch.eye(2).double() / 0.05**2
        model.network.b.data.fill_(0.6)
        v = model.walk(model.noise(1000, rng()), model.schedule(300, 1.0), rng(1))
        assert float((v - 0.6).square().mean().sqrt()) == pytest.approx(expected, rel=0.06, abs=1e-9)


def test_completion_leaves_known_pixels_untouched() -> None:
    model, x = make(steps=5), structured_images(IMAGES, 7)[0]
    mask = torch.rand(x.shape, generator=rng()) < 0.5
    found = model.complete(x, mask, generator=rng(1))
    assert torch.equal(found[mask], x[mask])
    assert (found[~mask] != x[~mask]).any()
    with pytest.raises(ZooError, match=r"DSMEBM.complete: expected steps >= 1"):
        model.complete(x, mask, steps=0)


def test_training_on_makes_log_z_stale() -> None:
    model, x = make(ais=AISConfig(chains=20, distributions=20)), structured_images(IMAGES, 20)[0]
    step = LocalStep(model, data=Batch(x))
    step.finish()
    model.log_prob_estimate(x)
    step.run(Batch(x))
    with pytest.raises(ZooError, match="finish"):
        model.log_prob_estimate(x)


def test_a_score_is_the_slope_of_the_energy_downwards() -> None:
    model = make()
    v = torch.rand(3, *IMAGES.shape, generator=rng(), dtype=torch.float64)
    torch.testing.assert_close(model.score(v), -langevin.gradient(model.energy, v))
    with pytest.raises(ZooError, match="expected real images"):
        model.score(torch.zeros(3, *IMAGES.shape, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 2.0}, "DSMEBMConfig.sigma: expected between lowest and highest"),
        ({"highest": 0.01}, "DSMEBMConfig.highest: expected at least lowest"),
        ({"levels": 1}, "DSMEBMConfig.levels: expected more than 1"),
        ({"steps": 0}, "DSMEBMConfig.steps: expected at least 1 Langevin step"),
        ({"step_size": 0.0}, "DSMEBMConfig.step_size: expected a number above 0"),
    ],
)
def test_bad_configs_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZooError, match=message):
        DSMEBMConfig(**changes)
