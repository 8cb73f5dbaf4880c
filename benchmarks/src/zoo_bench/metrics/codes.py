"""What a model's codes say about the images: how many latents are used, and how well a linear classifier reads labels.

    active_units     latents whose posterior mean varies over the images, for models that have such a count
    probe_accuracy   accuracy on the scored images of a logistic regression fitted to the codes of training images
                     (G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes", 2016,
                     https://arxiv.org/abs/1610.01644); that of one fitted to the pixels is in the card beside it

A probe measures what the codes make easy to read, not how good the model is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.datasets.load import load
from zoo_bench.metrics import conditional
from zoo_bench.metrics.measured import Measured
from zoo_core.images import to_unit
from zoo_core.likelihood import evaluating
from zoo_core.model import HasEncode
from zoo_core.step import Trainable

Entries = list[Metric]
Array = npt.NDArray[Any]
TRAINED_ON = 10_000  # images at most, the first of the training split: a linear model does not ask for more


def active_units(measured: Measured) -> Entries:
    """How many latents are active, of how many (`model.active_units(x)`, which says by what rule)."""
    model, count = measured.model, getattr(measured.model, "active_units", None)
    if model is None or count is None or measured.conditioning != "none" or measured.n < 2:
        return []
    with evaluating(model):
        active: Tensor = count(measured.batch.x.to(model.device))
    return [
        metric(
            "active_units",
            1,
            float(active.sum()),
            unit="",
            relation=None,
            interval=None,
            identity={**measured.key, **measured.split},
            higher_is_better=True,
            latents=active.numel(),
        )
    ]


def probe_accuracy(measured: Measured) -> Entries:
    """The share of the scored images whose label a linear classifier of the codes finds, with Wilson's interval."""
    model = measured.model
    if not isinstance(model, HasEncode) or measured.batch.labels is None or measured.conditioning != "none":
        return []
    labels = measured.batch.labels
    train = load(measured.task.data, "train").pinned[:TRAINED_ON]
    assert train.labels is not None
    inputs = _numbers([_codes(model, part.x, measured.task.chunk) for part in (train, measured.batch)])
    pixels = [to_unit(part.x, measured.scored.images).flatten(1).double().numpy() for part in (train, measured.batch)]
    answers = train.labels.numpy(), labels.numpy()
    of_codes, of_pixels = (_accuracy(fitted, scored, *answers) for fitted, scored in (inputs, pixels))
    low, high = conditional.wilson(of_codes, measured.n)
    identity = {**measured.key, **measured.split, "trained_on": len(train)}
    return [
        metric(
            "probe_accuracy",
            1,
            of_codes,
            unit="",
            relation=None,
            interval=Interval(level=0.95, low=low, high=high, method="Wilson, over images", n=measured.n),
            identity=identity,
            higher_is_better=True,
            of_pixels=of_pixels,
            dimensions=inputs[0].shape[1],
        )
    ]


def _codes(model: HasEncode, x: Tensor, chunk: int) -> Tensor:
    """`model.encode(x)`, one row per image."""
    assert isinstance(model, Trainable)
    with evaluating(model):
        parts = processes.share(
            math.ceil(len(x) / chunk), lambda c: model.encode(x[c * chunk : (c + 1) * chunk].to(model.device)).cpu()
        )
    return torch.cat(parts).flatten(1)


def _numbers(codes: list[Tensor]) -> list[Array]:
    """Codes as inputs of a linear model: integer ones, which have no order, as indicators."""
    if not codes[0].is_floating_point():
        values = int(max(part.max() for part in codes)) + 1
        codes = [torch.nn.functional.one_hot(part.long(), values).flatten(1) for part in codes]
    return [part.double().numpy() for part in codes]


def _accuracy(train: Array, test: Array, labels: Array, truth: Array) -> float:
    """Of scikit-learn's logistic regression (C = 1) on standardised inputs."""
    from sklearn.linear_model import LogisticRegression

    centre, scale = train.mean(0), train.std(0)
    scale[scale == 0] = 1.0
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit((train - centre) / scale, labels)
    return float((fitted.predict((test - centre) / scale) == truth).mean())
