"""The conditional VAE: what labels do to its bounds, its samples and its codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_autoencoder.cvae.config import CVAEConfig
from zoo_autoencoder.cvae.model import CVAE

from zoo_core import Batch, ImageSpec, LocalStep, ZooError

IMAGES = ImageSpec(channels=1, height=3, width=3, levels=5, classes=3)
BINARY = ImageSpec(channels=1, height=3, width=3, levels=2, classes=2)


def make(images: ImageSpec = IMAGES, **changes: object) -> CVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CVAE(images, CVAEConfig(**{"hidden": (16,), "latent": 2, **changes})).eval()


def some(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(IMAGES.levels, (n, *IMAGES.shape), generator=generator, dtype=torch.uint8)
    return x, torch.arange(n) % 3


@pytest.mark.parametrize("changes", [{}, {"network": "conv", "widths": (4,), "hidden": ()}], ids=["mlp", "conv"])
def test_a_label_is_all_that_is_to_be_known_of_two_images(changes: dict) -> None:
    """White under one label, black under the other: an image costs almost nothing, and samples obey."""
    x = torch.cat([torch.zeros(30, *BINARY.shape), torch.ones(10, *BINARY.shape)]).to(torch.uint8)
    labels = torch.arange(40) // 30
    model = make(BINARY, **changes)
    step = LocalStep(model, lr=2e-2, steps=200)
    for _ in range(200):
        step.run(Batch(x, labels))
    generator = torch.Generator().manual_seed(0)
    assert model.elbo(x, labels=labels, generator=generator).mean() > -0.3
    assert model.iwae(x, 5, labels=1 - labels, generator=generator).mean() < -10, "of the other class"
    drawn = model.sample(200, labels=torch.arange(200) % 2, generator=generator).float().mean((1, 2, 3))
    assert drawn[::2].mean() < 0.05
    assert drawn[1::2].mean() > 0.95
    share = model.sample(2000, generator=generator).float().mean()
    assert float(share) == pytest.approx(0.25, abs=0.04), "without labels, as often as they were met"


def test_bounds_sum_over_the_images_of_each_label_by_its_own_codes() -> None:
    """Images of several labels in one call are those of several calls."""
    model, (x, labels) = make(), some(6)
    mean, log_var = model.posterior(x, labels)
    eps = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    together = model.log_weight(x, mean, log_var, eps, labels)
    for i in range(6):
        alone = model.posterior(x[i : i + 1], labels[i : i + 1])
        value = model.log_weight(x[i : i + 1], *alone, eps[i : i + 1], labels[i : i + 1])
        torch.testing.assert_close(value[0], together[i], rtol=1e-4, atol=1e-4)


def test_codes_become_images_of_the_class_that_is_asked_for() -> None:
    model, (x, labels) = make(), some(6)
    z = model.encode(x, labels=labels)
    assert torch.equal(model.reconstruct(x, labels=labels), model.decode(z, labels=labels))
    path = model.interpolate(x[0], x[3], 5, labels=labels[:1])
    assert torch.equal(path[[0, -1]], model.decode(z[[0, 3]], labels=labels[[0, 3]]))
    rows = model.traverse(x[0], [1], [-1.0, 1.0], labels=labels[:1])
    codes = z[:1].repeat(2, 1)
    codes[:, 1] = torch.tensor([-1.0, 1.0])
    assert torch.equal(rows, model.decode(codes, labels=labels[:1].expand(2)))
    assert model.active_units(x, labels=labels).shape == (2,)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x, labels: model.elbo(x),
        lambda model, x, labels: model.encode(x),
        lambda model, x, labels: model.reconstruct(x),
        lambda model, x, labels: model.decode(torch.zeros(6, 2)),
        lambda model, x, labels: model.decode(torch.zeros(6, 2), labels=labels[:5]),
        lambda model, x, labels: model.decode(torch.zeros(6, 2), labels=labels + 1),
        lambda model, x, labels: model.encode(x, labels=labels.float()),
        lambda model, x, labels: model.interpolate(x[0], x[1], 3, labels=labels[:2]),
        lambda model, x, labels: model.interpolate(x[0], x[1], 3, labels=3),
        lambda model, x, labels: model.traverse(x[0], [0], [0.0], labels=3),
        lambda model, x, labels: LocalStep(model).run(Batch(x)),
    ],
)
def test_labels_that_are_missing_or_wrong_are_refused(call) -> None:
    with pytest.raises(ZooError, match="label"):
        call(make(), *some(6))


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(ZooError, match="CVAE: expected images with classes"):
        CVAE(ImageSpec(channels=1, height=3, width=3), CVAEConfig())


def test_an_unconditional_model_takes_no_labels_for_its_codes() -> None:
    from zoo_autoencoder.vae.config import VAEConfig
    from zoo_autoencoder.vae.model import VAE

    with pytest.raises(ZooError, match="takes no labels"):
        VAE(IMAGES, VAEConfig(hidden=(4,))).decode(torch.zeros(2, 50), labels=torch.zeros(2, dtype=torch.long))
