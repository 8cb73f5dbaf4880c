"""The laws, also for models without batch normalisation: law 9 is for them and exempts the others."""

from __future__ import annotations

import dataclasses

from zoo_gan.configs import SPECS

from zoo_core.testing import conformance

WITHOUT = [
    dataclasses.replace(
        spec,
        name=f"{spec.name}_without_norm",
        config=dataclasses.replace(spec.config, norm="none"),
        tiny=dataclasses.replace(spec.tiny, norm="none"),
    )
    for spec in SPECS
    if hasattr(spec.config, "norm")
]

test_laws = conformance([*SPECS, *WITHOUT])
