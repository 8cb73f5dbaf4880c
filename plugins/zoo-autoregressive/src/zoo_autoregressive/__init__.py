"""Autoregressive models of images: exact likelihoods, P(x) = prod_d P(x_d | x_<d), and images drawn pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import ModelSpec, hookimpl


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_autoregressive.configs import SPECS

    return SPECS
