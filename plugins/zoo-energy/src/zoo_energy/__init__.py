"""Energy-based models of images: a density without its constant."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import ModelSpec, hookimpl


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_energy.configs import SPECS

    return SPECS
