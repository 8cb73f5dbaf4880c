"""EBM: its loss and its chains are the paper's; the buffer survives; an energy that runs away is stopped."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_energy.ebm.config import SPECS, EBMConfig
from zoo_energy.ebm.model import EBM
from zoo_energy.energy_config import AISConfig

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.errors import Diverged
from zoo_core.images import dequantise
from zoo_core.likelihood import score
from zoo_core.testing import structured_images

IMAGES = ImageSpec(channels=1, height=5, width=4, levels=4)
PIXELS = ImageSpec(channels=1, height=1, width=2, levels=16)
SMALL: dict[str, Any] = {
    "widths": (4, 6), "hidden": (8,), "steps": 3, "step_size": 0.005, "noise": 0.1, "buffer": 30, "alpha": 0.1,
    "border": "mirror", "ais": AISConfig(chains=20, distributions=20),
}  # fmt: skip


def make(images: ImageSpec = IMAGES, **changes: Any) -> EBM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EBM(images, EBMConfig(**{**SMALL, **changes})).double().eval()


def data(n: int, images: ImageSpec = IMAGES) -> Tensor:
    return structured_images(images, n)[0]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Parabola(nn.Module):
    """f(v) = sum (v - mean)^2 / (2 std^2), whose law on the cube is known."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = nn.Parameter(torch.tensor(mean)), std

    def forward(self, v: Tensor) -> Tensor:
        return ((v - self.mean) / self.std).square().flatten(1).sum(1) / 2


def test_the_loss_is_the_papers_one_image_after_the_other() -> None:
    model, x = make(alpha=0.3), data(3)
    u, negative = torch.rand(2, 3, 1, 5, 4, generator=rng(), dtype=torch.float64)
    found = model.loss(Batch(x).with_(u=u, negative=negative))
    literal = 0.0
    for i in range(3):
        plus = float(model.network(((x[i] + u[i]) / 4).unsqueeze(0)).detach())
        minus = float(model.network(negative[i : i + 1]).detach())
        literal += (plus - minus + 0.3 * (plus**2 + minus**2)) / 3
    assert float(found["loss"]) == pytest.approx(literal, abs=1e-12)


def test_without_a_penalty_its_gradient_is_that_of_the_likelihood() -> None:
    """d/d theta of -log p(v), times T: by quadrature over two pixels, where negatives are draws of p."""
    model = make(PIXELS, network="mlp", hidden=(4,), alpha=0.0)
    axis = (torch.arange(60, dtype=torch.float64) + 0.5) / 60
    grid = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    x = data(len(grid), PIXELS)
    v, _ = dequantise(x, PIXELS, u=torch.full((len(grid), 1, 1, 2), 0.5, dtype=torch.float64))
    log_z = (-model.energy(grid)).logsumexp(0) - math.log(len(grid))
    nll = (model.energy(v) + log_z).mean()
    parameters = list(model.parameters())
    exact = torch.autograd.grad(nll * model.unit, parameters)
    p = (-model.energy(grid)).softmax(0).detach()
    contrast = model.potential(v).mean() - (p * model.potential(grid)).sum()
    for one, two in zip(torch.autograd.grad(contrast, parameters), exact):
        torch.testing.assert_close(one, two, atol=1e-10, rtol=1e-8)


