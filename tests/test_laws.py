"""Every registered model is held to every law that applies to it (`pytest -k made-law03`)."""

from __future__ import annotations

from zoo_core.registry import models
from zoo_core.testing import conformance

test_laws = conformance(models.all())
