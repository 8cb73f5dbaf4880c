"""The closed-form baselines and the copycat, as specifications of models. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import Config, ModelSpec, Paper


@dataclass(frozen=True, kw_only=True)
class UniformConfig(Config):
    """Nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class SmoothedConfig(Config):
    """alpha: pseudo-count added to each of the K values of a pixel (1 is Laplace's rule)."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("alpha", self.alpha > 0, "a number above 0")


@dataclass(frozen=True, kw_only=True)
class GaussianConfig(Config):
    """floor: added to the diagonal of the covariance, in [0, 1] coordinates."""

    floor: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class CopycatConfig(Config):
    """noise: how probable it is that a subpixel is replaced by a uniform level."""

    noise: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("noise", 0 < self.noise < 1, "a probability, above 0 and below 1")


_THEIS = Paper(
    title="A note on the evaluation of generative models",
    authors="L. Theis, A. van den Oord, M. Bethge",
    year=2016,
    url="https://arxiv.org/abs/1511.01844",
)

BASELINES = [
    ModelSpec(
        name="uniform",
        family="baseline",
        summary="every image equally likely: exactly log2 K bits/dim, a sanity check of likelihoods",
        target="zoo_bench.baselines.closed_form:Uniform",
        config=UniformConfig(),
        tiny=UniformConfig(),
        likelihood="exact",
        paper=_THEIS,
    ),
    ModelSpec(
        name="independent_pixels",
        family="baseline",
        summary="one smoothed histogram per pixel; a model that is worse has learned nothing",
        target="zoo_bench.baselines.closed_form:IndependentPixels",
        config=SmoothedConfig(),
        tiny=SmoothedConfig(),
        likelihood="exact",
        paper=_THEIS,
    ),
    ModelSpec(
        name="class_mixture",
        family="baseline",
        summary="a mixture of independent-pixel models, one per class",
        target="zoo_bench.baselines.closed_form:ClassMixture",
        config=SmoothedConfig(alpha=0.1),
        tiny=SmoothedConfig(alpha=0.1),
        likelihood="exact",
        conditioning="none",
        paper=_THEIS,
    ),
    ModelSpec(
        name="gaussian",
        family="baseline",
        summary="one full-covariance Gaussian under uniform dequantisation",
        target="zoo_bench.baselines.closed_form:Gaussian",
        config=GaussianConfig(),
        tiny=GaussianConfig(),
        likelihood="density",
        paper=_THEIS,
    ),
    ModelSpec(
        name="copycat",
        family="constructed",
        summary="memorises the training set: good samples, low likelihood of new images",
        target="zoo_bench.baselines.constructed:Copycat",
        config=CopycatConfig(),
        tiny=CopycatConfig(noise=0.2),
        likelihood="exact",
        paper=_THEIS,
    ),
]
