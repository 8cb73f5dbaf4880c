"""MFA: a mixture of factor analysers over dequantised images, fitted by expectation maximisation.

    p(v) = sum_k pi_k N(v | mu_k, Lambda_k Lambda_k^T + Psi_k)             (Ghahramani, Hinton 1996, section 3)

A component is a mean image, a few factors that vary together over the whole image (Lambda z, z ~ N(0, I)), and
independent noise in each pixel: K D (Q + 2) numbers, where full covariances need K D^2 / 2. Equations: `em.py`. As in
`gmm`, an image x stands for its whole cell, v = (x + u) / levels, and the noise u is integrated and not drawn.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec, dequantise, quantise
from zoo_core.model import GenerativeModel
from zoo_core.step import Step
from zoo_mixture.codes import check_codes
from zoo_mixture.mfa.config import MFAConfig
from zoo_mixture.mfa.em import ROWS, Analysers, Statistics
from zoo_mixture.mfa.start import start


class MFA(GenerativeModel):
    """Z. Ghahramani, G. Hinton, "The EM Algorithm for Mixtures of Factor Analyzers", 1996,
    https://www.cs.toronto.edu/~hinton/absps/tr-96-1.pdf, with the start of `start.py`.

    A `train_step` is a pass over the whole training set; its batch only brings the noise of the start. All is computed
    in float64; the parameters are stored in float32, which halves the file. Rounding them after an M step, at whose
    maximum the objective is flat, costs less than 1e-6 nats; `model.double()` trains without. `weights`, `means`,
    `loadings`, `noise`: see `Analysers`.
    """

    config: MFAConfig
    weights: Tensor
    means: Tensor
    loadings: Tensor
    noise: Tensor
    started: Tensor

    def __init__(self, images: ImageSpec, config: MFAConfig) -> None:
        super().__init__(images, config)
        k, q, dims = config.components, config.latent, images.dims
        if q >= dims:
            raise ZooError(
                f"MFA: expected fewer factors than the images have dimensions, got latent={q} for {dims} dimensions; "
                f"set latent to at most {dims - 1}"
                if dims > 1
                else "MFA: images of one number have no factors"
            )
        shape = {"diagonal": (k, dims), "isotropic": (k, 1), "shared": (1, dims)}[config.noise]
        self.dequantisation = 1 / (12 * images.levels**2)  # the variance of u / levels
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.full((k, dims), 0.5))
        self.register_buffer("loadings", torch.zeros(k, dims, q))
        self.register_buffer("noise", torch.full(shape, 1 / 12))
        self.register_buffer("started", torch.tensor(False))

    @property
    def mixture(self) -> Analysers:
        """The parameters in float64, as a mixture on R^D."""
        weights = self.weights.double()
        return Analysers(weights / weights.sum(), self.means.double(), self.loadings.double(), self.noise.double())

    def log_density(self, v: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact ln p(v) of real images v `(N, C, H, W)`, pixels at [0, 1]. nats, float64 `(N,)`."""
        self.check_real(v, labels, text)
        return self.mixture.log_joint(v.flatten(1).double()).logsumexp(dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """What is expected of the latent variables, float64 `(N, K + K latent)`: E[w_k | x], which component an image
        is from, then E[w_k z | x], each component's factors times that; section 3 of the paper."""
        h, z = self.mixture.encode(self._centres(self.check(x)), self.dequantisation)
        return torch.cat([h, (h.unsqueeze(2) * z).flatten(1)], 1)

    def decode(self, z: Tensor) -> Tensor:
        """The images expected of codes `(N, K + K latent)`: sum_k (w_k mu_k + Lambda_k (w_k z_k)), without noise."""
        k, q = self.config.components, self.config.latent
        codes = check_codes(self, z, k * (1 + q), f"the weights of {k} components, then {q} factors of each")
        w, factors = codes.split([k, k * q], dim=1)
        mixture = self.mixture
        v = w @ mixture.means + factors @ mixture.loadings.transpose(1, 2).flatten(0, 1)
        return quantise(v.view(-1, *self.images.shape), self.images)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`, uint8 `(N, C, H, W)`."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        noise: bool = True,
        **options: Any,
    ) -> Tensor:
        """`n` images: a component, factors, a point from its Gaussian, the cell the point is in. uint8 `(n, C, H, W)`.

        noise: False leaves out Psi and gives mu + Lambda z, an image without the independent noise of its pixels. Such
        images are not samples of the density.
        """
        self.check_request(n, labels, text)
        if options:
            raise ZooError(f"MFA.sample has no option {', '.join(options)}; its one option is noise=False")
        v = self.mixture.draw(n, generator, noise=noise)
        return quantise(v.view(n, *self.images.shape), self.images)

    @torch.no_grad()
    def complete(
        self, x: Tensor, mask: Tensor, *, generator: torch.Generator | None = None, mean: bool = False
    ) -> Tensor:
        """`x` where the bool `mask` is True; elsewhere a draw from p(unknown | known), which is exact: a component from
        its posterior given the known pixels (dequantised anew by uniform noise), its factors given these, then the
        noise of the unknown pixels.

        mean: True for the conditional mean, of known pixels at their cells' centres: the least squared error, no draw.
        """
        self.check(x)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        fill = self._expected if mean else self._drawn
        v = self._centres(x) if mean else dequantise(x, self.images, generator)[0].flatten(1).double()
        known = mask.flatten(1)
        parts = [fill(*part, generator) for part in zip(v.split(ROWS), known.split(ROWS))]
        return torch.where(mask, x, quantise(torch.cat(parts).view(x.shape), self.images))

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """None: EM has no learning rate."""
        return {}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The first call starts, each later one is an EM iteration. "loss": minus the objective, nats per image, at the
        start or before the iteration; "nats": the same as a bound on -ln P(x) of the integer images."""
        starts = not bool(self.started)
        if starts:
            self._start(batch, step)
        mixture = self.mixture
        statistics = step.mean(lambda part: self.expectation(part, mixture))
        if not starts:
            self._assign(mixture.maximization(statistics, self._noise))
        loss = -statistics["objective"]
        return {"loss": loss, "nats": loss + self.images.dims * math.log(self.images.levels)}

    def finish(self, step: Step) -> None:
        """Factors in order: the density stays what it is."""
        self._assign(self.mixture.canonical())

    def expectation(self, batch: Batch, mixture: Analysers) -> Statistics:
        """The E step's sufficient statistics, means over the batch's images."""
        return mixture.expectation(self._centres(batch.x), self._noise)

    def _start(self, batch: Batch, step: Step) -> None:
        config = self.config
        self._assign(start(batch, step, config.components, config.latent, config.lloyd, self._noise, self._centres))
        self.started.fill_(True)

    def _drawn(self, v: Tensor, known: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draws from p(v | known v), `(N, D)`."""
        mixture = self.mixture
        log_joint, z, root = mixture.condition(v, known)
        component = torch.multinomial(log_joint.softmax(1), 1, generator=generator).squeeze(1)
        rows = torch.arange(len(v), device=v.device)
        eps = torch.randn(len(v), sum(self.loadings.shape[1:]), generator=generator, dtype=v.dtype, device=v.device)
        xi, eps = eps.split([self.config.latent, self.images.dims], dim=1)
        spread = torch.linalg.solve_triangular(root[rows, component].mT, xi.unsqueeze(2), upper=True).squeeze(2)
        return mixture.emit(component, z[rows, component] + spread, eps)

    def _expected(self, v: Tensor, known: Tensor, generator: torch.Generator | None) -> Tensor:
        """E[v | known v], `(N, D)`."""
        mixture = self.mixture
        log_joint, z, _ = mixture.condition(v, known)
        h = log_joint.softmax(1)
        weighted = (h.unsqueeze(2) * z).flatten(1)
        return h @ mixture.means + weighted @ mixture.loadings.transpose(1, 2).flatten(0, 1)

    @property
    def _noise(self) -> float:
        return self.dequantisation + self.config.floor

    def _centres(self, x: Tensor) -> Tensor:
        """The centres of the images' cells, `(N, D)`."""
        return (x.flatten(1).double() + 0.5) / self.images.levels

    def _assign(self, mixture: Analysers) -> None:
        for field in dataclasses.fields(Analysers):
            getattr(self, field.name).copy_(getattr(mixture, field.name))
