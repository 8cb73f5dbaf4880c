"""The Inception score: how sure a classifier is of each image, and how evenly it sees its classes over all of them.

IS = exp(E_x KL(p(y|x) || p(y)))  (Salimans et al., "Improved Techniques for Training GANs", 2016,
https://arxiv.org/abs/1606.03498, section 4), the mean over 10 parts of the set. It knows no real images.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from zoo_bench.features import featuresets
from zoo_core.errors import ZooError


def inception_score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    """Mean and sd of the score over `splits` parts of `(N, classes)`; between 1 and the number of classes.

    p(y) is taken inside each part, which makes the score smaller the more parts there are: splits belong to the
    identity. Parts are random, by an order that belongs to the set, so the order given doesn't matter. The sd over
    parts describes parts of N/splits images; it is no standard error of the mean.
    """
    featuresets.check(logits=logits)
    if not 1 <= splits <= len(logits):
        raise ZooError(f"splits: expected 1 to {len(logits)}, the number of images, got {splits}")
    rows = featuresets.shuffled(logits, seed=0)
    scores = [score(logits[rows[i * len(rows) // splits : (i + 1) * len(rows) // splits]]) for i in range(splits)]
    return float(np.mean(scores)), float(np.std(scores))


def score(logits: Tensor) -> float:
    """exp of the mean divergence of `(n, classes)`, over one part."""
    log_p = logits.double().log_softmax(1)
    log_mean = log_p.logsumexp(0) - np.log(len(log_p))  # ln p(y), never of 0
    return float((log_p.exp() * (log_p - log_mean)).sum(1).mean().exp())
