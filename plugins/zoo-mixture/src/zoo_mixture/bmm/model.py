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

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core.chunks import per_image, rand
from zoo_core.errors import ZooError
from zoo_core.images import Batch, ImageSpec
from zoo_core.step import Step
from zoo_mixture.bmm.config import BMMConfig
from zoo_mixture.codes import check_codes
from zoo_mixture.em_model import EMModel, Parameters, Statistics
from zoo_mixture.kmeans import Clusters
from zoo_mixture.rescue import rescued
from zoo_mixture.responsibilities import responsibilities_


class BMM(EMModel):
    """A. Dempster, N. Laird, D. Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977,
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x, from a start of `kmeans.py`; empty components by `rescue.py`.

    The channels of a pixel are independent given the component, like the pixels. Images of more than two levels are
    multiplied as sparse matrices, so a pass costs a row of K numbers for each subpixel that is not 0, twice, whatever
    the number of levels; the parameters, D (L - 1) K numbers, have to fit in memory a few times (28x28, 256 levels, 100
    components: 160 MB each time).

    weights: pi, `(K,)`. theta: `(D, L - 1, K)`, and background: q, `(D, L - 1)`, both of the levels 1 .. L - 1; level 0
    has what these leave of 1.
    """

    estimated = ("weights", "theta", "background")
    config: BMMConfig
    weights: Tensor
    theta: Tensor
    background: Tensor

    def __init__(self, images: ImageSpec, config: BMMConfig) -> None:
        super().__init__(images, config)
        k, dims, levels = config.components, images.dims, images.levels
        self.register_buffer("weights", torch.full((k,), 1 / k, dtype=torch.float64))
        self.register_buffer("theta", torch.full((dims, levels - 1, k), 1 / levels, dtype=torch.float64))
        self.register_buffer("background", torch.full((dims, levels - 1), 1 / levels, dtype=torch.float64))

    def log_prob(self, x: Tensor, *, labels: Tensor | None = None, text: Sequence[str] | None = None) -> Tensor:
        """Exact log P of integer images. nats, float64 `(N,)`."""
        return self._log_joint(self.parameters_now, self.check(x, labels, text)).logsumexp(1)

    def encode(self, x: Tensor) -> Tensor:
        """Responsibilities gamma_nk, which component an image is from. float64 `(N, K)`."""
        return self._log_joint(self.parameters_now, self.check(x)).softmax(1)

    def decode(self, z: Tensor) -> Tensor:
        """The images expected of components mixed by responsibilities z `(N, K)`, to the nearest level."""
        z = check_codes(self, z, len(self.weights))
        levels = torch.arange(self.images.levels).to(self.theta)
        means = torch.einsum("dlk,l->kd", self.probabilities(), levels)
        pixels = (z @ means).round().clamp(0, self.images.levels - 1)
        return pixels.to(torch.uint8).view(-1, *self.images.shape)

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
        posterior = self._log_joint(self.parameters_now, x, mask).softmax(1)
        component = torch.multinomial(posterior, 1, generator=generator).squeeze(1)  # (N,)
        return torch.where(mask, x, self._draw(component, generator))

    def probabilities(self) -> Tensor:
        """p(x_d = l | k) of all levels l. `(D, L, K)`."""
        return self._probabilities(self.parameters_now)

    def points(self, x: Tensor) -> Tensor:
        """Images as points for k-means, `(N, D)` in [0, 1]."""
        return x.flatten(1).to(self.theta.dtype) / (self.images.levels - 1)

    def start(self, clusters: Clusters, step: Step) -> Parameters:
        """The background, and for each component the histograms of the images that are nearest to its centre."""
        centres, _, images = clusters

        def histograms(batch: Batch) -> Statistics:
            return self._counts(self._indicators(batch.x), nearest(self.points(batch.x), centres).T)

        statistics = step.mean(histograms)
        histogram = statistics["count"].sum(2)  # (D, L - 1)
        background = (images * histogram + 1) / (images + self.images.levels)
        theta = background.unsqueeze(-1).expand_as(self.theta)  # r is 1 - noise: the M step just counts
        parameters = {"weights": self.weights, "theta": theta, "background": background}
        return self.maximization(parameters, statistics)

    def expectation(self, parameters: Parameters) -> Callable[[Batch], Statistics]:
        """ "weight": of gamma_nk, `(K,)`. "count": of gamma_nk [x_nd = l], `(D, L - 1, K)`. "objective": of log P."""
        terms = self._terms(parameters)

        def statistics(batch: Batch) -> Statistics:
            pixels = self._indicators(batch.x)
            gamma, objective = responsibilities_(self._sum(terms, pixels))
            return {**self._counts(pixels, gamma), "objective": objective.mean()}

        return statistics

    def maximization(self, parameters: Parameters, statistics: Statistics) -> Parameters:
        """The M step. A component that has lost all its images keeps its place, with weight 0."""
        weight, theta = statistics["weight"], with_level_0(parameters["theta"], total=1.0)
        own = (1 - self.config.noise) * theta / self._probabilities(parameters)  # r, (D, L, K)
        own *= with_level_0(statistics["count"], total=weight)
        total = own.sum(1, keepdim=True)  # (D, 1, K)
        alive = weight > torch.finfo(weight.dtype).eps
        return {
            **parameters,
            "theta": torch.where(alive & (total > 0), own / total, theta)[:, 1:],
            "weights": torch.where(alive, weight, 0) / weight[alive].sum(),
        }

    def rescue(self, parameters: Parameters, step: Step) -> Parameters:
        """A component without images starts again halfway between the image of the lowest log P and the background."""

        def restart(parameters: Parameters, k: int, x: Tensor) -> Parameters:
            image = F.one_hot(x.flatten().long(), self.images.levels)[:, 1:]  # (D, L - 1)
            theta = parameters["theta"].clone()
            theta[..., k] = (image + parameters["background"]) / 2  # a level with theta 0 would keep it for ever
            return {**parameters, "theta": theta}

        return rescued(parameters, step, self._log_joint, restart)

    def _probabilities(self, parameters: Parameters) -> Tensor:
        q = with_level_0(parameters["background"].unsqueeze(-1), total=1.0)
        return torch.lerp(with_level_0(parameters["theta"], total=1.0), q, self.config.noise)

    def _log_joint(self, parameters: Parameters, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`ln pi_k + sum_d ln p(x_d | k)`, over all subpixels or the known ones. nats, `(N, K)`."""
        constant, zero, rest = self._terms(parameters)
        if mask is None:
            return self._sum((constant, zero, rest), self._indicators(x)).T
        constant = parameters["weights"].log()[:, None] + zero.T @ mask.flatten(1).to(zero).T
        return self._sum((constant, zero, rest), self._indicators(x * mask)).T

    def _terms(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """ln of pi_k times the probability of an image of zeros, `(K, 1)`; ln p(x_d = 0 | k), `(D, K)`; and what each
        other level adds to that, `(D (L - 1), K)`."""
        log_p = self._probabilities(parameters).log()
        zero = log_p[:, 0]
        rest = (log_p[:, 1:] - zero[:, None]).flatten(0, 1)
        return (parameters["weights"].log() + zero.sum(0))[:, None], zero, rest

    def _sum(self, terms: tuple[Tensor, Tensor, Tensor], pixels: Tensor) -> Tensor:
        """An image of zeros, then what the levels above 0 change. pixels: `_indicators`. `(K, N)`."""
        constant, _, rest = terms
        product = (pixels @ rest).T if pixels.is_sparse else rest.T @ pixels.T
        return product.add_(constant)

    def _counts(self, pixels: Tensor, gamma: Tensor) -> Statistics:
        """Means over images of `gamma` `(K, N)`, and of it where a pixel has a level above 0, `(D, L - 1, K)`."""
        count = pixels.t() @ gamma.T
        return {"weight": gamma.mean(1), "count": count.view(self.theta.shape) / len(pixels)}

    def _indicators(self, x: Tensor) -> Tensor:
        """[x_d = l] for levels above 0, `(N, D (L - 1))`: sparse, except where there is one such level and a dense
        matrix costs less."""
        if self.images.levels == 2:
            return x.flatten(1).to(self.theta.dtype)
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
