"""How often a conditional model saw each class, so that it can draw labels when it is asked for none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.chunks import per_image
from zoo_core.images import Batch
from zoo_core.step import Step


class ClassFrequencies(nn.Module):
    """The running share of each class among the training images; equal shares before the first batch.

    share: `(classes,)`. batches: how many were counted. Buffers: `sample` needs them.
    """

    share: Tensor
    batches: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.full((classes,), 1 / classes))
        self.register_buffer("batches", torch.tensor(0))

    def count(self, batch: Batch, step: Step) -> None:
        """Take the labels of a training batch into account, over all processes; called by `train_step`."""
        now = step.mean(self._shares, batch)
        self.batches += 1
        self.share += (now - self.share) / self.batches

    def _shares(self, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return F.one_hot(batch.labels, len(self.share)).to(self.share).mean(0)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` labels with their training frequencies, int64 `(n,)`."""
        return per_image(n, lambda rows: torch.multinomial(self.share, rows, replacement=True, generator=generator))
