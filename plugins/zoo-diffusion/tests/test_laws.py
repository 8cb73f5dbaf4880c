"""The laws for what the registered model is not by default: conditional."""

from __future__ import annotations

import dataclasses

from zoo_diffusion.configs import SPECS

from zoo_core.testing import conformance


def conditional(spec):
    tiny = dataclasses.replace(spec.tiny, conditional=True, scale=2.0)
    return dataclasses.replace(spec, name=f"{spec.name}_cond", tiny=tiny)


test_laws = conformance([conditional(spec) for spec in SPECS])
