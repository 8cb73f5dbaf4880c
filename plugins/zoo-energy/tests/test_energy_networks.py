"""Energies as networks: smooth, of any size, and the same in half precision, channels_last and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from zoo_energy import langevin
from zoo_energy.dsm_ebm.config import DSMEBMConfig
from zoo_energy.dsm_ebm.model import DSMEBM
from zoo_energy.ebm.config import EBMConfig
from zoo_energy.ebm.model import EBM
from zoo_energy.energy_config import EnergyConfig
from zoo_energy.networks import EnergyNetwork, Quadratic

from zoo_core import Batch, ImageSpec, ZooError

COLOUR = ImageSpec(channels=3, height=9, width=6, levels=256)
KINDS = {"conv": {"widths": (8, 16), "hidden": (16,)}, "mlp": {"network": "mlp", "hidden": (32, 16)}}


def network(images: ImageSpec = COLOUR, **changes: Any) -> EnergyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EnergyNetwork(images, EnergyConfig(**changes))


def models(**changes: Any) -> list[EBM | DSMEBM]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [EBM(COLOUR, EBMConfig(**changes)), DSMEBM(COLOUR, DSMEBMConfig(**changes))]


def real(n: int) -> Tensor:
    return torch.rand(n, *COLOUR.shape, generator=torch.Generator().manual_seed(1))


def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    u, eps = torch.rand(4, *COLOUR.shape, generator=generator), torch.randn(4, *COLOUR.shape, generator=generator)
    return Batch((real(4) * 256).to(torch.uint8)).with_(
        u=u, eps=eps, negative=real(4).flip(0), sigma=torch.full((4,), 0.3)
    )


def gradient(model: EBM | DSMEBM) -> tuple[Tensor, Tensor]:
    loss = model.loss(batch())["loss"]
    return loss.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("head", ["linear", "quadratic"])
@pytest.mark.parametrize("kind", KINDS)
def test_energies_and_their_slopes_are_smooth(kind: str, head: str) -> None:
    """Second derivatives agree with differences of first ones: no kinks to step over."""
    model = network(**KINDS[kind], head=head).double()
    v, d = real(2).double(), torch.randn(2, *COLOUR.shape, generator=torch.Generator().manual_seed(3)).double()
    _, second = torch.autograd.functional.hvp(lambda v: model(v).sum(), v, d)
    up, down = (langevin.gradient(model, v + sign * 1e-4 * d) for sign in (1, -1))
    torch.testing.assert_close(second, (up - down) / 2e-4, rtol=1e-4, atol=1e-7)


def test_the_quadratic_head_is_the_formula() -> None:
    head, h = Quadratic(3).double(), torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    (a, b), (a0, b0), c = head.factors.weight, head.factors.bias, head.squares.weight[0]
    literal = [[(a @ row + a0) * (b @ row + b0) + c @ row.square()] for row in h]
    torch.testing.assert_close(head(h), torch.stack([row[0] for row in literal]).unsqueeze(1))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_of_the_network_alone(kind: str) -> None:
    """Energies, losses and chains are in float32. A gradient that is a difference of two loses more digits."""
    for model in models(**KINDS[kind]):
        loss, exact = gradient(model)
        with torch.autocast("cpu", torch.bfloat16):
            half, rough = gradient(model)
            assert model.energy(real(2)).dtype == torch.float32
            assert model.score(real(2)).dtype == torch.float32
            assert model.sample(2, steps=2).dtype == torch.uint8
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, loss, rtol=2e-2, atol=2e-3)
        assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.97


def test_channels_last_is_the_same_network() -> None:
    for model in models(**KINDS["conv"]):
        before = gradient(model)
        after = gradient(model.to(memory_format=torch.channels_last))
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_network_has_the_same_energies_and_scores(kind: str) -> None:
    """Not the loss of dsm_ebm: torch.compile has no derivatives of derivatives."""
    model = models(**KINDS[kind])[0]
    v = real(3)
    before = model.energy(v).detach(), model.score(v), gradient(model)
    model.network.compile(backend="aot_eager", fullgraph=True)
    after = model.energy(v).detach(), model.score(v), gradient(model)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_odd_sizes_are_halved_and_rounded_up_and_tiny_ones_refused() -> None:
    assert network(ImageSpec(channels=1, height=7, width=1), widths=(4, 4, 4), hidden=())(
        torch.rand(2, 1, 7, 1)
    ).shape == (2,)
    with pytest.raises(ZooError, match="images of 2×2 are too small for 2 convolutions of stride 2"):
        network(ImageSpec(channels=1, height=2, width=2), widths=(4, 4, 4))
