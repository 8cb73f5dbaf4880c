"""Mixture models of images, fitted by expectation maximisation: no gradients, no learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    from zoo_core import ModelSpec


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_mixture.configs import SPECS

    return SPECS
