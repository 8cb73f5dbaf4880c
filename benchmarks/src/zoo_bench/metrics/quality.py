"""Sample quality: what the features of samples and of real images say, one metric for each kind and extractor.

    fd_mnistcnn  fd_inf_mnistcnn  mind_mnistcnn  kid_mnistcnn  prdc_mnistcnn  clipped_mnistcnn  is_mnistcnn
    classes_mnistcnn  memorisation_mnistcnn

With the extractor `inception` some have the names they are known by: `fid`, `fid_inf`, `mind`, `kid`, `is`. The
extractor, the sha256 of its weights and its way of resizing are part of every number's identity. Where the weights
cannot be had, the metric is skipped: its entry names the file and the sha256 wanted, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_bench.cards.card import metric
from zoo_bench.cards.types import Interval, Metric
from zoo_bench.datasets.load import Dataset
from zoo_bench.features import featuresets
from zoo_bench.features import specs as extractor_specs
from zoo_bench.metrics import clipped as clipping
from zoo_bench.metrics import conditional, frechet, kernels, neighbours
from zoo_bench.metrics import inception_score as scores
from zoo_bench.metrics import mind as sliced
from zoo_bench.metrics.measured import Measured
from zoo_bench.metrics.specs import HIGHER, name_of
from zoo_core import registry
from zoo_core.errors import WeightsError, ZooError

Entries = list[Metric]

NEIGHBOURS = 5  # k of precision, recall, density and coverage, clipped or not
MOST = 10_000  # images on either side of metrics that take as many of both
CMMD = {"sigma": 10, "scale": 1000}
METHODS = {
    "fd": "delete-a-group jackknife (10) over generated images",
    "mind": "delete-a-group jackknife (10) over generated images",
    "class_accuracy": "Wilson, over generated images",
    "clip_score": "normal, over generated images",
}


def fd(measured: Measured, extractor: str) -> Entries:
    """The Fréchet distance to each reference, with a jackknife over the samples where that is affordable."""
    return [
        _entry(measured, "fd", extractor, value, data=data, half=half, warning=warning)
        for data, a, b in _pairs(measured, extractor)
        for value, half, warning in [_fd(a, b)]
    ]


def _fd(a: Tensor, b: Tensor) -> tuple[float, float | None, str | None]:
    reference = frechet.fit(b)
    value = frechet.frechet_distance(frechet.fit(a), reference)
    groups = min(10, len(a) // 2)
    affordable = groups > 1 and a.shape[1] <= frechet.AFFORDABLE
    half = 1.96 * frechet.jackknife(a, reference, groups) if affordable else None
    return value, half, _too_few(a, b)


def _too_few(a: Tensor, b: Tensor) -> str | None:
    return "N <= feature dimension" if min(len(a), len(b)) <= a.shape[1] else None


def fd_inf(measured: Measured, extractor: str) -> Entries:
    """The Fréchet distance extrapolated to infinitely many samples (`frechet.fd_inf`)."""
    entries = []
    for data, a, b in _pairs(measured, extractor):
        found = frechet.fd_inf(a, frechet.fit(b), seed=0)
        shown: dict[str, Any] = {
            "slope": found.slope,
            "error_of_fit": found.error,
        }  # of the line, not of another draw of samples
        warning = _too_few(a, b)
        entries.append(_entry(measured, "fd_inf", extractor, found.value, data=data, warning=warning, **shown))
    return entries


def kid(measured: Measured, extractor: str) -> Entries:
    """The kernel distance: 100 subsets of `kid_size` images, fewer where a set is smaller."""
    entries = []
    for data, a, b in _pairs(measured, extractor):
        size = min(measured.task.kid_size, len(a), len(b))
        mean, deviation = kernels.kid(a, b, subsets=100, size=size, seed=0)
        protocol = {"subsets": 100, "size": size, "degree": 3}
        more: dict[str, Any] = {"sd_over_subsets": deviation}  # which is no standard error
        entries.append(_entry(measured, "kid", extractor, mean, data=data, protocol=protocol, **more))
    return entries


def prdc(measured: Measured, extractor: str) -> Entries:
    """Precision, recall, density and coverage, as many images on either side, pinned choices of them."""
    return _by_balls(measured, extractor, neighbours.prdc)


def clipped(measured: Measured, extractor: str) -> Entries:
    """Clipped density and coverage, of the images that `prdc` takes: equivalent shares of good samples."""
    return _by_balls(measured, extractor, clipping.clipped)


def _by_balls(
    measured: Measured, extractor: str, function: Callable[[Tensor, Tensor, int], dict[str, float]]
) -> Entries:
    entries = []
    for data, fake, real in _balanced_pairs(measured, extractor):
        protocol = {"k": NEIGHBOURS, "images": len(real)}
        for kind, value in function(real, fake, NEIGHBOURS).items():
            entries.append(_entry(measured, kind, extractor, value, data=data, protocol=protocol))
    return entries


def mind(measured: Measured, extractor: str) -> Entries:
    """The sliced Wasserstein distance to each reference, of as many images on either side, with a jackknife."""
    entries = []
    for data, fake, real in _balanced_pairs(measured, extractor):
        groups = min(10, len(fake) // 2)
        value, error = sliced.mind(fake, real, groups=groups if groups > 1 else 0)
        protocol = {"directions": sliced.DIRECTIONS, "images": len(real)}
        half = None if error is None else 1.96 * error
        entries.append(_entry(measured, "mind", extractor, value, data=data, protocol=protocol, half=half))
    return entries


def _balanced_pairs(measured: Measured, extractor: str) -> Iterator[tuple[Dataset, Tensor, Tensor]]:
    """Each reference with the features of as many samples and real images."""
    for data, a, b in _pairs(measured, extractor):
        fake, real = balanced(a, b)
        yield data, a[fake], b[real]


def balanced(samples: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers of as many of both sets of features; which samples, has nothing to do with their order."""
    m = min(len(samples), len(real), MOST)
    chosen = np.sort(np.random.RandomState(0).permutation(len(real))[:m])
    fake = torch.arange(m) if m == len(samples) else featuresets.shuffled(samples, seed=0)[:m]
    return fake, torch.from_numpy(chosen)


