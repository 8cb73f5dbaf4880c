"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_flow.glow import config as glow
from zoo_flow.realnvp import config as realnvp
from zoo_flow.realnvp_vd import config as realnvp_vd

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (*realnvp.SPECS, *glow.SPECS, *realnvp_vd.SPECS)
