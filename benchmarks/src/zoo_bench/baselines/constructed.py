"""Two constructed rows that show what one metric misses: a likelihood, or a distance of samples.

L. Theis, A. van den Oord, M. Bethge, "A note on the evaluation of generative models", 2016,
https://arxiv.org/abs/1511.01844, section 3.2.

`copycat`: a training image, drawn at random, each of whose subpixels is replaced by a uniform level with probability
`noise`. Its samples are as near to the training images as can be, and it has learned nothing: new images are unlikely.

    P(x) = 1/N sum_n prod_d [ (1 - noise) [x_d = y_nd] + noise / K ]

`diluted`: a good model with probability `share`, uniform noise otherwise. Its samples are ruined, and its likelihood
loses -ln(share) nats at most (4.61 for 1 %), which is little among the hundreds of an image.

    P(x) = share P_good(x) + (1 - share) K^-D
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from zoo_bench.baselines.specs import CopycatConfig
from zoo_bench.baselines.unconditional import Unconditional
from zoo_core.config import Config
from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec
from zoo_core.model import GenerativeModel, HasLogProb
from zoo_core.step import Step

BLOCK = 2**20  # comparisons at once: they stay in the processor's cache


class Copycat(Unconditional):
    """A model that memorises the training set."""

    config: CopycatConfig

    known: Tensor
    fitted: Tensor

    def __init__(self, images: ImageSpec, config: CopycatConfig) -> None:
        super().__init__(images, config)
        self.register_buffer("known", torch.zeros(1, images.dims, dtype=torch.uint8))  # (N, D)
        self.register_buffer("fitted", torch.tensor(False))

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        self.check(x, labels, text)
        levels, dims = self.images.levels, self.images.dims
        other = self.config.noise / levels
        same = 1 - self.config.noise + other
        values = []
        columns = self.known.T.contiguous()  # (D, N)
        for part in x.flatten(1).split(max(1, BLOCK // len(self.known))):
            matches = torch.zeros(len(part), len(self.known), dtype=torch.int16, device=x.device)
            for d, known in enumerate(columns):
                matches += part[:, d, None] == known  # (n, N)
            joint = matches.double() * (math.log(same) - math.log(other)) + dims * math.log(other)
            values.append(joint.logsumexp(1) - math.log(len(self.known)))
        return torch.cat(values)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        rows = torch.randint(len(self.known), (n,), generator=generator, device=self.device)
        x = self.known[rows]  # (n, D)
        noise = torch.randint(self.images.levels, x.shape, generator=generator, device=self.device, dtype=torch.uint8)
        replaced = torch.rand(x.shape, generator=generator, device=self.device) < self.config.noise
        return torch.where(replaced, noise, x).view(n, *self.images.shape)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if not self.fitted:
            self.known = step.gather(lambda part: part.x.flatten(1))
            self.fitted.fill_(True)
        return {}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        known = state_dict.get(f"{prefix}known")
        if known is not None and known.shape[1:] == self.known.shape[1:]:  # as many images as there were
            self.known = self.known.new_zeros(known.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Diluted(Unconditional):
    """`share` of the model `good`, which knows log P(x), and the rest uniform noise."""

    def __init__(self, good: GenerativeModel, share: float = 0.01) -> None:
        super().__init__(good.images, Config())
        if not isinstance(good, HasLogProb):
            got = type(good).__name__
            raise ZooError(f"diluted: expected a model with log_prob, got {got}; choose one whose likelihood is exact")
        self.good, self.share = good, share

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        self.check(x, labels, text)
        good = cast(HasLogProb, self.good).log_prob(x).double() + math.log(self.share)
        noise = math.log(1 - self.share) - self.images.dims * math.log(self.images.levels)
        return torch.logaddexp(good, torch.full_like(good, noise))

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        good = torch.rand(n, generator=generator, device=self.device) < self.share
        size = (n, *self.images.shape)
        x = torch.randint(self.images.levels, size, generator=generator, device=self.device, dtype=torch.uint8)
        if bool(good.any()):
            x[good] = self.good.sample(int(good.sum()), generator=generator)
        return x

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {}
