"""zoo: deep generative models of images behind one small protocol.

    import zoo_core as zoo
    model = zoo.load("made.digits")          # pretrained, by name
    images = model.sample(64)                # uint8 (64, C, H, W)
    zoo.likelihood.score(model, images)      # a value with its relation: =, ≤ or ≈

Names that need torch are imported on first use (PEP 562), so `zoo list` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo_core.config import Config
from zoo_core.errors import Diverged, UnknownName, WeightsError, ZooError
from zoo_core.hooks import hookimpl
from zoo_core.registry import create, list_models, load, spec
from zoo_core.specs import DatasetSpec, ExtractorSpec, ImageSpec, MetricSpec, ModelSpec, Paper, Pretrained

if TYPE_CHECKING:
    from zoo_core import images, likelihood, pixels, sampling, testing, weights
    from zoo_core.images import Batch
    from zoo_core.model import GenerativeModel
    from zoo_core.step import LocalStep, Step

__version__ = "0.1.0"

_LAZY = {
    "Batch": "zoo_core.images",
    "GenerativeModel": "zoo_core.model",
    "LocalStep": "zoo_core.step",
    "Step": "zoo_core.step",
}
_MODULES = ("images", "likelihood", "pixels", "sampling", "testing", "weights")

__all__ = [
    "Batch",
    "Config",
    "DatasetSpec",
    "Diverged",
    "ExtractorSpec",
    "GenerativeModel",
    "ImageSpec",
    "LocalStep",
    "MetricSpec",
    "ModelSpec",
    "Paper",
    "Pretrained",
    "Step",
    "UnknownName",
    "WeightsError",
    "ZooError",
    "create",
    "hookimpl",
    "images",
    "likelihood",
    "list_models",
    "load",
    "pixels",
    "sampling",
    "spec",
    "testing",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"zoo_core.{name}")
    raise AttributeError(f"module 'zoo_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