def inception_score(measured: Measured, extractor: str) -> Entries:
    """The Inception score, of the extractor's own classes."""
    if measured.samples is None:
        return []
    logits = _logits(measured, extractor, measured.samples)
    mean, deviation = scores.inception_score(logits, splits=10)
    return [_entry(measured, "is", extractor, mean, protocol={"splits": 10}, sd_over_splits=deviation)]


def classes(measured: Measured, extractor: str) -> Entries:
    """How the classes that a classifier sees are spread, beside those it sees in the scored split: total variation.

    For samples that were asked for by label also how often it sees that label, beside how often it is right about
    real images of the scored split.
    """
    if measured.samples is None:
        return []
    logits = _logits(measured, extractor, measured.samples)
    real = _logits(measured, extractor, measured.scored.pinned.x)
    seen = conditional.class_histogram(logits)
    truth = conditional.class_histogram(real)
    tv = conditional.total_variation(seen, truth)
    histogram: dict[str, Any] = {"histogram": [round(share, 4) for share in seen.tolist()]}
    entries = [_entry(measured, "class_tv", extractor, tv, data=measured.scored, **histogram)]
    labels = measured.scored.pinned.labels
    if measured.labels is not None and labels is not None:
        recall = conditional.accuracy(real, labels)
        value = conditional.accuracy(logits, measured.labels)
        more: dict[str, Any] = {"on_real_images": recall}
        ends = conditional.wilson(value, len(logits))
        entries.append(_entry(measured, "class_accuracy", extractor, value, ends=ends, **more))
    return entries


def memorisation(measured: Measured, extractor: str) -> Entries:
    """Flags, never a score: how near samples lie to training images, beside how near test images do."""
    train = _train(measured)
    if measured.samples is None or train is None:
        return []
    unseen = measured.scored
    sets = (measured.samples, train.pinned.x, unseen.pinned.x)
    found = neighbours.memorisation(*(measured.features(extractor, x).values for x in sets))
    flags = {key: found[key] for key in ("flag", "copies", "copies_test", "near", "near_test")}
    protocol = {"unseen": reference_of(unseen)}
    return [_entry(measured, "nn_ratio", extractor, found["ratio"], data=train, protocol=protocol, **flags)]


