"""Stacked AE: one layer after the other, the others still, and then all."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.stacked_ae.config import StackedAEConfig
from zoo_autoencoder.stacked_ae.model import StackedAE

from zoo_core import Batch, ImageSpec, LocalStep
from zoo_core.testing import structured_images

IMAGES = ImageSpec(channels=1, height=4, width=4, levels=17)
CONFIG = StackedAEConfig(hidden=(12, 8), latent=3, pretraining=0.6)  # three layers


def make(**changes: object) -> StackedAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StackedAE(IMAGES, CONFIG.override(changes))


def some(n: int) -> Tensor:
    return structured_images(IMAGES, n)[0]


def test_layers_take_equal_turns_from_below_and_then_all_learn() -> None:
    model = make()
    turns = [model.layer(step / 100) for step in range(100)]
    assert turns == [1] * 20 + [2] * 20 + [3] * 20 + [0] * 40
    assert make(pretraining=0.0).layer(0.0) == 0


def test_in_its_turn_a_layer_moves_and_every_other_stands_still() -> None:
    model = make()
    step = LocalStep(model, steps=10)  # two steps a layer, four for all
    for index in range(10):
        before = copy.deepcopy(model.state_dict())
        metrics = step.run(Batch(some(20)))
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        k = [1, 1, 2, 2, 3, 3, 0, 0, 0, 0][index]
        assert float(metrics["layer"]) == k
        pairs = [model.pair(k)] if k else [model.pair(j) for j in (1, 2, 3)]
        ours = {id(p) for pair in pairs for half in pair for p in half.parameters()}
        assert moved == {name for name, p in model.named_parameters() if id(p) in ours}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_layers_loss_is_the_error_at_what_the_layers_below_make(activation: str) -> None:
    model, x = make(activation=activation).double(), some(6)
    act = getattr(torch, activation)
    (f1, g1), (f2, g2), (f3, g3) = (model.pair(k) for k in (1, 2, 3))
    assert [f.in_features for f in (f1, f2, f3)] == [g.out_features for g in (g1, g2, g3)] == [16, 12, 8]
    h0 = model.unit(x).flatten(1)
    h1, h2 = act(f1(h0)), act(f2(act(f1(h0))))
    bce = torch.nn.functional.binary_cross_entropy
    expected = {1: bce(g1(h1).sigmoid(), h0)}  # pixels are logistic
    if activation == "sigmoid":
        expected |= {2: bce(g2(act(f2(h1))).sigmoid(), h1), 3: bce(g3(f3(h2)).sigmoid(), h2)}
    else:
        expected |= {2: (act(g2(act(f2(h1)))) - h1).square().mean(), 3: (act(g3(f3(h2))) - h2).square().mean()}
    for k, value in expected.items():
        torch.testing.assert_close(model.layer_loss(Batch(x), k), value)
    torch.testing.assert_close(model.loss(Batch(x))["loss"], bce(g1(act(g2(act(g3(f3(h2)))))).sigmoid(), h0))


def test_pretrained_layers_compose_to_a_better_start_than_random_ones() -> None:
    model, batch = make(), Batch(some(200))
    with torch.no_grad():
        random = float(model.loss(batch)["loss"])
    step = LocalStep(model, lr=5e-3, steps=500)
    while model.layer(step.progress):
        step.run(batch)
    with torch.no_grad():
        assert float(model.loss(batch)["loss"]) < random - 0.02
