"""Four closed-form models: the rows of every table that tell whether the others learned anything.

Each is fitted by one full pass over the training set (`step.mean`), so the same numbers come out on any number of
processes. What they cannot do, a learned model must: a model worse than independent pixels learned nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_bench.baselines.specs import GaussianConfig, SmoothedConfig, UniformConfig
from zoo_bench.baselines.unconditional import Unconditional
from zoo_core.chunks import randn
from zoo_core.images import Batch, ImageSpec, quantise
from zoo_core.model import GenerativeModel
from zoo_core.step import Step


class Uniform(Unconditional):
    """P(x) = K^-D: log2 K bits/dim exactly, through every path."""

    config: UniformConfig

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        self.check(x, labels, text)
        each = -self.images.dims * math.log(self.images.levels)
        return torch.full((len(x),), each, dtype=torch.float64, device=x.device)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        size = (n, *self.images.shape)
        return torch.randint(self.images.levels, size, generator=generator, device=self.device, dtype=torch.uint8)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {}


class ClassMixture(Unconditional):
    """A mixture with one independent-pixel component per class, fitted from the labels; unlabelled when scored.

    P(x) = sum_c P(c) prod_d P(x_d | c), P(x_d = k | c) = (count + alpha) / (images of c + alpha K).
    """

    config: SmoothedConfig
    log_weights: Tensor
    log_table: Tensor
    fitted: Tensor

    def __init__(self, images: ImageSpec, config: SmoothedConfig) -> None:
        super().__init__(images, config)
        components = self._components()
        table = torch.full((components, images.dims, images.levels), -math.log(images.levels), dtype=torch.float64)
        self.register_buffer("log_weights", torch.full((components,), -math.log(components), dtype=torch.float64))
        self.register_buffer("log_table", table)  # (components, D, K)
        self.register_buffer("fitted", torch.tensor(False))

    def _components(self) -> int:
        return max(self.images.classes, 1)

    def _component(self, batch: Batch) -> Tensor:
        if batch.labels is None or self._components() == 1:
            return torch.zeros(len(batch), dtype=torch.int64, device=batch.x.device)
        return batch.labels

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        self.check(x, labels, text)
        one_hot = F.one_hot(x.flatten(1).long(), self.images.levels).to(self.log_table.dtype)  # (N, D, K)
        joint = one_hot.flatten(1) @ self.log_table.flatten(1).T + self.log_weights  # (N, components)
        return joint.logsumexp(1)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        component = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        table = self.log_table[component].exp()  # (n, D, K)
        values = torch.multinomial(table.flatten(0, 1), 1, generator=generator)  # (n D, 1)
        return values.view(n, *self.images.shape).to(torch.uint8)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if self.fitted:
            return {}
        n = float(len(step.gather(lambda part: part.x[:, 0, 0, 0])))
        shares = step.mean(self._shares)
        alpha, levels = self.config.alpha, self.images.levels
        of_class = shares["class"] * n  # (components,)
        counts = shares["table"] * n  # (components, D, K)
        self.log_table.copy_(((counts + alpha) / (of_class[:, None, None] + alpha * levels)).log())
        self.log_weights.copy_(shares["class"].log())
        self.fitted.fill_(True)
        return {}

    def _shares(self, batch: Batch) -> dict[str, Tensor]:
        """The share of images in each class, and of each class with value k at pixel d: means over the batch."""
        one_hot = F.one_hot(batch.x.flatten(1).long(), self.images.levels).double()  # (N, D, K)
        member = F.one_hot(self._component(batch), self._components()).double()  # (N, components)
        table = (member.T @ one_hot.flatten(1)).view(-1, self.images.dims, self.images.levels) / len(batch)
        return {"class": member.mean(0), "table": table}


class IndependentPixels(ClassMixture):
    """One smoothed histogram per pixel: P(x) = prod_d (count of x_d + alpha) / (N + alpha K)."""

    def _components(self) -> int:
        return 1


class Gaussian(GenerativeModel):
    """One Gaussian on dequantised pixels v = (x + u) / K, u ~ U[0, 1), by its exact moments.

    E[v] = (E[x] + 1/2) / K and Cov[v] = Cov[x] / K^2 + I / (12 K^2): the noise needs no draw.
    """

    config: GaussianConfig
    mean: Tensor
    cholesky: Tensor
    fitted: Tensor

    def __init__(self, images: ImageSpec, config: GaussianConfig) -> None:
        super().__init__(images, config)
        self.register_buffer("mean", torch.full((images.dims,), 0.5, dtype=torch.float64))
        self.register_buffer("cholesky", torch.eye(images.dims, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    def log_density(self, v: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        self.check_real(v, labels, text)
        centred = (v.flatten(1).double() - self.mean).T  # (D, N)
        z = torch.linalg.solve_triangular(self.cholesky, centred, upper=False)
        log_det = self.cholesky.diagonal().log().sum()
        return -0.5 * z.square().sum(0) - log_det - 0.5 * self.images.dims * math.log(2 * math.pi)

    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        self.check_request(n, labels, text)
        z = randn(n, self.images.dims, generator=generator, device=self.device, dtype=self.mean.dtype)
        return quantise((self.mean + z @ self.cholesky.T).view(n, *self.images.shape), self.images)

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if self.fitted:
            return {}
        levels, dims = self.images.levels, self.images.dims
        mean = step.mean(lambda part: part.x.flatten(1).double().mean(0)) / levels
        # Centred before squaring: E[xx'] - E[x]E[x]' loses half the digits.
        covariance = step.mean(lambda part: _second_moment(part.x.flatten(1).double() / levels - mean))
        diagonal = torch.eye(dims, dtype=torch.float64, device=mean.device)
        self.mean.copy_(mean + 0.5 / levels)
        self.cholesky.copy_(torch.linalg.cholesky(covariance + (1 / (12 * levels**2) + self.config.floor) * diagonal))
        self.fitted.fill_(True)
        return {}


def _second_moment(centred: Tensor) -> Tensor:
    return centred.T @ centred / len(centred)  # (D, D)
