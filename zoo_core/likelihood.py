"""The one place where nats become bits/dim, and where exact, bound and estimate are told apart.

A likelihood is a value with a relation: `= 3.05`, `≤ 3.28`, `≈ 3.1` or `—`. The value is the negative log-likelihood
(lower is better), so a lower bound on log P is an upper bound on it: the truth is `≤` the number shown.

    result = score(zoo_core.load("made.digits"), x)
    print(result)                # = 2.03 ± 0.01 bits/dim
    result.beats(other)          # only where the relations and the intervals prove it
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from zoo_core.chunks import CHUNK, Share, conditions, generator_of, in_turn
from zoo_core.errors import Diverged, ZooError
from zoo_core.images import Labels, Text, check, dequantise
from zoo_core.model import GenerativeModel, HasELBO, HasIWAE, HasLogDensity, HasLogProb, HasLogProbEstimate
from zoo_core.precision import full_float32

Relation = Literal["=", "≤", "≈", "—"]


@dataclass(frozen=True)
class LikelihoodResult:
    """How likely a model finds images: `nats` is log P or a bound on it, float64 `(N,)`; None without a likelihood.

    method: how it was computed (`log_prob`, `dequant-4`, `iwae-5000`, ...), part of its identity.
    params: what else must be equal for two results to be one measurement; of an estimate also what its model says of it
    (`HasLogProbEstimate`).
    """

    method: str
    relation: Relation
    nats: Tensor | None
    dims: int
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def nats_per_image(self) -> float:
        """Mean negative log-likelihood, nats per image."""
        return math.nan if self.nats is None else -float(self.nats.mean())

    @property
    def bits_per_dim(self) -> float:
        """nats / (D ln 2)."""
        return self.nats_per_image / (self.dims * math.log(2))

    @property
    def half_width(self) -> float:
        """1.96 sd / sqrt(n) over the images, in bits/dim; infinite for a single image."""
        if self.nats is None:
            return math.nan
        n = len(self.nats)
        sd = float(self.nats.std()) if n > 1 else math.inf
        return 1.96 * sd / math.sqrt(n) / (self.dims * math.log(2))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `bits_per_dim`."""
        return self.bits_per_dim - self.half_width, self.bits_per_dim + self.half_width

    def beats(self, other: LikelihoodResult) -> bool:
        """True only where it is proven: a bound can beat an exact value, nothing is known to beat a bound.

        `ZooError` for results of images of another number or size: those are not comparable at all.
        """
        n, others = (None if r.nats is None else len(r.nats) for r in (self, other))
        if self.dims != other.dims or (n != others and None not in (n, others)):
            raise ZooError(f"not comparable: {n} images of {self.dims} dimensions and {others} of {other.dims}")
        if self.relation not in ("=", "≤") or other.relation != "=":
            return False
        return self.interval[1] < other.interval[0]

    def __str__(self) -> str:
        if self.nats is None:
            return "— (no likelihood)"
        return f"{self.relation} {self.bits_per_dim:.4f} ± {self.half_width:.4f} bits/dim"


def score(model: GenerativeModel, x: Tensor, **options: Any) -> LikelihoodResult:
    """The strongest likelihood that `model` offers for images `x`; the options are those of `scores`."""
    return next(scores(model, x, **options))


def scores(
    model: GenerativeModel,
    x: Tensor,
    *,
    labels: Labels = None,
    text: Text = None,
    seed: int = 0,
    draws: int = 1,
    n: int = 128,
    chunk: int = CHUNK,
    progress: Callable[[int], Any] = lambda images: None,
    share: Share = in_turn,
) -> Iterator[LikelihoodResult]:
    """Every likelihood that `model` offers for images `x`, strongest first; one result without numbers if it has none.

    x: uint8 `(N, C, H, W)`, all of which are used. labels, text: log P(x | labels) instead, another metric.
    draws: of the dequantisation noise or of an ELBO, averaged. n: importance samples of `iwae`.
    The images are scored in chunks, which `share` may give to several processes. progress: called with images done.
    """
    check(x, model.images)
    if len(x) == 0:
        raise ZooError("expected at least one image to score, got none")
    if draws < 1 or n < 1:
        raise ZooError(f"expected draws >= 1 and n >= 1, got draws={draws}, n={n}")
    device = model.device
    methods: list[tuple[str, Relation, Callable[..., Tensor], dict[str, Any]]] = []
    noise = {"seed": seed, "chunk": chunk}
    if isinstance(model, HasLogProb):
        methods.append(("log_prob", "=", lambda x, g, **k: model.log_prob(x, **k), {}))
    if isinstance(model, HasLogDensity):
        methods.append((f"dequant-{draws}", "≤", _dequantised(model, draws), noise))
        if draws > 1:
            methods.append((f"iw-dequant-{draws}", "≤", _dequantised(model, draws, tighter=True), noise))
    if isinstance(model, HasIWAE):
        methods.append((f"iwae-{n}", "≤", lambda x, g, **k: model.iwae(x, n, generator=g, **k), noise))
    if isinstance(model, HasELBO):
        methods.append((f"elbo-{draws}", "≤", lambda x, g, **k: model.elbo(x, draws=draws, generator=g, **k), noise))
    if isinstance(model, HasLogProbEstimate):
        methods.append(("estimate", "≈", lambda x, g, **k: model.log_prob_estimate(x, generator=g, **k), noise))
    if not methods:
        yield LikelihoodResult("none", "—", None, model.images.dims)
    for method, relation, function, params in methods:

        def score_chunk(c: int, function: Callable[..., Tensor] = function) -> Tensor:
            rows = slice(c * chunk, (c + 1) * chunk)
            given = conditions(rows, device, labels, text)
            nats = function(x[rows].to(device), generator_of(c, seed, device), **given).cpu().double()
            progress(len(nats))
            return nats

        with evaluating(model):
            nats = torch.cat(share(math.ceil(len(x) / chunk), score_chunk))
            if relation == "≈":
                params = {**params, **getattr(model, "estimate_protocol", dict)()}
        if nats.isnan().any():
            raise Diverged(f"{type(model).__name__} gave NaN for {int(nats.isnan().sum())} of {len(nats)} images")
        yield LikelihoodResult(method, relation, nats, model.images.dims, params)


def _dequantised(model: HasLogDensity, draws: int, tighter: bool = False) -> Callable[..., Tensor]:
    """`E_u[log p(v)] - D ln K` over `draws` (a bound), or the log of the mean of p, a tighter bound of another name."""

    def bound(x: Tensor, generator: torch.Generator, **given: Any) -> Tensor:
        values = []
        for _ in range(draws):
            v, log_volume = dequantise(x, model.images, generator)  # type: ignore[attr-defined]
            values.append(model.log_density(v, **given).double() + log_volume)
        stacked = torch.stack(values)  # (M, N)
        return stacked.logsumexp(0) - math.log(draws) if tighter else stacked.mean(0)

    return bound


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, full float32: TF32 would move the fourth digit of a bits/dim on a GPU."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), full_float32():
            yield
    finally:
        model.train(training)
