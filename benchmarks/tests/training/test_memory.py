"""A device whose memory is full makes micro-batches smaller: the same training, said once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from zoo_bench.training.accelerated import AcceleratedStep, accelerator, seed_global

import zoo_core
from zoo_core import Batch, Config, GenerativeModel, ImageSpec, ZooError

IMAGES = ImageSpec(channels=1, height=4, width=4, levels=4)


def batch(n: int = 30) -> Batch:
    return Batch(torch.randint(4, (n, *IMAGES.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8))


def trained(fits: int, monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[dict, list[str], list[int]]:
    """Three steps of a MADE on a device that holds so many images at a time: its weights, what was said, the sizes."""
    torch.manual_seed(0)
    model = zoo_core.create("made", IMAGES, hidden=(16,)).double()
    sizes: list[int] = []
    loss = model.loss

    def limited(part: Batch, **drawn: object) -> torch.Tensor:
        if len(part) > fits:
            raise error
        sizes.append(len(part))
        return loss(part, **drawn)

    monkeypatch.setattr(model, "loss", limited)
    said: list[str] = []
    step = AcceleratedStep(model, accelerator(groups=1), lr=1e-2, data=batch(), tell=said.append)
    for _ in range(3):
        step.run(batch())
    return model.state_dict(), said, sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_full_memory_halves_the_micro_batch_and_changes_nothing(monkeypatch, error: Exception) -> None:
    whole, silence, _ = trained(30, monkeypatch, error)
    halved, said, sizes = trained(8, monkeypatch, error)
    assert silence == []
    assert [line.partition(":")[0] for line in said] == [
        "30 images do not fit into the memory",
        "15 images do not fit into the memory",
    ]
    assert "the result is the same" in said[0]
    assert sizes == [8, 8, 8, 6] * 3  # found in the first step and kept
    for name, value in whole.items():
        assert torch.allclose(value, halved[name], atol=1e-9, rtol=0), name


def test_an_image_that_does_not_fit_is_an_error(monkeypatch) -> None:
    with pytest.raises(ZooError, match="is full with 1 images at a time"):
        trained(0, monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))


def test_other_errors_are_not_taken_for_a_full_memory(monkeypatch) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        trained(8, monkeypatch, RuntimeError("shapes cannot be multiplied"))


class Layers(GenerativeModel):
    """A network of the layers that notice how often and on what they are called; its samples are not looked at."""

    def __init__(self, dropout: float = 0.0, batch_norm: bool = False) -> None:
        super().__init__(IMAGES, Config())
        norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), norm, nn.Dropout(dropout), nn.Linear(8, 1))
        self.fits = 30

    def loss(self, part: Batch) -> torch.Tensor:
        if len(part) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return self.net(part.x / 3).square().mean()

    def train_step(self, batch, step):
        return {"loss": step.minimize(self.loss, batch)}

    def sample(self, n, *, labels=None, text=None, generator=None):
        return torch.zeros(n, *IMAGES.shape, dtype=torch.uint8)


def layers(*, trials: int = 0, fits: int = 30, **options) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Three steps of it, from one seed: its state, and what was said."""
    torch.manual_seed(0)
    model, said = Layers(**options), []
    model.fits = fits
    step = AcceleratedStep(model, accelerator(groups=1), lr=1e-2, data=batch(), tell=said.append)
    step.trials = trials
    for _ in range(3):
        step.run(batch())
    return model.state_dict(), said


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({}, "the result is the same"),
        ({"dropout": 0.5}, "the result is the same but for other dropout masks"),
        ({"batch_norm": True, "dropout": 0.5}, "batch normalisation sees only these"),
    ],
    ids=str,
)
def test_it_is_said_what_smaller_micro_batches_change(options: dict, note: str) -> None:
    _, said = layers(fits=15, **options)
    assert said == [f"30 images do not fit into the memory: continuing with 15 at a time; {note}"]


def test_trials_leave_no_trace() -> None:
    """Before processes wait for each other each tries alone: no dropout mask and no running mean knows of it."""
    plain, _ = layers(dropout=0.5, batch_norm=True)
    tried, _ = layers(dropout=0.5, batch_norm=True, trials=2)
    assert all(torch.equal(value, tried[name]) for name, value in plain.items())


def test_a_trial_in_which_not_one_image_fits_is_an_error() -> None:
    with pytest.raises(ZooError, match="is full with 1 images at a time"):
        layers(trials=2, fits=0)


def test_every_device_s_generator_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(torch.mps, "manual_seed", heard.append)
    seed_global(torch.device("mps"), 5)
    one = torch.rand(3)
    seed_global(torch.device("cpu"), 5)
    assert torch.equal(one, torch.rand(3))
    assert heard == [5]


def test_statistics_of_a_batch_shrink_too() -> None:
    model: GenerativeModel = zoo_core.create("made", IMAGES, hidden=(16,))
    said: list[str] = []
    step = AcceleratedStep(model, accelerator(groups=1), lr=1e-2, data=batch(), tell=said.append)

    def statistic(part: Batch) -> torch.Tensor:
        if len(part) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return part.x.double().mean(0)

    whole = batch().x.double().mean(0)
    assert torch.allclose(step.mean(statistic, batch()), whole)
    assert len(said) == 2


def test_a_micro_batch_does_not_make_another_run(tmp_path: Path) -> None:
    from zoo_bench.training.recipe import plan

    assert plan("made.digits", micro_batch=10).identity() == plan("made.digits").identity()
