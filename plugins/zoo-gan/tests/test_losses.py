"""The players' losses, written out; what a paper says of their optimum is in the tests of its model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_gan import losses

D = [-40.0, -1.5, -0.2, 0.0, 0.7, 3.0]  # outputs, a very sure one among them


def sigmoid(d: float) -> float:
    return 1 / (1 + math.exp(-d))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


LITERAL = {  # name: discriminator's, generator's; r real, g generated outputs
    "NonSaturating": (
        lambda r, g: -mean([math.log(sigmoid(d)) for d in r]) - mean([math.log(1 - sigmoid(d)) for d in g]),
        lambda r, g: -mean([math.log(sigmoid(d)) for d in g]),
    ),
    "Minimax": (
        lambda r, g: -mean([math.log(sigmoid(d)) for d in r]) - mean([math.log(1 - sigmoid(d)) for d in g]),
        lambda r, g: mean([math.log(1 - sigmoid(d)) for d in g]),
    ),
    "LeastSquares": (
        lambda r, g: 0.5 * mean([(d - 1.25) ** 2 for d in r]) + 0.5 * mean([(d + 0.5) ** 2 for d in g]),
        lambda r, g: 0.5 * mean([(d - 0.75) ** 2 for d in g]),
    ),
    "Wasserstein": (lambda r, g: mean(g) - mean(r), lambda r, g: -mean(g)),
    "Hinge": (
        lambda r, g: mean([max(0.0, 1 - d) for d in r]) + mean([max(0.0, 1 + d) for d in g]),
        lambda r, g: -mean(g),
    ),
    "RelativisticPairing": (
        lambda r, g: -mean([math.log(sigmoid(a - b)) for a, b in zip(r, g)]),
        lambda r, g: -mean([math.log(sigmoid(b - a)) for a, b in zip(r, g)]),
    ),
}


def make(name: str) -> losses.Losses:
    return losses.LeastSquares(a=-0.5, b=1.25, c=0.75) if name == "LeastSquares" else getattr(losses, name)()


def outputs() -> tuple[Tensor, Tensor]:
    return torch.tensor(D, dtype=torch.float64), torch.tensor(D[::-1], dtype=torch.float64) + 0.3


@pytest.mark.parametrize("name", LITERAL)
def test_losses_are_the_written_out_ones(name: str) -> None:
    real, generated = outputs()
    value = make(name)
    for literal, ours in zip(LITERAL[name], (value.discriminator(real, generated), value.generator(generated, real))):
        assert float(ours) == pytest.approx(literal(real.tolist(), generated.tolist()), rel=1e-9)


@pytest.mark.parametrize("name", LITERAL)
def test_what_a_loss_says_of_itself_is_so(name: str) -> None:
    real, generated = outputs()
    value = make(name)
    moved = float(value.discriminator(real + 5, generated + 5) - value.discriminator(real, generated))
    assert value.shift_free == (abs(moved) < 1e-9)
    if value.paired:
        assert value.generator(generated, real) != value.generator(generated, real + 1)
    else:
        assert value.generator(generated) == value.generator(generated, real + 1)


def test_minimax_is_a_game_of_one_value_and_both_losses_have_one_fixed_point() -> None:
    """Both pull the generator the same way: where one has a gradient, the other has the same sign."""
    real, generated = outputs()
    minimax, nonsaturating = losses.Minimax(), losses.NonSaturating()
    generated.requires_grad_()
    (of_d,) = torch.autograd.grad(minimax.discriminator(real, generated), generated)
    (of_g,) = torch.autograd.grad(minimax.generator(generated), generated)
    torch.testing.assert_close(of_d, -of_g)
    (other,) = torch.autograd.grad(nonsaturating.generator(generated), generated)
    assert (of_g < 0).all() and (other < 0).all()
    n, d = len(generated), generated.detach()
    torch.testing.assert_close(of_g * n, -d.sigmoid())  # vanishes where D is sure that the image is generated
    torch.testing.assert_close(other * n, -(-d).sigmoid())  # is largest there


def test_outputs_are_read_out_as_probabilities_only_where_they_are_logits() -> None:
    d = torch.tensor([-1.0, 2.0])
    assert torch.equal(losses.Minimax().readout(d), d.sigmoid())
    for name in ("LeastSquares", "Wasserstein", "Hinge", "RelativisticPairing"):
        assert torch.equal(make(name).readout(d), d)
