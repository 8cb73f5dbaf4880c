"""The protocol: what every generative model of images can do, and the abilities that only some have.

A missing ability is a missing method. The protocols below are `runtime_checkable`, so `isinstance(model, HasLogProb)`
asks the class, not a flag. Everything that returns a likelihood is in nats, one number per image, shape `(N,)`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from zoo_core.errors import ZooError
from zoo_core.images import Labels, Rng, Text, check, check_labels
from zoo_core.step import Trainable


class GenerativeModel(Trainable):
    """A model that draws images.

    A conditional model's `sample` without a condition draws conditions with their training frequencies
    (`zoo_core.labels`).
    """

    @abstractmethod
    def sample(
        self, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None, **options: Any
    ) -> Tensor:
        """`n` images, uint8 `(n, C, H, W)`; all randomness comes from `generator`."""

    def check(self, x: Tensor, labels: Labels = None, text: Text = None) -> Tensor:
        """`x`, if it is images of `self.images` under the condition that this model takes; `ZooError` otherwise.

        For likelihoods: a conditional model has none without its condition.
        """
        if not len(check(x, self.images)):
            raise ZooError("expected at least one image, got none")
        self._check_condition(len(x), labels, text)
        if self.conditioning == "class" and labels is None:
            raise ZooError(f"{type(self).__name__} is conditional: it computes log P(x | labels) only; pass labels=…")
        if self.conditioning == "text" and text is None:
            raise ZooError(f"{type(self).__name__} is conditional: it computes log P(x | text) only; pass text=…")
        return x

    def check_real(self, v: Tensor, labels: Labels = None, text: Text = None) -> Tensor:
        """`v`, if it is real images `(N, C, H, W)`; for densities, otherwise like `check`."""
        if not isinstance(v, Tensor) or not v.is_floating_point() or tuple(v.shape[1:]) != self.images.shape:
            given = f"{tuple(v.shape)} of {v.dtype}" if isinstance(v, Tensor) else type(v).__name__
            raise ZooError(
                f"expected real images (N, {', '.join(map(str, self.images.shape))}), pixels at [0, 1], got {given}; "
                "integers become real by zoo_core.images.dequantise(x, images)"
            )
        self._check_condition(len(v), labels, text)
        return v

    def check_request(self, n: int, labels: Labels = None, text: Text = None) -> None:
        """`ZooError` unless `sample` can draw n images under this condition, or under none."""
        if type(n) is not int or n < 1:
            raise ZooError(f"sample: expected n of at least 1, a whole number, got {n!r}")
        self._check_condition(n, labels, text)

    def _check_condition(self, n: int, labels: Labels, text: Text) -> None:
        for name, value, kind in (("labels", labels, "class"), ("text", text, "text")):
            if value is not None and self.conditioning != kind:
                takes = {"none": "is unconditional", "class": "takes labels", "text": "takes text"}[self.conditioning]
                raise ZooError(f"{type(self).__name__} {takes}: it takes no {name}; call it without")
        if labels is not None:
            check_labels(labels, n, self.images)
        if text is not None and (isinstance(text, str) or len(text) != n):
            given = repr(text) if isinstance(text, str) else f"{len(text)} strings"
            raise ZooError(f"text: expected a list of {n} strings, one for each image, got {given}")


@runtime_checkable
class HasLogProb(Protocol):
    """Exact likelihood: autoregressive models, discrete mixtures."""

    def log_prob(self, x: Tensor, *, labels: Labels = None, text: Text = None) -> Tensor:
        """Exact log P of the integer images `x`; deterministic. nats, `(N,)`."""


@runtime_checkable
class HasLogDensity(Protocol):
    """Exact density on R^D: flows, Gaussian mixtures."""

    def log_density(self, v: Tensor, *, labels: Labels = None, text: Text = None) -> Tensor:
        """Exact log density at real images `v` `(N, C, H, W)`, pixels at [0, 1]; deterministic. nats, `(N,)`."""


@runtime_checkable
class HasELBO(Protocol):
    """A lower bound: VAEs, diffusion."""

    def elbo(
        self,
        x: Tensor,
        *,
        labels: Labels = None,
        text: Text = None,
        draws: int = 1,
        generator: Rng = None,
        **options: Any,
    ) -> Tensor:
        """A lower bound on log P(x) in expectation, averaged over `draws`. nats, `(N,)`."""


@runtime_checkable
class HasIWAE(Protocol):
    """The importance-weighted bound."""

    def iwae(self, x: Tensor, n: int, *, labels: Labels = None, text: Text = None, generator: Rng = None) -> Tensor:
        """The tighter `n`-sample bound; memory does not grow with `n`. nats, `(N,)`."""


@runtime_checkable
class HasLogProbEstimate(Protocol):
    """Neither exact nor a bound: solver tolerance, Hutchinson noise, annealed importance sampling.

    A class may also have `estimate_protocol() -> dict[str, float | int | str]`: how the estimate is made, and how far
    it can be trusted. `zoo_core.likelihood` asks it after the images were scored and adds it to the result's `params`,
    from which it goes onto the card; so its numbers are finite. Names that tables know:

        estimator               "AIS"
        distributions, chains   how many intermediate distributions, and weighted samples of the last one
        log_z                   the estimated log constant, nats; with log_z_standard_error
        effective_sample_size   (sum_i w_i)^2 / sum_i w_i^2 of the chains' weights: of `chains` where all weigh the
                                same, near 1 where a single one decides, and then the estimate means little
    """

    def log_prob_estimate(
        self, x: Tensor, *, labels: Labels = None, text: Text = None, generator: Rng = None, **options: Any
    ) -> Tensor:
        """An estimate of log P(x). nats, `(N,)`."""


@runtime_checkable
class HasLogConditionals(Protocol):
    """Autoregressive models."""

    def log_conditionals(self, x: Tensor, *, labels: Labels = None) -> Tensor:
        """log P(x_d | x_<d) in sampling order, nats, `(N, D)`; they add up to `log_prob`."""


@runtime_checkable
class HasEncode(Protocol):
    """Latent-variable models: a code, or a mixture's responsibilities."""

    def encode(self, x: Tensor) -> Tensor:
        """The latent representation of integer images; `(N, latent)` or `(N, K)`."""


@runtime_checkable
class HasDecode(Protocol):
    """Latent-variable models whose codes turn back into images."""

    def decode(self, z: Tensor) -> Tensor:
        """The images most expected for codes `z`, uint8 `(N, C, H, W)`."""


@runtime_checkable
class HasReconstruct(Protocol):
    """Models that pass an image through their bottleneck."""

    def reconstruct(self, x: Tensor, **condition: Any) -> Tensor:
        """`x` encoded and decoded, uint8 `(N, C, H, W)`; condition: `labels=…` where the model is conditional."""


@runtime_checkable
class HasComplete(Protocol):
    """Models that fill in what is missing."""

    def complete(self, x: Tensor, mask: Tensor, *, generator: Rng = None, **options: Any) -> Tensor:
        """`x` where the bool `mask` is True, untouched; samples where it is False. uint8 `(N, C, H, W)`."""


_METHODS = {"log_prob": "exact", "log_density": "density"}  # strongest first
_METHODS |= {"iwae": "bound", "elbo": "bound", "log_prob_estimate": "estimate"}


def likelihood_of(model: object) -> str:
    """The strongest likelihood a model (or a model class) offers, in the words of `ModelSpec.likelihood`."""
    for method, word in _METHODS.items():
        if callable(getattr(model, method, None)):
            return word
    return "none"
