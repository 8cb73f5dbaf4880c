"""The laws for what the registered model is not by default: conditional."""

from __future__ import annotations

import dataclasses

from zoo_diffusion.configs import SPECS

from zoo_core.testing import conformance


def conditional(spec):
    return dataclasses.replace(spec, name=f"{spec.name}_cond", tiny=dataclasses.replace(spec.tiny, conditional=True))


test_laws = conformance([conditional(spec) for spec in SPECS])
