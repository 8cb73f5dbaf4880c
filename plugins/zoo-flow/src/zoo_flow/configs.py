"""What the family offers, told without torch: the list of its models."""

from __future__ import annotations

from zoo_core import ModelSpec
from zoo_flow.ffjord import config as ffjord
from zoo_flow.glow import config as glow
from zoo_flow.maf import config as maf
from zoo_flow.nice import config as nice
from zoo_flow.nsf import config as nsf
from zoo_flow.realnvp import config as realnvp
from zoo_flow.realnvp_vd import config as realnvp_vd

__all__ = ["SPECS"]

SPECS: tuple[ModelSpec, ...] = (
    *nice.SPECS,
    *realnvp.SPECS,
    *realnvp_vd.SPECS,
    *glow.SPECS,
    *maf.SPECS,
    *nsf.SPECS,
    *ffjord.SPECS,
)
