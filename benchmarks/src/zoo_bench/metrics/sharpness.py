"""Whether samples are as sharp as real images: means of a posterior are blurred, independent noise is too sharp.

The sharpness of an image is the variance over its pixels of the response to the Laplace filter, of a grey image in
[0, 1] (I. Tolstikhin, O. Bousquet, S. Gelly, B. Schölkopf, "Wasserstein Auto-Encoders", 2018,
https://arxiv.org/abs/1711.01558, section 4, who average it over samples). Here that average is divided by the one over
real images, so that 1 is right, and neither more nor less is better: it is a flag.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.metrics.measured import Measured
from zoo_core.images import to_unit
from zoo_core.specs import ImageSpec

LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
USUAL = (0.8, 1.25)  # a ratio whose interval lies outside is flagged


def sharpness(measured: Measured) -> list[Metric]:
    """Mean sharpness of the samples over that of the scored split, with a normal interval; flag: blurred, or noisy."""
    images, samples = measured.scored.images, measured.samples
    if samples is None or min(images.height, images.width) < 3:
        return []
    drawn, real = (of(x, images) for x in (samples, measured.scored.pinned.x))
    if float(real.mean()) == 0:
        return []
    value = float(drawn.mean() / real.mean())
    error = value * math.hypot(*(_relative_error(part) for part in (drawn, real))) if value > 0 else 0.0
    interval = Interval.around(value, 1.96 * error, "normal, of a ratio of two means over images", len(drawn))
    return [
        metric(
            "sharpness",
            1,
            value,
            unit="",
            relation=None,
            interval=interval,
            identity={**measured.key, **measured.split, "samples": len(drawn)},
            n=len(drawn),
            n_reference=len(real),
            reference=measured.scored.split,
            real=float(real.mean()),
            flag=interval.high < USUAL[0] or interval.low > USUAL[1],
        )
    ]


def of(x: Tensor, images: ImageSpec) -> Tensor:
    """The sharpness of each image, double `(N,)`. x: integers `(N, C, H, W)`, of at least 3 x 3 pixels."""
    grey = to_unit(x, images).double().mean(1, keepdim=True)
    response = F.conv2d(grey, torch.tensor(LAPLACE, dtype=torch.float64)[None, None])
    return response.flatten(1).var(1, correction=0)


def _relative_error(values: Tensor) -> float:
    return float(values.std() / values.mean()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
