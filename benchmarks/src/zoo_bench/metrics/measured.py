"""What was measured of a model on a task: all that metrics are made of, computed once however many ask for it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_bench import processes
from zoo_bench.datasets.load import Dataset, load
from zoo_bench.features.extract import Features, extract
from zoo_bench.metrics.enumeration import Distribution, enumerate_all
from zoo_bench.tasks.suites import Suite, Task
from zoo_core import likelihood
from zoo_core.images import Batch
from zoo_core.model import GenerativeModel
from zoo_core.specs import Conditioning
from zoo_core.step import Trainable


@dataclass(frozen=True)
class Measured:
    """A model on a task: all that its metrics are made of.

    task_id: `quick@1/digits`. scored: the split whose likelihood was asked for; batch: those of its images that were
    taken. results: likelihoods with numbers, strongest first. samples: uint8 `(N, C, H, W)`, if any were drawn.
    references: the splits to compare them with. labels, text: the conditions that the samples were asked for, where the
    model takes any. asked_labels: how often each label was asked for, where not as often as training images have it,
    which is another protocol. model: None for images that no model drew; trained_with: the encoders in its loss.
    device: where features are computed.
    """

    task: Task
    task_id: str
    scored: Dataset
    batch: Batch
    conditioning: Conditioning = "none"
    results: Sequence[likelihood.LikelihoodResult] = ()
    samples: Tensor | None = None
    references: Sequence[Dataset] = ()
    labels: Tensor | None = None
    text: Sequence[str] | None = None
    asked_labels: dict[str, Any] | None = None
    model: Trainable | None = None
    trained_with: Sequence[str] = ()
    device: torch.device | str = "cpu"

    @property
    def n(self) -> int:
        """How many images were scored."""
        return len(self.batch)

    @property
    def split(self) -> dict[str, Any]:
        """The part of an identity that says which images were scored."""
        part = {"subset": self.task.subset} if self.task.subset else {}
        return {"split": {"name": self.scored.split, "sha256": self.scored.sha256, **part}, "n": self.n}

    @property
    def key(self) -> dict[str, Any]:
        """The part of every identity that is the same for all metrics of this task."""
        asked = {"labels": self.asked_labels} if self.asked_labels else {}
        return {"task": self.task_id, "conditioning": self.conditioning, **asked}

    def features(self, extractor: str, x: Tensor) -> Features:
        """What an extractor says about images uint8 `(N, C, H, W)`: computed once, whatever metrics ask."""
        key = extractor, id(x)
        if key not in self._extracted:
            self._extracted[key] = extract(extractor, x, self.scored.images, device=self.device, share=processes.share)
        return self._extracted[key]

    @functools.cached_property
    def _extracted(self) -> dict[tuple[str, int], Features]:
        return {}

    @functools.cached_property
    def distribution(self) -> Distribution | None:
        """The model's probability of every image, where the truth is known and the model can say."""
        if not isinstance(self.model, GenerativeModel) or not self.scored.spec.truth:
            return None
        return enumerate_all(self.model, self.task)


def of_images(
    suite: Suite, task: Task, x: Tensor, labels: Tensor | None = None, data_dir: str | Path | None = None
) -> Measured:
    """Images x that no model drew, uint8 `(N, C, H, W)`, on a task. labels: what they were asked for."""
    scored = load(task.data, task.split, data_dir)
    return Measured(
        task,
        suite.task_id(task),
        scored,
        task.choose(scored.pinned),
        "none" if labels is None else "class",
        samples=x,
        references=[load(task.data, reference, data_dir) for reference in task.references],
        labels=labels,
        device=processes.device(),
    )
