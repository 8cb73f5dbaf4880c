"""Generative adversarial networks of images: a generator learns from a discriminator, and there is no likelihood."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import ModelSpec, hookimpl


@hookimpl
def zoo_models() -> Iterable[ModelSpec]:
    from zoo_gan.configs import SPECS

    return SPECS
