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
from zoo_core.registry import create, list_models, spec
from zoo_core.specs import DatasetSpec, ExtractorSpec, ImageSpec, MetricSpec, ModelSpec, Paper, Pretrained
from zoo_core.version import __version__ as __version__

if TYPE_CHECKING:
    from zoo_core import images, likelihood, pixels, sampling, testing, weights
    from zoo_core.images import Batch
    from zoo_core.model import GenerativeModel
    from zoo_core.pretrained import load
    from zoo_core.step import LocalStep, Step, Trainable

_LAZY = {"Batch": "images", "GenerativeModel": "model", "load": "pretrained"}
_LAZY |= {"LocalStep": "step", "Step": "step", "Trainable": "step"}
_MODULES = ("images", "likelihood", "pixels", "sampling", "testing", "weights")

__all__ = ["create", "hookimpl", "list_models", "load", "spec"]
__all__ += ["Batch", "GenerativeModel", "ImageSpec", "LocalStep", "Step", "Trainable"]
__all__ += ["Config", "DatasetSpec", "ExtractorSpec", "MetricSpec", "ModelSpec", "Paper", "Pretrained"]
__all__ += ["Diverged", "UnknownName", "WeightsError", "ZooError"]
__all__ += ["images", "likelihood", "pixels", "sampling", "testing", "weights"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f"zoo_core.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"zoo_core.{name}")
    raise AttributeError(f"module 'zoo_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