def neighbour_panel(measured: Measured, rows: int = 8, columns: int = 6) -> Tensor | None:
    """The first samples, each with the nearest training images behind it: uint8 `(rows * columns, C, H, W)` by rows.

    Near in the features that the task's memorisation metric uses; None where it has none, or where they are missing.
    """
    specs = [registry.metrics.get(name) for name in measured.task.metrics if name.startswith("memorisation_")]
    train = _train(measured)
    if not specs or measured.samples is None or train is None:
        return None
    extractor = specs[0].params["extractor"]
    try:
        drawn, known = (measured.features(extractor, x).values for x in (measured.samples, train.pinned.x))
    except WeightsError:  # missing, or not what they should be: the metric says so
        return None
    nearest = neighbours.nearest(drawn[:rows], known, columns - 1)[1]  # (rows, columns - 1)
    found = train.pinned.x[nearest.flatten()].unflatten(0, nearest.shape)
    return torch.cat([measured.samples[: len(drawn), None][:rows], found], 1).flatten(0, 1)


def _train(measured: Measured) -> Dataset | None:
    return next((data for data in measured.references if data.split.startswith("train")), None)


def cmmd(measured: Measured, extractor: str) -> Entries:
    """CLIP maximum mean discrepancy."""
    return [
        _entry(measured, "cmmd", extractor, kernels.cmmd(a, b), data=data, protocol=CMMD)
        for data, a, b in _pairs(measured, extractor)
    ]


def clip_score(measured: Measured, extractor: str) -> Entries:
    """100 max(cos(image, caption), 0), averaged over samples that were asked for by a caption.

    Hessel, Holtzman, Forbes, Le Bras, Choi, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", 2021,
    https://arxiv.org/abs/2104.08718, section 3, with 100 for its factor of 2.5, as text-to-image models report it.
    """
    if measured.samples is None or measured.text is None:
        return []
    from zoo_bench.features.clip import prompts_sha256, text_features

    drawn = measured.features(extractor, measured.samples).values  # (N, d), unit vectors
    asked = text_features(registry.extractors.get(extractor), measured.text)
    each = 100 * (drawn.double() * asked.double()).sum(1).clamp(min=0)
    half = 1.96 * float(each.std()) / len(each) ** 0.5 if len(each) > 1 else None
    protocol = {"prompts": prompts_sha256(measured.text)}
    return [_entry(measured, "clip_score", extractor, float(each.mean()), protocol=protocol, half=half)]


def _pairs(measured: Measured, extractor: str) -> Iterator[tuple[Dataset, Tensor, Tensor]]:
    """Each reference with the features of the samples and its own."""
    if measured.samples is None:
        return
    for data in measured.references:
        samples = measured.features(extractor, measured.samples)
        yield data, samples.values, measured.features(extractor, data.pinned.x).values


def _logits(measured: Measured, extractor: str, x: Tensor) -> Tensor:
    logits = measured.features(extractor, x).logits
    if logits is None:
        raise ZooError(f"extractor {extractor!r} is no classifier: it gives features and no logits")
    return logits


def reference_of(data: Dataset) -> dict[str, Any]:
    """The part of an identity that says what samples are compared with."""
    return {"name": data.split, "sha256": data.sha256, "n": len(data)}


def _entry(
    measured: Measured,
    kind: str,
    extractor: str,
    value: float | None,
    *,
    data: Dataset | None = None,
    protocol: dict[str, Any] | None = None,
    half: float | None = None,
    ends: tuple[float, float] | None = None,
    warning: str | None = None,
    **params: Any,
) -> Metric:
    """data: the reference. protocol: what else makes two values comparable. half: of the 95 % interval, or its ends."""
    n = 0 if measured.samples is None else len(measured.samples)
    network = extractor_specs.identity(registry.extractors.get(extractor))
    identity = {**measured.key, "n": n, **network, **(protocol or {})}
    shown: dict[str, Any] = {"n": n, **network, **(protocol or {}), **params}
    if data is not None:
        identity["reference"] = reference_of(data)
        shown |= {"reference": data.split, "n_reference": len(data)}
    if warning:
        shown["warning"] = warning
    interval = None
    if half is not None and value is not None:
        ends = value - half, value + half
    if ends is not None:
        interval = Interval(level=0.95, low=ends[0], high=ends[1], method=METHODS[kind], n=n)
    return metric(
        name_of(kind, extractor),
        1,
        value,
        unit="",
        relation=None,
        interval=interval,
        identity=identity,
        higher_is_better=kind in HIGHER,
        **shown,
    )
