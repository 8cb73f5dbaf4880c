"""What a training tells of itself: to the terminal, to log.jsonl, to the trackers of Accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import LoggerType
from torch import Tensor

from zoo_bench.training.bar import Bar
from zoo_bench.training.checkpoint import RunFolder
from zoo_core.commands import sample_files
from zoo_core.errors import unknown
from zoo_core.images import ImageSpec

TRACKERS = [str(kind.value) for kind in LoggerType if kind.value != "all"]


def known(trackers: Sequence[str]) -> list[str] | None:
    """What Accelerate is to be told of trackers; `ZooError` for a name that it doesn't know."""
    if strangers := set(trackers) - set(TRACKERS):
        raise unknown("tracker", sorted(strangers)[0], TRACKERS)
    return list(trackers) or None


class Logbook:
    """That of one run."""

    def __init__(self, folder: RunFolder, bar: Bar, runner: Accelerator, trackers: Sequence[str]) -> None:
        self.folder, self.bar, self.runner, self.trackers = folder, bar, runner, trackers

    def begin(self, facts: Mapping[str, Any]) -> None:
        """facts: what trackers note of the run."""
        if self.trackers:
            self.runner.init_trackers("zoo", config={key: str(value) for key, value in facts.items()})

    def end(self) -> None:
        if self.trackers:
            self.runner.end_training()

    def add(self, seen: int, seconds: float, values: Mapping[str, float], rate: float) -> None:
        """The metrics of the step after which `seen` images had been seen in so many seconds; the speed in images/s."""
        self.bar.advance(seen, values, rate)
        if self.runner.is_main_process:
            self.folder.log({"images": seen, "seconds": round(seconds, 3), **values})
        if self.trackers:
            self.runner.log(dict(values), step=seen)

    def picture(self, seen: int, x: Tensor | None, images: ImageSpec, what: str) -> None:
        """Samples or reconstructions, where a tracker can show them."""
        if x is not None and "tensorboard" in self.trackers:
            picture = np.asarray(sample_files.grid(x, images))[None]
            tracker = self.runner.get_tracker("tensorboard")
            tracker.log_images({what: picture}, step=seen, dataformats="NHWC")
