"""Autoencoders that generate: the variational autoencoder."""

from __future__ import annotations

from zoo_core import hookimpl


@hookimpl
def zoo_models():
    from zoo_autoencoder.configs import SPECS

    return SPECS
