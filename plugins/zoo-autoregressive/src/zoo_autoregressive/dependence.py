"""Which pixels a conditional depends on, found by trying: the receptive field of any model of the family."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_autoregressive.autoregressive import Autoregressive
from zoo_core.images import Labels


@torch.no_grad()
def depends_on(
    model: Autoregressive, d: int, *, trials: int = 3, seed: int = 0, labels: Labels = None, tolerance: float = 1e-13
) -> Tensor:
    """Which subpixels p(x_d | x_<d) depends on, bool `(D,)` in sampling order.

    Each subpixel of some random images is changed, one at a time. What has no influence on all `trials` of them (a
    ReLU that happens to be 0, say) counts as not seen, so a network should have random weights. tolerance: changes of a
    logit that rounding can make, for a model in float64: the same image in another row of a batch may differ by that.
    """
    dims, levels = model.images.dims, model.images.levels
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(dims, dtype=torch.bool)
    for _ in range(trials):
        s = torch.randint(levels, (dims,), generator=generator).to(torch.uint8)
        changed = s.repeat(dims + 1, 1)  # (D + 1, D): the last is s itself
        diagonal = torch.arange(dims)
        changed[diagonal, diagonal] = ((s.int() + 1) % levels).to(torch.uint8)
        given = None if labels is None else labels.expand(dims + 1)
        out = torch.cat([part[:, d] for part in _logits(model, changed.to(model.device), given)])  # (D + 1, P)
        seen |= ((out[:-1] - out[-1]).abs() > tolerance).any(1).cpu()
    return seen


def _logits(model: Autoregressive, s: Tensor, labels: Labels, size: int = 100) -> list[Tensor]:
    each = [None] * len(s.split(size)) if labels is None else list(labels.split(size))
    return [model.logits(part, label) for part, label in zip(s.split(size), each)]
