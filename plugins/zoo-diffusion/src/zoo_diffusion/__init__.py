"""Diffusion models: noise is added step by step, and a network learns to take it away again."""

from __future__ import annotations

from zoo_core import hookimpl


@hookimpl
def zoo_models():
    from zoo_diffusion.configs import SPECS

    return SPECS
