"""The laws of zoo_core.testing, held by every model of the family."""

from zoo_flow.configs import SPECS

from zoo_core.testing import conformance

test_laws = conformance(SPECS)
