"""What the family offers, told without torch: the specs of all models, from the `config.py` of each."""

from __future__ import annotations

from zoo_flow.maf import config as maf
from zoo_flow.nice import config as nice
from zoo_flow.nsf import config as nsf

__all__ = ["SPECS"]

SPECS = (*nice.SPECS, *maf.SPECS, *nsf.SPECS)
