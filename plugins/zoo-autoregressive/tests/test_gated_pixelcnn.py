"""Gated PixelCNN: no blind spot, labels, rows, and what it costs to sample."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from zoo_autoregressive.configs import GatedPixelCNNConfig
from zoo_autoregressive.dependence import depends_on
from zoo_autoregressive.gated_pixelcnn import GatedPixelCNN, gate

from zoo_core import Batch, ImageSpec, LocalStep, ZooError, spec
from zoo_core.testing import check

GREY = ImageSpec(channels=1, height=9, width=9, levels=4, classes=3)
SMALL = GatedPixelCNNConfig(width=6, layers=5, kernel=5, input_kernel=3, head=8)


def gated(images: ImageSpec, config: GatedPixelCNNConfig) -> GatedPixelCNN:
    """In float64, with random weights that are positive, so that no ReLU hides what is seen."""
    torch.manual_seed(1)
    model = GatedPixelCNN(images, config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.06)
    return model


@pytest.mark.parametrize("place", [(5, 3), (8, 0), (4, 8), (0, 0)])
def test_there_is_no_blind_spot(place: tuple[int, int]) -> None:
    d = place[0] * GREY.width + place[1]
    assert torch.equal(depends_on(gated(GREY, SMALL), d), torch.arange(81) < d)


@pytest.mark.parametrize("c", [0, 1, 2])
def test_colours_of_a_pixel_see_those_before_them(c: int) -> None:
    images = ImageSpec(channels=3, height=3, width=3, levels=4)
    d = 4 * 3 + c  # the pixel in the middle
    config = GatedPixelCNNConfig(width=6, layers=3, kernel=3, input_kernel=3, head=12)
    assert depends_on(gated(images, config), d).tolist() == [e < d for e in range(27)]


def test_gates_are_equation_2_in_each_group() -> None:
    x = torch.randn(2, 10, 3, 3)
    y = gate(x, [6, 4])
    assert torch.allclose(y[:, :3], x[:, :3].tanh() * x[:, 3:6].sigmoid())
    assert torch.allclose(y[:, 3:], x[:, 6:8].tanh() * x[:, 8:].sigmoid())


def test_the_unconditional_model_keeps_the_laws_too() -> None:
    """The conformance suite holds the conditional one to them."""
    found = spec("gated_pixelcnn")
    assert found.tiny.conditional
    plain = dataclasses.replace(found, tiny=dataclasses.replace(found.tiny, conditional=False))
    assert [result.name for result in check(plain) if result.status == "broken"] == []


def test_labels_are_learned_and_drawn_as_often_as_they_were_met() -> None:
    """Two classes, white and black: under its label an image costs almost nothing."""
    images = ImageSpec(channels=1, height=3, width=3, levels=2, classes=2)
    torch.manual_seed(0)
    model = GatedPixelCNN(images, dataclasses.replace(SMALL, layers=2, conditional=True))
    labels = (torch.arange(64) % 4 == 0).long()
    x = labels.view(-1, 1, 1, 1).expand(-1, 1, 3, 3).to(torch.uint8)
    step = LocalStep(model, lr=2e-2, steps=60)
    for _ in range(60):
        step.run(Batch(x, labels))
    assert model.log_prob(x, labels=labels).mean() > -0.1
    assert model.log_prob(x, labels=1 - labels).mean() < -2
    drawn = model.sample(400, generator=torch.Generator().manual_seed(0)).float().mean()
    assert abs(float(drawn) - 0.25) < 0.1
    whole = torch.ones_like(x[:8], dtype=torch.bool)
    given = model.complete(x[:8], ~whole, labels=labels[:8], generator=torch.Generator().manual_seed(0))
    assert (given == x[:8]).float().mean() > 0.95


def test_conditional_models_need_classes_and_labels() -> None:
    with pytest.raises(ZooError, match="expected images with classes"):
        GatedPixelCNN(dataclasses.replace(GREY, classes=0), dataclasses.replace(SMALL, conditional=True))
    x = torch.zeros(2, 1, 9, 9, dtype=torch.uint8)
    model = GatedPixelCNN(GREY, dataclasses.replace(SMALL, layers=1, conditional=True))
    with pytest.raises(ZooError, match="labels"):
        model.log_prob(x)
    with pytest.raises(ZooError, match=r"classes 0\.\.2, got 3"):
        model.complete(x, x.bool(), labels=torch.tensor([0, 3]))
    with pytest.raises(ZooError, match="give Batch"):
        model.train_step(Batch(x), LocalStep(model))
