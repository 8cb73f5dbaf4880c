"""What the laws are tried on: one model at one size of image, trained, enumerated and sampled."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo_core.errors import ZooError
from zoo_core.images import Batch, quantise
from zoo_core.model import GenerativeModel, HasIWAE, HasLogDensity
from zoo_core.specs import Conditioning, ImageSpec, ModelSpec
from zoo_core.step import LocalStep

TRAIN_IMAGES, TRAIN_STEPS, TRAIN_BATCH, TRAIN_LR = 600, 80, 50, 5e-3
CLASSES = 3
CAPTIONS = ("one", "two", "three")


class BrokenLaw(AssertionError):
    """A law that does not hold; the message says by how much."""


class NotApplicable(Exception):
    """A law has seen of a training that there is nothing to hold it to; the message says why."""


def require(holds: bool, message: str) -> None:
    """The `assert` of a law, which `python -O` keeps."""
    if not holds:
        raise BrokenLaw(message)


@dataclasses.dataclass(frozen=True)
class Case:
    """One model at one size of image: what a law is given."""

    spec: ModelSpec
    images: ImageSpec
    device: str = "cpu"

    def has(self, *methods: str) -> bool:
        """Whether the model has any of these abilities."""
        return any(callable(getattr(self.spec.load_class(), method, None)) for method in methods)

    def has_batch_norm(self) -> bool:
        """Batch statistics make micro-batches another model."""
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.build().modules())

    def is_em(self) -> bool:
        """A likelihood that is climbed by full passes, not descended by an optimiser."""
        return self.has("log_prob", "log_density") and not self.build().optimizers(TRAIN_LR)

    def build(self, seed: int = 0) -> GenerativeModel:
        """A fresh model in evaluation mode; the global random state stays as it was."""
        with seeded(seed):
            model: GenerativeModel = self.spec.load_class()(self.images, self.spec.tiny)
        return model.to(self.device).eval()

    def rng(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def all_images(self) -> Tensor:
        """Every image there is, the last subpixel fastest, `(levels ** dims, C, H, W)`."""
        levels = torch.arange(self.images.levels, dtype=torch.uint8, device=self.device)
        return torch.cartesian_prod(*[levels] * self.images.dims).view(-1, *self.images.shape)

    @functools.cached_property
    def conditioning(self) -> Conditioning:
        """What the model takes with this config, which may be less than its class can."""
        return self.build().conditioning

    def data(self) -> Batch:
        """The training set: with labels where images have classes, with captions where the model takes them."""
        x, classes = structured_images(self.images, TRAIN_IMAGES)
        text = [CAPTIONS[k] for k in classes] if self.conditioning == "text" else None
        return Batch(x, classes if self.images.classes else None, text).to(self.device)

    def conditions(self, n: int) -> list[dict[str, Any]]:
        """Keyword arguments for n images under each condition; one empty one for an unconditional model."""
        if self.conditioning == "class":
            return [{"labels": torch.full((n,), k, device=self.device)} for k in range(CLASSES)]
        return [{"text": [caption] * n} for caption in CAPTIONS] if self.conditioning == "text" else [{}]

    def step(self, model: GenerativeModel, steps: int, **options: Any) -> LocalStep:
        return LocalStep(model, lr=TRAIN_LR, data=self.data(), steps=steps, **options)

    def batches(self, steps: int, size: int = TRAIN_BATCH) -> Iterator[Batch]:
        """`steps` batches of the training set."""
        data = self.data()
        starts = itertools.cycle(range(0, len(data) - size + 1, size))
        return (data[start : start + size] for start in itertools.islice(starts, steps))

    def trained(self) -> Trained:
        """The trained state, made once per process. Laws that change a model copy it first."""
        return _trained(self)


@dataclasses.dataclass
class Trained:
    """A trained model and what was seen on the way."""

    model: GenerativeModel
    before: dict[str, Tensor]
    moved: set[str]  # parameters that once had a gradient other than zero
    metrics: list[dict[str, Tensor]]


@functools.lru_cache(maxsize=16)
def _trained(case: Case) -> Trained:
    """The state that the likelihood laws look at."""
    model = case.build()
    before = copy.deepcopy(model.state_dict())
    moved: set[str] = set()
    metrics = []
    with seeded(), torch.enable_grad():
        step = case.step(model, TRAIN_STEPS)
        for batch in case.batches(TRAIN_STEPS):
            metrics.append(step.run(batch))
            moved |= {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        step.finish()
    return Trained(model.eval(), before, moved, metrics)


@functools.lru_cache(maxsize=256)
def accepted(spec: ModelSpec, images: ImageSpec, device: str = "cpu") -> Case | None:
    """None where the constructor refuses the size by a ZooError; any other error is the model's own and is raised."""
    if spec.conditioning == "class" or spec.kind == "classifier":
        images = dataclasses.replace(images, classes=CLASSES)
    case = Case(spec, images, device)
    try:
        case.build()
    except ZooError:
        return None
    return case


