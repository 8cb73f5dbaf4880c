"""What models have in common that draw without a condition and without options: one `sample` around a draw."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.chunks import per_image
from zoo_core.model import GenerativeModel


class Unconditional(GenerativeModel):
    """`_draw` draws as many images as `per_image` asks for."""

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        self.check_request(n, labels, text)
        return per_image(n, lambda rows: self._draw(rows, generator))

    @abstractmethod
    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        """`n` images, uint8 `(n, C, H, W)`."""
