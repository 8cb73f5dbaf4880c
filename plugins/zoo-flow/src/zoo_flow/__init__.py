"""Normalizing flows of images: an invertible map to noise, and with its Jacobian an exact density."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import ModelSpec, hookimpl


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_flow.configs import SPECS

    return SPECS
