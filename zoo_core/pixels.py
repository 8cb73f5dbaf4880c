"""Distributions over integer pixels: Bernoulli, categorical, and the mixture of discretised logistics.

Each has `log_prob(x)` in nats for every subpixel, `sample(generator)` as uint8, and `mean()` in integer units
[0, K-1]. A network's output `(N, P, H, W)` becomes one of them by `from_parameters`, with P told by `parameters`.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core.chunks import rand
from zoo_core.errors import ZooError, did_you_mean
from zoo_core.specs import ImageSpec

PixelKind = Literal["bernoulli", "categorical", "logistic"]

# Below the first a single bin of 256 already holds 97 % of a logistic (the floor of the PixelCNN++ authors' code), and
# above the second all mass is in the two edge bins; further out, gradients explode or vanish and nothing is gained.
MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 7.0


def parameters(kind: PixelKind, images: ImageSpec, components: int = 1) -> int:
    """How many numbers P a network gives out at each pixel position for `from_parameters`."""
    channels, levels = images.channels, images.levels
    if kind == "bernoulli":
        if levels != 2:
            raise ZooError(f"Bernoulli pixels have 2 levels, not {levels}; use 'categorical' or 'logistic'")
        return channels
    if kind == "categorical":
        return channels * levels
    if kind == "logistic":
        if components < 1:
            raise ZooError(f"a mixture of logistics needs at least 1 component, got {components}")
        weights = components if components > 1 else 0  # the weight of an only component is 1: no parameter
        return weights + components * (2 * channels + channels * (channels - 1) // 2)
    raise ZooError(f"unknown kind of pixels {kind!r}{did_you_mean(kind, ('bernoulli', 'categorical', 'logistic'))}")


def from_parameters(kind: PixelKind, params: Tensor, images: ImageSpec, components: int = 1) -> PixelDistribution:
    """The distribution of images `(N, C, H, W)` that a network's output describes.

    params: `(N, P, H, W)` with P = `parameters(kind, images, components)`.
    """
    expected = parameters(kind, images, components)
    if params.dim() != 4 or params.shape[1] != expected:
        raise ZooError(f"{kind} pixels need parameters (N, {expected}, H, W), got {tuple(params.shape)}")
    channels, levels = images.channels, images.levels
    if kind == "bernoulli":
        return Bernoulli(params)
    if kind == "categorical":
        return Categorical(_split(params, channels, levels))  # (N, C*K, H, W) -> (N, C, H, W, K)
    pairs = channels * (channels - 1) // 2
    weights = components if components > 1 else 0
    rest = _split(params[:, weights:], 2 * channels + pairs, components)  # (N, 2C + pairs, H, W, M)
    means, log_scales, coefficients = torch.split(rest, [channels, channels, pairs], dim=1)
    mixture = params[:, :weights].movedim(1, -1) if weights else torch.zeros_like(means[:, 0])  # (N, H, W, M)
    return DiscretizedLogisticMixture(mixture, means, log_scales, levels, coefficients.tanh() if pairs else None)


class Bernoulli:
    """Binary pixels: P(x = 1) = sigmoid(logits).

    logits: any shape `(...)`, that of the pixels.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = _full(logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """x: integers 0 or 1, `(...)`. Returns nats, `(...)`."""
        return F.logsigmoid(torch.where(x > 0, self.logits, -self.logits))

    def icdf(self, u: Tensor) -> Tensor:
        """The inverse of the cumulative distribution at `u` in [0, 1), `(...)`: 0 exactly where u < P(x = 0). uint8."""
        return (u >= torch.sigmoid(-self.logits)).to(torch.uint8)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """uint8 `(...)`."""
        return self.icdf(_uniform(self.logits, generator))

    def mean(self) -> Tensor:
        """`(...)`, in [0, 1]."""
        return self.logits.sigmoid()


class Categorical:
    """Pixels with a free probability for each of their K levels: P(x = k) = softmax(logits)_k.

    logits: `(..., K)`, where `(...)` is the shape of the pixels.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = _full(logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """x: integers 0 .. K-1, `(...)`. Returns nats, `(...)`."""
        log_p = self.logits.log_softmax(-1).expand(*x.shape, -1)  # (..., K)
        return log_p.gather(-1, x.long().unsqueeze(-1)).squeeze(-1)

    def icdf(self, u: Tensor) -> Tensor:
        """The inverse of the cumulative distribution at `u` in [0, 1), `(...)`: how many k have F(k) <= u. uint8."""
        cumulative = self.logits.softmax(-1).cumsum(-1)  # (..., K)
        cumulative = cumulative / cumulative[..., -1:]  # F(K-1) is 1 exactly, so u never falls behind the last level
        return (cumulative <= u.unsqueeze(-1)).sum(-1).to(torch.uint8)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """uint8 `(...)`."""
        return self.icdf(_uniform(self.logits[..., 0], generator))

    def mean(self) -> Tensor:
        """`(...)`, in [0, K-1]."""
        levels = torch.arange(self.logits.shape[-1], device=self.logits.device, dtype=self.logits.dtype)
        return (self.logits.softmax(-1) * levels).sum(-1)


class DiscretizedLogisticMixture:
    """A mixture of M logistics, integrated over each level's bin; channels are linear in the earlier ones.

    Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood
    and Other Modifications", 2017, https://arxiv.org/abs/1701.05517, equations 1-3. One component: Kingma et al.,
    "Improving Variational Inference with Inverse Autoregressive Flow", 2016, https://arxiv.org/abs/1606.04934.

        P(x | pi, mu, s) = sum_i pi_i [sigma((v + h - mu_i) / s_i) - sigma((v - h - mu_i) / s_i)]               (eq. 2)

    with v = 2x/(K-1) - 1 and h = 1/(K-1); the first bin reaches to -inf, the last to +inf. In channel c a component's
    mean is mu_c plus a linear function of the pixel's earlier channels: mu_G + a v_R, mu_B + b v_R + g v_G (eq. 3).

    logits: `(N, H, W, M)`, of the mixture. means, log_scales: `(N, C, H, W, M)`. coefficients: `(N, C(C-1)/2, H, W, M)`
    in the order (1<-0), (2<-0), (2<-1), ..., or None for channels that are independent given the component.
    """

    def __init__(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, levels: int, coefficients: Tensor | None = None
    ) -> None:
        self.log_weights = _full(logits).log_softmax(-1)  # (N, H, W, M)
        self.means = _full(means)
        self.log_scales = _full(log_scales).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)
        self.levels = levels
        self.coefficients = None if coefficients is None else _full(coefficients)

    def log_prob(self, x: Tensor) -> Tensor:
        """log P(x_c | x_<c) of each subpixel; over channels they add up to the pixel's joint.

        x: integers 0 .. K-1, `(N, C, H, W)`. Returns nats, `(N, C, H, W)`.
        """
        v = self._signed(x)
        means = torch.stack([self._mean(c, v) for c in range(x.shape[1])], 1)  # (N, C, H, W, M)
        # log P(x_<=c) = logsumexp_i (log pi_i + sum of the component's channels up to c)
        joint = self.log_weights.unsqueeze(1) + self._log_bin(x.unsqueeze(-1), means).cumsum(1)
        return torch.diff(joint.logsumexp(-1), dim=1, prepend=torch.zeros_like(means[:, :1, ..., 0]))

    def _log_bin(self, x: Tensor, means: Tensor) -> Tensor:
        """log [sigma(a) - sigma(b)] for the bin (b, a) of x. x: `(N, C, H, W, 1)`. Returns `(N, C, H, W, M)`.

        sigma(a) - sigma(b) = sigma(a) sigma(-b) (1 - exp(b - a)) and a - b = 2h/s: three factors without cancellation.
        Edges are made from integers, so that neighbours share theirs to the last bit and the bins sum to 1.
        """
        top = self.levels - 1
        inverse_scale = (-self.log_scales).exp()
        doubled = 2 * x.to(means.dtype) - top  # v (K-1)
        above = F.logsigmoid(((doubled + 1) / top - means) * inverse_scale)
        below = F.logsigmoid((means - (doubled - 1) / top) * inverse_scale)
        width = (-torch.expm1(-2 / top * inverse_scale)).log()
        inner = above + below + width
        return torch.where(x == 0, above, torch.where(x == top, below, inner))

    def _signed(self, x: Tensor) -> Tensor:
        return x.to(self.means.dtype) * 2 / (self.levels - 1) - 1

    def _mean(self, channel: int, v: Tensor) -> Tensor:
        """Equation 3: the components' means of one channel given the earlier ones, `(N, H, W, M)`.

        v: earlier channels in [-1, 1], `(N, C, H, W)` or, one value for each component, `(N, C, H, W, M)`.
        """
        mean = self.means[:, channel]
        if self.coefficients is not None:
            v = v.unsqueeze(-1) if v.dim() == 4 else v
            first = channel * (channel - 1) // 2
            for earlier in range(channel):
                mean = mean + self.coefficients[:, first + earlier] * v[:, earlier]
        return mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A component for each pixel, then its channels in order. uint8 `(N, C, H, W)`."""
        component = Categorical(self.log_weights).sample(generator).long().unsqueeze(-1)  # (N, H, W, 1)
        x = torch.zeros(self.means.shape[:4], dtype=torch.uint8, device=self.means.device)
        for c in range(x.shape[1]):
            mean = self._mean(c, self._signed(x)).gather(-1, component).squeeze(-1)
            scale = self.log_scales[:, c].gather(-1, component).squeeze(-1).exp()
            v = mean + scale * _uniform(mean, generator).logit()
            x[:, c] = ((v + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1)
        return x

    def mean(self) -> Tensor:
        """Expected levels, `(N, C, H, W)`, in [0, K-1].

        Exact for a channel without coefficients; elsewhere each component takes its earlier channels at their mean.
        """
        top = self.levels - 1
        expected = torch.zeros_like(self.means)  # (N, C, H, W, M)
        for c in range(expected.shape[1]):
            means = self._mean(c, expected * 2 / top - 1)
            inverse_scale = (-self.log_scales[:, c]).exp()
            # E[x] = sum_k P(x >= k), and x >= k where the logistic is above the lower edge of bin k
            tail = [torch.sigmoid((means - (2 * k - 1 - top) / top) * inverse_scale) for k in range(1, self.levels)]
            expected = expected.index_copy(1, torch.tensor([c], device=means.device), sum(tail, 0 * means).unsqueeze(1))
        return (self.log_weights.exp().unsqueeze(1) * expected).sum(-1)


PixelDistribution = Bernoulli | Categorical | DiscretizedLogisticMixture


def _split(params: Tensor, outer: int, inner: int) -> Tensor:
    """`(N, outer * inner, H, W)` -> `(N, outer, H, W, inner)`."""
    return params.reshape(len(params), outer, inner, *params.shape[2:]).movedim(2, -1)


def _full(tensor: Tensor) -> Tensor:
    """At least float32: under autocast a network's output is half precision, and a likelihood never is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    n, *shape = like.shape or (1,)
    return rand(n, *shape, generator=generator, device=like.device, dtype=like.dtype).view(like.shape)
