"""torch-fidelity as a second opinion: the same images, the same network, its own FID, KID, Inception score and PRC.

    run(x, reference, images, "fashioncnn", ("fid", "kid"))    # {"frechet_inception_distance": ..., ...}

Any extractor becomes one of torch-fidelity's: it is handed the uint8 images as they are and returns features in
float64, because torch-fidelity computes its statistics in the precision of the features (a float32 mean otherwise).
Nothing is cached by torch-fidelity, which caches by name alone, and the random states that it draws from are restored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo_bench.features import extract as extractors
from zoo_bench.randomness import preserved
from zoo_core import registry
from zoo_core.errors import ZooError
from zoo_core.images import check
from zoo_core.specs import ExtractorSpec, ImageSpec

METRICS = ("isc", "fid", "kid", "prc")
FEATURES, LOGITS = "features", "logits"


class Images(Dataset[Tensor]):
    """uint8 images `(N, C, H, W)` as torch-fidelity takes them: one at a time."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        return self.x[i]


def register(name: str | ExtractorSpec, images: ImageSpec) -> str:
    """Make an extractor known to torch-fidelity, for such images; the name that it has there."""
    from torch_fidelity import FeatureExtractorBase, register_feature_extractor
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    spec = registry.extractors.get(name) if isinstance(name, str) else name
    theirs = f"zoo-{spec.name}-{spec.sha256[:16]}-{'x'.join(map(str, images.shape))}-{images.levels}"
    if theirs in FEATURE_EXTRACTORS_REGISTRY:
        return theirs

    class Extractor(FeatureExtractorBase):  # type: ignore[misc]
        """Our function behind their interface. It has no parameters of its own, so it follows its input's device."""

        def __init__(self, name: str, features_list: list[str], **options: Any) -> None:
            super().__init__(name, features_list)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            found = extractors.network(spec, images, str(x.device))(x)
            parts = dict(zip((FEATURES, LOGITS), found if isinstance(found, tuple) else (found,)))
            if LOGITS in self.features_list and LOGITS not in parts:
                raise ZooError(f"extractor {spec.name!r} is no classifier: it has no Inception score")
            return tuple(parts[feature].double() for feature in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return FEATURES, LOGITS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LOGITS if metric == "isc" else FEATURES

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> Tensor:
            return torch.zeros(1, *images.shape, dtype=torch.uint8)

    register_feature_extractor(theirs, Extractor)
    return theirs


def run(
    x: Tensor,
    reference: Tensor,
    images: ImageSpec,
    name: str | ExtractorSpec,
    metrics: Iterable[str] = ("fid", "kid", "prc"),
    *,
    device: torch.device | str = "cpu",
    batch: int = 100,
    seed: int = 2020,
    subsets: int = 100,
    subset_size: int = 1000,
    splits: int = 10,
    shuffle: bool = False,
    k: int = 3,
) -> dict[str, float]:
    """torch-fidelity's numbers, under its own names, for generated images `x` and real ones `reference`.

    metrics: of isc, fid, kid, prc. seed: of KID's subsets. splits, shuffle: of the Inception score. k: of precision and
    recall. Both sets: uint8 `(N, C, H, W)`.
    """
    wanted = set(metrics)
    if unknown := wanted - set(METRICS):
        raise ZooError(f"torch-fidelity: expected metrics of {', '.join(METRICS)}, got {', '.join(sorted(unknown))}")
    for pixels in (x, reference):
        if not len(check(pixels, images)):
            raise ZooError("torch-fidelity: expected at least one image, got none")
    if "kid" in wanted and subset_size > min(len(x), len(reference)):
        raise ZooError(f"KID's subsets of {subset_size} are larger than {min(len(x), len(reference))} images")
    with preserved():
        from torch_fidelity import calculate_metrics

        return dict(
            calculate_metrics(
                input1=Images(x),
                input2=Images(reference),
                feature_extractor=register(name, images),
                **{metric: metric in wanted for metric in METRICS},
                cuda=torch.device(device).type == "cuda",
                batch_size=batch,
                cache=False,
                save_cpu_ram=True,  # no worker processes, and distances in blocks
                rng_seed=seed,
                kid_subsets=subsets,
                kid_subset_size=subset_size,
                isc_splits=splits,
                samples_shuffle=shuffle,
                prc_neighborhood=k,
                verbose=False,
            )
        )
