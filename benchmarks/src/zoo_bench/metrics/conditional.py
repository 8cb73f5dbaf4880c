"""What a classifier sees in samples: how often each class, and whether it is the class that was asked for.

The classifier errs on real images too, so its accuracy on samples means something only beside its recall on real ones
(compare Ravuri, Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019,
https://arxiv.org/abs/1905.10887, who train on samples instead).
"""

from __future__ import annotations

import torch
from scipy import special
from torch import Tensor

from zoo_core.errors import ZooError


def class_histogram(logits: Tensor, classes: int | None = None) -> Tensor:
    """The share of images whose likeliest class is each: float64 `(classes,)`, sums to 1."""
    logits = _checked(logits, classes)
    return frequencies(logits.argmax(1), logits.shape[1])


def frequencies(labels: Tensor, classes: int) -> Tensor:
    """The share of each class among labels `(N,)`: float64 `(classes,)`."""
    _classes(labels, classes)
    return torch.bincount(labels, minlength=classes).double() / len(labels)


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of |p - q|: 0 for equal distributions, 1 for disjoint ones."""
    if p.shape != q.shape:
        raise ZooError(f"total variation: expected shares of the same classes, got {tuple(p.shape)}, {tuple(q.shape)}")
    return float((p.double() - q.double()).abs().sum() / 2)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of images whose likeliest class is the one asked for (samples) or the true one (real images)."""
    logits = _labelled(logits, labels)
    return float((logits.argmax(1) == labels).double().mean())


def as_often_as(labels: Tensor, training: Tensor) -> bool:
    """Whether labels `(N,)` may have been drawn as often as those of training images; not where p < 1e-6 (chi^2)."""
    classes = int(max(labels.max(), training.max())) + 1
    seen, known = torch.bincount(labels, minlength=classes), torch.bincount(training, minlength=classes)
    if bool(seen[known == 0].any()):
        return False
    there = known > 0
    if int(there.sum()) < 2:
        return True
    expected = known[there].double() / known.sum() * len(labels)
    chi2 = float(((seen[there] - expected).square() / expected).sum())
    return float(special.chdtrc(int(there.sum()) - 1, chi2)) > 1e-6


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share among n, which is no point where all or none are right.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927,
    https://doi.org/10.1080/01621459.1927.10502953.
    """
    z2 = 1.96**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    half = 1.96 * (share * (1 - share) / n + z2 / (4 * n)) ** 0.5 / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def _checked(logits: Tensor, classes: int | None = None) -> Tensor:
    if logits.dim() != 2 or len(logits) == 0 or logits.shape[1] != (classes or logits.shape[1]):
        wanted = "classes" if classes is None else classes
        raise ZooError(f"logits: expected (N, {wanted}) of at least 1 image, got {tuple(logits.shape)}")
    if not bool(torch.isfinite(logits).all()):
        raise ZooError("logits contain NaN or infinity; the images or the classifier are broken")
    return logits


def _labelled(logits: Tensor, labels: Tensor) -> Tensor:
    logits = _checked(logits)
    _classes(labels, logits.shape[1])
    if len(labels) != len(logits):
        raise ZooError(f"labels: expected one for each of {len(logits)} images, got {len(labels)}")
    return logits


def _classes(labels: Tensor, classes: int) -> None:
    if labels.dtype != torch.int64 or labels.dim() != 1 or len(labels) == 0:
        raise ZooError(f"labels: expected int64 (N,) of at least 1 image, got {labels.dtype} {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ZooError(f"labels: expected classes 0..{classes - 1}, got {low if low < 0 else high}")