def structured_images(images: ImageSpec, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three random pictures under noise: pixels that depend on each other, unequal levels, labels that mean something.

    Returns uint8 `(n, C, H, W)` and the pictures' numbers, int64 `(n,)`.
    """
    generator = torch.Generator().manual_seed(seed)
    pictures = 0.2 + 0.6 * torch.rand(CLASSES, *images.shape, generator=generator, dtype=torch.float64)
    classes = torch.randint(CLASSES, (n,), generator=generator)
    noise = torch.randn(n, *images.shape, generator=generator, dtype=torch.float64)
    return quantise(pictures[classes] + 0.15 * noise, images), classes


@contextlib.contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Dropout and initialisation use the global generator: seed it, and leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Float64 as the default, so that what is equal in exact arithmetic stays equal to many digits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def repeat(condition: Mapping[str, Any], n: int) -> dict[str, Any]:
    """One image's condition for n images."""
    return {name: value.expand(n) if isinstance(value, Tensor) else value * n for name, value in condition.items()}


def over(x: Tensor, likelihood: Callable[..., Tensor], condition: Mapping[str, Any], **options: Any) -> Tensor:
    """A likelihood of many images, part by part, float64 `(N,)`."""
    parts = [likelihood(part, **options, **repeat(condition, len(part))).double() for part in torch.split(x, 8192)]
    value = torch.cat(parts)
    require(tuple(value.shape) == (len(x),), f"expected a number for each of {len(x)} images, got {tuple(value.shape)}")
    require(not bool(value.isnan().any()), "the likelihood of an image is NaN")
    return value


def draw(model: GenerativeModel, n: int, condition: Mapping[str, Any]) -> Tensor:
    """n samples under one condition, from a pinned seed."""
    generator, size = torch.Generator(model.device).manual_seed(7), min(n, 5000)
    return torch.cat([model.sample(size, generator=generator, **repeat(condition, size)) for _ in range(n // size)])


def perturbed(model: GenerativeModel) -> GenerativeModel:
    """A copy with noise on every parameter, so that no path through the network is closed by a zero."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return model


@functools.lru_cache(maxsize=16)
def cell_masses(case: Case, k: int) -> Tensor:
    """The mass of log_density in each of two pixels' cells, edge cells to -4 and 5: midpoint rule, refined to 1e-3."""
    log_density = cast(HasLogDensity, case.trained().model).log_density
    levels, coarse = case.images.levels, None
    for refinement in (2, 4, 8, 16):
        points = 9 * levels * refinement
        axis = -4 + (torch.arange(points, device=case.device) + 0.5) / (levels * refinement)
        v = torch.cartesian_prod(axis, axis).view(-1, *case.images.shape)
        density = over(v, log_density, case.conditions(1)[k]).exp().view(points, points)
        cell = nn.functional.one_hot(quantise(axis, case.images).long(), levels).double()  # (points, levels)
        masses = (cell.T @ density @ cell).flatten() / (levels * refinement) ** 2
        if coarse is not None and float((masses - coarse).abs().sum()) < 1e-3:
            break
        coarse = masses
    return masses


@functools.lru_cache(maxsize=16)
def iwae_probabilities(case: Case, k: int) -> tuple[Tensor, Tensor]:
    """exp(iwae) of every image, unbiased for P(x), with the variance of that estimate; `(images,)` each.

    2,048 importance samples an image for 256 images, fewer where there are more to average over.
    """
    x, generator, runs = case.all_images(), case.rng(2), 8
    n = max(16, 2048 * 256 // (len(x) * runs))
    iwae = functools.partial(cast(HasIWAE, case.trained().model).iwae, n=n)
    condition = case.conditions(1)[k]
    p = torch.stack([over(x, iwae, condition, generator=generator).exp() for _ in range(runs)])  # (runs, images)
    return p.mean(0), p.var(0) / runs


def chi_square(counts: Tensor, expected: Tensor, noise: Tensor) -> float:
    """Pearson's chi-square as a standard normal deviate (Wilson and Hilferty's cube root), rare cells put together.

    noise: the variance of `expected` itself.
    """
    rare = expected < 5
    observed, mean, variance = (
        torch.cat([values[~rare], values[rare].sum().view(1)]) for values in (counts, expected, noise)
    )
    square = float(((observed - mean).square() / (mean.clamp_min(1) + variance)).sum())
    spread = 2 / (9 * max(len(mean) - 1, 1))
    return float(((square / max(len(mean) - 1, 1)) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))
