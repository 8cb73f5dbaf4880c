"""The metrics of features, as specifications: one for each kind and each extractor that any plugin offers. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core.specs import ExtractorSpec, MetricSpec

KINDS = ("fd", "fd_inf", "kid", "prdc", "is", "classes", "memorisation")
OF_CLIP = ("cmmd", "clip_score")
HIGHER = ("precision", "recall", "density", "coverage", "is", "class_accuracy", "clip_score")


def name_of(kind: str, extractor: str) -> str:
    """`fd_mnistcnn`; for Inception's network the literature's names: `fid`, `fid_inf`, `kid`, `is`."""
    if extractor == "inception" and kind in ("fd", "fd_inf", "kid", "is"):
        return kind.replace("fd", "fid")
    return kind if kind in OF_CLIP else f"{kind}_{extractor}"


def entries_of(kind: str, extractor: str) -> list[str]:
    """The ids of the entries that a metric of features writes into a card."""
    parts = {
        "prdc": ("precision", "recall", "density", "coverage"),
        "classes": ("class_tv", "class_accuracy"),
        "memorisation": ("nn_ratio",),
    }
    return [name_of(part, extractor) for part in parts.get(kind, (kind,))]


def metrics_of(extractors: Iterable[ExtractorSpec]) -> list[MetricSpec]:
    """The metrics that exist because these extractors do."""
    return [
        MetricSpec(
            name=name_of(kind, extractor.name),
            version=1,
            target=f"zoo_bench.quality:{'inception_score' if kind == 'is' else kind}",
            higher_is_better=kind in HIGHER,
            unit="",
            needs_extractor=True,
            params={"extractor": extractor.name, "entries": entries_of(kind, extractor.name)},
        )
        for extractor in extractors
        for kind in (*KINDS, *(OF_CLIP if extractor.name == "clip" else ()))
    ]