def test_energies_are_in_nats_of_the_chains_temperature() -> None:
    """The paper's step and noise are not those of temperature 1: what its chains sample is exp(-f / T)."""
    assert EBMConfig().temperature == pytest.approx(1.25e-6)
    assert EBMConfig(step_size=0.005, noise=0.1).temperature == pytest.approx(1)
    model = make(PIXELS, step_size=1e-4, noise=0.01, steps=400, chains="short_run", network="mlp")
    model.network = Parabola(0.5, 0.1 * 2**0.5)  # T = 1/2: a standard deviation of 0.1
    assert model.unit == pytest.approx(0.5)
    v = torch.full((2, 1, 1, 2), 0.6, dtype=torch.float64)
    torch.testing.assert_close(model.energy(v), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(model.score(v), torch.full_like(v, -10.0))
    drawn = model.walk(model.noise(100, rng()), model.schedule(400, 1.0), rng(1))
    assert float(drawn.std()) == pytest.approx(0.1, rel=5 * 200**-0.5)


@pytest.mark.parametrize("chains", ["persistent", "short_run"])
def test_micro_batches_and_a_resumed_run_have_the_same_chains(chains: str) -> None:
    """Two splits of the batch, and one run that is stopped and continued: equal weights, equal buffers."""
    x = data(80)
    runs = []
    for micro_batch, stop in ((None, None), (7, None), (13, None), (None, 2)):
        model = make(chains=chains)
        step = LocalStep(model, micro_batch=micro_batch)
        for i in range(4):
            if i == stop:
                saved = copy.deepcopy((model.state_dict(), step.state_dict()))
                model = make(chains=chains)
                model.load_state_dict(saved[0])
                step = LocalStep(model)
                step.load_state_dict(saved[1])
            with torch.random.fork_rng():
                torch.manual_seed(0)
                torch.set_default_dtype(torch.float64)
                try:
                    step.run(Batch(x[20 * i : 20 * i + 20]))
                finally:
                    torch.set_default_dtype(torch.float32)
        runs.append((model.state_dict(), step.state))
    for weights, state in runs[1:]:
        for name, value in weights.items():
            torch.testing.assert_close(value, runs[0][0][name], atol=1e-9, rtol=0)
        assert set(state) == ({"replay"} if chains == "persistent" else set())
        for name, value in state.items():
            torch.testing.assert_close(value, runs[0][1][name], atol=1e-9, rtol=0)


def test_the_buffer_holds_the_newest_states_and_no_more_than_it_may() -> None:
    model, x = make(buffer=30), data(20)
    step = LocalStep(model)
    seen = []
    for _ in range(3):
        step.run(Batch(x))
        seen.append(step.state["replay"][-20:])
    assert [len(part) for part in seen] == [20, 20, 20]
    assert torch.equal(step.state["replay"], torch.cat([seen[1][-10:], seen[2]]))


def test_persistent_chains_go_on_where_they_were_and_some_begin_anew() -> None:
    """With chains that stand still, a batch's negatives are states of the buffer, except for the share reinit."""
    model = make(reinit=0.25, buffer=2000, step_size=1e-12, noise=1e-9)
    step, x = LocalStep(model), data(1000)
    before = model.negatives(Batch(x), step)
    after = model.negatives(Batch(x), step)
    same = torch.cdist(after.flatten(1), before.flatten(1)).min(1).values < 1e-6
    assert 0.75 - 5 * 0.0137 < float(same.double().mean()) < 0.75 + 5 * 0.0137


@pytest.mark.slow
def test_it_learns_a_known_law_and_says_how_likely_images_are() -> None:
    """f with one parameter, the mean of a Gaussian: trained to the images' mean, and log P is near their entropy."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        v = (0.4 + 0.1 * torch.randn(4000, 1, 1, 2)).clamp(0, 0.999)
    x = (v * 16).floor().to(torch.uint8)
    ais = AISConfig(chains=500, distributions=50)
    model = EBM(PIXELS, EBMConfig(network="mlp", steps=10, step_size=0.0005, noise=0.0316228, alpha=0.0, ais=ais))
    model.network = Parabola(0.6, 0.1)
    step = LocalStep(model, lr=5e-3, data=Batch(x))
    for i in range(300):
        step.run(Batch(x[100 * (i % 40) : 100 * (i % 40) + 100]))
    step.finish()
    assert float(model.network.mean.detach()) == pytest.approx(0.4, abs=0.02)
    entropy = 2 * (math.log(0.1 * 16) + 0.5 * math.log(2 * math.pi * math.e))  # of cells, nearly that of the density
    assert score(model, x[:1000]).nats_per_image == pytest.approx(entropy, abs=0.1)


def test_an_energy_that_runs_away_is_stopped_with_advice() -> None:
    model, x = make(alpha=0.0, limit=0.5), data(20)
    step = LocalStep(model, lr=0.3)
    with pytest.raises(Diverged, match=r"run away: at step \d+ .* lower the learning rate, raise alpha"):
        for _ in range(50):
            step.run(Batch(x))


def test_log_z_before_the_end_of_a_training_is_not_made_up() -> None:
    model = make()
    with pytest.raises(ZooError, match="finish"):
        model.log_prob_estimate(data(2))
    with pytest.raises(ZooError, match="finish"):
        model.estimate_protocol()
    LocalStep(model, data=Batch(data(20))).finish()
    protocol = model.estimate_protocol()
    assert protocol["estimator"] == "AIS"
    assert 1 <= protocol["effective_sample_size"] <= protocol["chains"] == 20


def test_training_on_makes_log_z_stale() -> None:
    """Another step, another energy: the log Z of the one before says nothing of it."""
    model, x = make(), data(20)
    step = LocalStep(model, data=Batch(x))
    step.finish()
    model.log_prob_estimate(x)
    step.run(Batch(x))
    for ask in (lambda: model.log_prob_estimate(x), model.estimate_protocol):
        with pytest.raises(ZooError, match="finish"):
            ask()
    step.finish()
    assert model.log_prob_estimate(x).isfinite().all()


def test_a_likelihood_is_the_mean_over_the_cell() -> None:
    """log P(x) = log K^-D mean_u exp(-E) / Z, written out for one image."""
    model, x = make(), data(3)
    LocalStep(model, data=Batch(x)).finish()
    found = model.log_prob_estimate(x, draws=3, generator=rng())
    generator, each = rng(), []
    for _ in range(3):
        u = torch.rand(x.shape, generator=generator, dtype=torch.float64)
        each.append((-model.energy((x + u) / 4)).exp() / float(model.log_z.exp()) / 4**20)
    torch.testing.assert_close(found, torch.stack(each).mean(0).log().detach(), atol=1e-9, rtol=0)


def test_completion_keeps_known_pixels_and_draws_the_others_given_them() -> None:
    """Under f = (a - b)^2 / (2 s^2) an unknown pixel is near the known one."""
    model = make(PIXELS, network="mlp", step_size=0.0005, noise=0.0316)
    model.network = Near()
    x = torch.tensor([2, 9], dtype=torch.uint8).repeat(100, 1).view(100, 1, 1, 2)
    x[:, 0, 0, 0] = torch.randint(3, 13, (100,), generator=rng())
    mask = torch.tensor([True, False]).expand_as(x)
    found = model.complete(x, mask, generator=rng(), steps=300)
    assert torch.equal(found[..., 0], x[..., 0])
    distance = found[..., 1].double() - x[..., 0].double()
    assert float(distance.abs().max()) <= 4
    assert float(distance.std()) == pytest.approx(0.05 * 16, rel=0.35)
    with pytest.raises(ZooError, match="True where a pixel is known"):
        model.complete(x, mask.float())


class Near(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, v: Tensor) -> Tensor:
        return ((v[..., 0] - v[..., 1]) / 0.05).square().flatten(1).sum(1) / 2 + self.zero


def test_temperature_is_that_of_the_noise() -> None:
    model = make()
    hot, cold = model.schedule(2, 4.0), model.schedule(2, 0.0)
    assert hot == [(0.005, pytest.approx(0.2))] * 2
    assert cold == [(0.005, 0.0)] * 2


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf, "1", None, True])
def test_a_temperature_that_is_none_is_refused(temperature: object) -> None:
    model, x = make(), data(2)
    with pytest.raises(ZooError, match=r"EBM.sample: expected temperature, a number >= 0"):
        model.sample(2, temperature=temperature)  # type: ignore[arg-type]
    with pytest.raises(ZooError, match=r"EBM.complete: expected temperature, a number >= 0"):
        model.complete(x, torch.ones_like(x, dtype=torch.bool), temperature=temperature)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [0, -1, 2.0])
def test_no_langevin_steps_are_refused(steps: object) -> None:
    model, x = make(), data(2)
    with pytest.raises(ZooError, match=r"EBM.sample: expected steps >= 1"):
        model.sample(2, steps=steps)  # type: ignore[arg-type]
    with pytest.raises(ZooError, match=r"EBM.complete: expected steps >= 1"):
        model.complete(x, torch.ones_like(x, dtype=torch.bool), steps=steps)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "EBMConfig.steps: expected at least 1 Langevin step"),
        ({"noise": 0.0}, "EBMConfig.noise: expected a number above 0"),
        ({"reinit": 0.0}, "EBMConfig.reinit: expected a share in"),
        ({"network": "mlp", "hidden": ()}, "EBMConfig.hidden: expected at least one width"),
        ({"alpha": -1.0}, "EBMConfig.alpha: expected 0 or more"),
    ],
)
def test_bad_configs_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZooError, match=message):
        EBMConfig(**changes)


def test_images_that_are_too_small_for_the_strides_are_refused() -> None:
    with pytest.raises(ZooError, match="give at most 2 widths, or take network = 'mlp'"):
        EBM(PIXELS, EBMConfig(widths=(4, 8, 16)))


@pytest.mark.parametrize(("border", "share"), [("clip", 1.0), ("mirror", 0.0)])
def test_a_clipped_chain_stays_on_the_face_that_it_is_pushed_against(border: str, share: float) -> None:
    model = make(PIXELS, border=border, step_size=0.5, noise=1e-3, chains="short_run", network="mlp")
    model.network = Parabola(-0.3, 1.0)  # the lowest energy is outside of the cube
    x = model.sample(50, generator=torch.Generator().manual_seed(0), steps=20)
    assert float((x == 0).double().mean()) == share


def test_a_samples_steps_are_a_chains_life() -> None:
    assert make(steps=3, reinit=0.05).steps == 60
    assert make(steps=3, chains="short_run").steps == 3
    assert make(sampling_steps=7).steps == 7
    assert SPECS[0].config.life == 1200
