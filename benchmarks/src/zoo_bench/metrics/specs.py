"""The metrics of the harness, as specifications. Those of features are one for each kind and each extractor that any
plugin offers. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core.specs import ExtractorSpec, MetricSpec

ERRORS = ("mse", "psnr", "ssim")  # of restored images

METRICS = [
    MetricSpec(
        name="bits_per_dim",
        version=1,
        target="zoo_bench.metrics.measure:bits_per_dim",
        higher_is_better=False,
        unit="bits/dim",
    ),
    MetricSpec(
        name="nats", version=1, target="zoo_bench.metrics.measure:nats", higher_is_better=False, unit="nats/image"
    ),
    *(
        MetricSpec(
            name=f"restore_{how}",
            version=1,
            target=f"zoo_bench.metrics.restoration:{how}",
            higher_is_better=False,
            unit="",
            params={"entries": [f"restore_{how}_{error}" for error in ERRORS]},
        )
        for how in ("half", "double", "noise")
    ),
    MetricSpec(
        name="reconstruct",
        version=1,
        target="zoo_bench.metrics.restoration:reconstruct",
        higher_is_better=False,
        unit="",
        params={"entries": [f"reconstruct_{error}" for error in ERRORS]},
    ),
    MetricSpec(
        name="reconstruct_lpips",
        version=1,
        target="zoo_bench.metrics.restoration:reconstruct_lpips",
        higher_is_better=False,
        unit="",
        params={"extractor": "lpips"},
    ),
    MetricSpec(
        name="lpips_pairs",
        version=1,
        target="zoo_bench.metrics.restoration:lpips_pairs",
        higher_is_better=True,
        unit="",
        params={"extractor": "lpips"},
    ),
    MetricSpec(
        name="active_units", version=1, target="zoo_bench.metrics.codes:active_units", higher_is_better=True, unit=""
    ),
    MetricSpec(
        name="probe_accuracy",
        version=1,
        target="zoo_bench.metrics.codes:probe_accuracy",
        higher_is_better=True,
        unit="",
    ),
    MetricSpec(
        name="code_perplexity",
        version=1,
        target="zoo_bench.metrics.discrete_codes:code_perplexity",
        higher_is_better=True,
        unit="codes",
    ),
    MetricSpec(
        name="bits_per_code",
        version=1,
        target="zoo_bench.metrics.discrete_codes:bits_per_code",
        higher_is_better=False,
        unit="bits/code",
    ),
    MetricSpec(
        name="sharpness", version=1, target="zoo_bench.metrics.sharpness:sharpness", higher_is_better=False, unit=""
    ),
    MetricSpec(
        name="modes",
        version=1,
        target="zoo_bench.metrics.modes:modes",
        higher_is_better=True,
        unit="",
        needs_extractor=True,
        params={"extractor": "mnistcnn", "channels_of": "mnist", "entries": ["modes_found", "modes_kl"]},
    ),
    MetricSpec(name="kl", version=1, target="zoo_bench.metrics.known:kl", higher_is_better=False, unit="nats"),
    MetricSpec(name="tv", version=1, target="zoo_bench.metrics.known:tv", higher_is_better=False, unit=""),
    MetricSpec(
        name="tv_samples", version=1, target="zoo_bench.metrics.known:tv_samples", higher_is_better=False, unit=""
    ),
]

KINDS = ("fd", "fd_inf", "mind", "kid", "prdc", "clipped", "is", "classes", "memorisation")
OF_CLIP = ("cmmd", "clip_score")
OF_INCEPTION = ("fd", "fd_inf", "mind", "kid", "is")  # whose names in the literature say nothing of a network
PARTS = {
    "prdc": ("precision", "recall", "density", "coverage"),
    "clipped": ("clipped_density", "clipped_coverage"),
    "classes": ("class_tv", "class_accuracy"),
    "memorisation": ("nn_ratio",),
}
HIGHER = (*PARTS["prdc"], *PARTS["clipped"], "is", "class_accuracy", "clip_score")


def name_of(kind: str, extractor: str) -> str:
    """`fd_mnistcnn`; for Inception's network the literature's names: `fid`, `fid_inf`, `mind`, `kid`, `is`."""
    if extractor == "inception" and kind in OF_INCEPTION:
        return kind.replace("fd", "fid")
    return kind if kind in OF_CLIP else f"{kind}_{extractor}"


def entries_of(kind: str, extractor: str) -> list[str]:
    """The ids of the entries that a metric of features writes into a card."""
    return [name_of(part, extractor) for part in PARTS.get(kind, (kind,))]


def metrics_of(extractors: Iterable[ExtractorSpec]) -> list[MetricSpec]:
    """The metrics that exist because these extractors do."""
    return [
        MetricSpec(
            name=name_of(kind, extractor.name),
            version=1,
            target=f"zoo_bench.metrics.quality:{'inception_score' if kind == 'is' else kind}",
            higher_is_better=kind in HIGHER,
            unit="",
            needs_extractor=True,
            params={"extractor": extractor.name, "entries": entries_of(kind, extractor.name)},
        )
        for extractor in extractors
        for kind in (*KINDS, *(OF_CLIP if extractor.name == "clip" else ()))
    ]
