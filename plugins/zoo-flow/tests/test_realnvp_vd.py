"""Variational dequantisation: uniform at first, a density on the cube, trained no looser than uniform noise."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from zoo_flow.realnvp.config import RealNVPConfig
from zoo_flow.realnvp_vd.config import SPECS, DequantiserConfig, RealNVPVDConfig
from zoo_flow.realnvp_vd.model import RealNVPVD

from zoo_core import Batch, ImageSpec, LocalStep, ZooError
from zoo_core.images import dequantise
from zoo_core.testing import conformance, structured_images

GREY = ImageSpec(channels=1, height=4, width=4, levels=16)
PAIR = ImageSpec(channels=1, height=1, width=2, levels=4)
NETWORKS = {
    "squeezed": (GREY, {"scales": 1}, {}),
    "masked": (PAIR, {"scales": 0}, {}),
    "mlp": (PAIR, {"scales": 0, "network": "mlp", "hidden": (8,)}, {"network": "mlp", "hidden": (8,)}),
}

test_laws_of_other_configs = conformance(
    [
        dataclasses.replace(
            SPECS[0],
            name="realnvp_vd_mlp",
            tiny=RealNVPVDConfig(
                flow=RealNVPConfig(alpha=1e-3, scales=0, network="mlp", hidden=(16,)),
                dequantiser=DequantiserConfig(couplings=2, network="mlp", hidden=(16,)),
            ),
        ),
        dataclasses.replace(
            SPECS[0],
            name="realnvp_vd_squeezed",
            tiny=RealNVPVDConfig(
                flow=RealNVPConfig(alpha=1e-3, scales=1, couplings=1, width=8, blocks=1),
                dequantiser=DequantiserConfig(couplings=2, width=8, blocks=0),
            ),
        ),
    ]
)


def make(name: str, *, random: float = 0.2) -> tuple[RealNVPVD, ImageSpec]:
    images, flow, dequantiser = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = RealNVPVDConfig(
            flow=RealNVPConfig(**{"alpha": 1e-3, "couplings": 2, "width": 6, "blocks": 1, **flow}),
            dequantiser=DequantiserConfig(**{"couplings": 3, "width": 6, **dequantiser}),
        )
        model = RealNVPVD(images, config).double().eval()
        for parameter in model.parameters():
            parameter.data += random * torch.randn_like(parameter)
    return model, images


def some(images: ImageSpec, n: int, seed: int = 1) -> Tensor:
    return torch.randint(images.levels, (n, *images.shape), generator=rng(seed)).to(torch.uint8)


def real(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_it_begins_with_uniform_noise(name: str) -> None:
    """For any density: its weight is that of uniform dequantisation by the same u."""
    model, images = make(name)
    for network in (coupling.network for coupling in model.dequantiser.flow.couplings):
        torch.nn.init.zeros_(network.out.weight)
        torch.nn.init.zeros_(network.out.bias)
    for coupling in model.dequantiser.flow.couplings:
        torch.nn.init.zeros_(coupling.log_scale)
    x, eps = some(images, 5), real(5, *images.shape)
    u, log_q = model.dequantiser(x, eps)
    torch.testing.assert_close(u, torch.distributions.Normal(0, 1).cdf(eps), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_q, torch.zeros_like(log_q), rtol=0, atol=1e-12)
    v, log_volume = dequantise(x, images, u=u)
    torch.testing.assert_close(model.log_weight(x, eps), model.density.log_density(v) + log_volume)


@pytest.mark.parametrize("name", NETWORKS)
def test_log_q_is_the_change_of_variables_by_the_whole_jacobian(name: str) -> None:
    model, images = make(name)
    x, eps = some(images, 2), real(2, *images.shape)
    _, log_q = model.dequantiser(x, eps)
    for i in range(2):
        image = x[i : i + 1]
        jacobian = torch.func.jacrev(lambda noise, image=image: model.dequantiser(image, noise)[0])(eps[i : i + 1])
        log_det = torch.linalg.slogdet(jacobian.view(images.dims, images.dims))[1]
        literal = torch.distributions.Normal(0, 1).log_prob(eps[i]).sum() - log_det
        torch.testing.assert_close(log_q[i], literal, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_are_means_of_weights_in_any_number_of_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = make(name)
    x, n = some(images, 3), 6
    monkeypatch.setattr(
        "zoo_flow.realnvp_vd.model.NUMBERS", 2 * images.dims
    )  # two rows a pass: an image with two draws
    generator, rows = rng(5), []
    for k in (2, 1):  # parts of two images and of one
        draws = 1 if k == 2 else 2
        noise = [
            torch.randn(draws * k, *images.shape, generator=generator, dtype=torch.float64) for _ in range(n // draws)
        ]
        start = 0 if k == 2 else 2
        part = x[start : start + k].repeat(draws, 1, 1, 1)
        with torch.no_grad():
            rows.append(torch.cat([model.log_weight(part, eps).view(draws, k) for eps in noise]))
    log_w = torch.cat(rows, 1)  # (n, images)
    torch.testing.assert_close(model.elbo(x, draws=n, generator=rng(5)), log_w.mean(0))
    torch.testing.assert_close(model.iwae(x, n, generator=rng(5)), log_w.logsumexp(0) - math.log(n))


def test_trained_noise_is_no_looser_than_uniform_noise_and_its_bound_ends_at_the_entropy() -> None:
    """Images of known entropy: 16 pairs of pixels, all probabilities known."""
    torch.manual_seed(0)
    p = torch.rand(16, generator=rng(0)).square()
    p = p / p.sum()
    every = torch.cartesian_prod(torch.arange(4), torch.arange(4)).to(torch.uint8).view(16, 1, 1, 2)
    x = every[torch.multinomial(p, 8000, replacement=True, generator=rng(1))]
    config = RealNVPVDConfig(
        flow=RealNVPConfig(alpha=1e-3, scales=0, couplings=3, network="mlp", hidden=(32,)),
        dequantiser=DequantiserConfig(couplings=2, network="mlp", hidden=(32,)),
    )
    model = RealNVPVD(PAIR, config)
    step = LocalStep(model, lr=1e-2, steps=200)
    for i in range(200):
        step.run(Batch(x[(200 * i) % 8000 : (200 * i) % 8000 + 200]))
    entropy = float(-(p * p.log()).sum())
    learned = float(p @ model.elbo(every, draws=200, generator=rng(2)).float())
    tighter = float(p @ model.iwae(every, 200, generator=rng(2)).float())
    with torch.no_grad():
        v, log_volume = dequantise(every.repeat(200, 1, 1, 1), PAIR, rng(3))
        uniform = float(p @ (model.density.log_density(v) + log_volume).view(200, 16).mean(0))
    assert uniform + 0.02 < learned < tighter < -entropy + 0.02
    assert tighter > -entropy - 0.2


def test_it_offers_bounds_and_the_abilities_of_its_density() -> None:
    model, images = make("squeezed", random=0.05)
    assert not hasattr(model, "log_density"), "the density of real images is not the likelihood of this model"
    x = some(images, 4)
    assert torch.equal(model.decode(model.encode(x)), x)
    line = model.interpolate(x[0], x[1], 3)
    assert torch.equal(line[0], x[0]) and torch.equal(line[-1], x[1])
    cold = model.sample(2, temperature=0.0)
    assert torch.equal(cold[0], cold[1])
    with pytest.raises(ZooError, match=r"RealNVPVD\.elbo: expected draws >= 1"):
        model.elbo(x, draws=0)
    with pytest.raises(ZooError, match=r"RealNVPVD\.iwae: expected n >= 1"):
        model.iwae(x, 0)
    with pytest.raises(ZooError, match=r"DequantiserConfig\.couplings: expected 0 or more, got -1"):
        DequantiserConfig(couplings=-1)
    with pytest.raises(ZooError, match="at least 2 images, got 1"):
        LocalStep(make("squeezed")[0]).run(Batch(x[:1]))


def test_half_precision_is_of_the_networks_alone_and_the_compiler_changes_nothing() -> None:
    images = ImageSpec(channels=1, height=4, width=4, levels=16)
    model = make("squeezed", random=0.05)[0].float()
    batch = Batch(structured_images(images, 6)[0]).with_(eps=real(6, *images.shape).float())
    loss = model.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss, rtol=2e-2, atol=0)
    torch.testing.assert_close(model.to(memory_format=torch.channels_last).loss(batch), loss, rtol=1e-5, atol=1e-5)
    compiled = torch.compile(model.dequantiser, backend="aot_eager", fullgraph=True)
    expected = model.dequantiser(batch.x, batch.extra["eps"])
    torch.testing.assert_close(compiled(batch.x, batch.extra["eps"]), expected, rtol=1e-5, atol=1e-5)
