"""BMM: a mixture of images with independent pixels, Bernoulli or categorical, fitted by expectation maximisation.

    p(x)           =  sum_k pi_k prod_d p(x_d | k)                                                 (PRML eq. 9.47)
    p(x_d = l | k) =  (1 - noise) theta_dlk + noise q_dl

With 2 levels and no noise this is the mixture of Bernoullis of C. Bishop, "Pattern Recognition and Machine Learning",
2006, section 9.3.3, with theta_d1k for mu_kd (eq. 9.48); A. Juan, E. Vidal, "Bernoulli Mixture Models for Binary
Images", ICPR 2004, fit it to images.

Maximum likelihood gives probability 0 to a level that a component's few images happen to lack, so estimates have to be
smoothed. A prior would do it, but EM then climbs the posterior and the likelihood may fall. So the smoothing is part of
the model: with probability `noise`, which is fixed, a pixel comes from a background q that all components share.
Whether it did is one more hidden variable: EM stays exact, and the likelihood of the training images never falls.

    E:  gamma_nk   =  p(k | x_n)                                                                   (PRML eq. 9.56)
        r_dlk      =  (1 - noise) theta_dlk / p(x_d = l | k),   that a pixel is not background
    M:  theta_dlk  is proportional to  sum_n gamma_nk [x_nd = l] r_dlk        (with noise 0, PRML eqs. 9.58, 9.59)
        pi_k       =  1/N sum_n gamma_nk                                                           (PRML eq. 9.60)

q_dl = (N_dl + 1) / (N + L) is the training images' histogram of pixel d, with one image added at each of the L levels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from zoo_core.chunks import per_image, rand
from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec
from zoo_core.model import GenerativeModel
from zoo_core.step import Step
from zoo_mixture.configs import BMMConfig
from zoo_mixture.kmeans import cluster

Statistics = dict[str, Tensor]


class BMM(GenerativeModel):
    """A. Dempster, N. Laird, D. Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977,
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x, with the start of `kmeans.py`.

    A `train_step` is a pass over the whole training set; its batch only brings the noise of the start. The channels of
    a pixel are independent given the component, like the pixels. Float64 throughout: the likelihood would otherwise
    fall by rounding. Images are multiplied as sparse matrices, so a pass costs a row of K numbers for each subpixel
    that is not 0, twice, whatever the number of levels; the parameters, D (L - 1) K numbers, have to fit in memory a
    few times (28x28, 256 levels, 100 components: 160 MB each time).

    weights: pi, `(K,)`. theta: `(D, L - 1, K)`, and background: q, `(D, L - 1)`, both of the levels 1 .. L - 1; level 0
    has what these leave of 1.
    """

    config: BMMConfig
    weights: Tensor
    theta: Tensor
    background: Tensor
    started: Tensor

    def __init__(self, images: ImageSpec, config: BMMConfig) -> None:
        super().__init__(images, config)
        k, dims, levels = config.components, images.dims, images.levels
        self.register_buffer("weights", torch.full((k,), 1 / k, dtype=torch.float64))
        self.register_buffer("theta", torch.full((dims, levels - 1, k), 1 / levels, dtype=torch.float64))
        self.register_buffer("background", torch.full((dims, levels - 1), 1 / levels, dtype=torch.float64))
        self.register_buffer("started", torch.tensor(False))

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact log P of integer images. nats, float64 `(N,)`."""
        return self._log_joint(self.check(x, labels, text), self.probabilities().log()).logsumexp(1)

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities gamma_nk, which component an image is from. float64 `(N, K)`."""
        return self._log_joint(self.check(x), self.probabilities().log()).softmax(1)

    def decode(self, z: Tensor) -> Tensor:
        """The images expected of components mixed by responsibilities z `(N, K)`, to the nearest level."""
        levels = torch.arange(self.images.levels).to(self.theta)
        means = torch.einsum("dlk,l->kd", self.probabilities(), levels)
        return (z.to(means) @ means).round().to(torch.uint8).view(-1, *self.images.shape)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        labels: Tensor | None = None,
        text: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`n` images: a component, then each pixel from its table. uint8 `(n, C, H, W)`."""
        self.check_request(n, labels, text)
        component = per_image(
            n, lambda rows: torch.multinomial(self.weights, rows, replacement=True, generator=generator)
        )
        return self._draw(component, generator)

    @torch.no_grad()
    def complete(self, x: Tensor, mask: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """`x` where the bool `mask` is True; elsewhere a draw from P(unknown | known), which is exact: a component from
        its posterior given the known pixels, then the unknown ones from its tables."""
        self.check(x)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape:
            given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ZooError(
                f"complete: expected a mask torch.bool {tuple(x.shape)}, of x's shape and True where a pixel is known, "
                f"got {given}; mask.expand_as(x) spreads one mask over a batch"
            )
        posterior = self._log_joint(x, self.probabilities().log(), mask).softmax(1)
        component = torch.multinomial(posterior, 1, generator=generator).squeeze(1)  # (N,)
        return torch.where(mask, x, self._draw(component, generator))

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """None: EM has no learning rate."""
        return {}

    def train_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The first call starts, each later one is an EM iteration. "loss": -log P of the training images, nats per
        image, at the start or before the iteration."""
        starts = not bool(self.started)
        if starts:
            self._start(batch, step)
        log_p = self.probabilities().log()
        statistics = step.mean(functools.partial(self.expectation, log_p=log_p))
        if not starts:
            self.maximization(statistics)
        return {"loss": -statistics["objective"]}

    def probabilities(self) -> Tensor:
        """p(x_d = l | k) of all levels l. `(D, L, K)`."""
        q = with_level_0(self.background.unsqueeze(-1), total=1.0)
        return torch.lerp(with_level_0(self.theta, total=1.0), q, self.config.noise)

    def expectation(self, batch: Batch, log_p: Tensor) -> Statistics:
        """The E step's sufficient statistics, means over the batch's images.

        log_p: of `probabilities`. "weight": of gamma_nk, `(K,)`. "count": of gamma_nk [x_nd = l], `(D, L - 1, K)`.
        "objective": of log P.
        """
        log_joint = self._log_joint(batch.x, log_p)
        objective = log_joint.logsumexp(1, keepdim=True)
        return {**self._counts(batch.x, (log_joint - objective).exp()), "objective": objective.mean()}

    def maximization(self, statistics: Statistics) -> None:
        """The M step. A component that has lost all its images keeps its place, with weight 0."""
        weight, p = statistics["weight"], self.probabilities()
        own = (1 - self.config.noise) * with_level_0(self.theta, total=1.0) / p  # r, (D, L, K)
        own *= with_level_0(statistics["count"], total=weight)
        total = own.sum(1, keepdim=True)  # (D, 1, K)
        alive = weight > torch.finfo(weight.dtype).eps
        self.theta.copy_(torch.where(alive & (total > 0), own / total, with_level_0(self.theta, total=1.0))[:, 1:])
        self.weights.copy_(torch.where(alive, weight, 0) / weight[alive].sum())

    def _start(self, batch: Batch, step: Step) -> None:
        """k-means; then the background, and each component the histograms of its cluster."""
        centres, _, images = cluster(batch, step, self.config.components, self.config.lloyd, self._points)
        statistics = step.mean(lambda part: self._counts(part.x, nearest(self._points(part.x), centres)))
        histogram = statistics["count"].sum(2)  # (D, L - 1)
        self.background.copy_((images * histogram + 1) / (images + self.images.levels))
        self.theta.copy_(self.background.unsqueeze(-1).expand_as(self.theta))  # r is 1 - noise: the M step just counts
        self.maximization(statistics)
        self.started.fill_(True)

    def _points(self, x: Tensor) -> Tensor:
        """Images as points for k-means, `(N, D)` in [0, 1]."""
        return x.flatten(1).to(self.theta.dtype) / (self.images.levels - 1)

    def _log_joint(self, x: Tensor, log_p: Tensor, mask: Tensor | None = None) -> Tensor:
        """`ln pi_k + sum_d ln p(x_d | k)`, over all subpixels or the known ones. nats, `(N, K)`.

        An image of zeros, then what each other level changes: that is a sparse product.
        """
        zero, rest = log_p[:, 0], log_p[:, 1:] - log_p[:, :1]  # (D, K), (D, L - 1, K)
        if mask is None:
            base = zero.sum(0)
        else:
            base = mask.flatten(1).to(zero) @ zero
            x = x * mask
        return base + self._indicators(x) @ rest.flatten(0, 1) + self.weights.log()

    def _counts(self, x: Tensor, gamma: Tensor) -> Statistics:
        """Means over images of `gamma` `(N, K)`, and of it where a pixel has a level above 0, `(D, L - 1, K)`."""
        count = self._indicators(x).t() @ (gamma / len(x))
        return {"weight": gamma.mean(0), "count": count.view(self.theta.shape)}

    def _indicators(self, x: Tensor) -> Tensor:
        """[x_d = l] for levels above 0, as a sparse matrix `(N, D (L - 1))`."""
        pixels, width = x.flatten(1).long(), self.images.levels - 1
        image, d = pixels.nonzero(as_tuple=True)
        place = torch.stack([image, d * width + pixels[image, d] - 1])
        ones = torch.ones(len(image), dtype=self.theta.dtype, device=x.device)
        size = (len(x), self.images.dims * width)
        return torch.sparse_coo_tensor(place, ones, size, is_coalesced=True, check_invariants=False)

    def _draw(self, component: Tensor, generator: torch.Generator | None) -> Tensor:
        """An image from each component `(n,)`: x_d is how many levels' cumulative probabilities lie below u."""
        n, dims = len(component), self.images.dims
        u = rand(n, dims, generator=generator, dtype=self.theta.dtype, device=self.theta.device)
        x = torch.zeros(n, dims, dtype=torch.uint8, device=u.device)
        for edge in self.probabilities().cumsum(1)[:, :-1].unbind(1):  # (D, K)
            x += u >= edge[:, component].T
        return x.view(n, *self.images.shape)


def with_level_0(part: Tensor, total: Tensor | float) -> Tensor:
    """Level 0, which is what the others leave of `total`, in front of them. `(D, L - 1, K)` -> `(D, L, K)`."""
    return torch.cat([(total - part.sum(1, keepdim=True)).clamp_min(0), part], 1)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Which centre `(K, D)` is nearest to a point `(N, D)`, one-hot. `(N, K)`."""
    return F.one_hot(torch.cdist(points, centres).argmin(1), len(centres)).to(points)
