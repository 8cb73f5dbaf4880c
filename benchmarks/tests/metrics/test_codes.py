"""What codes say about images: a probe's accuracy and active latents, on codes whose answer is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from zoo_bench.datasets.load import load
from zoo_bench.metrics import codes
from zoo_bench.metrics.measured import Measured
from zoo_bench.tasks import suites

from zoo_core import Batch, Config, GenerativeModel, ImageSpec


class Coder(GenerativeModel):
    """Its codes are what a function says of the images; three of its five latents are active."""

    def __init__(self, images: ImageSpec, code: object) -> None:
        super().__init__(images, Config())
        self.code = code

    def sample(self, n, *, labels=None, text=None, generator=None, **options):
        return torch.zeros(n, *self.images.shape, dtype=torch.uint8)

    def train_step(self, batch, step):
        return {}

    def encode(self, x):
        return self.code(x)

    def active_units(self, x):
        return torch.tensor([True, False, True, True, False])


def measured(code: object, n: int = 300) -> Measured:
    suite = suites.load("codes/digits")
    scored = load("digits", "test")
    model = Coder(scored.images, code)
    return Measured(suite.tasks[0], "codes@1/digits", scored, scored.pinned[:n], model=model)


def label_of(x: torch.Tensor) -> torch.Tensor:
    """The label of each image, found among all there are."""
    everything = {
        image.numpy().tobytes(): int(label)
        for split in ("train", "test")
        for image, label in zip(load("digits", split).pinned.x, load("digits", split).pinned.labels)
    }
    return torch.tensor([everything[image.numpy().tobytes()] for image in x])


@pytest.mark.parametrize("kind", ["real", "whole"])
def test_codes_that_are_the_labels_are_read_without_an_error(kind: str) -> None:
    code = (
        (lambda x: label_of(x)[:, None])
        if kind == "whole"
        else lambda x: torch.nn.functional.one_hot(label_of(x), 10).float()
    )
    (entry,) = codes.probe_accuracy(measured(code))
    assert entry.value == 1.0
    assert entry.interval is not None and entry.interval.low < 1.0


def test_codes_that_say_nothing_are_read_by_chance() -> None:
    (entry,) = codes.probe_accuracy(measured(lambda x: torch.zeros(len(x), 3)))
    assert entry.value is not None and entry.value < 0.2


def test_of_pixels_the_probe_is_scikit_learns_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    (entry,) = codes.probe_accuracy(measured(lambda x: x.flatten(1).double()))
    train, test = load("digits", "train").pinned, load("digits", "test").pinned
    scaler = StandardScaler().fit(train.x.flatten(1).numpy())
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(train.x.flatten(1).numpy()), train.labels)
    assert entry.value == pytest.approx(fitted.score(scaler.transform(test.x.flatten(1).numpy()), test.labels))
    assert entry.params.get("of_pixels") == entry.value


def test_active_units_are_counted_of_all_latents() -> None:
    (entry,) = codes.active_units(measured(lambda x: torch.zeros(len(x), 5)))
    assert (entry.value, entry.params.get("latents")) == (3.0, 5)


def test_models_without_codes_and_data_without_labels_have_no_entry() -> None:
    one = measured(lambda x: torch.zeros(len(x), 1))
    unlabelled = dataclasses.replace(one, batch=Batch(one.batch.x))
    assert codes.probe_accuracy(unlabelled) == []
    assert codes.probe_accuracy(dataclasses.replace(one, model=None)) == []
    assert codes.active_units(dataclasses.replace(one, model=None)) == []
    assert codes.active_units(dataclasses.replace(one, batch=one.batch[:1])) == []
