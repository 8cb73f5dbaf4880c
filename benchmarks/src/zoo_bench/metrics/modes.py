"""Mode coverage: of all the kinds of image there are, how many a model draws, and how evenly.

The kinds of `mnist_stacked` are the 1,000 triples of digits, one for each channel, that a classifier of single digits
sees. Two numbers, as in

    L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein, "Unrolled Generative Adversarial Networks", 2017,
    https://arxiv.org/abs/1611.02163, section 3.3,
    A. Srivastava, L. Valkov, C. Russell, M. U. Gutmann, C. Sutton, "VEEGAN: Reducing Mode Collapse in GANs using
    Implicit Variational Learning", 2017, https://arxiv.org/abs/1705.07761,
    Z. Lin, A. Khetan, G. Fanti, S. Oh, "PacGAN: The power of two samples in generative adversarial networks", 2018,
    https://arxiv.org/abs/1712.04086:

    modes_found = #{m : n_m > 0},    modes_kl = KL(q || u) = sum_m q_m ln(q_m M),    q_m = n_m / N,  u_m = 1 / M

n_m: how many of N samples are of kind m, of M kinds; u: the even distribution. It is the "reverse" KL of the papers:
finite where kinds are missing, at most ln M, where all samples are of one kind. The real images are not quite even,
because MNIST's digits are not, and N samples of u itself have a KL of (M - 1) / 2N on average (0.020 nats for 1,000
kinds and 25,600 samples), so the row of training images stands beside it and not 0.

Departures: the classifier is the pinned one of this package; theirs were others, so their figures are other numbers.
Neither number says that samples are good ones: every image, noise too, is counted as the kind it is most like.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.datasets.load import find
from zoo_bench.features import specs as extractor_specs
from zoo_bench.features.extract import extract
from zoo_bench.metrics.measured import Measured
from zoo_core import registry
from zoo_core.errors import ZooError

GROUPS = 10  # of the jackknife
METHOD = f"delete-a-group jackknife ({GROUPS}) over generated images"


def modes(measured: Measured, extractor: str) -> list[Metric]:
    """How many kinds were found, and KL(q || even), of samples whose channels are images that the classifier knows."""
    spec, x = registry.metrics.get("modes"), measured.samples
    if x is None or measured.scored.spec.channels_of != spec.params["channels_of"]:
        return []
    single = find(measured.scored.spec.channels_of).images
    # Not kept: nothing else asks for the features of single channels.
    found = extract(
        extractor, x.flatten(0, 1)[:, None], single, device=measured.device, share=processes.share, cache=None
    )
    if found.logits is None:
        raise ZooError(f"extractor {extractor!r} is no classifier: it gives features and no logits")
    classes = found.logits.shape[1]
    kinds = kinds_of(found.logits.argmax(1).view(len(x), -1), classes)
    return _entries(measured, extractor, kinds, classes ** x.shape[1])


def _entries(measured: Measured, extractor: str, kinds: Tensor, count: int) -> list[Metric]:
    network = extractor_specs.identity(registry.extractors.get(extractor))
    protocol = {"n": len(kinds), "modes": count, **network}
    value, error = divergence(kinds, count)
    interval = None if error is None else Interval.around(value, 1.96 * error, METHOD, len(kinds))
    found = float(len(kinds.unique()))
    return [
        metric(
            name,
            registry.metrics.get("modes").version,
            number,
            unit=unit,
            relation=None,
            interval=within,
            identity={**measured.key, **protocol},
            higher_is_better=higher,
            **protocol,
        )
        for name, number, unit, within, higher in (
            ("modes_found", found, f"of {count:,}", None, True),
            ("modes_kl", value, "nats", interval, False),
        )
    ]


def kinds_of(classes: Tensor, base: int) -> Tensor:
    """The number of each image's kind: the classes of its channels `(N, C)` as the digits of a number. int64 `(N,)`."""
    places = base ** torch.arange(classes.shape[1] - 1, -1, -1)
    return (classes * places).sum(1)


def divergence(kinds: Tensor, count: int) -> tuple[float, float | None]:
    """KL(q || even) of kinds `(N,)` of 0 .. count - 1, nats, and its standard error by a jackknife of whole groups."""
    counts = torch.bincount(kinds, minlength=count)
    if len(kinds) < 2 * GROUPS:
        return _kl(counts), None
    without = torch.tensor(
        [_kl(counts - torch.bincount(kinds[g::GROUPS], minlength=count)) for g in range(GROUPS)], dtype=torch.float64
    )
    return _kl(counts), float((without - without.mean()).square().sum() * (GROUPS - 1) / GROUPS) ** 0.5


def _kl(counts: Tensor) -> float:
    q = counts.double() / counts.sum()
    return math.log(len(counts)) + float(torch.special.xlogy(q, q).sum())
